"""Laws that every method of a kind must obey, as functions that third parties can run on theirs.

Each raises AssertionError with the input that breaks the law, so they read well under pytest and hypothesis.
"""

from ..core.lazy import lazy as _lazy
from .drafters import check_drafter
from .segmenters import check_segmenter, check_splitter

# These need torch, the others do not.
__getattr__, __dir__ = _lazy(
    __name__,
    {
        "check_reducer": "tokenloom.testing.reducers:check_reducer",
        "check_token_map": "tokenloom.testing.token_maps:check_token_map",
    },
)

__all__ = ["check_drafter", "check_reducer", "check_segmenter", "check_splitter", "check_token_map"]
