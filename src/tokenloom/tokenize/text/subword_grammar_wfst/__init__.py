"""Subword grammar: words of Tamil and Kannada, cut by a grammar that is written by hand and weighed by text.

Madhavaraj, Pilar, Ramakrishnan 2022, "Knowledge-driven Subword Grammar Modeling for Automatic Speech Recognition in Tamil
and Kannada", arXiv 2207.13333, and its companion on learnt dictionaries, arXiv 2207.13331. Categories of words (verbs,
nouns, pronouns, numbers) have lists of prefixes, infixes and suffixes; a weighted automaton cuts the words that they make,
a heuristic the others; units know their place in the word, so that words come back from units.

No code is public, and the papers were read as abstracts: the marks, the weights, the heuristic's order and all word lists
are ours.
"""
# W words, M morphemes, T tokens

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any, Self

import numpy as np
import regex

from ....core.errors import InvalidInput, TokenizerError
from ....core.vocabulary import Kind, Vocabulary
from ....hosts.folder import FolderTokenizer
from ....hosts.plain_bytes import END_OF_TEXT
from .cutting import STEPS, Analysis, Cut, Segmenter
from .grammar import LANGUAGES, Grammar, Morpheme
from .pieces import Pieces, flat
from .script import letters
from .units import Unit, glue, mark, well_formed

__all__ = [
    "LANGUAGES",
    "STEPS",
    "Analysis",
    "Cut",
    "Fitted",
    "Grammar",
    "Morpheme",
    "Pieces",
    "SubwordGrammar",
    "Unit",
    "glue",
    "mark",
    "well_formed",
]

_FIRST = 257  # bytes and the end-of-text token; the units follow
_LETTER = regex.compile(r"[\p{L}\p{M}\u200c\u200d]")
_RUNS = regex.compile(r"[\p{L}\p{M}\u200c\u200d]+|[^\p{L}\p{M}\u200c\u200d]+")


@dataclass(frozen=True, eq=False)
class Fitted:
    """A grammar that was weighed by text.

    Args:
        grammar: with its costs.
        objectives: what rises in every round: natural logarithm of the likelihood of the words of the grammar, or of that
            of their best paths, with the prior; before each round, and after the last.
    """

    grammar: "SubwordGrammar"
    objectives: tuple[float, ...]


