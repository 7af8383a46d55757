"""Which tokens of the small model change the path: the rule that makes a router's lessons (paper, section 3 and Algorithm 1)."""
# A tokens of an answer

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal

import numpy as np
import regex
import torch
from torch import Tensor, nn

from ....core.errors import InvalidInput
from ....core.ledger import Ledger
from ....core.vocabulary import Vocabulary
from ..session import CausalSession
from .states import States, read_states_in, shared_size

__all__ = [
    "Comparison", "Difference", "Examples", "LabelledPath", "PathFollowing", "Verifier", "Ways", "examples", "sentence_ends", "verdict",
]  # fmt: skip


class Difference(IntEnum):
    """How the small model's token stands to the large one's."""

    UNKNOWN = -1
    """Another token, and the verifier came to no verdict."""
    IDENTICAL = 0
    NEUTRAL = 1
    """Another token, and the same meaning."""
    DIVERGENT = 2
    """Another token, and another meaning, reasoning or conclusion."""


@dataclass(frozen=True)
class Comparison:
    """Two ways to go on, both written by the large model but for the token at which they part.

    Args:
        context: ids of the earlier sentences of the answer.
        large: the sentence with the large model's token, from its beginning on; and the next one if that token ends it.
        small: the same with the small model's token.
        place: of that token in both.
    """

    context: tuple[int, ...]
    large: tuple[int, ...]
    small: tuple[int, ...]
    place: int

    def texts(self, decode: Callable[[Sequence[int]], str]) -> tuple[str, str, str]:
        """Context and both sentences as text, the token in question between `<<` and `>>`.

        >>> Comparison((1, 2), (3, 4, 5), (3, 6), place=1).texts(lambda ids: "".join(map(str, ids)))
        ('12', '3<<4>>5', '3<<6>>')
        """
        context, *sentences = self.context, self.large, self.small
        marked = [f"{decode(s[: self.place])}<<{decode(s[self.place : self.place + 1])}>>{decode(s[self.place + 1 :])}" for s in sentences]  # fmt: skip
        return decode(context), marked[0], marked[1]


Verifier = Callable[[Comparison], int]
"""1 (or True) if the two ways differ in meaning, 0 if not, -1 for no verdict."""


def verdict(text: str) -> int:
    """What a language model that was asked to judge says: 1, 0, or -1 for neither.

    It is the first digit behind the word "output", or the first digit where there is none behind it.

    >>> verdict("In case 1, Output: 0"), verdict("1."), verdict("output: 7"), verdict("yes")
    (0, 1, -1, -1)
    """
    found = regex.search(r"output\D*?([0-9])", text, regex.IGNORECASE | regex.DOTALL) or regex.search(r"([0-9])", text)
    return int(found[1]) if found and found[1] in "01" else -1


def sentence_ends(vocab: Vocabulary, marks: Iterable[str] = (".", "!", "?", "\n")) -> frozenset[int]:
    """Ids of the tokens that have a mark in them, so that "3.14" as one token ends a sentence, too.

    >>> sorted(sentence_ends(Vocabulary([b"a", b".", b" b", b"?\\n"])))
    [1, 3]
    """
    wanted = [mark.encode() for mark in marks]
    return frozenset(i for i, token in enumerate(vocab) if any(mark in token for mark in wanted))


@dataclass(frozen=True, eq=False)
class LabelledPath:
    """An answer of the large model, and at each of its tokens what the small model would have written.

    Args:
        large_A: int64, the tokens of the answer.
        states: of the small model before each of them; `states.tokens_N` are its own choices.
        kinds_A: int8, a `Difference` each.
        compared: index in the answer → what the verifier was shown.
        ledger: of the small model's reading, and the large one's reading and writing.
    """

    large_A: Tensor
    states: States
    kinds_A: np.ndarray
    compared: dict[int, Comparison]
    ledger: Ledger

    def share(self, kind: Difference) -> float:
        """Of the tokens."""
        return float((self.kinds_A == kind).mean())


