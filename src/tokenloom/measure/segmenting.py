"""Many texts as one segmentation: what metrics over a corpus read."""

from collections.abc import Sequence

import numpy as np

from ..core.segmentation import Ragged, Segmentation
from ..core.tokenizer import Tokenizer, as_bytes
from ..core.vocabulary import Vocabulary
from ..hosts.offsets import ends_by_length

__all__ = ["segment", "spelled"]


def segment(tokenizer: Tokenizer, texts: Sequence[str], batch: Ragged | None = None) -> Segmentation:
    """The segmentation of all texts one after the other, each cut by itself; the ids of `encode_batch`.

    Args:
        texts: may be empty.
        batch: what `encode_batch` made of them, where that is known already.
    Raises: TokenizerError: the vocabulary has no token for some of a text.

    >>> from tokenloom.hosts import load_tokenizer
    >>> segment(load_tokenizer("bytes"), ["né", "e"]).offsets.tolist()
    [0, 1, 2, 3, 4]
    """
    batch = tokenizer.encode_batch(texts) if batch is None else batch
    parts = list(map(as_bytes, texts))
    data = b"".join(parts)
    edges = np.cumsum([0, *map(len, parts)])
    spells = getattr(tokenizer, "spells", True)
    ends = ends_by_length(tokenizer.vocab, batch.ids, data) if spells and batch.ids.size else None
    offsets = None if ends is None else np.concatenate([np.zeros(1, np.int64), ends])
    if offsets is None or offsets[0] or not np.array_equal(offsets[batch.starts], edges):
        # Not spelled by its tokens: a mark put before a text, a normaliser, ids of several forms. Each is looked at by itself.
        offsets = np.zeros(batch.ids.size + 1, np.int64)
        for i, text in enumerate(texts):
            begin, end = batch.starts[i : i + 2]
            ids = batch.ids[begin:end]
            own = ends_by_length(tokenizer.vocab, ids, parts[i]) if spells and ids.size else None
            offsets[begin + 1 : end + 1] = edges[i] + (tokenizer.encode(text).offsets[1:] if own is None else own)
    return Segmentation(batch.ids, offsets, data)


def spelled(vocab: Vocabulary, seg: Segmentation) -> np.ndarray:
    """Whether the bytes of each token are those that it owns in the text: bool (tokens,).

    They are not where a tokenizer normalises or drops text, or has only the unknown token for it. A word mark that is not in
    the text is no difference.

    >>> spelled(Vocabulary([b"a", b" b"]), Segmentation([1, 0, 0], [0, 1, 2, 3], b"bac")).tolist()
    [True, True, False]
    """
    begins, owned, lengths = seg.offsets[:-1], np.diff(seg.offsets), vocab.lengths[seg.ids]
    firsts = vocab.offsets[seg.ids]
    mark = (lengths == owned + 1) & (np.append(vocab.buffer, 0)[firsts] == 0x20)
    same = (lengths == owned) | mark
    data = np.frombuffer(seg.data, np.uint8)
    # Byte k of token i in the text and in the vocabulary, for all bytes of those of the same length.
    count = np.where(same, owned, 0)
    inner = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    there = data[np.repeat(begins, count) + inner]
    here = vocab.buffer[np.repeat(firsts + mark, count) + inner]
    same[np.repeat(np.arange(len(seg)), count)[there != here]] = False
    return same
