"""The errors of tokenloom: one base class, a few kinds, each raised at the public border before anything is written."""

import importlib
from types import ModuleType

__all__ = [
    "CorpusError",
    "InvalidInput",
    "MissingExtra",
    "SegmentationError",
    "StoreError",
    "TokenizerError",
    "TokenloomError",
    "UnknownMethod",
    "VocabularyError",
    "require",
]


class TokenloomError(Exception):
    """Everything tokenloom raises on purpose."""


class InvalidInput(TokenloomError, ValueError):
    """A value handed in by the caller cannot be used."""


class SegmentationError(InvalidInput):
    """Ids, offsets and data do not form a partition of a byte string."""


class VocabularyError(InvalidInput):
    """Tokens do not form a vocabulary, or a vocabulary lacks what a method needs."""


class TokenizerError(TokenloomError):
    """A tokenizer could not be loaded, or its engine failed."""


class CorpusError(TokenloomError):
    """Input data could not be read; the message names the file and the place."""


class StoreError(TokenloomError):
    """Output, a manifest or a digest is not what it should be."""


class UnknownMethod(TokenloomError, KeyError):
    """No system, reducer, trainer … has this name."""

    __str__ = Exception.__str__  # KeyError would print the message in quotes


class MissingExtra(TokenloomError, ImportError):
    """An optional package is not installed."""


def require(module: str, extra: str) -> ModuleType:
    """Import an optional `module`, or say which extra of tokenloom brings it.

    >>> require("json", "data").__name__
    'json'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(f"this needs the package '{module}': pip install 'tokenloom[{extra}]'") from error
