"""How words are cut: by the grammar, and where it ends by a heuristic that always gives something.

All steps work on letters and give the letters at which morphemes end; a word is then cut at the aksharas where these lie.
"""
# M morphemes

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from math import inf

import numpy as np

from ....core.automaton import Automaton
from ....core.lattice import Path
from .grammar import Grammar, Morpheme
from .pieces import Pieces, flat
from .script import AKSHARA, letters

__all__ = ["STEPS", "Analysis", "Cut", "Segmenter"]

#: How a word may come to be cut, in the order in which it is tried.
STEPS = ("grammar", "undone", "affixes", "pieces", "whole")

_Found = tuple[tuple[str, ...], tuple[tuple[int, str], ...]] | None  # pieces, and the states between them


@dataclass(frozen=True)
class Analysis:
    """One way in which the grammar makes a word.

    Args:
        cost: of its path.
        morphemes: of the grammar, in order.
        pieces: of the word, cut between aksharas; a morpheme within one akshara has no piece of its own.
    """

    cost: float
    morphemes: tuple[Morpheme, ...]
    pieces: tuple[str, ...]


@dataclass(frozen=True)
class Cut:
    """How a word is cut.

    Args:
        pieces: put together, the word.
        how: one of `STEPS`.
        states: what stands behind each piece but the last: the class of the last morpheme that ended there, 1 + its place
            in the grammar, and the letters of it that belong to the next akshara; (0, "") where it is not the grammar's.
    """

    pieces: tuple[str, ...]
    how: str
    states: tuple[tuple[int, str], ...]


