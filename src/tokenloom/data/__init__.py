"""Corpora in, shards out, loaders, and the samples that travel with the package."""

from ..core.lazy import lazy
from .embedded import sample, samples

__all__ = ["Windows", "open_shards", "sample", "samples", "verify_shards"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Windows": f"{__name__}.windows:Windows",
        "open_shards": f"{__name__}.shards:open_shards",
        "verify_shards": f"{__name__}.manifest:verify_shards",
    },
)
