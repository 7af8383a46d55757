"""Corpora in, shards out, loaders, and the samples that travel with the package."""

from ..core.lazy import lazy
from .embedded import sample, samples

__all__ = ["Windows", "encode_corpus", "open_shards", "read_corpus", "sample", "samples", "verify_shards"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Windows": f"{__name__}.windows:Windows",
        "encode_corpus": f"{__name__}.encode:encode_corpus",
        "open_shards": f"{__name__}.shards:open_shards",
        "read_corpus": f"{__name__}.documents:read_corpus",
        "verify_shards": f"{__name__}.manifest:verify_shards",
    },
)
