"""MinED, a baseline: the teacher's distribution over next tokens, carried over to the student's vocabulary by edit distance.

Wan et al. 2024 (FuseLLM, arXiv 2401.10491), as Minixhofer et al. 2025 compare with it: each token of the student answers to the
token of the teacher with the least edit distance. Positions are those behind a chunk, where both models have read the
same text; the originals align them by edit distance as well.
"""
# O old ids (teacher), N new ids (student), C chunks, P positions of a block

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from numba import njit
from torch import Tensor

from ...core.errors import InvalidInput
from ...core.vocabulary import Kind, Vocabulary
from ..rows import shared_ids
from .chunks import Pairs
from .scores import Scores, by_blocks, logits

__all__ = ["MinED", "nearest_tokens"]


def nearest_tokens(old: Vocabulary, new: Vocabulary, roles: dict[int, int] | None = None) -> np.ndarray:
    """For each new id the old one with the least edit distance in bytes; of equals the lowest. Special ones keep to themselves.

    Args:
        old, new: the vocabularies.
        roles: special id of the new vocabulary → that of the old one with the same role.
    Returns: old ids, int64 (N,).
    Raises: InvalidInput: an old vocabulary without text, or without special tokens while the new one has others.

    >>> nearest_tokens(Vocabulary([b"a", b"cat", b"cart"]), Vocabulary([b"cat", b"carts", b"b"])).tolist()
    [1, 2, 0]
    """
    old_ids, new_ids = shared_ids(old, new, roles)
    found = np.full(len(new), -1, np.int64)
    found[new_ids] = old_ids
    for special in (False, True):
        rest = np.flatnonzero((found < 0) & ((new.kinds >= Kind.SPECIAL) == special))
        known = np.flatnonzero(old.kinds == Kind.SPECIAL if special else old.kinds <= Kind.BYTE)
        if rest.size and not known.size:
            raise InvalidInput(f"new id {rest[0]} has no old token of its kind to answer to")
        # By length, so that the search begins with the likeliest and stops where no length can be near enough.
        known = known[np.argsort(old.lengths[known], kind="stable")]
        firsts = np.searchsorted(old.lengths[known], np.arange(int(old.lengths.max()) + 2))
        found[rest] = _nearest(new.buffer, new.offsets, rest, old.buffer, old.offsets, known, firsts)
    return found


@njit(cache=True, nogil=True)
def _nearest(new_bytes, new_offsets, rest, old_bytes, old_offsets, known, firsts):
    """`known` ascends by length; those of length l are known[firsts[l] : firsts[l + 1]]."""
    found = np.empty(rest.size, np.int64)
    longest = firsts.size - 2
    for r in range(rest.size):
        token = new_bytes[new_offsets[rest[r]] : new_offsets[rest[r] + 1]]
        row = np.empty(token.size + 1, np.int64)
        best, choice = np.int64(1 << 40), np.int64(-1)
        for gap in range(max(token.size, longest) + 1):
            if gap > best:
                break
            for sign in range(2 if gap else 1):
                length = token.size + (gap if sign else -gap)
                if length < 0 or length > longest:
                    continue
                for k in range(firsts[length], firsts[length + 1]):
                    other = old_bytes[old_offsets[known[k]] : old_offsets[known[k] + 1]]
                    distance = _distance(token, other, row, best)
                    if distance < best or (distance == best and known[k] < choice):
                        best, choice = distance, known[k]
        found[r] = choice
    return found


@njit(cache=True, nogil=True)
def _distance(a, b, row, enough):
    """Levenshtein distance, or something above `enough` as soon as it must be."""
    for j in range(a.size + 1):
        row[j] = j
    for i in range(b.size):
        before, row[0] = row[0], i + 1
        least = row[0]
        for j in range(a.size):
            value = min(before + (a[j] != b[i]), row[j] + 1, row[j + 1] + 1)
            before, row[j + 1] = row[j + 1], value
            least = min(least, value)
        if least > enough:
            return least
    return row[a.size]


@dataclass(frozen=True, eq=False)
class MinED:
    """KL(teacher || student) of the next token behind each chunk, the teacher's distribution being over the student's ids.

    Each id of the student gets the logit of the teacher's token that it answers to; the softmax is over the student's ids.

    Args:
        nearest: as `nearest_tokens` gives it, int64 (N,).
        block: positions whose logits are held together.
    """

    nearest: Tensor
    block: int = 512

    def __call__(self, teacher: Scores, student: Scores, pairs: Pairs) -> Tensor:
        """The mean over chunks, a scalar, float32, in nats."""
        if student.head.out_features != len(self.nearest):
            raise InvalidInput(
                f"the student knows {student.head.out_features} ids, but {len(self.nearest)} have a nearest token"
            )

        def apart(theirs_PD: Tensor, ours_PD: Tensor) -> tuple[Tensor]:
            target_PN = logits(teacher.head, theirs_PD, self.nearest).detach().log_softmax(-1)
            said_PN = logits(student.head, ours_PD).log_softmax(-1)
            return (F.kl_div(said_PN, target_PN, reduction="none", log_target=True).sum(-1),)

        states = (
            said.states.flatten(0, 1)[side.ends] for said, side in ((teacher, pairs.teacher), (student, pairs.student))
        )
        return by_blocks(apart, *states, block=self.block)[0].mean()
