"""Fewer visual tokens from a decoder layer on: LLaVA, LLaVA-NeXT, Qwen2-VL and Qwen2.5-VL with hooks on their layers.

The decoder makes one mask and one set of rotary angles for all layers, so each layer behind a reduction is given its own. Caches
of layers simply hold fewer tokens; while an answer is decoded, each layer's mask is made for the length of its cache.
"""
# B prompts, T positions, S positions that are left, N visual tokens, Q text tokens behind the picture, C width of a head, D width

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Literal, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from ...core.errors import InvalidInput
from ...core.token_map import TokenMap
from ...core.transition import change
from . import FAMILIES
from .before_decoder import replaced
from .calling import is_identity, keywords
from .decoder_prompt import Prompt
from .names import create_causal_mask
from .report import Report
from .text_attention import text_attention

__all__ = ["DecoderReducer", "reduce_in_decoder"]


class DecoderReducer(Protocol):
    """What is asked of a reducer, as `reduce.signals.LayerReducer` says; its signals have a `kind` and a `layer`."""

    @property
    def layers(self) -> tuple[int, ...]: ...

    def needs(self, layer: int) -> Mapping[str, Any]: ...

    def __call__(self, *x_BND: Any, **layer_total_and_signals: Any) -> TokenMap: ...


@contextmanager
def reduce_in_decoder(
    model: nn.Module, reducer: DecoderReducer, positions: Literal["kept", "compact"] = "kept"
) -> Iterator[Report]:
    """While the context lasts, drop or merge visual tokens of each prompt between layers of the language model.

    The visual tokens are those of the image placeholders in `input_ids`: one block in each row, as many in each; rows may be
    padded. Rows are reduced one by one, so that a batch gives what its rows give alone. Answers are decoded as usual, with a
    cache that grows. The logits of a prompt are as many as the positions that are left, so a loss must be computed outside.

    `reducer` is called with the hidden states of the visual tokens that are left, (1, N, D), with `layer` and `total`, and by
    name with what it `needs`:

    - "text_attention" of the layer that has run, or of the next, (1, Q, N): rows of its attention after the softmax over all
      positions before them, the mean over heads, in float32;
    - "transitions": `Transition`s by layer, from the layer asked for to the one that has run;
    - "text_features": the text behind the picture where the decoder begins, (1, Q, D).

    If it has a keyword `first`, it is also given the visual tokens where the decoder begins, (1, total, D).

    Args:
        model: a `…ForConditionalGeneration` of transformers.
        positions: "kept", each token keeps the position it had, and a merged one takes that of the token with most weight in it.
            "compact", after each reduction all that is left is numbered anew from 0, on one axis even where there were three.
    Yields: what was done in the last call with a picture; its maps go from all visual tokens to those behind the last layer.
    Raises: InvalidInput: another model, or layers and signals that it does not have. When the model is called: rows with a
        picture and rows without, several in a row, unequal numbers of visual tokens, a cache of fixed size, a prompt that is not given whole, assisted decoding.
    """
    run = _Run(model, reducer, positions)
    own: Any = model.generate
    with ExitStack() as hooks:
        hooks.enter_context(replaced(model, "generate", partial(_generate, model, own)))
        hooks.callback(run.core.register_forward_pre_hook(run.see_inputs, with_kwargs=True).remove)
        for i, layer in enumerate(run.decoder.layers):
            hooks.callback(layer.register_forward_pre_hook(partial(run.before_layer, i), with_kwargs=True).remove)
            if run.first_transition <= i + 1 <= reducer.layers[-1]:
                for m, module in enumerate((layer.self_attn, layer.mlp)):
                    hook = partial(run.behind_module, i, m)
                    hooks.callback(module.register_forward_hook(hook, with_kwargs=True).remove)
        yield run.report


