"""What a token reducer does to a model beyond making it faster, in numbers; and what kinds of reducers there are.

Kong et al. 2025, "Token Reduction Should Go Beyond Efficiency in Generative Models", arXiv 2505.18227. The paper argues that
leaving tokens out is a decision about the model: about what it sees, whether it answers from the picture, whether it answers the
same way twice. It gives five roles and no formulas; the formulas here are ours, or those of the measures it names (POPE, CHAIR).
Measures of the kept set are in kept.py, of what a model then says in answers.py, of training in training.py and of cost in
cost.py; methods.toml lists methods with the properties by which the paper sorts them.
"""

from .answers import Chair, Probes, agreement, chair, distinct, divergence, extra_nats, probes, recall_by_depth
from .cost import break_even, cache_bytes, prefill_flops
from .kept import Cover, Slant, cover, jaccard, patch_centre, purity, redundancy, slant, spread
from .methods import Method, Methods, methods
from .training import loss_spread, spikes, steps_to

__all__ = [
    "Chair",
    "Cover",
    "Method",
    "Methods",
    "Probes",
    "Slant",
    "agreement",
    "break_even",
    "cache_bytes",
    "chair",
    "cover",
    "distinct",
    "divergence",
    "extra_nats",
    "jaccard",
    "loss_spread",
    "methods",
    "patch_centre",
    "prefill_flops",
    "probes",
    "purity",
    "recall_by_depth",
    "redundancy",
    "slant",
    "spikes",
    "spread",
    "steps_to",
]
