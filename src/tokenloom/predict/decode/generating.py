"""Text from a causal language model, with or without a drafter, exactly as the model alone would write it.

A forward pass runs the last known token and, as a tree behind it, what a drafter proposes; one of the rules of `verification` says
which candidates stay. Greedily the output is the same token for token, in equal numerics; when sampling it has the same
distribution.
"""
# N nodes of a tree, V ids

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ...core.draft_tree import DraftTree
from ...core.errors import InvalidInput
from ...core.ledger import Ledger
from ...core.tokenizer import Tokenizer
from .drafting import Draft, Drafter
from .sampling import Warp
from .session import CausalSession
from .verification import Accepted, greedy, rejection, sample_and_match

__all__ = ["Generated", "Generation", "generate", "stream", "transformers_hook"]

_ROOT = DraftTree.chain(0)


@dataclass(frozen=True)
class Generated:
    """What was written, and what it took.

    Args:
        ids: that were written, without the prompt, with the id that ended it.
        text: of these, up to a stop string; None without a tokenizer.
        stopped: by what: "length", "end" or "stop string".
        ledger: forward passes, tokens and activated parameters of the model, the prompt's included.
        steps: how many tokens each forward pass after the prompt's gave; the last may have given more than were wanted.
        offered: in how many passes there were candidates at each depth of the tree, from 1 on.
        accepted: in how many of them one stayed.
    """

    ids: list[int]
    text: str | None
    stopped: Literal["length", "end", "stop string"]
    ledger: Ledger
    steps: list[int]
    offered: list[int]
    accepted: list[int]

    @property
    def tokens_per_forward(self) -> float:
        """The mean of `steps`, also called mean accepted tokens."""
        return sum(self.steps) / len(self.steps) if self.steps else 0.0


@dataclass
class Generation:
    """Text that is being written: iterate for pieces of it, then ask for the `result`; made by `stream`.

    Pieces are text where there is a tokenizer, whole characters only, and lists of ids otherwise.
    """

    _pieces: Iterator[str | list[int]]
    _finished: list[Generated] = field(default_factory=list)

    def __iter__(self) -> Iterator[str | list[int]]:
        return self._pieces

    @property
    def result(self) -> Generated:
        """All of it; what has not been written yet is written now."""
        for _ in self._pieces:
            pass
        return self._finished[0]


def generate(
    model: nn.Module,
    prompt: str | Sequence[int] | Tensor | Mapping[str, Any],
    drafter: Drafter | None = None,
    *,
    max_new_tokens: int = 256,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    generator: torch.Generator | None = None,
    tokenizer: Tokenizer | None = None,
    stop: str | Sequence[str] = (),
    end: int | Sequence[int] | None = None,
) -> Generated:
    """Continue a prompt.

    Args:
        model: a causal model of transformers with a cache that can be cut, or a `Transformer`.
        prompt: ids, or text with `tokenizer`, or what a processor returns: `input_ids` and pictures. One, not a batch.
        drafter: proposes tokens; None for one token a forward pass.
        max_new_tokens: at most so many.
        temperature: 0 for the most probable token each time.
        top_k: draw among so many.
        top_p: draw among the fewest that have so much probability together.
        generator: to draw from; needed above temperature 0.
        tokenizer: as `load_tokenizer` gives; needed for text and `stop`.
        stop: strings at the first of which writing stops.
        end: ids at the first of which writing stops; None for those of the model, () for none.
    Raises: InvalidInput: an empty prompt, several prompts, numbers out of range, a model whose cache cannot be cut, more tokens than
        the model has positions for, what needs a generator or a tokenizer without one.

    >>> from tokenloom.models.transformer import Transformer
    >>> model = Transformer(vocab_size=20, width=16, layers=1, heads=2)
    >>> found = generate(model, [3, 1, 4], max_new_tokens=5)
    >>> len(found.ids), found.tokens_per_forward, found.ledger.forward_passes
    (5, 1.0, 6)
    """
    return stream(
        model, prompt, drafter, max_new_tokens=max_new_tokens, temperature=temperature, top_k=top_k, top_p=top_p,
        generator=generator, tokenizer=tokenizer, stop=stop, end=end,
    ).result  # fmt: skip


