"""R2R: a small model writes, and a large one steps in at the tokens that would lead the reasoning elsewhere.

Two models of one tokenizer mostly agree, and where they do not, the difference is mostly one of wording. Behind each token of the small
model a router says from its state how likely it is that the token changes the path; from a threshold on, the large model reads what
it has not read yet and writes the token instead. Fu et al. 2025, "R2R: Efficiently Navigating Divergent Reasoning Paths with
Small-Large Model Token Routing", NeurIPS, arXiv 2505.21600.

The output is not that of the large model: its quality follows, for a part of the cost.
"""
# N tokens written, V ids

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ....core.errors import InvalidInput
from ....core.ledger import Ledger
from ..sampling import Warp, drawn
from ..session import CausalSession
from .labels import (
    Comparison,
    Difference,
    Examples,
    LabelledPath,
    PathFollowing,
    Verifier,
    Ways,
    examples,
    sentence_ends,
    verdict,
)
from .router import RouterTraining, TokenRouter, train_router
from .states import States, common_ids, read_states, shared_size, states_of
from .thresholds import Quality, quality, threshold_for_rate, threshold_for_recall
from .uncertainty import AleatoricRouting, EntropyRouting, EpistemicRouting, RandomRouting

__all__ = [
    "R2R", "AleatoricRouting", "Comparison", "Difference", "EntropyRouting", "EpistemicRouting", "Examples", "LabelledPath", "PathFollowing",
    "Quality", "RandomRouting", "Routed", "Router", "RouterTraining", "States", "TokenRouter", "Verifier", "common_ids", "examples", "follow",
    "quality", "read_states", "sentence_ends", "states_of", "threshold_for_rate", "threshold_for_recall", "train_router", "verdict",
]  # fmt: skip

GREEDY = Warp(temperature=0)


class Router(Protocol):
    """Gives each place a score, float (N,), from the small model's state alone; `k` is how many logits it needs."""

    @property
    def k(self) -> int: ...

    def __call__(self, states: States, /) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Routed:
    """What two models wrote together, and what it took.

    Args:
        ids: that were written, without the prompt, with the id that ended it.
        by_large_N: bool, which of them the large model gave.
        scores_N: float64, of the router for the small model's token there.
        gaps: how many tokens the large model read in each of its calls.
        stopped: by what: "length" or "end".
        small, large, router: ledgers of each; the prompt's tokens and those of the gaps are counted. An oracle costs nothing.
        sizes: parameters of the small model, the large one and the router.
    """

    ids: list[int]
    by_large_N: np.ndarray
    scores_N: np.ndarray
    gaps: list[int]
    stopped: Literal["length", "end"]
    small: Ledger
    large: Ledger
    router: Ledger
    sizes: tuple[int, int, int]

    @property
    def rate(self) -> float:
        """The large model's share of the tokens."""
        return float(self.by_large_N.mean())

    @property
    def ledger(self) -> Ledger:
        """All three together."""
        return self.small + self.large + self.router

    @property
    def activated_per_token(self) -> float:
        """The paper's measure: small model + router + large model · `rate`; what is read in prompts and gaps is left out."""
        small, large, router = self.sizes
        return small + router + large * self.rate

    @property
    def cost(self) -> float:
        """The paper's measure: tokens written · `activated_per_token`."""
        return len(self.ids) * self.activated_per_token


@dataclass(frozen=True)
class R2R:
    """Mixed generation with a router.

    Args:
        router: a `TokenRouter`, or any other that gives scores, such as `EntropyRouting`.
        threshold: the large model writes where the score is at least this. From 0 to 1 for a `TokenRouter`, and 0 or more for others;
            infinity leaves all to the small model. The authors' thresholds are 0.406 (AIME), 0.42 (GPQA) and 0.139 (LiveCodeBench);
            `threshold_for_recall` and `threshold_for_rate` find one's own.
    Raises: InvalidInput: a threshold out of range.

    >>> from tokenloom.models.transformer import Transformer
    >>> large, small = (Transformer(vocab_size=50, width=w, layers=n, heads=2) for w, n in ((32, 4), (16, 1)))
    >>> found = R2R(EntropyRouting(), threshold=3.9)(large, small, [3, 1, 4], max_new_tokens=8)
    >>> len(found.ids), sum(found.gaps) <= 3 + 8, found.large.forward_passes == len(found.gaps)
    (8, True, True)
    """

    router: Router
    threshold: float

    def __post_init__(self) -> None:
        highest = 1.0 if isinstance(self.router, TokenRouter) else np.inf
        if not (0 <= self.threshold <= highest or self.threshold == np.inf):
            top = "1, or infinity" if highest == 1 else "infinity"
            raise InvalidInput(f"threshold={self.threshold}; it must be from 0 to {top}")

    @torch.no_grad()
    def __call__(
        self,
        large: nn.Module,
        small: nn.Module,
        prompt: Sequence[int],
        *,
        max_new_tokens: int = 256,
        warp: Warp = GREEDY,
        generator: torch.Generator | None = None,
        end: int | Sequence[int] | None = None,
        shared: int | None = None,
    ) -> Routed:
        """Continue a prompt.

        Args:
            large, small: causal models of one tokenizer, each as for `CausalSession`.
            prompt: ids, not empty.
            max_new_tokens: at most so many.
            warp: how both models choose tokens. Routers learn from the most probable ones; what is drawn at a temperature is not quite
                what they have learnt from.
            generator: to draw from; needed above temperature 0.
            end: ids at the first of which writing stops; None for those of the large model, () for none.
            shared: how many ids count, where vocabularies are padded to different sizes; `common_ids` counts them.
        Raises: InvalidInput: an empty prompt, different vocabularies, more tokens than a model has positions for, numbers out of range,
            a router for another model.
        """
        size = 0
        if isinstance(self.router, nn.Module):
            self.router.eval()
            size = _size(self.router)

        def decide(states: States, ids: list[int]) -> tuple[bool, float]:
            score = float(self.router(states)[0])
            return score >= self.threshold, score

        settings = _Settings(max_new_tokens, warp, generator, end, shared)
        return _mix(large, small, prompt, decide, settings, k=self.router.k, router_size=size)


