"""The laws of text tokenizers and of methods that split their tokens."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..core.segmentation import Ragged, Segmentation
from ..core.tokenizer import Tokenizer, as_bytes
from ..core.vocabulary import Kind, Vocabulary

__all__ = ["check_segmenter", "check_splitter"]

#: Texts on which tokenizers usually go wrong.
HARD_TEXTS: tuple[str | bytes, ...] = (
    "",
    " ",
    "\n\n \t  \r\n",
    "Hello world",
    "  two  spaces, 1234567890 digits; <|endoftext|> </s> [SEP] ▁▁ ##ing Ġ",
    "naïve café, e\u0301 ﬁ Å \u200d\ufeff",
    "お誕生日おめでとう 漢字 தமிழ் ಕನ್ನಡ العربية हिन्दी Türkçe",
    "👩‍👩‍👧‍👦🏳️‍🌈",
    "\x00\x01\x7f",
    "\ud800 alone",
    b"\xff\xfe broken \xe4\xb8 here \xc3(",
    b"\xf0\x9f\x98",
)


def check_segmenter(tokenizer: Tokenizer, texts: Iterable[str | bytes] = HARD_TEXTS, *, lossless: bool = True) -> None:
    """A tokenizer cuts all bytes, its batches agree with single texts, and it gives the bytes back.

    Args:
        tokenizer: what is checked.
        texts: inputs.
        lossless: also require decode(encode(x)) == x, and that a token's bytes are those of its id; False for
            tokenizers that normalise.
    Raises: AssertionError: naming the law and the text.
    """
    texts = list(texts)
    segmentations = [tokenizer.encode(text) for text in texts]
    for text, seg in zip(texts, segmentations):
        assert seg.data == as_bytes(text), f"encode({text!r}) cut other bytes: {seg.data!r}"
        assert b"".join(seg.tokens()) == seg.data, f"tokens of {text!r} do not join to it"
        assert not len(seg) or seg.ids.max() < len(tokenizer.vocab), f"encode({text!r}) left the vocabulary"
        assert tokenizer.encode(text) == seg, f"encode({text!r}) differs the second time"
        if lossless:
            assert tokenizer.decode(seg.ids) == seg.data, f"decode(encode({text!r})) is {tokenizer.decode(seg.ids)!r}"
            for token, i in zip(seg.tokens(), seg.ids.tolist()):
                assert token == tokenizer.vocab[i], f"id {i} is {tokenizer.vocab[i]!r} but owns {token!r} in {text!r}"
                assert tokenizer.vocab.kinds[i] < Kind.SPECIAL, f"ordinary text {text!r} became special id {i}"
    batch = tokenizer.encode_batch(texts)
    assert len(batch) == len(texts), f"{len(texts)} texts became a batch of {len(batch)}"
    for text, seg, ids in zip(texts, segmentations, batch):
        assert np.array_equal(seg.ids, ids), f"encode_batch gives other ids than encode for {text!r}"


def check_splitter(
    make: Callable[[float], Callable[..., Any]],
    vocab: Vocabulary,
    segmentations: Iterable[Segmentation],
    *,
    proportions: Iterable[float] = (0.0, 0.1, 1.0, 5.0),
) -> None:
    """A splitter refines segmentations without touching a byte, and repeats itself from the same seed.

    Args:
        make: proportion → a splitter with `look(x, rng=…)`, for `Segmentation`, ids and `Ragged`.
        vocab: the vocabulary of all ids.
        segmentations: inputs.
        proportions: at most floor(n * proportion) tokens may be added.
    Raises: AssertionError: naming the law and the input.
    """
    for seg in segmentations:
        for proportion in proportions:
            look = make(proportion)
            out = look(seg, rng=np.random.default_rng(1))
            assert out.data == seg.data, f"{seg!r} lost bytes at {proportion}"
            assert out.is_refinement_of(seg), f"{out!r} does not refine {seg!r}"
            assert 0 <= len(out) - len(seg) <= int(np.floor(len(seg) * proportion)), f"{seg!r} grew too much"
            assert vocab.decode(out.ids) == vocab.decode(seg.ids), f"{seg!r} decodes differently at {proportion}"
            assert look(seg, rng=np.random.default_rng(1)) == out, f"{seg!r}: the same seed, another result"
            ids = look(seg.ids, rng=np.random.default_rng(1))
            assert np.array_equal(ids, out.ids), f"{seg!r}: ids alone are split differently"
            batch = look(Ragged.of([seg.ids]), rng=np.random.default_rng(1))
            assert np.array_equal(batch[0], out.ids), f"{seg!r}: a batch is split differently"
            if proportion == 0:
                assert out == seg, f"{seg!r} changed at proportion 0"