def stream(
    model: nn.Module,
    prompt: str | Sequence[int] | Tensor | Mapping[str, Any],
    drafter: Drafter | None = None,
    *,
    max_new_tokens: int = 256,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    generator: torch.Generator | None = None,
    tokenizer: Tokenizer | None = None,
    stop: str | Sequence[str] = (),
    end: int | Sequence[int] | None = None,
) -> Generation:
    """As `generate`, piece by piece: what is wrong is said at once, and the model runs as pieces are asked for."""
    warp = Warp(temperature, top_k, top_p)
    if not warp.greedy and not isinstance(generator, torch.Generator):
        raise InvalidInput(f"temperature={temperature}; give generator=torch.Generator().manual_seed(seed)")
    if max_new_tokens < 1:
        raise InvalidInput(f"max_new_tokens={max_new_tokens}; it must be at least 1")
    stops = [stop] if isinstance(stop, str) else list(stop)
    if stops and tokenizer is None:
        raise InvalidInput("stop strings need a tokenizer")
    if "" in stops:
        raise InvalidInput("a stop string is empty")
    session = CausalSession(model)
    ids, inputs = _prompt(prompt, tokenizer)
    limit = getattr(model.config, "context", None) or getattr(model.config, "max_position_embeddings", None)
    if limit is not None and len(ids) + max_new_tokens > limit:
        raise InvalidInput(f"{len(ids)} ids and max_new_tokens={max_new_tokens}; the model has {limit} positions")
    rule = _Rule(warp, generator)
    ends = _ends(model, end)
    finished: list[Generated] = []
    pieces = _written(session, ids, inputs, drafter, rule, max_new_tokens, ends, tokenizer, stops, limit, finished)
    return Generation(pieces, finished)


def _written(
    session: CausalSession,
    prompt: list[int],
    inputs: dict[str, Any],
    drafter: Drafter | None,
    rule: Callable[[Draft, Tensor, list[int]], Accepted],
    most: int,
    ends: frozenset[int],
    tokenizer: Tokenizer | None,
    stops: list[str],
    limit: Any,
    finished: list[Generated],
) -> Iterator[str | list[int]]:
    text = None if tokenizer is None else _Text(tokenizer, stops)
    loop = _Loop(session, prompt, inputs, drafter, rule, limit)
    new: list[int] = []
    stopped: Literal["length", "end", "stop string"] | None = None
    while stopped is None:
        start = len(new)
        for token in loop.step():
            new.append(token)
            if token in ends:
                stopped = "end"
            elif text is not None and text.ended_by(token):
                stopped = "stop string"
            elif len(new) == most:
                stopped = "length"
            if stopped is not None:
                break
        if text is None:
            yield new[start:]
        elif piece := text.piece(last=stopped is not None):
            yield piece
    finished.append(
        Generated(new, None if text is None else text.whole, stopped, session.ledger, loop.steps, loop.offered, loop.accepted)
    )  # fmt: skip