@torch.no_grad()
def follow(
    large: nn.Module,
    small: nn.Module,
    prompt: Sequence[int],
    rule: PathFollowing,
    *,
    max_new_tokens: int = 256,
    end: int | Sequence[int] | None = None,
    shared: int | None = None,
) -> Routed:
    """What a perfect router would lead to: the rule of its lessons is asked at every token (paper, Algorithm 1). Greedy.

    Where the verifier comes to no verdict, the large model writes. Its score is 1 for that, else 0. For the arguments see `R2R`.
    """
    ways = Ways(rule, large, CausalSession(small), len(prompt), shared)

    def decide(states: States, ids: list[int]) -> tuple[bool, float]:
        kind = ways.parted(ids, int(states.tokens_N[0]))
        routed = kind in (Difference.DIVERGENT, Difference.UNKNOWN)
        return routed, float(routed)

    return _mix(large, small, prompt, decide, _Settings(max_new_tokens, GREEDY, None, end, shared), k=1, router_size=0)


@dataclass(frozen=True)
class _Settings:
    most: int
    warp: Warp
    generator: torch.Generator | None
    end: int | Sequence[int] | None
    shared: int | None

    def ends(self, model: Any) -> frozenset[int]:
        end = self.end
        if end is None:
            end = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
        return frozenset(() if end is None else [end] if isinstance(end, int) else end)

    def choose(self, logits_V: Tensor) -> int:
        if self.warp.greedy:
            return int(logits_V.argmax())
        assert self.generator is not None
        return drawn(self.warp(logits_V), self.generator)


def _mix(
    large: nn.Module,
    small: nn.Module,
    prompt: Sequence[int],
    decide: Callable[[States, list[int]], tuple[bool, float]],
    settings: _Settings,
    *,
    k: int,
    router_size: int,
) -> Routed:
    """One token after the other; `decide` is given the small model's state and all that is known, and says whom to ask, and a score."""
    ids = [int(i) for i in prompt]
    if not ids:
        raise InvalidInput("the prompt is empty; it must have one id at least")
    if settings.most < 1:
        raise InvalidInput(f"max_new_tokens={settings.most}; it must be at least 1")
    if not settings.warp.greedy and not isinstance(settings.generator, torch.Generator):
        raise InvalidInput(f"{settings.warp}; give generator=torch.Generator().manual_seed(seed)")
    writer, guide = CausalSession(small), CausalSession(large)
    shared = shared_size(guide, writer, settings.shared)
    for name, model in (("large", large), ("small", small)):
        config: Any = model.config
        limit = getattr(config, "context", None) or getattr(config, "max_position_embeddings", None)
        if limit is not None and len(ids) + settings.most > limit:
            raise InvalidInput(
                f"{len(ids)} ids and max_new_tokens={settings.most}; the {name} model has {limit} positions"
            )
    ends, start = settings.ends(large), len(ids)
    by_large: list[bool] = []
    scores: list[float] = []
    gaps: list[int] = []
    while len(by_large) < settings.most and (not by_large or ids[-1] not in ends):
        step = writer.extend(ids[len(writer.ids) :], hidden=True, last=True)
        assert step.hidden_ND is not None
        logits_1V = step.logits_NV[-1:, :shared]
        token = settings.choose(logits_1V[0])
        chosen = torch.tensor([token], device=logits_1V.device)
        states = states_of(logits_1V, step.hidden_ND[-1:], k=k, tokens_N=chosen)
        routed, score = decide(states, ids)
        if routed:
            # What was written since the last call, in one pass; a call of a plain loop reads one token.
            gap = ids[len(guide.ids) :]
            token = settings.choose(guide.extend(gap, last=True).logits_NV[-1, :shared])
            gaps.append(len(gap))
        ids.append(token)
        by_large.append(routed)
        scores.append(score)
    written = len(by_large)
    return Routed(
        ids[start:], np.array(by_large), np.array(scores), gaps, "end" if ids[-1] in ends else "length",
        writer.ledger, guide.ledger, Ledger(written, written, written * router_size) if router_size else Ledger(),
        (_size(small), _size(large), router_size),
    )  # fmt: skip


def _size(model: nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())
