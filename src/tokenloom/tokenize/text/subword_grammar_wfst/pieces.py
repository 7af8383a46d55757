"""Pieces for the words that no grammar knows: a Unigram model over aksharas, by EM on lattices.

Kudo 2018, arXiv 1804.10959, whose pruning by loss is here one by expected count; the companion paper (arXiv 2207.13331)
does the same with transducers. The automaton has one state to which all pieces lead back: the grammar without grammar.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ....core.automaton import Automaton, branches
from ....core.errors import InvalidInput
from .script import AKSHARA

__all__ = ["Pieces", "flat"]

_LONGEST = 8  # aksharas of a piece
_SHRINK = 0.75  # share of the pieces that stays in each round


@dataclass(frozen=True)
class Pieces:
    """Pieces of whole aksharas and their costs.

    Args:
        costs: piece → -ln of its probability.
    Raises: InvalidInput: an empty piece.

    >>> Pieces({"a": 1.0, "b": 1.0, "ab": 1.5}).cut([["a", "b", "a"], ["c"]])
    [['ab', 'a'], None]
    """

    costs: Mapping[str, float]

    def __post_init__(self) -> None:
        if "" in self.costs:
            raise InvalidInput("an empty piece could be read for ever; leave it out")

    @classmethod
    def learn(cls, counts: Mapping[str, int], size: int, rounds: int = 2) -> "Pieces":
        """The pieces that make words most probable.

        Args:
            counts: how often each word is seen.
            size: pieces in all; single aksharas are never given up, so there may be more.
            rounds: of EM between two prunings.
        Raises: InvalidInput: there is no word.
        """
        words = {word: AKSHARA.findall(word) for word in counts}
        if not any(words.values()):
            raise InvalidInput("there is no word to learn pieces from")
        seen: Counter[tuple[str, ...]] = Counter()
        for word, aksharas in words.items():
            for i in range(len(aksharas)):
                for j in range(i + 1, min(i + _LONGEST, len(aksharas)) + 1):
                    seen[tuple(aksharas[i:j])] += counts[word]
        single = {piece[0] for piece in seen if len(piece) == 1}
        longer = sorted(
            (piece for piece, count in seen.items() if len(piece) > 1 and count > 1),
            key=lambda piece: (-seen[piece] * len(piece), piece),
        )[: 10 * size]
        known = [*sorted(single), *("".join(piece) for piece in longer)]
        model = cls({piece: float(np.log(len(known))) for piece in known})
        strings, repeats = list(words.values()), [counts[word] for word in words]
        while True:
            for _ in range(rounds):
                expected = model._expected(strings, repeats)
                # A single akshara may be needed by a word of which it is the only way, however small its share.
                kept = {
                    p: max(count, 1e-3 * (p in single)) for p, count in expected.items() if count > 1e-9 or p in single
                }
                total = sum(kept.values())
                model = cls({piece: float(-np.log(count / total)) for piece, count in kept.items()})
            if len(model.costs) <= max(size, len(single)):
                return model
            room = max(size, len(single), int(len(model.costs) * _SHRINK))
            best = sorted(model.costs, key=lambda piece: (piece not in single, model.costs[piece], piece))[:room]
            model = cls({piece: model.costs[piece] for piece in best})

    def cut(self, words: Sequence[Sequence[str]]) -> list[list[str] | None]:
        """The best pieces of words, given as aksharas; None where no pieces make one."""
        paths = self._automaton.best(*flat(self._coded(word) for word in words))
        pieces = [self._sorted[output] for output in paths.outputs.tolist()]
        return [
            pieces[paths.starts[w] : paths.starts[w + 1]] if np.isfinite(paths.weights[w]) else None
            for w in range(len(words))
        ]

    def _expected(self, words: list[list[str]], counts: Sequence[int]) -> dict[str, float]:
        found = self._automaton.expect(*flat(map(self._coded, words)), counts, len(self._sorted))
        return dict(zip(self._sorted, found.counts.tolist()))

    @cached_property
    def _code(self) -> dict[str, str]:
        """Each akshara as one character, as automata read them."""
        known = sorted({akshara for piece in self.costs for akshara in AKSHARA.findall(piece)})
        return {akshara: chr(0x10000 + k) for k, akshara in enumerate(known)}

    def _coded(self, aksharas: Iterable[str]) -> str:
        return "".join(self._code.get(akshara, "\0") for akshara in aksharas)

    @cached_property
    def _sorted(self) -> list[str]:
        return sorted(self.costs, key=lambda piece: self._coded(AKSHARA.findall(piece)))

    @cached_property
    def _automaton(self) -> Automaton:
        tree = branches([self._coded(AKSHARA.findall(piece)) for piece in self._sorted], first_node=1, end=0)
        source, label, output, target = tree
        costs = np.array([*(self.costs[piece] for piece in self._sorted), 0.0])
        final = np.full(1 + int(target.max(initial=0)), np.inf)
        final[0] = 0.0
        return Automaton(np.maximum(source, 0), label, output, costs[output], target, final)


def flat(strings: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """Strings as automata take them: code points one after the other, and where each string begins."""
    strings = list(strings)
    units = np.frombuffer("".join(strings).encode("utf-32-le", "surrogatepass"), "<u4").astype(np.int64)
    return units, np.cumsum([0, *map(len, strings)])
