"""One sequence in a causal language model: tokens are run behind what is cached, as a tree if need be, and taken back again."""
# N tokens of a call, P cached ones, V ids, D width

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...core.draft_tree import DraftTree
from ...core.errors import InvalidInput, require
from ...core.ledger import Ledger
from ...models.transformer import Cache, Transformer

__all__ = ["CausalSession", "Step"]


@dataclass(frozen=True)
class Step:
    """What a model makes of the tokens of a call.

    Args:
        logits_NV: behind each token, or behind the last one alone.
        hidden_ND: what the head that makes the logits reads, behind each token; None if it was not asked for.
    """

    logits_NV: Tensor
    hidden_ND: Tensor | None = None


class CausalSession:
    """A model with a cache that can be cut.

    Args:
        model: a causal model of transformers whose layers all attend, or a `Transformer`; it is put into evaluation mode.

    `ids` are those that are cached, `ledger` counts the calls, their tokens, and for each token the model's parameters.
    Raises: InvalidInput: a model whose cache cannot be cut.
    """

    def __init__(self, model: nn.Module) -> None:
        config: Any = model.config
        if not isinstance(model, Transformer):
            name = type(model).__name__
            kinds = set(getattr(_text(config), "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
            if getattr(model, "_is_stateful", False) or kinds:
                raise InvalidInput(
                    f"{name} keeps states that no token can be taken back from; its layers must all attend"
                )
            if getattr(config, "is_encoder_decoder", False) or not hasattr(model, "forward"):
                raise InvalidInput(f"{name} is no causal model; it has an encoder")
        self.model = model.eval()
        self.ids: list[int] = []
        self.ledger = Ledger()
        self._size = sum(weight.numel() for weight in model.parameters())
        self._empty()

    @property
    def vocab_size(self) -> int:
        """How many ids the model knows."""
        return int(_text(self.model.config).vocab_size)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def _empty(self) -> None:
        if isinstance(self.model, Transformer):
            self._cache: Any = Cache([])
        else:
            # Without a configuration all layers keep all positions, also those of a sliding window: they can be taken back.
            self._cache = require("transformers", "hf").DynamicCache()

    @torch.no_grad()
    def extend(
        self,
        ids: Sequence[int],
        tree: DraftTree | None = None,
        *,
        hidden: bool = False,
        last: bool = False,
        **inputs: Any,
    ) -> Step:
        """Run `ids` behind what is cached, and cache them.

        Args:
            ids: N of them, one at least.
            tree: of which they are the nodes; None for one behind the other.
            hidden: whether hidden states are wanted.
            last: whether the logits of the last token are enough.
            inputs: what else the model takes, such as the pictures of a prompt; not a `Transformer`.
        Raises: InvalidInput: no ids, unknown ones, or others than the tree has nodes.
        """
        ids = [int(i) for i in ids]
        if not ids or not 0 <= min(ids) <= max(ids) < self.vocab_size:
            raise InvalidInput(f"ids {ids[:8]} …; there must be one at least, all from 0 to {self.vocab_size - 1}")
        if tree is not None and len(tree) != len(ids):
            raise InvalidInput(f"{len(ids)} ids for a tree of {len(tree)} nodes")
        ids_1N = torch.tensor([ids], device=self.device)
        run = self._run_own if isinstance(self.model, Transformer) else self._run_hugging_face
        step = run(ids_1N, tree, hidden, last, inputs)
        self.ids += ids
        self.ledger += Ledger(1, len(ids), self._size * len(ids))
        return step

    def keep(self, length: int, path: Sequence[int] = ()) -> None:
        """Take back all but the first `length` cached tokens, and those at `length` + `path`.

        Raises: InvalidInput: a length or places that are not cached; places that do not ascend.
        """
        rest = len(self.ids) - length
        places = [int(place) for place in path]
        if not 0 <= length <= len(self.ids) or any(not a < b for a, b in zip([-1, *places], [*places, rest])):
            raise InvalidInput(
                f"{length=} and places {places} of {len(self.ids)} cached tokens; they must ascend, and be there"
            )
        if not length and not places:
            self._empty()
        elif len(places) < rest:
            if isinstance(self._cache, Cache):
                self._cache = Cache(
                    [(_kept(k, length, places), _kept(v, length, places)) for k, v in self._cache.pairs]
                )
            else:
                for layer in self._cache.layers:
                    layer.keys, layer.values = _kept(layer.keys, length, places), _kept(layer.values, length, places)
        self.ids = self.ids[:length] + [self.ids[length + place] for place in places]

    def _run_own(
        self, ids_1N: Tensor, tree: DraftTree | None, hidden: bool, last: bool, inputs: dict[str, Any]
    ) -> Step:
        if inputs:
            raise InvalidInput(f"a Transformer takes no {', '.join(inputs)}")
        model: Any = self.model
        past, options = self._cache.length, {}
        if tree is not None:
            options = {"mask": self._seen(tree, past), "positions": self._depths(tree) + past}
        out = model.run(ids_1N, cache=self._cache, **options)
        logits_NV = out.logits[0, -1:] if last else out.logits[0]
        return Step(logits_NV, model.norm(out.hidden[-1])[0] if hidden else None)

    def _run_hugging_face(
        self, ids_1N: Tensor, tree: DraftTree | None, hidden: bool, last: bool, inputs: dict[str, Any]
    ) -> Step:
        model: Any = self.model
        known, options = _parameters(model), dict(inputs)
        if tree is not None:
            past = self._cache.get_seq_length()
            options["position_ids"] = (self._depths(tree) + past)[None]
            options["attention_mask"] = self._masks(tree, past)
        if last and "logits_to_keep" in known:
            options["logits_to_keep"] = 1
        # transformers renames the argument from version 5.24 on, and warns of the old name.
        options["cache" if "cache" in known else "past_key_values"] = self._cache
        out = model(input_ids=ids_1N, use_cache=True, output_hidden_states=hidden, **options)
        return Step(out.logits[0, -1:] if last else out.logits[0], out.hidden_states[-1][0] if hidden else None)

    def _depths(self, tree: DraftTree) -> Tensor:
        return torch.from_numpy(tree.depths_N).to(self.device)

    def _seen(self, tree: DraftTree, past: int) -> Tensor:
        """Whom each node sees, bool (N, P + N)."""
        own = torch.from_numpy(tree.mask).to(self.device)
        return torch.cat([own.new_ones(len(tree), past), own], 1)

    def _masks(self, tree: DraftTree, past: int) -> Tensor | dict[str, Tensor]:
        """The same as transformers adds it to logits, by kind of layer where a model has several."""
        config: Any = _text(self.model.config)
        seen, dtype = self._seen(tree, past), next(self.model.parameters()).dtype

        def added(allowed: Tensor) -> Tensor:
            return torch.zeros(allowed.shape, dtype=dtype, device=self.device).masked_fill(~allowed, torch.finfo(dtype).min)[None, None]  # fmt: skip

        kinds = set(getattr(config, "layer_types", None) or ())
        window = getattr(config, "sliding_window", None) if "sliding_attention" in kinds or not kinds else None
        if window is None:
            return added(seen)
        depths_N = self._depths(tree)
        places = torch.cat([torch.arange(past, device=self.device), depths_N + past])
        near = seen & (depths_N[:, None] + past - places < window)
        by_kind = {"full_attention": added(seen), "sliding_attention": added(near)}
        return {kind: by_kind[kind] for kind in kinds} if len(kinds) > 1 else by_kind["sliding_attention"]


def _text(config: Any) -> Any:
    """The part of a configuration that is about language."""
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def _parameters(model: nn.Module) -> set[str]:
    return set(inspect.signature(model.forward).parameters)


def _kept(values_1HPC: Tensor, length: int, places: list[int]) -> Tensor:
    end = length + len(places)
    if places != list(range(len(places))):
        rows = torch.from_numpy(np.array(places)).to(values_1HPC.device) + length
        values_1HPC[..., length:end, :] = values_1HPC[
            ..., rows, :
        ]  # what is picked is a copy, so that rows may overlap
    return values_1HPC[..., :end, :]
