"""Rows of a new vocabulary, by each method, against one token after the other; and WECHSEL against its authors' package.

GPT-2's vocabulary and the first 50,257 ids of cl100k where their files are found below the folder that TOKENLOOM_TEST_FILES
names; otherwise two that are trained here. Vectors are random numbers, given to both sides. A loop is timed on some of
the tokens, its rows are compared with ours, and its time is that of a token times all tokens.
"""

import importlib.util
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from clock import best
from tokenloom.core.cuts import CL100K_PATTERN
from tokenloom.core.vocabulary import Kind
from tokenloom.hosts import load_tokenizer
from tokenloom.hosts.host import HostTokenizer
from tokenloom.hosts.train import train_bpe
from tokenloom.transfer.baselines import FOCUS
from tokenloom.transfer.composition import FVT
from tokenloom.transfer.rows import Rows, shared_ids
from tokenloom.transfer.tokenadapt import TokenAdapt
from tokenloom.transfer.transplanting import Method
from tokenloom.transfer.vector_files import load_vectors
from tokenloom.transfer.wechsel import WECHSEL
from tokenloom.transfer.word_vectors import CharGrams, WordVectors, token_words
from vocabularies import SIZE, english, large_tokenizer

__all__ = ["run"]

Row = dict[int, float]


def run(quick: bool = False) -> list[dict]:
    """CPU seconds of building all rows, kernels compiled before; a loop is timed on 50 tokens, or 200."""
    runs, some = (1, 50) if quick else (3, 200)
    old, new = large_tokenizer(), _second()
    pairs = shared_ids(old.vocab, new.vocab)
    rng = np.random.default_rng(0)
    texts = {text: i for i, text in enumerate(dict.fromkeys([*_texts(old), *_texts(new)]))}
    sentences = rng.standard_normal((len(texts), 384), np.float32)
    static = rng.standard_normal((len(new.vocab), 100), np.float32)
    words = _words(rng)
    # " the" and "the" are one word with one vector, and either may be the last of the neighbours.
    same = np.unique(token_words(old.vocab), return_inverse=True)[1]
    adapted = TokenAdapt(lambda given: sentences[[texts[text] for text in given]])
    methods: dict[str, tuple[Method, Callable[[], Callable[[int], Row]], str]] = {
        "FVT": (FVT(), lambda: _fvt(old, new), ""),
        "TokenAdapt": (adapted, lambda: _tokenadapt(adapted, old, new), "sentence vectors of 384 numbers are given; "),
        "FOCUS": (FOCUS(static), lambda: _focus(static, len(old.vocab), pairs), "static vectors of 100 numbers; "),
        "WECHSEL": (WECHSEL(words, words, None), lambda: _wechsel(words, old, new), "word vectors of 100 numbers; "),
    }
    found = []
    for name, (method, loop, note) in methods.items():
        rows = method(old, new, pairs)
        seconds = best(partial(method, old, new, pairs), runs)
        one, made = loop(), np.flatnonzero(np.diff(rows.weights.indptr) * (rows.origin > 0))
        chosen = rng.permutation(made)[:some].tolist()
        _compare(name, rows, one, chosen, same if name == "WECHSEL" else np.arange(len(old.vocab)))
        each = best(lambda one=one, chosen=chosen: [one(i) for i in chosen], 1) / len(chosen)
        found.append(
            {
                "name": f"{name}, rows of {len(new.vocab):,} × {len(old.vocab):,} ids, s",
                "ours": seconds,
                "theirs": each * made.size,
                "ratio": each * made.size / seconds,
                "bar": None,
                "note": f"{note}{made.size:,} rows made; against a token at a time, {1000 * each:.2f} ms each",
            }
        )
    return [*found, *_package(old, new, pairs, rng)]


