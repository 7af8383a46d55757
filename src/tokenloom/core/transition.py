"""How the modules of a decoder layer turned and scaled the tokens that went through them; see `reduce.transitions`."""
# B batch, T positions of a prompt, N visual tokens, 2 modules: attention, then feed-forward

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .errors import InvalidInput
from .token_map import TokenMap

__all__ = ["Transition", "change"]


def change(x_in: Tensor, x_out: Tensor) -> tuple[Tensor, Tensor]:
    """Gain |out| / |in| and cosine of the vectors along the last axis, in float32; 0 where `x_in` is 0, cosine 0 where either is.

    >>> gain, cosine = change(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]]))
    >>> gain.tolist(), cosine.tolist()
    ([2.0], [0.0])
    """
    x_in, x_out = x_in.float(), x_out.float()
    before, after = x_in.norm(dim=-1, keepdim=True), x_out.norm(dim=-1, keepdim=True)
    # Each is divided by its own length: the product of two short ones would be lost.
    smallest = torch.finfo(torch.float32).tiny
    cosine = (x_in / before.clamp(min=smallest) * (x_out / after.clamp(min=smallest))).sum(-1)
    gain = torch.where(before > 0, after / before.clamp(min=smallest), 0)[..., 0]
    return gain, cosine.clamp(-1, 1)


@dataclass(frozen=True, eq=False)
class Transition:
    """What one decoder layer did to a prompt: a module's input is taken behind its norm, its output before the residual sum.

    Args:
        gain_2BT: |output| / |input| of all positions, text too.
        cosine_2BT: of output and input.
        start: the first visual token.
        count: N, visual tokens that ran through the layer.
        left: the map from these to the visual tokens that are left now; None where all are.
    Raises: InvalidInput: shapes that do not fit, or values that are not finite.
    """

    gain_2BT: Tensor
    cosine_2BT: Tensor
    start: int
    count: int
    left: TokenMap | None = None

    def __post_init__(self) -> None:
        shape = tuple(self.gain_2BT.shape)
        if len(shape) != 3 or shape[0] != 2 or tuple(self.cosine_2BT.shape) != shape:
            raise InvalidInput(
                f"gains of {shape} and cosines of {tuple(self.cosine_2BT.shape)}; both must be (2, B, T)"
            )
        if not (self.start >= 0 and 1 <= self.count <= shape[2] - self.start):
            raise InvalidInput(f"{self.count} visual tokens from position {self.start} on, of {shape[2]} positions")
        if not bool(torch.isfinite(self.gain_2BT).all() & torch.isfinite(self.cosine_2BT).all()):
            raise InvalidInput("gains or cosines are not finite")

    def through(self, reduced: TokenMap) -> Transition:
        """The same layer, after its visual tokens have been reduced once more."""
        return replace(self, left=reduced if self.left is None else reduced @ self.left)
