"""Laws that every method of a kind must obey, as functions that third parties can run on theirs.

Each raises AssertionError with the input that breaks the law, so they read well under pytest and hypothesis.
"""

from .segmenters import check_segmenter, check_splitter

__all__ = ["check_segmenter", "check_splitter"]
