"""The experiments: English in cipher, where every right answer is known, and German."""
# k neighbours

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

import tokenloom as tl

from ...core.tokenizer import Tokenizer
from ...core.vocabulary import Kind
from ...measure.bits import text_bits
from ...models.batches import windows
from ...transfer.baselines import train_tables_only
from ...transfer.composition import FVT, Pairs, Random
from ...transfer.neighbours import nearest
from ...transfer.rows import Origin, Rows
from ...transfer.transplanting import Method, transplant
from ...transfer.wechsel import WECHSEL, aligned
from ...transfer.word_vectors import WordVectors, token_words
from . import sources

__all__ = ["cipher", "german", "neighbours", "trial"]

SPECIAL = "<|endoftext|>"
TRAINED = ("random", "FVT", "WECHSEL, words")


@dataclass(frozen=True)
class Gaussian:
    """WECHSEL where nothing has a vector: every row but those of special tokens is drawn, dimension by dimension."""

    def __call__(self, old: Tokenizer, new: Tokenizer, pairs: Pairs) -> Rows:
        special = new.vocab.kinds[pairs[1]] == Kind.SPECIAL
        return Rows.copied(old.vocab, new.vocab, (pairs[0][special], pairs[1][special]))


@dataclass(frozen=True)
class Shuffled:
    """The control: the rows that WECHSEL makes, each given to another token."""

    method: WECHSEL
    seed: int

    def __call__(self, old: Tokenizer, new: Tokenizer, pairs: Pairs) -> Rows:
        rows = self.method(old, new, pairs)
        near = np.flatnonzero(rows.origin == Origin.NEIGHBOURS)
        other = np.random.default_rng(self.seed).permutation(near)
        return rows.with_rows(near, rows.weights[other], Origin.NEIGHBOURS)


def trial(kind: str, **settings: Any) -> dict[str, Any]:
    """One of the three."""
    trials: dict[str, Callable[..., dict[str, Any]]] = {"neighbours": neighbours, "cipher": cipher, "german": german}
    return trials[kind](**settings)


@dataclass(frozen=True)
class _Ciphered:
    """A text of which one half was put into cipher, and a held-out part in both forms; a tokenizer of the half in cipher."""

    plain: list[str]
    secret: list[str]
    test: list[str]
    test_secret: list[str]
    encipher: Callable[[str], str]
    tokenizer: Tokenizer

    @classmethod
    def of(cls, archives: str | None, ids: int, scored: int, rng: np.random.Generator) -> _Ciphered:
        paragraphs = sources.prose(archives)
        paragraphs = [paragraphs[i] for i in rng.permutation(len(paragraphs))]
        test, rest = _held_out(paragraphs, scored)
        encipher = invented(paragraphs, rng)
        secret = [encipher(text) for text in rest[1::2]]
        tokenizer = tl.BPE(ids, special=(SPECIAL,))(secret)
        return cls(rest[::2], secret, test, [encipher(text) for text in test], encipher, tokenizer)

    def vectors(self, *, grams: bool, epochs: int, seed: int) -> tuple[WordVectors, WordVectors]:
        """Of the two halves, which share no text."""
        one, other = (
            sources.trained(texts, grams=grams, epochs=epochs, seed=seed) for texts in (self.plain, self.secret)
        )
        return one, other

    def shuffled_words(self, one: WordVectors, other: WordVectors, rng: np.random.Generator) -> list[str]:
        """The words that have a vector in both halves."""
        common = [word for word in one.words if self.encipher(word) in other.index and word.isalpha()]
        return [common[i] for i in rng.permutation(len(common))]


def neighbours(
    archives: str | None, folder: str, seed: int, ids: int, epochs: int, pairs: list[int], scored: int
) -> dict[str, Any]:
    """How often the right word is among ten neighbours, by the size of the dictionary; asked are words that it does not hold."""
    rng = np.random.default_rng(seed)
    text = _Ciphered.of(archives, ids, scored, rng)
    _, old = sources.language_model(archives, folder, sources.prose(archives))
    one, other = text.vectors(grams=False, epochs=epochs, seed=seed)
    words = text.shuffled_words(one, other, rng)
    dictionary = [(word, text.encipher(word)) for word in words[: max(pairs)]]
    # The dictionary is looked up in other cases, too.
    taught = {word.lower() for word, _ in dictionary}
    asked = {text.encipher(word): {word} for word in words if word.lower() not in taught}
    found = {n: _right(old, text.tokenizer, one, other, dictionary[:n], asked) for n in pairs}
    return {"accuracy": {str(n): right for n, (right, _) in found.items()}, "asked": found[max(pairs)][1]}


