"""ASSD: blanks anywhere in a text, filled several at a time, as if one after the other.

A model that takes tokens in any order guesses the next k blanks at once, each as if it were the only one, and then says in one
more call how likely it would have found each guess behind those before it. Rejection (Leviathan et al. 2023, arXiv 2211.17192)
keeps the guesses up to the first that is turned down, which is drawn anew, so that what is written is distributed exactly as with
one blank a call. Guo and Ermon 2025, "Reviving Any-Subset Autoregressive Models with Principled Parallel Sampling and Speculative
Decoding", arXiv 2504.20456.

Differs from the authors' code. Both distributions are normalised without the mask token; there only its probability is set to 0,
which biases the ratio. There is no tolerance in the ratio and none in the residual. A block of one blank costs one call everywhere,
not only at the end. Keys and values of what is written are kept. Where no token stands on the left, bigram drafting goes by single
tokens; there, the network is asked for the first of the text.
"""
# B batch, N positions, K drafted, V ids

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ....core.errors import InvalidInput
from ....core.ledger import Ledger
from ....core.schedule import Schedule
from ....models.transformer import Cache
from ....models.two_stream import TwoStream
from ..sampling import Warp, drawn
from .training import AnySubsetObjective, MaskRates, subsets

__all__ = ["ASSD", "AnySubsetObjective", "Infilled", "MaskRates", "fill_at_once", "fill_one_by_one", "subsets"]

Draw = Callable[[Tensor], int]  # from probabilities (V,) to an id: all that is random
PLAIN = Warp()


@dataclass(frozen=True, eq=False)
class Infilled:
    """A text without blanks, and what filling them took.

    Args:
        ids_N: int64, all tokens; those that were given are as they were.
        rounds_N: int64, in which round each was written, from 1 on; 0 for what was given.
        ledger: calls of the network, and its rows: tokens and queries.
    """

    ids_N: np.ndarray
    rounds_N: np.ndarray
    ledger: Ledger

    @property
    def calls(self) -> int:
        """Calls of the network."""
        return self.ledger.forward_passes

    @property
    def tokens_per_round(self) -> np.ndarray:
        """Tokens written in each round, int64 (rounds,)."""
        return np.bincount(self.rounds_N)[1:]


@dataclass(frozen=True)
class ASSD:
    """Fill blanks exactly as `fill_one_by_one`, with fewer calls of the network.

    A round drafts up to k blanks, draws each from p, and asks in one call for q, the probabilities of each behind those before it.
    Guess y_j stays with probability min(1, q_j(y_j) / p_j(y_j)); at the first that does not, a draw from (q_j - p_j)+, normalised,
    takes its place and the round ends.

    Args:
        k: guesses a round, at least 1; the paper's default is 5.
        draft: "self": p is the network's own, from one more call; the first guess always stays (lemma 1), so that there are never
            more calls than tokens (theorem 1). "bigram": p counts which tokens follow the left neighbour in what is known so far,
            or single tokens where none does, or takes all for alike where nothing is known, and costs no call.
        warp: temperature, top-k and top-p, of p (but bigrams') and q alike.
    Raises: InvalidInput: k below 1, another way to draft.

    >>> model = TwoStream(vocab_size=11, mask_id=10, width=16, layers=1, heads=2)
    >>> found = ASSD(k=3)(model, [10, 4, 10, 10, 2, 10], generator=torch.Generator().manual_seed(0))
    >>> found.ids_N[[1, 4]].tolist(), bool((found.ids_N == 10).any()), found.calls <= 4
    ([4, 2], False, True)
    """

    k: int = 5
    draft: Literal["self", "bigram"] = "self"
    warp: Warp = PLAIN

    def __post_init__(self) -> None:
        if self.k < 1:
            raise InvalidInput(f"k={self.k}; it must be at least 1")
        if self.draft not in ("self", "bigram"):
            raise InvalidInput(f"draft={self.draft!r}; it must be 'self' or 'bigram'")

    def __call__(
        self,
        model: TwoStream,
        ids_N: Sequence[int] | np.ndarray,
        *,
        generator: torch.Generator,
        order_N: np.ndarray | None = None,
    ) -> Infilled:
        """Fill the blanks of one text.

        Args:
            model: put into evaluation mode.
            ids_N: integers, at least one, the model's mask where a blank is; all may be blanks.
            generator: one number for each guess, one for each that may be turned down, one for what takes its place.
            order_N: all positions, the known ones first, then the blanks as they are filled; None for ascending.
        Raises: InvalidInput: no ids, some that the model does not know, more than fit, an order that is no permutation or
            in which a blank comes before a known token.
        """
        rule = self._drafted_by_network if self.draft == "self" else self._drafted_by_bigrams
        return _filled(model, ids_N, order_N, self.warp, generator, rule)

    def _drafted_by_network(self, text: _Text, draw: Draw) -> list[int]:
        p_KV = text.ask(self.k)
        guesses = [draw(p_V) for p_V in p_KV]
        if len(guesses) == 1:
            return guesses
        # Both calls know the same of the first: its p and q differ by rounding at most.
        q_KV = torch.cat([p_KV[:1], text.ask(self.k, guesses)[1:]])
        return _verified(guesses, p_KV, q_KV, draw)

    def _drafted_by_bigrams(self, text: _Text, draw: Draw) -> list[int]:
        guesses: list[int] = []
        rows: list[Tensor] = []
        for _ in text.order_N[text.known : text.known + self.k]:
            rows.append(text.bigrams(guesses))
            guesses.append(draw(rows[-1]))
        return _verified(guesses, torch.stack(rows), text.ask(self.k, guesses), draw)