def _generate(model: Any, own: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """`generate`, unless its settings would show the decoder something else than the prompt first, whole and alone."""
    for name in ("assistant_model", "assistant_early_exit", "prompt_lookup_num_tokens", "prefill_chunk_size"):
        settings = (kwargs.get("generation_config"), model.generation_config)
        if kwargs.get(name) or any(getattr(one, name, None) for one in settings):
            raise InvalidInput(f"generate with {name}; tokens are dropped by what a prompt looks like, whole and alone")
    return own(*args, **kwargs)


class _Run:
    def __init__(self, model: Any, reducer: DecoderReducer, positions: str) -> None:
        if positions not in ("kept", "compact"):
            raise InvalidInput(f"positions={positions!r}; it must be 'kept' or 'compact'")
        if not any(kind.__name__ in FAMILIES for kind in type(model).__mro__):
            raise InvalidInput(f"{type(model).__name__} is of no family that is known: {', '.join(FAMILIES)}")
        self.core, self.decoder, self.image_id = model.model, model.model.language_model, model.config.image_token_id
        if getattr(self.decoder.config, "sliding_window", None) is not None:
            raise InvalidInput(f"{type(self.decoder).__name__} has a sliding window; its layers must see all positions")
        self.reducer, self.compact, self.keywords = reducer, positions == "compact", keywords(reducer)
        self.asked = self._asked()
        flat = {(after, *signal) for after, signals in self.asked.items() for signal in signals.values()}
        # Attention of the layer that has run is noted as it runs, that of the next one before tokens are dropped.
        self.ahead = {layer for after, kind, layer in flat if kind == "text_attention" and layer > after}
        self.during = {layer for after, kind, layer in flat if kind == "text_attention" and layer == after}
        self.first_transition = min((layer for _, kind, layer in flat if kind == "transitions"), default=10**9)
        self.keeps_first = "first" in self.keywords or any(kind == "text_features" for _, kind, _ in flat)
        self.prompts: WeakKeyDictionary[Any, Prompt] = WeakKeyDictionary()
        self.inputs: tuple[Any, Any] = (None, None)
        self.prompt: Prompt | None = None
        self.prefill, self.mask = False, None
        self.made: tuple[Tensor | None, dict[str, Any]] = (None, {})
        self.report = Report()

    def _asked(self) -> dict[int, dict[str, tuple[str, int]]]:
        """What the reducer asks for, by the layer after which it does: keyword → kind and layer, counted from 1."""
        chosen, last = tuple(self.reducer.layers), len(self.decoder.layers)
        name = type(self.reducer).__name__
        if not chosen or list(chosen) != sorted(set(chosen)) or not 1 <= chosen[0] <= chosen[-1] < last:
            raise InvalidInput(f"{name} works after layers {chosen}; they must ascend from 1 to {last - 1}, for this model has {last}")  # fmt: skip
        asked: dict[int, dict[str, tuple[str, int]]] = {after: {} for after in chosen}
        for after in chosen:
            for key, signal in self.reducer.needs(after).items():
                layer = after if signal.layer is None else signal.layer + (last + 1 if signal.layer < 0 else 0)
                allowed = {
                    "text_attention": (after, after + 1),
                    "transitions": range(1, after + 1),
                    "text_features": (after,),
                }
                if key not in self.keywords or layer not in allowed.get(signal.kind, ()):
                    raise InvalidInput(
                        f"{name} needs {signal.kind} of layer {signal.layer} as {key!r}; after layer {after} there are text_features, "
                        f"transitions from a layer up to {after} on, and text_attention of layers {after} and {after + 1}, for keywords of its __call__"
                    )
                asked[after][self.keywords[key]] = signal.kind, layer
        return asked

    def see_inputs(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.inputs = kwargs.get("input_ids", args[0] if args else None), kwargs.get("attention_mask")

    def before_layer(self, i: int, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Reduce, if it is time, and give layer `i`, counted from 0, the arguments that fit."""
        x_BSD, cache = args[0], kwargs.get("cache", kwargs.get("past_key_values"))
        if i == 0:
            self._begin(x_BSD, cache)
        prompt = self.prompt
        if prompt is None:
            return None
        if not self.prefill:
            return (args, kwargs | self._decoding(i, x_BSD, cache, kwargs)) if i in prompt.shortened else None
        angles = (kwargs | prompt.changed)["position_embeddings"]
        if i in self.asked:
            if i + 1 in self.ahead:
                prompt.attention[i + 1] = self._text_attention(module, x_BSD, angles)
            x_BSD = self._reduced(i, x_BSD, kwargs | prompt.changed)
            angles = (kwargs | prompt.changed)["position_embeddings"]
        if i + 1 in self.during:
            prompt.attention[i + 1] = self._text_attention(module, x_BSD, angles)
        kwargs |= prompt.changed
        if prompt.changed:
            prompt.shortened[i] = prompt.valid_BS
        if i + 1 == len(self.decoder.layers):
            prompt.forget()
        return (x_BSD, *args[1:]), kwargs

    @torch.no_grad()
    def _text_attention(self, layer: nn.Module, x_BSD: Tensor, angles: tuple[Tensor, Tensor]) -> list[Tensor]:
        """What the text behind each row's picture looks at in a layer that is given `x_BSD`: (1, Q, N) each."""
        prompt = self.prompt
        assert prompt is not None
        cos_BSC, sin_BSC = (part.expand(len(x_BSD), -1, -1) for part in angles)
        places_S, found = torch.arange(x_BSD.shape[1], device=x_BSD.device), []
        for b in range(len(x_BSD)):
            one, seen_N = slice(b, b + 1), places_S[prompt.image(b)]
            rotation, valid_1S = (cos_BSC[one], sin_BSC[one]), prompt.valid_BS[one]
            found.append(text_attention(layer, x_BSD[one], rotation, prompt.behind(b), seen_N, allowed_BT=valid_1S))
        return found

    def behind_module(self, i: int, m: int, module: nn.Module, args: Any, kwargs: dict[str, Any], output: Any) -> None:
        """Note what attention (`m` = 0) and then feed-forward (`m` = 1) of layer `i` have done."""
        prompt = self.prompt
        if not self.prefill or prompt is None:
            return
        with torch.no_grad():
            x_in = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
            done = change(x_in, output[0] if m == 0 else output)
            if m == 0:
                self.attention_did = done
                return
            gain_2BS, cosine_2BS = (torch.stack(pair) for pair in zip(self.attention_did, done))
            rows = range(len(prompt.starts))
            prompt.transitions[i + 1] = [prompt.transition(b, gain_2BS[:, b], cosine_2BS[:, b]) for b in rows]

    def _begin(self, x_BTD: Tensor, cache: Any) -> None:
        """Look at what the decoder is given: a prompt, or the next tokens of an answer."""
        (ids, self.mask), self.inputs = self.inputs, (None, None)
        self.made = (None, {})
        self.prefill = cache is None or cache.get_seq_length() == 0
        if not self.prefill:
            self.prompt = self.prompts.get(cache)
            # A single placeholder may be a word of a model that is badly trained.
            if ids is not None and ids.shape[1] > 1 and bool((ids == self.image_id).any()):
                raise InvalidInput(
                    "there is a picture behind tokens that are in the cache; a prompt must be given whole"
                )
            if self.prompt is None and cache.get_seq_length(len(self.decoder.layers) - 1) != cache.get_seq_length():
                raise InvalidInput("the cache was filled under another reduction; begin with an empty one")
            return
        self.prompt = None
        if ids is not None and not bool((ids == self.image_id).any()):
            return  # text alone
        if ids is None or ids.shape != x_BTD.shape[:2]:
            raise InvalidInput("the model has no input_ids; visual tokens are found by their placeholders in them")
        if self.mask is not None and (not isinstance(self.mask, Tensor) or self.mask.shape != ids.shape):
            raise InvalidInput(
                "attention_mask must be (B, T), 0 for padding; masks of pairs of positions are made from it"
            )
        if getattr(cache, "is_compileable", False):
            raise InvalidInput(f"{type(cache).__name__} has a fixed size; layers with fewer tokens need a DynamicCache")
        prompt = Prompt.found(ids, torch.ones_like(ids) if self.mask is None else self.mask, self.image_id)
        if self.keeps_first:
            prompt.first = [x[None, prompt.image(b)] for b, x in enumerate(x_BTD)]
            prompt.text = [x[None, prompt.behind(b)] for b, x in enumerate(x_BTD)]
        if cache is not None:
            self.prompts[cache] = prompt
        self.prompt = prompt
        self._report(prompt)

    def _report(self, prompt: Prompt) -> None:
        self.report.maps[:] = prompt.maps
        self.report.of[:] = [prompt.total] * len(prompt.maps)
        self.report.kept[:] = [prompt.count] * len(prompt.maps)

    def _reduced(self, i: int, x_BSD: Tensor, kwargs: dict[str, Any]) -> Tensor:
        """What is left of all rows before layer `i`; notes what the layers from there on must be given."""
        prompt = self.prompt
        assert prompt is not None
        maps = [self._map(i, b, x[None, prompt.image(b)], prompt) for b, x in enumerate(x_BSD)]
        sizes = [token_map.shape[1] for token_map in maps]
        if len(set(sizes)) != 1:
            raise InvalidInput(f"rows keep {sizes} visual tokens; a batch needs equal numbers, so run them one by one")
        if all(is_identity(token_map) for token_map in maps):
            return x_BSD
        spans = [prompt.image(b) for b in range(len(maps))]
        parts = [
            (x[: a.start], token_map.apply(x[None, a])[0], x[a.stop :]) for x, token_map, a in zip(x_BSD, maps, spans)
        ]
        columns_BS = prompt.reduce(maps)
        self._report(prompt)
        x_BSD = torch.stack([torch.cat(part) for part in parts])
        prompt.changed = self._arguments(i, x_BSD, prompt.valid_BS, None, kwargs)
        if not self.compact:
            places = columns_BS[..., None]
            angles = [part.expand(len(maps), -1, -1) for part in kwargs["position_embeddings"]]
            prompt.changed["position_embeddings"] = tuple(part.gather(1, places.expand(-1, -1, part.shape[2])) for part in angles)  # fmt: skip
            if kwargs.get("position_ids") is not None:
                prompt.changed["position_ids"] = kwargs["position_ids"].expand(len(maps), -1).gather(1, columns_BS)
        return x_BSD

    def _map(self, i: int, b: int, x_1ND: Tensor, prompt: Prompt) -> TokenMap:
        """What the reducer makes of row `b`."""
        signals: dict[str, Any] = {}
        for keyword, (kind, layer) in self.asked[i].items():
            if kind == "transitions":
                signals[keyword] = {at: rows[b] for at, rows in prompt.transitions.items() if at >= layer}
            else:
                signals[keyword] = prompt.text[b] if kind == "text_features" else prompt.attention[layer][b]
        if "first" in self.keywords:
            signals[self.keywords["first"]] = prompt.first[b]
        made = self.reducer(x_1ND, layer=i, total=prompt.total, **signals).item(0)
        if made.shape[2] != prompt.count or not made.shape[1]:
            raise InvalidInput(
                f"{type(self.reducer).__name__} made a map of {made.shape}, for {prompt.count} visual tokens"
            )
        return made

    def _decoding(self, i: int, x_BTD: Tensor, cache: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        """What layer `i` must be given for T tokens of an answer."""
        assert self.prompt is not None
        valid_BS = self.prompt.shortened[i]
        if self.made[0] is not valid_BS:  # layers between two reductions share what they are given
            behind = cache.get_seq_length(i) - valid_BS.shape[1] + x_BTD.shape[1]
            tail_BT = valid_BS.new_ones(len(valid_BS), behind) if self.mask is None else self.mask[:, -behind:].bool()
            self.made = valid_BS, self._arguments(i, x_BTD, torch.cat((valid_BS, tail_BT), 1), cache, kwargs)
        return self.made[1]

    def _arguments(self, i: int, x_BTD: Tensor, valid_BS: Tensor, cache: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Mask of layer `i`, as transformers makes it for the attention in use, and compact positions, of the last T of S tokens."""
        where = {} if cache is None else {"layer_idx": i}
        mask = create_causal_mask(self.decoder.config, x_BTD, valid_BS.long(), cache, None, **where)
        if not self.compact:
            return {"attention_mask": mask}
        numbers_BT = (valid_BS.cumsum(1) - 1).clamp(min=0)[:, -x_BTD.shape[1] :]
        three_axes = "mrope_section" in (self.decoder.config.rope_parameters or {})
        angles = self.decoder.rotary_emb(x_BTD, numbers_BT.expand(3, -1, -1) if three_axes else numbers_BT)
        changed = {"attention_mask": mask, "position_embeddings": angles}
        return changed | ({} if kwargs.get("position_ids") is None else {"position_ids": numbers_BT})
