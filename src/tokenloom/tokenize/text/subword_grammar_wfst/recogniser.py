"""A recogniser of phone strings: the best sequence of units through lexicon, language model and position automaton.

What is searched is the composition that the paper decodes with, L ∘ G restricted to sequences of units that form words,
without an acoustic model: the input is a string of phones that a channel has changed, not sound. L spells units in phones
by rule; G is a bigram model over units with Witten-Bell backing off; the restriction is an automaton over units, that of
positions (initial → middle* → final, or whole) or the finer one of a grammar. Its weights are kept: what the restriction
forbids takes its probability with it.
"""
# P phones, U arcs of the unit automaton, N phones heard, V units

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numba import njit

from ....core.errors import InvalidInput
from .script import letters
from .units import Unit

__all__ = ["Channel", "Move", "Recogniser", "phones"]

# Letters that most speakers pronounce alike; all others are phones of their own.
_ALIKE = str.maketrans({"ன": "ந", "ற": "ர", "ஶ": "ஷ", "ಷ": "ಶ", "ಂ": "ಮ", "ಞ": "ನ", "ங": "ந", "ஞ": "ந"})


def phones(text: str) -> str:
    """The phones of a text, a character each, by rule: its letters, with those that sound alike made one.

    >>> phones("மரங்கள்")
    'மஅரஅநகஅள'
    """
    return letters(text).translate(_ALIKE)


@dataclass(frozen=True)
class Channel:
    """What noise makes of phones: each is lost, or becomes a phone; after each, and at the beginning, phones may be put in.

    Args:
        phones: all of them, a character each.
        confusion: probability of each phone, given that it is not lost, to become another: float (P, P), rows sum to 1.
        loss: probability to be lost, 0 <= loss < 1.
        gain: probability that one more phone is put in, uniformly; 0 <= gain < 1.
    Raises: InvalidInput: a probability out of range, rows that do not sum to 1.
    """

    phones: str
    confusion: np.ndarray
    loss: float
    gain: float

    def __post_init__(self) -> None:
        size = len(self.phones)
        if self.confusion.shape != (size, size) or not np.allclose(self.confusion.sum(1), 1):
            raise InvalidInput(f"confusion of shape {self.confusion.shape} needs {size} rows that sum to 1")
        if not (0 <= self.loss < 1 and 0 <= self.gain < 1):
            raise InvalidInput(f"loss={self.loss} and gain={self.gain} must be from 0 to below 1")

    @classmethod
    def random(
        cls, phones: str, rng: np.random.Generator, *, error: float = 0.1, loss: float = 0.03, gain: float = 0.03
    ) -> "Channel":
        """A channel in which each phone has its own few confusions: `error` in all, shared out by a sparse Dirichlet law."""
        size = len(phones)
        other = rng.dirichlet(np.full(size - 1, 0.1), size)
        confusion = np.zeros((size, size))
        confusion[~np.eye(size, dtype=bool)] = (error * other).ravel()
        confusion[np.arange(size), np.arange(size)] = 1 - error
        return cls(phones, confusion, loss, gain)

    def __call__(self, said: str, rng: np.random.Generator) -> str:
        """What is heard of the phones that are said.

        Raises: InvalidInput: a phone that the channel does not know.
        """
        heard: list[int] = []
        for phone in [None, *self.code(said).tolist()]:
            if phone is not None and rng.random() >= self.loss:
                heard.append(int(rng.choice(len(self.phones), p=self.confusion[phone])))
            while rng.random() < self.gain:
                heard.append(int(rng.integers(len(self.phones))))
        return "".join(self.phones[p] for p in heard)

    def code(self, said: str) -> np.ndarray:
        """The place of each phone, int64.

        Raises: InvalidInput: a phone that the channel does not know.
        """
        places = {phone: k for k, phone in enumerate(self.phones)}
        if unknown := next((phone for phone in said if phone not in places), None):
            raise InvalidInput(f"the channel knows no phone {unknown!r}")
        return np.array([places[phone] for phone in said], np.int64)