def cipher(
    archives: str | None, folder: str, seed: int, ids: int, epochs: int, pairs: int, scored: int, steps: int
) -> dict[str, Any]:
    """Learn two spaces from disjoint halves of a text, one of them in cipher, and transplant a model that knows English.

    With `steps` the tables of some of the transplanted models are then trained on the half in cipher.
    """
    rng = np.random.default_rng(seed)
    text = _Ciphered.of(archives, ids, scored, rng)
    model, old = sources.language_model(archives, folder, sources.prose(archives))
    spaces = {kind: text.vectors(grams=kind == "n-grams", epochs=epochs, seed=seed) for kind in ("n-grams", "words")}
    dictionary = [(word, text.encipher(word)) for word in text.shuffled_words(*spaces["words"], rng)[:pairs]]
    wechsel = {kind: WECHSEL(one, other, dictionary) for kind, (one, other) in spaces.items()}
    methods: dict[str, Method] = {
        "random": Random(),
        "Gaussian": Gaussian(),
        "FVT": FVT(),
        **{f"WECHSEL, {kind}": method for kind, method in wechsel.items()},
        "neighbours shuffled": Shuffled(wechsel["words"], seed),
        "WECHSEL, words, shared kept": replace(wechsel["words"], copy_shared=True),
    }
    bits = {"English, untouched": _bits(model, old, text.test), "old tokenizer": _bits(model, old, text.test_secret)}
    lessons = text.tokenizer.encode_batch(text.secret).ids
    return _transplants(model, old, text.tokenizer, methods, text.test_secret, bits, seed, lessons, steps)


