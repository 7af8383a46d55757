"""In which order tokens are predicted, trained and decoded."""

# Made from catalogue.toml by `make generate`; do not edit.

from ..core.lazy import lazy as _lazy

_NAMES = {
    "ASSD": "tokenloom.predict.decode.assd:ASSD",
    "ByteModel": "tokenloom.predict.decode.exact_byte_probabilities:ByteModel",
    "CausalSession": "tokenloom.predict.decode.session:CausalSession",
    "Draft": "tokenloom.predict.decode.drafting:Draft",
    "Drafter": "tokenloom.predict.decode.drafting:Drafter",
    "Ensemble": "tokenloom.predict.decode.exact_byte_probabilities:Ensemble",
    "FLASH": "tokenloom.predict.decode.flash_speculative:FLASH",
    "FlashHead": "tokenloom.predict.decode.flash_speculative:FlashHead",
    "Generated": "tokenloom.predict.decode.generating:Generated",
    "TokenRecycling": "tokenloom.predict.decode.token_recycling:TokenRecycling",
    "Warp": "tokenloom.predict.decode.sampling:Warp",
    "choose_tree": "tokenloom.predict.decode.token_recycling:choose_tree",
    "flash_tree": "tokenloom.predict.decode.flash_speculative:flash_tree",
    "forward_costs": "tokenloom.predict.decode.token_recycling:forward_costs",
    "own_answers": "tokenloom.predict.decode.flash_speculative:own_answers",
    "published_tree": "tokenloom.predict.decode.token_recycling:published_tree",
    "train_flash": "tokenloom.predict.decode.flash_speculative:train_flash",
    "transformers_hook": "tokenloom.predict.decode.generating:transformers_hook",
}
__getattr__, __dir__ = _lazy(__name__, _NAMES)

__all__ = [
    "ASSD",
    "FLASH",
    "ByteModel",
    "CausalSession",
    "Draft",
    "Drafter",
    "Ensemble",
    "FlashHead",
    "Generated",
    "TokenRecycling",
    "Warp",
    "choose_tree",
    "flash_tree",
    "forward_costs",
    "own_answers",
    "published_tree",
    "train_flash",
    "transformers_hook",
]
