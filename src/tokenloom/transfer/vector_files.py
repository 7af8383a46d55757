"""Files of word vectors: the text format of word2vec, GloVe and fastText, the binary format of fastText, and numpy's."""
# W words, D width

import gzip
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..core.errors import CorpusError
from ..core.store import atomic_write
from .word_vectors import CharGrams, WordVectors

__all__ = ["load_vectors", "save_vectors"]

_MAGIC, _VERSION = 793712314, 12


def load_vectors(path: str | Path, *, limit: int | None = None) -> WordVectors:
    """Read word vectors; the ending of the name says in which format.

    .bin
    : a model of fastText, with counts and n-grams; its tables are mapped from the disk, not copied.

    .npz
    : arrays `words` (strings) and `vectors` (W, D), `counts` (W,) if known, and for n-grams `grams` (buckets, D) and `lengths`, the
      shortest and the longest; as `save_vectors` writes it.

    all else (.vec, .txt, also .gz)
    : a word and its values on each line, behind a line of the two sizes or not; of equal words the first stays.

    Where counts are not known, Zipf's law takes their place: a word's count is 1 / its rank.

    Args:
        limit: words to read at most, the most frequent; None for all.
    Raises: CorpusError: the file cannot be read, or is not of its format.
    """
    path = Path(path)
    try:
        if path.suffix == ".bin":
            with path.open("rb") as file:
                return _fasttext(file, path, limit)
        if path.suffix == ".npz":
            return _numpy(path, limit)
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return _text(file, path, limit)
    except (OSError, EOFError, KeyError, ValueError, struct.error) as error:
        raise CorpusError(f"{path} cannot be read as word vectors: {error}") from error


def save_vectors(vectors: WordVectors, path: str | Path) -> None:
    """Write an .npz that `load_vectors` reads.

    Raises: CorpusError: the name ends in something else.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise CorpusError(f"{path}: word vectors are saved as .npz")
    arrays: dict[str, Any] = {"words": np.array(vectors.words), "vectors": vectors.vectors, "counts": vectors.counts}
    if (grams := vectors.grams) is not None:
        arrays |= {"grams": grams.vectors, "lengths": np.array([grams.shortest, grams.longest])}
    with atomic_write(path) as file:
        np.savez(file, **arrays)


def _zipf(n: int) -> np.ndarray:
    return 1 / np.arange(1, n + 1)


def _numpy(path: Path, limit: int | None) -> WordVectors:
    with np.load(path, allow_pickle=False) as file:
        words = file["words"][:limit].tolist()
        counts = file["counts"][:limit] if "counts" in file else _zipf(len(words))
        grams = CharGrams(file["grams"], *file["lengths"].tolist()) if "grams" in file else None
        return WordVectors(words, file["vectors"][:limit], counts, grams)


def _text(file: Iterable[bytes], path: Path, limit: int | None) -> WordVectors:
    rows: dict[str, np.ndarray] = {}
    width = 0
    for number, line in enumerate(file, 1):
        parts = line.decode("utf-8", "replace").rstrip().split(" ")
        if number == 1 and len(parts) == 2:
            width = int(parts[1])
            continue
        width = width or len(parts) - 1
        # A word may hold spaces itself, so the values are taken from the right.
        word = " ".join(parts[:-width])
        if len(parts) <= width:
            raise CorpusError(
                f"{path}: line {number} has {len(parts) - 1} values; {width} are expected behind the word"
            )
        if word not in rows:
            rows[word] = np.array(parts[-width:], np.float32)
        if len(rows) == limit:
            break
    if not rows:
        raise CorpusError(f"{path} holds no word vectors")
    return WordVectors(list(rows), np.stack(list(rows.values())), _zipf(len(rows)))


def _fasttext(file: BinaryIO, path: Path, limit: int | None) -> WordVectors:
    magic, version = struct.unpack("<2i", file.read(8))
    if (magic, version) != (_MAGIC, _VERSION):
        raise CorpusError(f"{path} is no fastText model of format {_VERSION}")
    settings = struct.unpack("<12id", file.read(56))
    width, buckets, shortest, longest = settings[0], *settings[8:11]
    entries, n_words, _, _, pruned = struct.unpack("<3i2q", file.read(28))
    words, counts = [], []
    for _ in range(entries):
        word = bytearray()
        while (byte := file.read(1)) not in (b"\0", b""):
            word += byte
        count, _ = struct.unpack("<qb", file.read(9))
        words.append(word.decode("utf-8", "ignore"))
        counts.append(count)
    quantized = file.read(8 * max(0, pruned) + 1)[-1:]
    rows, columns = struct.unpack("<2q", file.read(16))
    if quantized != b"\0" or columns != width or rows != n_words + buckets:
        raise CorpusError(f"{path} is quantized or has no table of {n_words + buckets} × {width}; give the full model")
    table = np.memmap(path, "<f4", "r", file.tell(), (rows, width))
    # Words that are not UTF-8 may become the same; the first, more frequent one stays.
    first = dict(reversed([(word, i) for i, word in enumerate(words[:n_words][:limit])]))
    kept = sorted(first.values())
    grams = CharGrams(table[n_words:], shortest, longest) if longest and buckets else None
    # A slice stays on the disk; a choice is copied.
    own = table[: len(kept)] if kept[-1:] == [len(kept) - 1] else table[kept]
    return WordVectors([words[i] for i in kept], own, np.maximum(np.array(counts)[kept], 1), grams)