def german(archives: str | None, folder: str, seed: int, ids: int, epochs: int, scored: int) -> dict[str, Any]:
    """Give the model a German tokenizer, with vectors of two kinds of its own and with those of XLM-R's pieces."""
    rng = np.random.default_rng(seed)
    english, deutsch = sources.verses(archives)
    model, old = sources.language_model(archives, folder, english)
    order = rng.permutation(len(english))
    test, rest = _held_out([deutsch[i] for i in order], scored)
    english = [english[i] for i in order[len(test) :]]
    new = tl.BPE(ids, special=(SPECIAL,))(rest)
    every = sources.dictionary(archives)
    words = sorted({pair[0] for pair in every})
    hidden = {words[i] for i in rng.permutation(len(words))[: len(words) // 4]}
    dictionary = [pair for pair in every if pair[0] not in hidden]
    # The dictionary is looked up in other cases, too.
    known = {other.lower() for _, other in dictionary}
    asked: dict[str, set[str]] = {}
    for one, other in every:
        if one in hidden and other.lower() not in known:
            asked.setdefault(other, set()).add(one)
    spaces: dict[str, tuple[WordVectors, WordVectors, list[tuple[str, str]] | None]] = {}
    for kind in ("n-grams", "words"):
        ours, theirs = (
            sources.trained(texts, grams=kind == "n-grams", epochs=epochs, seed=seed) for texts in (english, rest)
        )
        spaces[kind] = ours, theirs, dictionary
    if archives is not None:
        ours, theirs = (sources.xlmr_vectors(archives, sources.counted(texts)) for texts in (english, rest))
        spaces |= {"XLM-R": (ours, theirs, None), "XLM-R, aligned": (ours, theirs, dictionary)}
    found: dict[str, Any] = {"accuracy": {}, "asked": {}}
    for kind, space in spaces.items():
        found["accuracy"][kind], found["asked"][kind] = _right(old, new, *space, asked)
    wechsel = {kind: WECHSEL(*space) for kind, space in spaces.items()}
    methods: dict[str, Method] = {
        "random": Random(),
        "Gaussian": Gaussian(),
        "FVT": FVT(),
        **{f"WECHSEL, {kind}": method for kind, method in wechsel.items()},
        "neighbours shuffled": Shuffled(wechsel["n-grams"], seed),
        "WECHSEL, n-grams, shared kept": replace(wechsel["n-grams"], copy_shared=True),
    }
    bits = {"old tokenizer": _bits(model, old, test)}
    return {**found, **_transplants(model, old, new, methods, test, bits, seed, np.zeros(0, np.int32), 0)}


def invented(texts: Sequence[str], rng: np.random.Generator) -> Callable[[str], str]:
    """A cipher: each word of the texts, whatever its case, becomes another of as many letters, drawn at random."""
    words = sorted({word.lower() for text in texts for word in re.findall("[A-Za-z]+", text)})
    table: dict[str, str] = {}
    taken: set[str] = set()
    for word in words:
        while (other := "".join(map(chr, rng.integers(97, 123, len(word))))) in taken:
            pass
        taken.add(other)
        table[word] = other

    def one(match: re.Match[str]) -> str:
        word = match.group()
        other = table[word.lower()]
        if word.isupper() and len(word) > 1:
            return other.upper()
        return other.capitalize() if word[0].isupper() else other

    return lambda text: re.sub("[A-Za-z]+", one, text)


def _held_out(texts: list[str], scored: int) -> tuple[list[str], list[str]]:
    """Texts of at least `scored` bytes in all, none much longer than the others; and the rest."""
    number = int(np.searchsorted(np.cumsum([min(len(text.encode()), 2000) for text in texts]), scored)) + 1
    return [text[:2000] for text in texts[:number]], texts[number:]


def _right(
    old: Tokenizer, new: Tokenizer, one: WordVectors, other: WordVectors, dictionary: list[tuple[str, str]] | None,
    asked: dict[str, set[str]],
) -> tuple[float, int]:  # fmt: skip
    """How many of the new tokens that are an asked word have one of its translations among ten neighbours; and of how many."""
    vectors_OD, vectors_ND = aligned(old, new, one, other, dictionary)
    of_old, of_new = token_words(old.vocab), token_words(new.vocab)
    there = {word for word, vector in zip(of_old, np.asarray(vectors_OD.any(axis=1)).tolist()) if vector}
    # Each word once, by the token that stands inside a text, where there is one.
    token = {
        word: i
        for i, word in enumerate(of_new)
        if vectors_ND[i].any() and asked.get(word, set()) & there and (new.vocab[i][:1] == b" ")
    }
    if not token:
        return 0.0, 0
    _, near = nearest(vectors_ND[list(token.values())], vectors_OD, 10)
    hits = [bool(asked[word] & {of_old[i] for i in row}) for word, row in zip(token, near.tolist())]
    return float(np.mean(hits)), len(hits)


def _bits(model: Any, tokenizer: Tokenizer, texts: list[str]) -> float:
    data = [text.encode() for text in texts]
    start = tokenizer.vocab.id_of(SPECIAL.encode())
    return text_bits(model, tokenizer.encode_batch(data), data, length=512, start=start, batch=1)


def _transplants(
    model: Any, old: Tokenizer, new: Tokenizer, methods: dict[str, Method], test: list[str], bits: dict[str, float], seed: int,
    lessons: np.ndarray, steps: int,
) -> dict[str, Any]:  # fmt: skip
    """Bits per byte of the model with each method's rows, without any training; and of some after a little of it."""
    import torch

    from ...models.training import train

    rows, trained = {}, {}
    for name, method in methods.items():
        moved = copy.deepcopy(model)
        done = transplant(moved, new, old=old, method=method, generator=torch.Generator().manual_seed(seed))
        bits[name], rows[name] = _bits(moved, new, test), done.rows.counts()
        if steps and name in TRAINED:
            train_tables_only(moved)
            batches = windows(lessons, length=256, batch=1, rng=np.random.default_rng(seed))
            losses = train(moved, batches, steps=steps, warmup=steps // 10, weight_decay=0.0, seed=seed).losses
            trained[name] = {"bits": _bits(moved, new, test), "losses": losses.tolist()}
    size = sum(len(text.encode()) for text in test)
    tokens = {"old": int(old.encode_batch(test).ids.size), "new": int(new.encode_batch(test).ids.size)}
    scored = tokens["new"] * len(methods) + 256 * steps * len(trained)
    return {"bits": bits, "rows": rows, "trained": trained, "bytes": size, "tokens": tokens, "scored": scored}
