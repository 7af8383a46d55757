"""Many tokens to few."""

# Made from catalogue.toml by `make generate`; do not edit.

from ..core.lazy import lazy as _lazy

_NAMES = {
    "Attachment": "tokenloom.reduce.attaching:Attachment",
    "Crops": "tokenloom.reduce.crops:Crops",
    "DivPrune": "tokenloom.reduce.divprune:DivPrune",
    "FastV": "tokenloom.reduce.fastv:FastV",
    "FoPru": "tokenloom.reduce.fopru:FoPru",
    "GlobalCom2": "tokenloom.reduce.globalcom2:GlobalCom2",
    "HiPrune": "tokenloom.reduce.hiprune:HiPrune",
    "Linspace": "tokenloom.reduce.baselines:Linspace",
    "PruMerge": "tokenloom.reduce.prumerge:PruMerge",
    "PruMergePlus": "tokenloom.reduce.prumerge:PruMergePlus",
    "Random": "tokenloom.reduce.baselines:Random",
    "Signal": "tokenloom.reduce.signals:Signal",
    "SparseVLM": "tokenloom.reduce.sparsevlm:SparseVLM",
    "ToMe": "tokenloom.reduce.tome:ToMe",
    "ToMeEveryKth": "tokenloom.reduce.tome:ToMeEveryKth",
    "ToMeRandomSplit": "tokenloom.reduce.tome:ToMeRandomSplit",
    "TokenCorrelationCompression": "tokenloom.reduce.token_correlation_compression:TokenCorrelationCompression",
    "UniformGrid": "tokenloom.reduce.baselines:UniformGrid",
    "VisionZip": "tokenloom.reduce.visionzip:VisionZip",
    "attach": "tokenloom.reduce.attaching:attach",
    "tome_schedule": "tokenloom.reduce.tome:tome_schedule",
}
__getattr__, __dir__ = _lazy(__name__, _NAMES)

__all__ = [
    "Attachment",
    "Crops",
    "DivPrune",
    "FastV",
    "FoPru",
    "GlobalCom2",
    "HiPrune",
    "Linspace",
    "PruMerge",
    "PruMergePlus",
    "Random",
    "Signal",
    "SparseVLM",
    "ToMe",
    "ToMeEveryKth",
    "ToMeRandomSplit",
    "TokenCorrelationCompression",
    "UniformGrid",
    "VisionZip",
    "attach",
    "tome_schedule",
]