class Segmenter:
    """Cuts words; see `SubwordGrammar` for the settings and the order of the steps."""

    def __init__(self, grammar: Grammar, costs: np.ndarray, pieces: Pieces | None, min_stem: int) -> None:
        self.grammar, self.costs, self.pieces, self.min_stem = grammar, costs, pieces, min_stem

    def accepts(self, word: str) -> bool:
        """Whether the grammar makes `word`."""
        return bool(word) and self._automaton.lattice(flat([letters(word)])[0]).count > 0

    def analyses(self, word: str, most: int = 100) -> list[Analysis]:
        """All analyses of a word by the grammar, the cheapest first, but not more than `most`."""
        aksharas = _Aksharas(word)
        paths = self._automaton.lattice(flat([aksharas.letters])[0]).n_best(most)
        return [
            Analysis(
                path.weight,
                tuple(self.grammar.morphemes[m] for m in path.outputs),
                aksharas.between(aksharas.cuts(path.ends)),
            )
            for path in paths
        ]

    def cut(self, words: Sequence[str]) -> list[Cut]:
        """Cut words, each at its best; those without letters stay whole.

        Args:
            words: not empty, without white space.
        """
        split = [_Aksharas(word) for word in words]
        done: list[Cut | None] = [None] * len(words)
        steps = (self._by_grammar, self._undone, self._by_affixes, self._by_pieces)
        for how, step in zip(STEPS, steps):
            left = [w for w, cut in enumerate(done) if cut is None]
            for w, found in zip(left, step([split[w] for w in left])):
                if found is not None:
                    done[w] = Cut(found[0], how, found[1])
        return [Cut((word,), STEPS[-1], ()) if cut is None else cut for word, cut in zip(words, done)]

    def weighed(self, automaton: Automaton, costs: np.ndarray) -> Automaton:
        """An automaton of the grammar with the costs of morphemes, (M,), beside those that the grammar gives."""
        return automaton.reweighted(np.append(self.grammar.fixed_costs + costs, 0.0)[automaton.output])

    @cached_property
    def _automaton(self) -> Automaton:
        return self.weighed(self.grammar.automaton, self.costs)

    @cached_property
    def _tails(self) -> Automaton:
        return self.weighed(self.grammar.tails, self.costs)

    def _read(self, automaton: Automaton, strings: Iterable[str]) -> list[Path | None]:
        """The best path of each string."""
        paths = automaton.best(*flat(strings))
        outputs, ends, starts = paths.outputs.tolist(), paths.ends.tolist(), paths.starts.tolist()
        return [
            None if cost == inf else Path(cost, tuple(outputs[i:j]), tuple(ends[i:j]))
            for cost, (i, j) in zip(paths.weights.tolist(), pairwise(starts))
        ]

    def _by_grammar(self, words: "list[_Aksharas]") -> "list[_Found]":
        paths = self._read(self._automaton, [word.letters for word in words])
        return [
            None if path is None else self._found(word, path.outputs, path.ends) for word, path in zip(words, paths)
        ]

    def _undone(self, words: "list[_Aksharas]") -> "list[_Found]":
        """The best path of a word that ends as one of the grammar does before a certain word."""
        tried = [
            (w, len(word.letters) - len(now), word.letters[: len(word.letters) - len(now)] + before)
            for w, word in enumerate(words)
            for now, before in self.grammar.undo
            if word.letters.endswith(now) and len(now) < len(word.letters)
        ]
        found: list[_Found] = [None] * len(words)
        best = [inf] * len(words)
        for (w, same, _), path in zip(tried, self._read(self._automaton, [string for _, _, string in tried])):
            if path is not None and path.weight < best[w]:
                best[w] = path.weight
                found[w] = self._found(words[w], path.outputs, [min(end, same) for end in path.ends])
        return found

    def _by_affixes(self, words: "list[_Aksharas]") -> "list[_Found]":
        """The longest tail that leaves a stem, before an ending that can be undone, and the longest head before it."""
        added = [now for now, before in self.grammar.undo if not before]
        sizes = [
            len(word.letters) - max([len(now) for now in added if word.letters.endswith(now)], default=0)
            for word in words
        ]
        inner = [(word.letters, size, i) for word, size in zip(words, sizes) for i in range(1, size)]
        heads = iter(self._read(self.grammar.heads, [string[:i] for string, _, i in inner]))
        tails = iter(self._read(self._tails, [string[i:size] for string, size, i in inner]))
        seams: list[tuple[int, int, Path | None] | None] = []
        for word, size in zip(words, sizes):
            is_head = [next(heads) is not None for _ in range(1, size)]
            tail_at = [next(tails) for _ in range(1, size)]
            end = next((i for i in range(1, size) if tail_at[i - 1] and word.at(i) >= self.min_stem), size)
            head = next((i for i in range(min(end, size - 1), 0, -1) if is_head[i - 1]), 0)
            if 0 < word.at(end) - word.at(head) < self.min_stem:
                head = 0  # too little would be left between them, so it was no prefix
            none = end == size and head <= 0
            seams.append(None if none else (head, end, tail_at[end - 1] if end < size else None))
        inside = self._inside(words, seams)
        found: list[_Found] = []
        for word, size, seam, more in zip(words, sizes, seams, inside):
            if seam is None:
                found.append(None)
                continue
            head, end, tail = seam
            outputs, ends = ((), ()) if tail is None else (tail.outputs, tuple(end + e for e in tail.ends))
            unknown = (head, *more, end)
            found.append(self._found(word, (*[-1] * len(unknown), *outputs, -1), (*unknown, *ends, size)))
        return found

    def _inside(self, words: "list[_Aksharas]", seams: "list[tuple[int, int, Path | None] | None]") -> list[list[int]]:
        """The letters at which learnt pieces cut the unknown stems, between head and tail."""
        if self.pieces is None:
            return [[] for _ in words]
        places = [None if seam is None else (word.at(seam[0]), word.at(seam[1])) for word, seam in zip(words, seams)]
        cuts = self.pieces.cut([[] if at is None else word.aksharas[slice(*at)] for word, at in zip(words, places)])
        inside: list[list[int]] = []
        for word, at, cut in zip(words, places, cuts):
            sizes = [] if at is None or cut is None else [len(AKSHARA.findall(piece)) for piece in cut[:-1]]
            inside.append([word.edges[k] for k in accumulate(sizes, initial=at[0] if at else 0)][1:])
        return inside

    def _by_pieces(self, words: "list[_Aksharas]") -> "list[_Found]":
        if self.pieces is None:
            return [None] * len(words)
        cuts = self.pieces.cut([word.aksharas for word in words])
        return [None if cut is None else (tuple(cut), ((0, ""),) * (len(cut) - 1)) for cut in cuts]

    def _found(self, word: "_Aksharas", outputs: Sequence[int], ends: Sequence[int]) -> "_Found":
        """Pieces and the states between them, of morphemes (-1: none of the grammar) that end at these letters."""
        behind = {}
        for output, end in zip(outputs, ends):
            at = word.at(end)
            class_ = 1 + int(self.grammar.class_of[output]) if output >= 0 else 0
            behind[at] = (class_, word.letters[word.edges[at] : end] if class_ else "")
        cuts = word.cuts(ends)
        return word.between(cuts), tuple(behind[at] for at in cuts[1:-1])


class _Aksharas:
    """A word, its aksharas, its letters, and how many letters there are before each akshara and in all."""

    def __init__(self, word: str) -> None:
        self.aksharas = AKSHARA.findall(word)
        parts = [letters(akshara) for akshara in self.aksharas]
        self.letters = "".join(parts)
        self.edges = list(accumulate(map(len, parts), initial=0))

    def at(self, letter: int) -> int:
        """How many aksharas end before `letter`; a seam inside one moves to its beginning."""
        return bisect_right(self.edges, letter) - 1

    def cuts(self, ends: Iterable[int]) -> list[int]:
        """The akshara at which each piece begins, and the end, where morphemes end behind these letters."""
        return sorted({0, len(self.aksharas), *map(self.at, ends)})

    def between(self, cuts: Sequence[int]) -> tuple[str, ...]:
        return tuple("".join(self.aksharas[i:j]) for i, j in pairwise(cuts))
