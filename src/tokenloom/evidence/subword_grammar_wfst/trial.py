"""One trial: strings held out, the grammar weighed on the others, and compared with learnt units on what is held out."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import tokenloom as tl

from ...core.pair_merging import merge_pieces, pair_table
from ...tokenize.text.bpe import Pieces as CountedPieces
from ...tokenize.text.bpe import learn_merges
from ...tokenize.text.subword_grammar_wfst import STEPS, Grammar, Pieces, SubwordGrammar, Unit, glue, mark
from ...tokenize.text.subword_grammar_wfst.recogniser import Channel, Move, Recogniser, phones
from ...tokenize.text.subword_grammar_wfst.script import AKSHARA, letters, spell
from .sources import sentences, stems

__all__ = ["NOISE", "OWN", "SYSTEMS", "trial"]

NOISE = {"error": 0.1, "loss": 0.03, "gain": 0.03}
SYSTEMS = ("closed word list", "BPE units", "Unigram units", "grammar's units, positions", "grammar's units, grammar")

OWN = SYSTEMS[-1].partition(",")[0]

Cuts = dict[str, tuple[str, ...]]
Cutter = Callable[[Sequence[str]], Cuts]


def trial(archives: str | None, language: str, seed: int, held_out: float, pieces: int, spoken: int) -> dict[str, Any]:
    """Hold out strings, weigh the grammar on the others, and compare on what is held out."""
    folder = None if archives is None else Path(archives)
    shown, other = sentences(language, folder)
    if not other:
        shown, other = [], shown
    rng = np.random.default_rng(seed)
    other = [other[i] for i in rng.permutation(len(other))]
    test, train = other[: int(held_out * len(other))], [*shown, *other[int(held_out * len(other)) :]]
    counts = Counter(word for sentence in train for word in sentence)
    forms = sorted({word for sentence in test for word in sentence})
    unseen = [word for word in forms if word not in counts]
    grammars = {"written by hand": Grammar.of(language)}
    if language == "tamil" and folder is not None:
        grammar = grammars["written by hand"]
        for category, lists in stems(folder).items():
            grammar = grammar.with_stems(category, lists)
        grammars["and stems of tamilmorph"] = grammar
    weighed = {
        name: SubwordGrammar(grammar).fit(counts, prior=0.1).grammar.with_pieces(counts, pieces)
        for name, grammar in grammars.items()
    }
    changed = [_changed(word, rng) for word in unseen]
    best = weighed[list(weighed)[-1]]
    known = list({**counts, **dict.fromkeys(forms)})
    cuts = dict(zip(known, best.cut(known)))
    by_grammar = {word: cut.pieces for word, cut in cuts.items()}
    amount = len({unit for word in counts for unit in mark(by_grammar[word])})
    segmented: dict[str, Cuts] = {
        "closed word list": {word: (word,) for word in known},
        "BPE units": _sized(_bpe, counts, known, amount),
        "Unigram units": _sized(_unigram, counts, known, amount),
        OWN: by_grammar,
    }
    bytes_bpe = tl.BPE(257 + amount)(" ".join(sentence) for sentence in train)
    return {
        "steps": {name: _steps(one, unseen) for name, one in weighed.items()},
        "changed": {name: _steps(one, changed) for name, one in weighed.items()},
        "pieces": {
            **{name: float(np.mean([len(cut[word]) for word in forms])) for name, cut in segmented.items()},
            "byte-level BPE": float(bytes_bpe.encode_batch([" " + word for word in forms]).lengths.mean()),
        },
        "outside": {name: _outside(cut, counts, forms, amount) for name, cut in segmented.items()},
        **_recognise(train, test, segmented, {w: c.states for w, c in cuts.items()}, set(counts), spoken, rng),
        "units": amount,
        "units_of": {
            name: len({unit for word in counts for unit in mark(cut[word])}) for name, cut in segmented.items()
        },
        "forms": len(forms),
        "unseen_forms": len(unseen),
        "bytes": sum(len(" ".join(sentence).encode()) for sentence in [*train, *test]),
    }


def _steps(grammar: SubwordGrammar, words: Sequence[str]) -> dict[str, float]:
    """Share of words that each step cuts."""
    found = Counter(cut.how for cut in grammar.cut(words))
    return {step: found[step] / max(1, len(words)) for step in STEPS}


def _changed(word: str, rng: np.random.Generator) -> str:
    """The word with one of its letters, drawn at random, replaced by another letter of it or one near it in the alphabet."""
    form = letters(word)
    at = int(rng.integers(len(form)))
    consonants = "கசடதபமயரலவளழணநனற" if ord(form[0]) < 0x0C80 else "ಕಗಚಜಟಡತದನಪಬಮಯರಲವಶಸಹಳ"
    vowels = "அஆஇஈஉஊஎஏஐஒஓ" if ord(form[0]) < 0x0C80 else "ಅಆಇಈಉಊಎಏಐಒಓ"
    choice = [c for c in (vowels if form[at] in vowels else consonants) if c != form[at]]
    return spell(form[:at] + choice[int(rng.integers(len(choice)))] + form[at + 1 :])


def _outside(cut: Cuts, counts: Counter[str], forms: Sequence[str], amount: int) -> float:
    """Share of forms that need a unit which is not among the `amount` most frequent of the training words."""
    seen: Counter[Unit] = Counter()
    for word, count in counts.items():
        for unit in mark(cut[word]):
            seen[unit] += count
    kept = set(sorted(seen, key=lambda unit: (-seen[unit], unit))[:amount])
    return float(np.mean([not kept.issuperset(mark(cut[word])) for word in forms]))


def _sized(
    learn: Callable[[Counter[str], int], Cutter], counts: Counter[str], known: Sequence[str], amount: int
) -> Cuts:
    """The cuts of the learner whose marked units on the training words come nearest to `amount`, by halving."""
    low, high = 1, amount
    best: Cuts = {word: (word,) for word in known}
    nearest = float("inf")
    for _ in range(7):
        size = (low + high) // 2
        cut = learn(counts, size)(known)
        units = len({unit for word in counts for unit in mark(cut[word])})
        if abs(units - amount) < nearest:
            nearest, best = abs(units - amount), cut
        low, high = (size, high) if units < amount else (low, size)
    return best


def _unigram(counts: Counter[str], size: int) -> Cutter:
    model = Pieces.learn(counts, size)

    def cut(words: Sequence[str]) -> Cuts:
        found = model.cut([AKSHARA.findall(word) for word in words])
        return {word: tuple(pieces or AKSHARA.findall(word)) for word, pieces in zip(words, found)}

    return cut


def _bpe(counts: Counter[str], size: int) -> Cutter:
    """BPE over aksharas, so that its units can be pronounced."""
    split = {word: AKSHARA.findall(word) for word in counts}
    number = {akshara: k for k, akshara in enumerate(sorted({a for parts in split.values() for a in parts}))}
    units = np.array([number[a] for parts in split.values() for a in parts], np.int32)
    starts = np.cumsum([0, *map(len, split.values())])
    merges = learn_merges(CountedPieces(units, starts, np.array([counts[word] for word in split])), len(number), size)
    table = pair_table(merges, np.arange(len(merges)) + len(number))
    spelt = list(number)
    for left, right in merges.tolist():
        spelt.append(spelt[left] + spelt[right])

    def cut(words: Sequence[str]) -> Cuts:
        found = {}
        for word in words:
            parts = AKSHARA.findall(word)
            if all(akshara in number for akshara in parts):
                merged, _ = merge_pieces(
                    np.array([number[a] for a in parts], np.int32), np.array([0, len(parts)]), *table
                )
                parts = [spelt[unit] for unit in merged.tolist()]
            found[word] = tuple(parts)
        return found

    return cut


def _recognise(
    train: Sequence[Sequence[str]],
    test: Sequence[Sequence[str]],
    segmented: dict[str, Cuts],
    states: dict[str, tuple[tuple[int, str], ...]],
    known: set[str],
    spoken: int,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Word errors of each system on the same noisy phones."""
    sounds = "".join(sorted({phone for sentence in [*train, *test] for word in sentence for phone in phones(word)}))
    channel = Channel.random(sounds, rng, **NOISE)
    said = [sentence for sentence in test if 2 <= len(sentence) <= 8][:spoken]
    heard = [channel("".join(map(phones, sentence)), rng) for sentence in said]
    errors: dict[str, dict[str, float]] = {"wer": {}, "seen": {}, "unseen": {}}
    for system in SYSTEMS:
        name = system.partition(",")[0]
        moves = {
            word: Move.of(mark(segmented[name][word]), states[word] if system == SYSTEMS[-1] else None)
            for word in known
        }
        recogniser = Recogniser([move for word in sentence for move in moves[word]] for sentence in train)
        wrong, total = 0, 0
        right: dict[bool, list[bool]] = {True: [], False: []}
        for sentence, sound in zip(said, heard):
            distance, hits = _aligned(sentence, glue(recogniser(sound, channel)))
            wrong, total = wrong + distance, total + len(sentence)
            for word, hit in zip(sentence, hits):
                right[word in known].append(hit)
        errors["wer"][system] = wrong / total
        errors["seen"][system] = 1 - float(np.mean(right[True] or [True]))
        errors["unseen"][system] = 1 - float(np.mean(right[False] or [True]))
    return {**errors, "spoken": len(said), "spoken_words": total, "spoken_unseen": len(right[False])}


def _aligned(said: Sequence[str], found: Sequence[str]) -> tuple[int, list[bool]]:
    """Levenshtein distance of two word sequences, and which words of the first are found by one best alignment."""
    table = np.zeros((len(said) + 1, len(found) + 1), np.int64)
    table[:, 0], table[0] = np.arange(len(said) + 1), np.arange(len(found) + 1)
    for i, one in enumerate(said, 1):
        for j, two in enumerate(found, 1):
            table[i, j] = min(table[i - 1, j - 1] + (one != two), table[i - 1, j] + 1, table[i, j - 1] + 1)
    hits, i, j = [False] * len(said), len(said), len(found)
    while i and j:
        if table[i, j] == table[i - 1, j - 1] + (said[i - 1] != found[j - 1]):
            i, j = i - 1, j - 1
            hits[i] = said[i] == found[j]
        elif table[i, j] == table[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1
    return int(table[-1, -1]), hits