def _package(old: HostTokenizer, new: HostTokenizer, pairs: Any, rng: np.random.Generator) -> list[dict]:
    """The whole way to a table, with n-grams in a model of fastText."""
    row = {"name": "WECHSEL with tables of width 576, s", "ours": None, "theirs": None, "ratio": None, "bar": None}
    if importlib.util.find_spec("wechsel") is None:
        return [{**row, "note": "skipped: pip install wechsel==0.0.4, and what it imports"}]
    import torch
    import wechsel
    from transformers import PreTrainedTokenizerFast

    with tempfile.TemporaryDirectory() as folder:
        text, file = Path(folder, "text"), Path(folder, "vectors.bin")
        text.write_text("\n".join(english()), encoding="utf-8")
        model = wechsel.fasttext.train_unsupervised(str(text), dim=100, bucket=200_000, epoch=1, thread=1, verbose=0)
        # So little text leaves all vectors nearly parallel; random ones are as far apart as those of much text.
        model.set_matrices(rng.standard_normal(model.get_input_matrix().shape), model.get_output_matrix())
        model.save_model(str(file))
        words, hosts = load_vectors(file), []
        for tokenizer in (old, new):
            tokenizer.save(Path(folder, "tokenizer.json"))
            hosts.append(PreTrainedTokenizerFast(tokenizer_file=str(Path(folder, "tokenizer.json"))))
    table = rng.standard_normal((len(old.vocab), 576), np.float32)
    method, generator = WECHSEL(words, words, None), torch.Generator()

    def ours() -> torch.Tensor:
        return method(old, new, pairs).apply(torch.from_numpy(table), generator=generator.manual_seed(0))

    theirs: list[np.ndarray] = []

    def package() -> None:
        theirs.append(wechsel.WECHSEL(model, model, align_strategy=None).apply(*hosts, table)[0])

    seconds, there = best(ours, 2), best(package, 1)
    near = np.isclose(ours().numpy(), theirs[0], atol=1e-4).all(1)
    return [
        {
            **row,
            "ours": seconds,
            "theirs": there,
            "ratio": there / seconds,
            "note": f"against wechsel {wechsel.__version__}; {near.mean():.0%} of the rows are equal, most others drawn or with a tie for the last neighbour",
        }
    ]


def _second() -> HostTokenizer:
    """The first ids of cl100k where its file is found, otherwise learnt from Python's library alone."""
    root = os.environ.get("TOKENLOOM_TEST_FILES")
    if found := next(Path(root).rglob("cl100k_base.tiktoken"), None) if root else None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "ranks.tiktoken")
            path.write_bytes(b"".join(found.read_bytes().splitlines(keepends=True)[: SIZE - 1]))
            return load_tokenizer(path, pattern=CL100K_PATTERN, special={"<|endoftext|>": SIZE - 1})
    library = Path(os.__file__).parent
    return train_bpe(
        [path.read_bytes() for path in sorted(library.rglob("*.py"))[:1500]], SIZE, name="Python's library"
    )


def _texts(tokenizer: HostTokenizer) -> list[str]:
    """What TokenAdapt asks its encoder for."""
    return [text for i in range(len(tokenizer.vocab)) if (text := _text(tokenizer, i)) is not None]


def _text(tokenizer: HostTokenizer, i: int) -> str | None:
    try:
        return tokenizer.vocab[i].decode() if tokenizer.vocab.kinds[i] <= Kind.BYTE else None
    except UnicodeDecodeError:
        return None


def _words(rng: np.random.Generator) -> WordVectors:
    counts = Counter(word for text in english() for word in text.split()).most_common()
    grams = CharGrams(rng.standard_normal((100_000, 100), np.float32), 3, 6)
    table = rng.standard_normal((len(counts), 100), np.float32)
    return WordVectors([word for word, _ in counts], table, np.array([count for _, count in counts]), grams)


def _compare(name: str, rows: Rows, loop: Callable[[int], Row], ids: list[int], same: np.ndarray) -> None:
    """Stop where the weights of old ids, those with the same number in `same` together, are not those of the loop."""
    for i in ids:
        ours, plain = rows.weights[[i]], loop(i)
        sums = [
            np.bincount(same[list(columns)], weights, len(same))
            for columns, weights in ((ours.indices, ours.data), (plain, list(plain.values())))
        ]
        if not np.allclose(*sums, atol=1e-4):
            raise SystemExit(f"{name}: the rows of id {i} differ")


