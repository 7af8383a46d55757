"""Move a trained model to other tokens, another architecture, another domain."""

# Made from catalogue.toml by `make generate`; do not edit.

from ..core.lazy import lazy as _lazy

_NAMES = {
    "ALM": "tokenloom.transfer.alm_distillation:ALM",
    "DynamicTokenization": "tokenloom.transfer.dynamic_tokenization:DynamicTokenization",
    "FOCUS": "tokenloom.transfer.baselines:FOCUS",
    "FVT": "tokenloom.transfer.composition:FVT",
    "Mean": "tokenloom.transfer.composition:Mean",
    "Random": "tokenloom.transfer.composition:Random",
    "ReTok": "tokenloom.transfer.baselines:ReTok",
    "Rows": "tokenloom.transfer.rows:Rows",
    "TokenAdapt": "tokenloom.transfer.tokenadapt:TokenAdapt",
    "TransTokenizer": "tokenloom.transfer.baselines:TransTokenizer",
    "Transplanted": "tokenloom.transfer.transplanting:Transplanted",
    "WECHSEL": "tokenloom.transfer.wechsel:WECHSEL",
    "transplant": "tokenloom.transfer.transplanting:transplant",
}
__getattr__, __dir__ = _lazy(__name__, _NAMES)

__all__ = [
    "ALM",
    "FOCUS",
    "FVT",
    "WECHSEL",
    "DynamicTokenization",
    "Mean",
    "Random",
    "ReTok",
    "Rows",
    "TokenAdapt",
    "TransTokenizer",
    "Transplanted",
    "transplant",
]
