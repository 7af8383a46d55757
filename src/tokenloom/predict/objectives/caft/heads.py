"""The extra heads: each makes of the trunk's last states those from which the token k places further on is predicted."""
# B batch, T positions, D width, V ids, K heads

from __future__ import annotations

import copy
import json
import os
from typing import Any, Literal

import torch
import torch.nn.functional as F
from safetensors.torch import load
from torch import Tensor, nn

from ....core.errors import InvalidInput, StoreError
from ....core.pretrained import load_files
from ....models.batches import Batch
from ....models.saved_modules import save_module
from ....models.tables import output_layer
from .trunk import check_trunk, decoder_layers, run_layer

__all__ = ["CaftHeads", "ResidualHead"]


class ResidualHead(nn.Module):
    """x + SiLU(W x), with W = 0 at first: it predicts what the model predicts for the next token."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width, width))

    def forward(self, x_BTD: Tensor) -> Tensor:
        return x_BTD + F.silu(F.linear(x_BTD, self.weight))


class CaftHeads(nn.Module):
    """K heads beside the model's own; head k predicts token t + 1 + k from what is known at t.

    logits_k[t] = U(body_k(h)[t]), with h the states behind the model's final norm and U its output layer. The model is neither
    changed nor kept: it is given again with each call.

    Args:
        model: a causal model of transformers, or a `Transformer`.
        heads: K; 0 for none.
        kind: "layer", a decoder layer of the model's own architecture, or "linear", `ResidualHead`, for any causal model.
        start: the layer of the model that layers start as, from the end: -1 is the last. The authors take -2, the
            second to last, together with `HeadPretraining(before_last_layer=True)`.
        separate_unembedding: whether each head has its own U, which starts as the model's, instead of sharing it.
    Raises: InvalidInput: a number out of range, or a model whose last states or layers cannot be reached.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        heads: int = 4,
        kind: Literal["layer", "linear"] = "layer",
        start: int = -1,
        separate_unembedding: bool = False,
    ) -> None:
        super().__init__()
        if heads < 0:
            raise InvalidInput(f"heads={heads}; it must be at least 0")
        check_trunk(model)
        head = output_layer(model)
        if kind == "layer":
            layers = decoder_layers(model)
            if not -len(layers) <= start < 0:
                raise InvalidInput(
                    f"start={start}; the model has {len(layers)} layers, so it must be -1 … -{len(layers)}"
                )
            bodies: list[nn.Module] = [copy.deepcopy(layers[start]) for _ in range(heads)]
        elif kind == "linear":
            bodies = [ResidualHead(head.in_features).to(head.weight) for _ in range(heads)]
        else:
            raise InvalidInput(f"kind={kind!r}; it must be 'layer' or 'linear'")
        self.bodies = nn.ModuleList(bodies)
        self.unembeddings = nn.ModuleList(copy.deepcopy(head) for _ in range(heads * separate_unembedding))
        self.requires_grad_(True)
        self.config: dict[str, Any] = {"heads": heads, "kind": kind, "separate_unembedding": separate_unembedding}

    def __len__(self) -> int:
        return len(self.bodies)

    def forward(self, model: nn.Module, states_BTD: Tensor, batch: Batch, k: int) -> Tensor:
        """The states that the output layer reads for head k, (B, T, D).

        Args:
            model: whose layers the heads are like.
            states_BTD: its states.
            batch: `input_ids` int64 (B, T), and what `models.training.logits_of` takes beside: heads see what the model sees.
            k: 1 … K.
        """
        body = self.bodies[k - 1]
        return body(states_BTD) if isinstance(body, ResidualHead) else run_layer(model, body, states_BTD, batch)

    def unembedding(self, model: nn.Module, k: int) -> nn.Linear:
        """The output layer of head k; 0 is the model's own."""
        own = self.unembeddings[k - 1] if k and len(self.unembeddings) else output_layer(model)
        assert isinstance(own, nn.Linear)
        return own

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write config.json, model.safetensors and, last, tokenloom.json with their digests; nothing of the model.

        Raises: StoreError: a file cannot be written.
        """
        save_module(self, folder, self.config)

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], model: nn.Module) -> CaftHeads:
        """Load what `save_pretrained` wrote, onto the device of `model`, which gives the architecture of the layers.

        Raises: StoreError: another kind, heads of another architecture, or a file that is not the one that was written.
        """
        saved = load_files(os.fspath(folder))
        if saved.kind != cls.__name__:
            raise StoreError(f"{folder} holds a {saved.kind}, not {cls.__name__}")
        heads = cls(model, **json.loads(saved.files["config.json"]))
        weights = load(saved.files["model.safetensors"])
        mine, theirs = ({name: tuple(w.shape) for name, w in some.items()} for some in (heads.state_dict(), weights))
        if mine != theirs:
            name = min(name for name in mine | theirs if mine.get(name) != theirs.get(name))
            raise StoreError(
                f"{folder} holds heads of another model: {name} is {theirs.get(name)} there and {mine.get(name)} here"
            )
        heads.load_state_dict(weights)
        return heads