def _fvt(old: HostTokenizer, new: HostTokenizer) -> Callable[[int], Row]:
    def row(i: int) -> Row:
        ids = old.encode(new.vocab[i]).ids.tolist()
        return {j: ids.count(j) / len(ids) for j in ids}

    return row


def _tokenadapt(method: TokenAdapt, old: HostTokenizer, new: HostTokenizer) -> Callable[[int], Row]:
    texts = [_text(old, j) for j in range(len(old.vocab))]
    known = np.array([j for j, text in enumerate(texts) if text is not None])
    keys = np.zeros((len(texts), 384), np.float32)
    keys[known] = _unit(method.encoder([text for text in texts if text is not None]))
    hot = method.temperature + 1e-5

    def row(i: int) -> Row:
        text, found = _text(new, i), Counter()
        own = np.zeros(384, np.float32) if text is None else _unit(method.encoder([text]))[0]
        ids = old.encode(new.vocab[i]).ids
        lengths = np.array([_characters(old.vocab[j]) for j in ids.tolist()]) / max(1, _characters(new.vocab[i]))
        share = 0.0 if text is None else method.global_weight
        for j, weight in zip(ids.tolist(), _softmax((_softmax(keys[ids] @ own) + lengths) / 2 / hot)):
            found[j] += (1 - share) * weight
        if text is not None:
            scores = keys[known] @ own
            near = np.argpartition(scores, -method.k)[-method.k :]
            for j, weight in zip(known[near].tolist(), _softmax(scores[near] / hot)):
                found[j] += share * weight
        return found

    return row


def _focus(static: np.ndarray, width: int, pairs: Any) -> Callable[[int], Row]:
    keys = _unit(static[pairs[1]])

    def row(i: int) -> Row:
        scores = keys @ _unit(static[[i]])[0]
        ordered = -np.sort(-scores)
        sums = np.cumsum(ordered)
        support = int((1 + np.arange(1, len(scores) + 1) * ordered > sums).sum())
        weights = np.maximum(scores - (sums[support - 1] - 1) / support, 0)
        return {int(pairs[0][s]): weights[s] for s in np.flatnonzero(weights)}

    return row


def _wechsel(words: WordVectors, old: HostTokenizer, new: HostTokenizer) -> Callable[[int], Row]:
    keys, names = _unit(words.of(token_words(old.vocab))), token_words(new.vocab)

    def row(i: int) -> Row:
        # Both vocabularies have as many ids, so each row pays for one of the old vectors, too.
        _gram_vector(words, names[i])
        scores = keys @ _unit(_gram_vector(words, names[i])[None])[0]
        near = np.argpartition(scores, -10)[-10:]
        return dict(zip(near.tolist(), _softmax(scores[near] / 0.1)))

    return row


def _gram_vector(words: WordVectors, word: str) -> np.ndarray:
    grams, marked = words.grams, f"<{word}>"
    parts = [words.vectors[words.index[word]]] if word in words.index else []
    for i in range(len(marked)):
        for n in range(grams.shortest, min(grams.longest, len(marked) - i) + 1):
            h = 2166136261
            for byte in marked[i : i + n].encode():
                h = ((h ^ (byte | (0xFFFFFF00 if byte > 127 else 0))) * 16777619) & 0xFFFFFFFF
            parts.append(grams.vectors[h % len(grams.vectors)])
    return np.mean(parts, axis=0, dtype=np.float64)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-8)).astype(np.float32)


def _softmax(values: np.ndarray) -> np.ndarray:
    powers = np.exp(values - values.max())
    return powers / powers.sum()


def _characters(token: bytes) -> int:
    return sum(byte & 0xC0 != 0x80 for byte in token)


if __name__ == "__main__":
    from run import show

    show(run())