def fill_one_by_one(
    model: TwoStream,
    ids_N: Sequence[int] | np.ndarray,
    *,
    generator: torch.Generator,
    order_N: np.ndarray | None = None,
    warp: Warp = PLAIN,
) -> Infilled:
    """Fill one blank a call, each from all that is known by then: what `ASSD` equals, see there.

    Raises: InvalidInput: as `ASSD`.
    """
    return _filled(model, ids_N, order_N, warp, generator, lambda text, draw: [draw(text.ask(1)[0])])


def fill_at_once(
    model: TwoStream,
    ids_N: Sequence[int] | np.ndarray,
    *,
    generator: torch.Generator,
    order_N: np.ndarray | None = None,
    warp: Warp = PLAIN,
) -> Infilled:
    """Fill all blanks in one call, each as if it were the only one: not the same distribution where blanks depend on each other.

    Raises: InvalidInput: as `ASSD`.
    """
    return _filled(
        model, ids_N, order_N, warp, generator, lambda text, draw: [draw(p_V) for p_V in text.ask(len(text.ids_N))]
    )


class _Text:
    """A text that is being filled: what is known so far, and the keys and values of what the network has read of it."""

    def __init__(self, model: TwoStream, ids_N: np.ndarray, order_N: np.ndarray, known: int, warp: Warp) -> None:
        self.model, self.ids_N, self.order_N, self.known, self.warp = model, ids_N, order_N, known, warp
        schedule, by_rank = Schedule.any_subset(order_N, known=known), np.ix_(order_N, order_N)
        # Row and column r are the token that becomes known as number r.
        self.content_NN, self.query_NN = (
            torch.from_numpy(schedule.mask(strict=strict)[by_rank]) for strict in (False, True)
        )
        self.read_T, self.cache, self.ledger = np.empty(0, np.int64), Cache([]), Ledger()
        self.weights = sum(p.numel() for p in model.parameters())

    def write(self, tokens: Sequence[int]) -> None:
        """Fill the next blanks."""
        self.ids_N = self.with_guesses(tokens)
        self.known += len(tokens)

    def with_guesses(self, guesses: Sequence[int]) -> np.ndarray:
        """Ids, the next blanks filled."""
        ids_N = self.ids_N.copy()
        ids_N[self.order_N[self.known : self.known + len(guesses)]] = guesses
        return ids_N

    @torch.no_grad()
    def ask(self, count: int, guesses: Sequence[int] = ()) -> Tensor:
        """Probabilities of the next `count` blanks, or of all that there are, float64 (K, V), by one call of the network: of each from
        what is known and from the guesses for those before it. So without guesses no blank knows of another one.
        """
        last, asked = self.known + len(guesses), slice(self.known, min(self.known + count, len(self.ids_N)))
        tokens_T = self.with_guesses(guesses)[self.order_N[:last]]
        # What has been read stays up to the first guess that was turned down.
        shared = min(last, len(self.read_T))
        first = int(np.cumprod(tokens_T[:shared] == self.read_T[:shared]).sum())
        self.cache = Cache([(k[:, :, : first + 1], v[:, :, : first + 1]) for k, v in self.cache.pairs])
        self.read_T = tokens_T
        device = self.model.embed.weight.device
        ids_BT, where_BT, asked_BQ = (
            torch.from_numpy(a)[None].to(device)
            for a in (tokens_T[first:], self.order_N[first:last], self.order_N[asked])
        )
        logits_KV = self.model(
            ids_BT, asked_BQ, positions_BT=where_BT, cache=self.cache,
            content_mask=self.content_NN[first:last, :last].to(device), query_mask=self.query_NN[asked, :last].to(device),
        )[0]  # fmt: skip
        rows = ids_BT.shape[1] + asked_BQ.shape[1]
        self.ledger += Ledger(forward_passes=1, tokens=rows, activated_parameters=rows * self.weights)
        return self.warp(logits_KV.cpu())

    def bigrams(self, guesses: Sequence[int]) -> Tensor:
        """Probabilities of the blank behind the guesses, float64 (V,), counted in what is known, as `ASSD` says."""
        mask, place = self.model.config.mask_id, self.order_N[self.known + len(guesses)]
        left = self.with_guesses(guesses)[place - 1] if place else mask
        before, behind = self.ids_N[:-1], self.ids_N[1:]
        followers = behind[(before == left) & (before != mask) & (behind != mask)]
        known = self.ids_N[self.ids_N != mask]
        every = np.delete(np.arange(self.model.config.vocab_size), mask)
        counted = next(ids for ids in (followers, known, every) if len(ids))
        return torch.from_numpy(np.bincount(counted, minlength=len(every) + 1) / len(counted))


