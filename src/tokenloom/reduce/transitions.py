"""Token transition variation: how much a decoder layer turns and scales each visual token (TransPrune, step 1)."""
# B batch, T positions of a prompt, N visual tokens that are left, 2 modules: attention, then feed-forward

from __future__ import annotations

from typing import Literal

from torch import Tensor

from ..core.errors import InvalidInput
from ..core.transition import Transition

__all__ = ["Transition", "transition_scores"]


def transition_scores(
    transition: Transition, *, cosine: Literal["signed", "abs"] = "signed", over: Literal["all", "image"] = "all"
) -> Tensor:
    """TTV of one layer: the sum over its attention and feed-forward of g * softmax(1 - c).

    g is the gain in length and c the cosine of input and output. The exponential has no temperature: direction changes a
    weight at most e²-fold, and g by orders of magnitude.

    Args:
        cosine: c as it is, as in the authors' code, or |c|, as in the paper: a token that is turned round has the highest
            weight with one and the lowest with the other.
        over: the softmax runs over all positions, as in the code, or over the visual tokens, as in the paper. The order within
            a layer is the same, but not how much the layer counts in a sum of several.
    Returns: float32 (B, N), of the tokens that are left; those that have been dropped count in the softmax.
    Raises: InvalidInput: other words.
    """
    if cosine not in ("signed", "abs") or over not in ("all", "image"):
        raise InvalidInput(f"cosine={cosine!r}, over={over!r}; they must be 'signed' or 'abs', and 'all' or 'image'")
    image = slice(transition.start, transition.start + transition.count)
    c_2BT = transition.cosine_2BT if cosine == "signed" else transition.cosine_2BT.abs()
    turned_2BN = (1 - c_2BT).softmax(2)[..., image] if over == "all" else (1 - c_2BT[..., image]).softmax(2)
    scores_BN = (transition.gain_2BT[..., image] * turned_2BN).sum(0)
    return scores_BN if transition.left is None else transition.left.apply(scores_BN[..., None])[..., 0]
