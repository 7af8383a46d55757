"""Chunks: the stretches of a text that two tokenizers both spell with whole tokens.

Minixhofer et al. 2025, section 3: greedy exact alignment, which on byte offsets is the intersection of two sets of cuts. Differs
from the authors' code, which walks over the strings of tokens and goes astray behind a special token that only one side has.
"""
# T teacher tokens, S student tokens, C chunks, B documents of a batch

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ...core.errors import InvalidInput, SegmentationError
from ...core.segmentation import Segmentation, align
from ...core.tokenizer import Tokenizer, as_bytes
from ...core.vocabulary import Kind, Vocabulary

__all__ = ["Pairs", "Side", "boundary_ids", "chunk_numbers", "pair_segmentations", "pair_texts"]

Cuts = Literal["any", "space"]


def chunk_numbers(
    teacher: Segmentation, student: Segmentation, *, roles: Mapping[int, int] | None = None, cuts: Cuts = "any"
) -> tuple[np.ndarray, np.ndarray]:
    """The chunk of each token: numbers from 0 in the order of the text, on both sides the same.

    A token of width zero is a special one. It is a chunk with the next one on the other side, at the same place, that has its
    role; one that finds none is in no chunk.

    Args:
        teacher, student: two segmentations of the same bytes.
        roles: special id of the teacher → that of the student.
        cuts: "space" ends a chunk only where a space follows, or a pair of special tokens.
    Returns: int64 (T,) and (S,), -1 in no chunk.
    Raises: SegmentationError: the two cut different bytes.

    >>> a = Segmentation([9, 0, 1, 2], [0, 0, 2, 5, 6], b"abcdef")
    >>> b = Segmentation([7, 3, 4, 5], [0, 0, 3, 5, 6], b"abcdef")
    >>> [numbers.tolist() for numbers in chunk_numbers(a, b, roles={9: 7})]
    [[0, 1, 1, 2], [0, 1, 1, 2]]
    """
    data = teacher.data
    blocks = align(_text(teacher), _text(student))
    starts = blocks.cuts[:-1]
    special = _special_pairs(teacher, student, roles or {})
    places = teacher.offsets[special[0]]
    if cuts == "space" and starts.size:
        kept = np.frombuffer(data, np.uint8)[starts] == ord(" ")
        kept |= np.isin(starts, places)
        kept[0] = True
        starts = starts[kept]
    # Special tokens come before the text that begins where they stand.
    order = np.argsort(np.concatenate([places, starts]), kind="stable")
    number = np.empty(order.size, np.int64)
    number[order] = np.arange(order.size)
    found = []
    for seg, paired in ((teacher, special[0]), (student, special[1])):
        of_token = np.full(len(seg), -1, np.int64)
        text = np.flatnonzero(np.diff(seg.offsets))
        of_token[text] = number[places.size + np.searchsorted(starts, seg.offsets[text], side="right") - 1]
        of_token[paired] = number[: places.size]
        found.append(of_token)
    return found[0], found[1]


def _text(seg: Segmentation) -> Segmentation:
    """Without tokens of width zero."""
    wide = np.diff(seg.offsets) > 0
    return Segmentation(seg.ids[wide], np.append(seg.offsets[:-1][wide], len(seg.data)), seg.data)