@dataclass(frozen=True)
class Move:
    """An arc of a unit automaton: a unit, the state in which it may come and the state behind it.

    Args:
        unit: what is read.
        enter, leave: states; None is the one between words.
    """

    unit: Unit
    enter: Hashable = None
    leave: Hashable = None

    @classmethod
    def of(cls, units: Sequence[Unit], states: Sequence[Hashable] | None = None) -> "list[Move]":
        """The arcs of one word's units.

        Args:
            units: of one word.
            states: behind each but the last; the position automaton's one unless told.
        """
        inner: Sequence[Hashable] = ["open"] * (len(units) - 1) if states is None else states
        edges = [None, *inner, None]
        return [cls(unit, edges[i], edges[i + 1]) for i, unit in enumerate(units)]


class Recogniser:
    """Lexicon, bigram model and unit automaton, learnt from sentences that are cut into units.

    Args:
        sentences: the moves of each sentence.
    Raises: InvalidInput: there is no sentence with a unit.
    """

    def __init__(self, sentences: Iterable[Sequence[Move]]) -> None:
        pairs: Counter[tuple[Unit | None, Unit | None]] = Counter()
        moves: set[Move] = set()
        for sentence in sentences:
            moves.update(sentence)
            units = [None, *(move.unit for move in sentence), None]
            pairs.update(pairwise(units))
        if not moves:
            raise InvalidInput("there is no sentence to learn units from")
        self.moves = sorted(moves, key=lambda move: (move.unit, repr(move.enter), repr(move.leave)))
        self.units = sorted({move.unit for move in self.moves})
        # Unit 0 is the edge of a sentence.
        self._number: dict[Unit | None, int] = {None: 0, **{unit: 1 + k for k, unit in enumerate(self.units)}}
        before, after = (np.array([self._number[pair[side]] for pair in pairs], np.int64) for side in (0, 1))
        counts = np.array(list(pairs.values()), np.float64)
        size = 1 + len(self.units)
        seen, kinds = np.bincount(before, counts, size), np.bincount(before, minlength=size)
        unigram = np.bincount(after, counts, size) / counts.sum()
        with np.errstate(divide="ignore", invalid="ignore"):
            backoff = np.where(seen > 0, kinds / (seen + kinds), 1.0)
            explicit = (counts + kinds[before] * unigram[after]) / (seen[before] + kinds[before])
            self._unigram, self._backoff, costs = -np.log(unigram), -np.log(backoff), -np.log(explicit)
        self._explicit = dict(zip(zip(before.tolist(), after.tolist()), costs.tolist()))

    def cost(self, units: Sequence[Unit]) -> float:
        """-ln of the probability of a sentence of known units by the bigram model."""
        numbers = [0, *(self._number[unit] for unit in units), 0]
        return sum(
            self._explicit.get(pair, float(self._backoff[pair[0]] + self._unigram[pair[1]]))
            for pair in pairwise(numbers)
        )

    def __call__(self, heard: str, channel: Channel, scale: float = 1.0) -> list[Unit]:
        """The units of the best path: least cost of language model and channel, over all alignments.

        A unit is found only if one of its phones at least was not lost.

        Args:
            heard: phones.
            channel: through which they came.
            scale: of the language model's cost.
        Returns: no units where no path is found.
        """
        with np.errstate(divide="ignore"):
            match = -np.log((1 - channel.loss) * (1 - channel.gain) * channel.confusion)
            lost = -np.log(channel.loss) - np.log(1 - channel.gain)
            gained = -np.log(channel.gain) + np.log(len(channel.phones))
        lexicon, starts = self._lexicon(channel)
        found = _decode(channel.code(heard), match, lost, gained, scale, lexicon, starts, *self._graph)
        return [self.moves[move].unit for move in found.tolist()]

    def _lexicon(self, channel: Channel) -> tuple[np.ndarray, np.ndarray]:
        said = [phones(move.unit.text) for move in self.moves]
        return channel.code("".join(said)), np.cumsum([0, *map(len, said)])

    @cached_property
    def _graph(self) -> tuple[Any, ...]:
        """What `_decode` needs, from `enter` to `costs`."""
        states: dict[Hashable, int] = {None: 0}
        for move in self.moves:
            for state in (move.enter, move.leave):
                states.setdefault(state, len(states))
        enter = np.array([states[move.enter] for move in self.moves], np.int64)
        leave = np.array([states[move.leave] for move in self.moves], np.int64)
        number = np.array([self._number[move.unit] for move in self.moves], np.int64)
        copies: dict[int, list[int]] = {}
        for k, unit in enumerate(number.tolist()):
            copies.setdefault(unit, []).append(k)
        after: dict[int, list[tuple[int, float]]] = {}
        for (one, two), cost in self._explicit.items():
            after.setdefault(one, []).append((two, cost))
        # Move -1 is the edge of the sentence.
        arcs = [
            (k, copy, cost)
            for k, unit in [(-1, 0), *enumerate(number.tolist())]
            for two, cost in after.get(unit, ())
            for copy in copies.get(two, ())
            if enter[copy] == (0 if k < 0 else leave[k])
        ]
        source, target = (np.array([arc[side] for arc in arcs], np.int64) for side in (0, 1))
        ending = [self._explicit.get((k, 0), float(self._backoff[k] + self._unigram[0])) for k in number.tolist()]
        return (
            enter,
            leave,
            self._unigram[number],
            self._backoff[number],
            np.array(ending, np.float64),
            float(self._backoff[0]),
            np.searchsorted(source, np.arange(-1, len(self.moves) + 1)),
            target,
            np.array([cost for _, _, cost in arcs], np.float64),
        )