@dataclass(frozen=True)
class PathFollowing:
    """A token of the small model is *divergent* if the large one, going on behind it, comes to say something else.

    Both tokens are continued greedily by the large model to the end of the sentence, and a verifier compares. Where the token itself
    ends the sentence, the next one is compared, too.

    Args:
        verifier: judges.
        ends: ids that end a sentence; `sentence_ends` finds them.
        stop: ids that end a text; nothing is written behind them.
        longest: tokens of a continuation at most, the one in question included.
    Raises: InvalidInput: `longest` below 1.

    The authors write up to the second end and cut; this stops where they cut.
    """

    verifier: Verifier
    ends: Collection[int]
    stop: Collection[int] = ()
    longest: int = 8192

    def __post_init__(self) -> None:
        if self.longest < 1:
            raise InvalidInput(f"longest={self.longest}; it must be at least 1")

    def label(
        self,
        large: nn.Module,
        small: nn.Module,
        prompt: Sequence[int],
        answer: Sequence[int],
        *,
        k: int = 100,
        shared: int | None = None,
    ) -> LabelledPath:
        """Label the tokens of one answer. The prompt has no labels, and the first token of the answer has one.

        Args:
            large, small: causal models of one tokenizer, as for `CausalSession`.
            prompt: ids, not empty.
            answer: ids that the large model wrote greedily, not empty. If they were drawn, a token that it would rather have written is
                no mismatch of the small model alone. The authors keep finished answers only.
            k: logits to keep for the router.
            shared: how many ids count, where vocabularies are padded to different sizes.
        Raises: InvalidInput: nothing to label, different vocabularies, a verdict that is none.
        """
        prompt, answer = [int(i) for i in prompt], [int(i) for i in answer]
        if not prompt or not answer:
            raise InvalidInput(
                f"{len(prompt)} ids of a prompt and {len(answer)} of an answer; both must have one at least"
            )
        reading = CausalSession(small)
        ways = Ways(self, large, reading, len(prompt), shared)
        ids = prompt + answer
        states = read_states_in(reading, ids[:-1], start=len(prompt), k=k, shared=ways.shared)
        large_A = torch.tensor(answer)
        mine_A = states.tokens_N.cpu()
        kinds_A, compared = np.zeros(len(answer), np.int8), {}
        # From the last one backwards: what is cached of the answer is then a beginning of it each time.
        for i in reversed(np.flatnonzero((mine_A != large_A).numpy()).tolist()):
            before = ids[: len(prompt) + i]
            compared[i] = ways.comparison(before, answer[i:], ways.onward(before, int(mine_A[i])))
            kinds_A[i] = self._kind(compared[i])
        ledger = ways.session.ledger + reading.ledger
        return LabelledPath(large_A, states, kinds_A, dict(sorted(compared.items())), ledger)

    def _kind(self, comparison: Comparison) -> Difference:
        said: Any = self.verifier(comparison)
        if said not in (-1, 0, 1):
            raise InvalidInput(f"the verifier said {said!r}; 1 is for divergent, 0 for neutral, -1 for no verdict")
        return {1: Difference.DIVERGENT, 0: Difference.NEUTRAL, -1: Difference.UNKNOWN}[int(said)]

    def closed(self, tokens: Sequence[int]) -> int | None:
        """How many of `tokens`, the first of which is the one in question, are compared; None if the sentence is not over yet.

        >>> rule = PathFollowing(lambda both: 0, ends={9}, stop={0})
        >>> rule.closed([3, 9, 4]), rule.closed([9, 3, 9, 4]), rule.closed([9, 3]), rule.closed([0])
        (2, 3, None, 1)
        """
        wanted = 2 if tokens[0] in self.ends else 1
        for n, token in enumerate(tokens, 1):
            wanted -= token in self.ends
            if token in self.stop or not wanted:
                return n
        return None


class Ways:
    """The large model, as it goes on behind this token or that one.

    Args:
        rule: says how far.
        large: the model.
        small: whose tokens are judged.
        prompt: how many ids are the prompt, which is no context.
        shared: how many ids count, None for all.
    Raises: InvalidInput: different vocabularies.
    """

    def __init__(
        self, rule: PathFollowing, large: nn.Module, small: CausalSession, prompt: int, shared: int | None
    ) -> None:
        self.rule, self.prompt, self.session = rule, prompt, CausalSession(large)
        self.shared = shared_size(self.session, small, shared)
        config: Any = large.config
        self.limit = getattr(config, "context", None) or getattr(config, "max_position_embeddings", None) or np.inf

    def read(self, ids: Sequence[int]) -> Tensor:
        """Logits of the shared ids behind `ids`, (V,); of what is cached, the beginning that is theirs is not read again."""
        cached = self.session.ids
        same = next((i for i, (a, b) in enumerate(zip(cached, ids)) if a != b), min(len(cached), len(ids)))
        same = min(same, len(ids) - 1)
        self.session.keep(same)
        return self.session.extend(ids[same:], last=True).logits_NV[-1, : self.shared]

    def onward(self, before: Sequence[int], token: int) -> list[int]:
        """`token` behind `before`, and what the large model writes behind it."""
        tokens = [token]
        while self.rule.closed(tokens) is None and len(tokens) < self.rule.longest:
            if len(before) + len(tokens) > self.limit:
                break
            tokens.append(int(self.read([*before, *tokens]).argmax()))
        return tokens

    def comparison(self, before: Sequence[int], large: Sequence[int], small: Sequence[int]) -> Comparison:
        """Both ways, from the beginning of their sentence to where they are compared."""
        written = before[self.prompt :]
        start = max((i + 1 for i, token in enumerate(written) if token in self.rule.ends), default=0)
        ways = [
            (*written[start:], *way[: min(self.rule.closed(way) or len(way), self.rule.longest)])
            for way in (large, small)
        ]
        return Comparison(tuple(written[:start]), ways[0], ways[1], len(written) - start)

    def parted(self, before: Sequence[int], token: int) -> Difference:
        """How the small model's token behind `before` stands to what the large model would write there."""
        mine = int(self.read(before).argmax())
        if mine == token:
            return Difference.IDENTICAL
        large, small = self.onward(before, mine), self.onward(before, token)
        return self.rule._kind(self.comparison(before, large, small))


@dataclass(frozen=True, eq=False)
class Examples:
    """What a router learns from.

    Args:
        states: N of them.
        divergent_N: bool.
    """

    states: States
    divergent_N: Tensor

    def __len__(self) -> int:
        return len(self.states)


def examples(paths: Sequence[LabelledPath], positive: Literal["divergent", "different"] = "divergent") -> Examples:
    """All tokens of some answers but those without a verdict.

    Args:
        paths: as `PathFollowing.label` makes them.
        positive: what the router is to find; "different" asks no verifier: every mismatch counts.
    Raises: InvalidInput: no paths.
    """
    states = States.joined([path.states for path in paths])
    kinds_N = torch.from_numpy(np.concatenate([path.kinds_A for path in paths]))
    if positive == "different":
        return Examples(states, kinds_N != Difference.IDENTICAL)
    known = kinds_N != Difference.UNKNOWN
    return Examples(states[known], kinds_N[known] == Difference.DIVERGENT)