def _special_pairs(
    teacher: Segmentation, student: Segmentation, roles: Mapping[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of special tokens that belong together, int64 (pairs,) each, ascending."""
    theirs = np.flatnonzero(np.diff(student.offsets) == 0).tolist()
    pairs, at = [], 0
    for i in np.flatnonzero(np.diff(teacher.offsets) == 0).tolist():
        place, wanted = teacher.offsets[i], roles.get(int(teacher.ids[i]))
        same = (k for k in range(at, len(theirs)) if student.offsets[theirs[k]] == place)
        if (k := next((k for k in same if student.ids[theirs[k]] == wanted), None)) is not None:
            pairs.append((i, theirs[k]))
            at = k + 1
    both = np.array(pairs, np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def boundary_ids(vocab: Vocabulary) -> np.ndarray:
    """Ids at which a word can end: those whose first byte is a space, a newline or a tab, and special ones; int64.

    >>> boundary_ids(Vocabulary([b"a", b" a", b"\\n"], special=[b"</s>"])).tolist()
    [1, 2, 3]
    """
    first = np.zeros(len(vocab), np.uint8)
    wide = vocab.lengths > 0
    first[wide] = vocab.buffer[vocab.offsets[:-1][wide]]
    text = np.isin(first, np.frombuffer(b" \n\t", np.uint8)) & (vocab.kinds <= Kind.BYTE)
    return np.flatnonzero(text | (vocab.kinds == Kind.SPECIAL))


@dataclass(frozen=True, eq=False)
class Side:
    """What one of two models reads of a batch.

    Args:
        ids: int64 (B, T), filled up with 0 on the right.
        lengths: tokens of each document, int64 (B,).
        chunk: of each token, counted through the batch, int64 (B, T); -1 in none.
        ends: position of the last token of each chunk in the flat (B T), int64 (C,), ascending.
        boundary: ids at which a word can end, int64.
    """

    ids: Tensor
    lengths: Tensor
    chunk: Tensor
    ends: Tensor
    boundary: Tensor


@dataclass(frozen=True, eq=False)
class Pairs:
    """Documents as two models read them, and the chunks that both agree on.

    A chunk that holds the first token of a document is none: that token is predicted by nobody.

    Args:
        teacher, student: the two sides.
        document: of each chunk, int64 (C,), ascending.
        bytes: of the documents.
    """

    teacher: Side
    student: Side
    document: Tensor
    bytes: int

    def to(self, device: torch.device | str) -> Pairs:
        """The same on another device."""
        teacher, student = (
            Side(**{name: value.to(device) for name, value in vars(side).items()})
            for side in (self.teacher, self.student)
        )
        return Pairs(teacher, student, self.document.to(device), self.bytes)


def pair_segmentations(
    pairs: Sequence[tuple[Segmentation, Segmentation]],
    vocabs: tuple[Vocabulary, Vocabulary],
    *,
    roles: Mapping[int, int] | None = None,
    cuts: Cuts = "any",
) -> Pairs:
    """A batch of documents, each as the teacher and as the student cuts it; special tokens may stand in them, of width zero.

    Args:
        pairs: the documents.
        vocabs: of the teacher and of the student.
        roles, cuts: as for `chunk_numbers`.
    Raises: SegmentationError: a document whose tokens do not spell its bytes, or of different bytes on the two sides.
        InvalidInput: a document without a token, no chunk in any of them.
    """
    numbers: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    document: list[np.ndarray] = []
    count = 0
    for k, (teacher, student) in enumerate(pairs):
        if not (len(teacher) and len(student)):
            raise InvalidInput(f"document {k} has no token")
        for vocab, seg, who in zip(vocabs, (teacher, student), ("teacher", "student")):
            _check_spelling(vocab, seg, f"document {k} of the {who}")
        mine = chunk_numbers(teacher, student, roles=roles, cuts=cuts)
        dropped = np.unique(np.concatenate([one[:1] for one in mine]))
        known = np.setdiff1d(np.unique(mine[0][mine[0] >= 0]), dropped)
        for side, one in zip(numbers, mine):
            place = np.searchsorted(known, one)
            side.append(np.where(np.isin(one, known), place + count, -1))
        document.append(np.full(known.size, k, np.int64))
        count += known.size
    if not count:
        raise InvalidInput(
            f"no chunk in {len(pairs)} documents: each needs two tokens at least, or one behind a special token"
        )
    left, right = (_side([pair[k] for pair in pairs], numbers[k], boundary_ids(vocabs[k])) for k in (0, 1))
    size = sum(len(pair[0].data) for pair in pairs)
    return Pairs(left, right, torch.from_numpy(np.concatenate(document)), size)


def pair_texts(
    texts: Sequence[str | bytes],
    teacher: Tokenizer,
    student: Tokenizer,
    *,
    start: tuple[int, int] | None = None,
    cuts: Cuts = "any",
) -> Pairs:
    """A batch of texts.

    Args:
        texts: the documents.
        teacher, student: the tokenizers of the two models.
        start: special ids that stand before each text, for the teacher and for the student; without them the first token
            of a text is not predicted.
        cuts: as for `chunk_numbers`.
    Raises: as for `pair_segmentations`.
    """
    pairs = []
    for text in texts:
        segs = [tok.encode(text) for tok in (teacher, student)]
        if start is not None:
            segs = [
                Segmentation([first, *seg.ids.tolist()], [0, *seg.offsets.tolist()], as_bytes(text))
                for first, seg in zip(start, segs)
            ]
        pairs.append((segs[0], segs[1]))
    return pair_segmentations(
        pairs, (teacher.vocab, student.vocab), cuts=cuts, roles={} if start is None else dict([start])
    )


def _check_spelling(vocab: Vocabulary, seg: Segmentation, where: str) -> None:
    """A word mark before the first token is no difference."""
    spelt = vocab.decode(seg.ids)
    if spelt not in (seg.data, b" " + seg.data):
        at = next((i for i, (a, b) in enumerate(zip(spelt, seg.data)) if a != b), min(len(spelt), len(seg.data)))
        raise SegmentationError(
            f"the tokens of {where} spell {spelt[at : at + 20]!r} at byte {at}, but the text has {seg.data[at : at + 20]!r}"
        )


def _side(segs: Sequence[Segmentation], numbers: Sequence[np.ndarray], boundary: np.ndarray) -> Side:
    width = max(len(seg) for seg in segs)
    ids = np.zeros((len(segs), width), np.int64)
    chunk = np.full_like(ids, -1)
    for row, (seg, one) in enumerate(zip(segs, numbers)):
        ids[row, : len(seg)], chunk[row, : len(seg)] = seg.ids, one
    flat = np.flatnonzero(chunk.ravel() >= 0)
    of_flat = chunk.ravel()[flat]
    ends = flat[np.append(of_flat[1:] != of_flat[:-1], True)]
    lengths = np.array([len(seg) for seg in segs], np.int64)
    return Side(*map(torch.from_numpy, (ids, lengths, chunk, ends, boundary)))