class _Loop:
    """The prompt, then one forward pass after another."""

    def __init__(
        self,
        session: CausalSession,
        prompt: list[int],
        inputs: dict[str, Any],
        drafter: Drafter | None,
        rule: Callable[[Draft, Tensor, list[int]], Accepted],
        limit: Any = None,
    ) -> None:
        self.session, self.ids, self.drafter, self.rule, self.limit = session, list(prompt), drafter, rule, limit
        self.hidden = drafter is not None and drafter.needs_hidden
        self.steps: list[int] = []
        self.offered: list[int] = []
        self.accepted: list[int] = []
        step = None
        if len(prompt) > 1:
            last = drafter is None or not drafter.needs_prompt
            step = session.extend(prompt[:-1], hidden=self.hidden, last=last, **inputs)
        if drafter is not None:
            drafter.begin(session, self.ids, step)

    def step(self) -> list[int]:
        """The tokens of one pass."""
        cached = len(self.session.ids)
        draft = Draft(_ROOT, np.array(self.ids[-1:])) if self.drafter is None else self.drafter.draft(self.ids)
        if draft.tokens_N[0] != self.ids[-1]:
            raise InvalidInput(
                f"a draft begins with id {draft.tokens_N[0]}, but the last known token is {self.ids[-1]}"
            )
        if self.limit is not None and cached + draft.tree.depths_N[-1] >= self.limit:
            draft = Draft(_ROOT, draft.tokens_N[:1])
        tree = draft.tree if len(draft.tree) > 1 else None
        step = self.session.extend(draft.tokens_N.tolist(), tree, hidden=self.hidden)
        accepted = self.rule(draft, step.logits_NV, self.ids)
        self.session.keep(cached, accepted.nodes)
        if self.drafter is not None:
            self.drafter.learn(draft, step, accepted)
        self._count(draft.tree, accepted)
        new = [*draft.tokens_N[list(accepted.nodes[1:])].tolist(), accepted.token]
        self.ids += new
        return new

    def _count(self, tree: DraftTree, accepted: Accepted) -> None:
        self.steps.append(len(accepted.nodes))
        for depth in range(1, len(tree.levels)):
            if depth > len(self.offered):
                self.offered.append(0)
                self.accepted.append(0)
            # What is below a candidate that was wrong was no candidate.
            if len(accepted.nodes) >= depth and len(tree.children(accepted.nodes[depth - 1])):
                self.offered[depth - 1] += 1
                self.accepted[depth - 1] += len(accepted.nodes) > depth


@dataclass(frozen=True)
class _Rule:
    """Which of the three rules fits, and the distribution it is for."""

    warp: Warp
    generator: torch.Generator | None

    def __call__(self, draft: Draft, logits_NV: Tensor, ids: list[int]) -> Accepted:
        if self.warp.greedy:
            return greedy(draft.tree, draft.tokens_N, logits_NV.float().argmax(-1).cpu().numpy())
        assert self.generator is not None
        return _sampled(draft, self.warp(logits_NV), self.generator)


def _sampled(draft: Draft, p_NV: Tensor, generator: torch.Generator) -> Accepted:
    if draft.q_NV is None:
        return sample_and_match(draft.tree, draft.tokens_N, p_NV, generator)
    return rejection(draft.tree, draft.tokens_N, draft.q_NV, p_NV, generator)


class _Text:
    """Bytes of tokens as text: whole characters, and nothing that may be the beginning of a stop string."""

    def __init__(self, tokenizer: Tokenizer, stops: list[str]) -> None:
        self.tokenizer, self.stops = tokenizer, stops
        self.bytes = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self.whole, self.given, self.ids = "", 0, 0

    def ended_by(self, token: int) -> bool:
        """Take a token; whether a stop string is there now, which is then cut off."""
        self.whole += self.bytes.decode(self.tokenizer.decode(np.array([token])))
        places = [place for stop in self.stops if (place := self.whole.find(stop)) >= 0]
        if places:
            self.whole = self.whole[: min(places)]
        return bool(places)

    def piece(self, *, last: bool) -> str:
        """What can be shown now and was not before."""
        held = 0
        if last:
            if not self.stops or all(stop not in self.whole for stop in self.stops):
                self.whole += self.bytes.decode(b"", final=True)
        else:
            held = max(
                (n for stop in self.stops for n in range(1, len(stop)) if self.whole.endswith(stop[:n])), default=0
            )
        end = len(self.whole) - held
        piece, self.given = self.whole[self.given : end], max(self.given, end)
        return piece


