"""In which order tokens are predicted, trained and decoded."""

# Made from catalogue.toml by `make generate`; do not edit.

from ..core.lazy import lazy as _lazy

_NAMES = {
    "ByteModel": "tokenloom.predict.decode.exact_byte_probabilities:ByteModel",
    "Ensemble": "tokenloom.predict.decode.exact_byte_probabilities:Ensemble",
}
__getattr__, __dir__ = _lazy(__name__, _NAMES)

__all__ = [
    "ByteModel",
    "Ensemble",
]
