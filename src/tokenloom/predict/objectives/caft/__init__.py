"""CAFT: a language model learns the next several tokens while it is fine-tuned, and is as before at inference.

Chen et al. 2025, "Improving large language models with concept-aware fine-tuning", arXiv 2506.07833. What a task is about is often
several tokens long: an identifier, a group of atoms, a term. Heads beside the model's own, taught once for each model, predict the
2nd to 5th next token; while the model is fine-tuned, their losses flow back into it, and then they are thrown away.

Differs from the authors' code: heads read the same states at both stages (`HeadPretraining`) and obey the mask of the batch; a head
without a label has loss 0, not nan; means are over all labels of a step; nothing of transformers is patched.
"""

from .heads import CaftHeads
from .losses import HeadLosses, evaluate_heads, head_losses
from .stages import CAFT, HeadPretraining, SineUntil, constant, linear, reflected_sine, sine
from .training import Trained, train_caft

__all__ = [
    "CAFT",
    "CaftHeads",
    "HeadLosses",
    "HeadPretraining",
    "SineUntil",
    "Trained",
    "constant",
    "evaluate_heads",
    "head_losses",
    "linear",
    "reflected_sine",
    "sine",
    "train_caft",
]