def _prompt(prompt: Any, tokenizer: Tokenizer | None) -> tuple[list[int], dict[str, Any]]:
    """Ids, and what else the model is to be given with all of them but the last."""
    inputs: dict[str, Any] = {}
    if isinstance(prompt, str):
        if tokenizer is None:
            raise InvalidInput("a prompt that is text needs a tokenizer")
        prompt = tokenizer.encode(prompt).ids
    elif isinstance(prompt, Mapping):
        if "input_ids" not in prompt:
            raise InvalidInput(f"a prompt with {', '.join(prompt)}, but no input_ids")
        given = dict(prompt)
        prompt, mask = given.pop("input_ids"), given.pop("attention_mask", None)
        if mask is not None and not bool(torch.as_tensor(mask).bool().all()):
            raise InvalidInput("a prompt with padding; give one prompt, without")
        shape = torch.as_tensor(prompt).shape
        inputs = {name: v[:, :-1] if isinstance(v, Tensor) and v.shape == shape else v for name, v in given.items()}
    ids = torch.as_tensor(np.array(prompt) if isinstance(prompt, np.ndarray) else prompt)
    if ids.dim() == 2 and len(ids) == 1:
        ids = ids[0]
    if ids.dim() != 1 or not len(ids) or ids.is_floating_point():
        raise InvalidInput(f"a prompt of shape {tuple(ids.shape)}; it must be the ids of one, and not empty")
    return ids.tolist(), inputs


def _ends(model: Any, end: int | Sequence[int] | None) -> frozenset[int]:
    if end is None:
        end = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
        end = () if end is None else end
    return frozenset([end] if isinstance(end, int) else end)


def transformers_hook(drafter: Drafter, *, generator: torch.Generator | None = None) -> Callable[..., Any]:
    """A decoding method for `model.generate(…, custom_generate=transformers_hook(drafter))`, the public door of transformers.

    Its processors of logits (temperature, nucleus, penalties …) and criteria to stop are all obeyed, node by node, so that
    this is for those who need them; `generate` is quicker.

    Args:
        drafter: as for `generate`.
        generator: to draw from, where `do_sample=True`.
    Raises: InvalidInput: when it is called: a batch, beams, sampling without a generator.
    """

    def decode(
        model: Any,
        input_ids: Tensor,
        *,
        logits_processor: Any,
        stopping_criteria: Any,
        generation_config: Any,
        streamer: Any = None,
        **inputs: Any,
    ) -> Tensor:
        if len(input_ids) != 1 or generation_config.num_beams != 1:
            raise InvalidInput(f"{len(input_ids)} prompts and {generation_config.num_beams} beams; both must be 1")
        if generation_config.return_dict_in_generate:
            raise InvalidInput("return_dict_in_generate=True; only ids are returned, and `generate` tells the rest")
        if generation_config.do_sample and generator is None:
            raise InvalidInput("do_sample=True; give generator=torch.Generator().manual_seed(seed)")

        def rule(draft: Draft, logits_NV: Tensor, ids: list[int]) -> Accepted:
            rows = [
                logits_processor(torch.tensor([ids + _behind_root(draft, n)], device=model.device), logits_NV[n : n + 1].float())
                for n in range(len(draft.tree))
            ]  # fmt: skip
            scores_NV = torch.cat(rows)
            if generation_config.do_sample:
                assert generator is not None
                return _sampled(draft, scores_NV.double().softmax(-1), generator)
            return greedy(draft.tree, draft.tokens_N, scores_NV.argmax(-1).cpu().numpy())

        kept = {name: value for name, value in inputs.items() if name not in _OF_THE_LOOP and value is not None}
        ids, given = _prompt({"input_ids": input_ids, **kept}, None)
        loop = _Loop(CausalSession(model), ids, given, drafter, rule)
        while True:
            for token in loop.step():
                ids.append(token)
                if streamer is not None:
                    streamer.put(torch.tensor([token]))
                known = torch.tensor([ids], device=input_ids.device)
                if bool(stopping_criteria(known, None).all()):
                    if streamer is not None:
                        streamer.end()
                    return known

    return decode


# What transformers prepares for its own loop, and what this one makes itself.
_OF_THE_LOOP = (
    *("cache", "past_key_values", "use_cache", "cache_position", "position_ids", "logits_to_keep"),
    *("output_attentions", "output_hidden_states", "synced_gpus", "assistant_model"),
)


def _behind_root(draft: Draft, node: int) -> list[int]:
    """Tokens from below the root down to a node."""
    found: list[int] = []
    while node > 0:
        found.append(int(draft.tokens_N[node]))
        node = int(draft.tree.parents_N[node])
    return found[::-1]