class SubwordGrammar(FolderTokenizer):
    """A segmenter, a tokenizer and a lexicon made of a grammar.

    Words that the grammar does not make are cut by the first of these that gives something: the grammar, once an ending that
    the next word brings about is undone; the longest sequence of infixes and suffixes that ends the word, and the longest
    prefix that begins it, with an unknown stem between them; learnt pieces; nothing. With learnt pieces, unknown stems are cut
    into them too.

    Ids of the tokenizer: 256 bytes, the end-of-text token, the units of the grammar, further ones of learnt pieces. A
    unit's place is that in its run of letters; what is no letter, and a stem that is no unit, becomes bytes.

    Args:
        grammar: "tamil", "kannada", or one of your own.
        costs: of each morpheme, -ln of its probability, float (M,), added to what the grammar says; None for 0.
        pieces: for words that nothing else cuts, and for unknown stems.
        pieces_units: further units that get an id.
        min_stem: aksharas of an unknown stem, at least.
        name: of the tokenizer.
    Raises: InvalidInput: no such language, costs of another number, or `min_stem` below 1.

    >>> tok = SubwordGrammar("tamil")
    >>> [str(unit) for unit in tok.segment("மரங்களில் படித்தான்")]
    ['மரங்_', '_க_', '_ளில்', 'படி_', '_த்_', '_தான்']
    >>> glue(tok.segment("மரங்களில் படித்தான்"))
    ['மரங்களில்', 'படித்தான்']
    """

    kind = "SubwordGrammar"
    engine = "numba"
    unknown = None

    def __init__(
        self,
        grammar: Grammar | str,
        *,
        costs: Sequence[float] | np.ndarray | None = None,
        pieces: Pieces | None = None,
        pieces_units: Iterable[Unit] = (),
        min_stem: int = 2,
        name: str = "subword-grammar",
    ) -> None:
        self.grammar = Grammar.of(grammar) if isinstance(grammar, str) else grammar
        size = len(self.grammar.morphemes)
        self.costs = np.zeros(size) if costs is None else np.array(costs, np.float64).ravel()
        if self.costs.size != size:
            raise InvalidInput(f"{self.costs.size} costs for the {size} morphemes of the grammar")
        if min_stem < 1:
            raise InvalidInput(f"min_stem={min_stem}; an unknown stem has one akshara at least")
        self.pieces, self.min_stem, self.name = pieces, min_stem, name
        self.pieces_units = tuple(sorted(set(pieces_units)))
        self._segmenter = Segmenter(self.grammar, self.costs, pieces, min_stem)

    # -- words ---------------------------------------------------------------------------------------------------------

    def analyses(self, word: str, most: int = 100) -> list[Analysis]:
        """All analyses of a word by the grammar, the cheapest first, but not more than `most`."""
        return self._segmenter.analyses(word, most)

    def cut(self, words: Sequence[str]) -> list[Cut]:
        """Cut words, not empty and without white space, each at its best; those without letters stay whole."""
        return self._segmenter.cut(words)

    def segment(self, text: str) -> list[Unit]:
        """The units of a text, word by word; `glue` makes of them what lies between white space in `text`.

        Signs and digits at and in a word are pieces of it.
        """
        words = [_RUNS.findall(word) for word in text.split()]
        runs = list(dict.fromkeys(run for word in words for run in word if _lettered(run)))
        pieces = {run: cut.pieces for run, cut in zip(runs, self.cut(runs))}
        return [unit for word in words for unit in mark([p for run in word for p in pieces.get(run, (run,))])]

    # -- the lexicon ---------------------------------------------------------------------------------------------------

    def is_word(self, text: str) -> bool:
        """Whether the grammar makes `text`."""
        return self._segmenter.accepts(text)

    def roots(self, word: str) -> set[str]:
        """The stems of all analyses of `word`, in the form of the dictionary."""
        return {one.morphemes[0].stem for one in self.analyses(word)}

    def is_affix(self, text: str) -> bool:
        """Whether `text` is an infix or suffix, its first vowel written as a letter or as a sign."""
        return letters(text) in self._affixes

    @cached_property
    def _affixes(self) -> set[str]:
        return {m.letters for m in self.grammar.morphemes if m.kind != "prefix"}

    # -- learning ------------------------------------------------------------------------------------------------------

    def fit(self, counts: Mapping[str, int], *, rounds: int = 5, hard: bool = False, prior: float = 0.0) -> Fitted:
        """Weigh the morphemes by the words of a text: one multinomial over all, as in a Unigram model.

        Args:
            counts: how often each word is seen; those that the grammar does not make teach nothing.
            rounds: of EM, at least 1.
            hard: count on the best path alone (Viterbi training), instead of on all by their probability.
            prior: added to each count; 0 shuts out what is not seen.
        Raises: InvalidInput: `rounds` below 1, a negative `prior`, or no word that the grammar makes.
        """
        if rounds < 1 or prior < 0:
            raise InvalidInput(f"rounds={rounds} and prior={prior}; at least one round, and no prior below 0")
        words = list(counts)
        units, starts = flat(map(letters, words))
        repeats = np.array([counts[word] for word in words], np.float64)
        size = len(self.grammar.morphemes)
        costs = self.costs if self.costs.any() else np.full(size, np.log(max(size, 1)))
        objectives: list[float] = []
        for last in [*[False] * rounds, True]:
            automaton = self._segmenter.weighed(self.grammar.automaton, costs)
            if hard:
                paths = automaton.best(units, starts)
                read = np.isfinite(paths.weights)
                seen = np.bincount(paths.outputs, np.repeat(repeats, np.diff(paths.starts)), size)
                likelihood, accepted = -float(repeats[read] @ paths.weights[read]), float(repeats[read].sum())
            else:
                found = automaton.expect(units, starts, repeats, size)
                seen, likelihood, accepted = found.counts, found.log_likelihood, found.accepted
            if not accepted:
                raise InvalidInput(f"the grammar makes none of the {len(words)} words: there is nothing to weigh it by")
            objectives.append(likelihood - (prior * float(costs.sum()) if prior else 0.0))
            if not last:
                with np.errstate(divide="ignore"):
                    costs = -np.log((seen + prior) / (seen + prior).sum())
        return Fitted(self._with(costs=costs), tuple(objectives))

    def with_pieces(self, counts: Mapping[str, int], size: int) -> "SubwordGrammar":
        """The same with pieces learnt on what the grammar does not know: words that would stay whole, and unknown stems.

        Args:
            counts: how often each word is seen.
            size: pieces, at most (but all single aksharas).
        Raises: InvalidInput: the rest cuts all words already.
        """
        plain = Segmenter(self.grammar, self.costs, None, self.min_stem)
        known, words = {unit.text for unit in self.grammar.units}, list(counts)
        unknown: Counter[str] = Counter()
        for word, cut in zip(words, plain.cut(words)):
            if cut.how in ("affixes", "whole"):
                unknown.update({piece: counts[word] for piece in cut.pieces if piece not in known})
        pieces = Pieces.learn(unknown, size)
        cuts = Segmenter(self.grammar, self.costs, pieces, self.min_stem).cut(words)
        units = {unit for cut in cuts for unit in mark(cut.pieces)}.difference(self.grammar.units)
        return self._with(pieces=pieces, pieces_units=units)

    def _with(self, **changes: Any) -> "SubwordGrammar":
        same = {
            "costs": self.costs,
            "pieces": self.pieces,
            "pieces_units": self.pieces_units,
            "min_stem": self.min_stem,
        }
        return SubwordGrammar(self.grammar, **{**same, **changes}, name=self.name)

    # -- the tokenizer -------------------------------------------------------------------------------------------------

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """The units that have an id, from 257 on."""
        return tuple(dict.fromkeys([*self.grammar.units, *self.pieces_units]))

    @cached_property
    def vocab(self) -> Vocabulary:
        """The bytes and kind of each id."""
        tokens = [bytes([byte]) for byte in range(256)]
        kinds = [Kind.BYTE] * 256 + [Kind.SPECIAL] + [Kind.NORMAL] * len(self.units)
        return Vocabulary([*tokens, END_OF_TEXT, *(unit.text.encode() for unit in self.units)], kinds=kinds)

    @property
    def config(self) -> dict[str, Any]:
        return {
            "grammar": dict(self.grammar.data),
            "costs": [None if cost == inf else cost for cost in self.costs.tolist()],
            "pieces": None if self.pieces is None else dict(self.pieces.costs),
            "pieces_units": [[unit.text, unit.initial, unit.final] for unit in self.pieces_units],
            "min_stem": self.min_stem,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], name: str) -> Self:
        match config:
            case {
                "grammar": dict(data),
                "costs": list(costs),
                "pieces": dict() | None as pieces,
                "pieces_units": list(units),
                "min_stem": int(min_stem),
            }:
                return cls(
                    Grammar(data),
                    costs=[inf if cost is None else cost for cost in costs],
                    pieces=None if pieces is None else Pieces(pieces),
                    pieces_units=[Unit(*unit) for unit in units],
                    min_stem=min_stem,
                    name=name,
                )
        raise TokenizerError(f"{name}: a SubwordGrammar has grammar, costs, pieces, pieces_units and min_stem")

    @cached_property
    def _id_of(self) -> dict[Unit, int]:
        return {unit: _FIRST + k for k, unit in enumerate(self.units)}

    def _ids(self, texts: list[str], threads: int | None) -> tuple[np.ndarray, np.ndarray]:
        runs = [_RUNS.findall(text) for text in texts]
        place = {run: k for k, run in enumerate(dict.fromkeys(run for found in runs for run in found))}
        cuts = dict(zip(lettered := list(filter(_lettered, place)), self.cut(lettered)))
        known = [self._ids_of(cuts[run].pieces) if run in cuts else list(run.encode()) for run in place]
        sizes_R = np.array([len(ids) for ids in known], np.int64)
        flat_ids, begins_R = np.concatenate([np.zeros(0, np.int64), *known]), np.cumsum([0, *sizes_R])[:-1]
        which = np.fromiter((place[run] for found in runs for run in found), np.int64)
        # Token t of an occurrence is token t of its run: the runs' ids, gathered in one step.
        ends = np.cumsum(sizes_R[which])
        shift = np.repeat(begins_R[which] - (ends - sizes_R[which]), sizes_R[which])
        ids_T = flat_ids[np.arange(shift.size) + shift].astype(np.int32)
        edges = np.cumsum([0, *map(len, runs)])
        return ids_T, np.concatenate([np.zeros(1, np.int64), ends])[edges]

    def _ids_of(self, pieces: Sequence[str]) -> list[int]:
        """The id of each piece in its place, or of the same piece in another, or its bytes."""
        ids: list[int] = []
        for unit in mark(pieces):
            places = [unit, *(Unit(unit.text, i, f) for i in (True, False) for f in (True, False))]
            found = next((self._id_of[one] for one in places if one in self._id_of), None)
            ids += unit.text.encode() if found is None else [found]
        return ids

    def _ends(self, text: str, ids_T: np.ndarray) -> np.ndarray:
        return np.cumsum(self.vocab.lengths[ids_T])


def _lettered(run: str) -> bool:
    """Whether a run is one of letters, as `_RUNS` finds them."""
    return _LETTER.match(run) is not None