@njit(cache=True, nogil=True)
def _decode(
    heard, match, lost, gained, scale, lexicon, starts,
    enter, leave, unigram, backoff, ending, edge, begins, target, costs,
):  # fmt: skip
    """Moves of the best path, int64.

    Of each move: the states that it enters and leaves, costs of unigram, backing off and ending the sentence after it; `edge`
    is the cost of backing off at the beginning; moves target[begins[u + 1] : begins[u + 2]] may follow move u by a bigram.

    After t phones: `cost` of being behind each phone of each move, and the time at which that move began; `entry` of
    beginning each, and the move before it (-1: the edge). A move of which all phones are lost is not looked at.
    """
    size, total, inf = enter.size, heard.size, np.inf
    states = max(enter.max(), leave.max()) + 1
    cost, began = np.full(lexicon.size, inf), np.zeros(lexicon.size, np.int32)
    end_began = np.zeros((total + 1, size), np.int32)
    from_move = np.full((total + 1, size), -1, np.int32)
    entry, best, best_move = np.full(size, inf), np.empty(states), np.empty(states, np.int64)
    silence = 0.0  # nothing but phones put in so far
    for t in range(total + 1):
        if t:
            sound = heard[t - 1]
            silence += gained
            for u in range(size):
                skipped = 0.0
                above, above_began = inf, np.int32(0)  # the cell before, at the time before
                left, left_began = inf, np.int32(0)  # the cell before, now
                for k in range(starts[u], starts[u + 1]):
                    step = match[lexicon[k], sound]
                    new, when = above + step, above_began
                    if entry[u] + skipped + step < new:
                        new, when = entry[u] + skipped + step, np.int32(t - 1)
                    if left + lost < new:
                        new, when = left + lost, left_began
                    if cost[k] + gained < new:
                        new, when = cost[k] + gained, began[k]
                    above, above_began = cost[k], began[k]
                    cost[k], began[k] = new, when
                    left, left_began = new, when
                    skipped += lost
                end_began[t, u] = left_began
        entry[:] = inf
        best[:], best_move[:] = inf, -1
        best[0] = silence + scale * edge
        for u in range(size):
            out = cost[starts[u + 1] - 1]
            if out == inf:
                continue
            if out + scale * backoff[u] < best[leave[u]]:
                best[leave[u]], best_move[leave[u]] = out + scale * backoff[u], u
        for u in range(size):
            entry[u] = best[enter[u]] + scale * unigram[u]
            from_move[t, u] = best_move[enter[u]]
        for u in range(-1, size):
            out = silence if u < 0 else cost[starts[u + 1] - 1]
            if out == inf:
                continue
            for arc in range(begins[u + 1], begins[u + 2]):
                if out + scale * costs[arc] < entry[target[arc]]:
                    entry[target[arc]], from_move[t, target[arc]] = out + scale * costs[arc], u
    last, least = -1, inf
    for u in range(size):
        out = cost[starts[u + 1] - 1] + scale * ending[u]
        if leave[u] == 0 and out < least:
            last, least = u, out
    path, n, t = np.empty(total + 1, np.int64), 0, total
    while last >= 0:
        path[n] = last
        n += 1
        t = end_began[t, last]
        last = from_move[t, last]
    return path[:n][::-1].copy()