def _filled(
    model: TwoStream,
    ids_N: Sequence[int] | np.ndarray,
    order_N: np.ndarray | None,
    warp: Warp,
    generator: torch.Generator,
    rule: Callable[[_Text, Draw], list[int]],
) -> Infilled:
    """Write by a rule, round after round, until there is no blank."""
    if not isinstance(generator, torch.Generator):
        raise InvalidInput(f"generator is {generator!r}; give torch.Generator().manual_seed(seed)")
    text = _Text(model.eval(), *_checked(model, ids_N, order_N), warp)
    rounds_N = np.zeros(len(text.ids_N), np.int64)
    while text.known < len(text.ids_N):
        tokens = rule(text, partial(drawn, generator=generator))
        rounds_N[text.order_N[text.known : text.known + len(tokens)]] = rounds_N.max() + 1
        text.write(tokens)
    return Infilled(text.ids_N, rounds_N, text.ledger)


def _checked(
    model: TwoStream, ids_N: Sequence[int] | np.ndarray, order_N: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, int]:
    """Ids, an order, and how many are known."""
    ids_N, config = np.asarray(ids_N), model.config
    if ids_N.ndim != 1 or ids_N.dtype.kind not in "iu" or not 1 <= len(ids_N) <= config.context:
        raise InvalidInput(
            f"{ids_N.dtype} of shape {ids_N.shape}; the model takes ids (N,), 1 to {config.context} of them"
        )
    if not 0 <= ids_N.min() <= ids_N.max() < config.vocab_size:
        raise InvalidInput(f"ids from {ids_N.min()} to {ids_N.max()}; the model has 0 to {config.vocab_size - 1}")
    blank_N = ids_N == config.mask_id
    known = int((~blank_N).sum())
    order_N = np.argsort(blank_N, kind="stable") if order_N is None else np.asarray(order_N)
    if (
        order_N.shape != ids_N.shape
        or order_N.dtype.kind not in "iu"
        or (np.sort(order_N) != np.arange(len(ids_N))).any()
    ):
        raise InvalidInput(f"order_N is no permutation of the {len(ids_N)} positions")
    early = order_N[:known][blank_N[order_N[:known]]]
    if len(early):
        raise InvalidInput(
            f"position {early[0]} is a blank, id {config.mask_id}, but the order has it among the {known} known ones"
        )
    return ids_N.astype(np.int64), order_N.astype(np.int64), known


def _verified(guesses: list[int], p_KV: Tensor, q_KV: Tensor, draw: Draw) -> list[int]:
    """The guesses up to the first that is turned down, and what takes its place."""
    for j, (token, p_V, q_V) in enumerate(zip(guesses, p_KV, q_KV)):
        stays = min(1.0, float(q_V[token] / p_V[token]))
        if stays < 1 and not draw(torch.tensor([1 - stays, stays], dtype=torch.float64)):
            left_V = (q_V - p_V).clamp(min=0)
            # Where q falls short of p it exceeds it elsewhere, but for rounding.
            left_V = left_V if bool(left_V.any()) else q_V
            return [*guesses[:j], draw(left_V / left_V.sum())]
    return guesses
