"""Whether a tokenizer cuts a wrong and the right text at the same places, as models that correct text would like.

Bommarito, Katz, Bommarito 2025 (KL3M tokenizers), arXiv 2503.17247, claim it of short tokens and show one sentence; the
measure is ours. Two texts are aligned by the fewest edits of characters, and the cuts of the correct one are looked for at
the same places of the noisy one.
"""
# N, M characters of the correct and the noisy text

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
from numba import njit

from ..core.cuts import byte_positions
from ..core.errors import InvalidInput
from ..core.tokenizer import Tokenizer

__all__ = ["CharacterAlignment", "Stability", "align_characters", "boundary_stability"]

_MOST = 1 << 28  # cells of the table of distances


@dataclass(frozen=True)
class Stability:
    """Counts over pairs of texts, which add up.

    Args:
        cuts: inner token boundaries of the correct texts.
        noisy_cuts: those of the noisy texts.
        shared: cuts that both have.
        tokens: tokens of the correct texts.
        changed: those that the noisy text does not have at the same place.
        changed_bytes: bytes of these.
        edits: characters inserted, deleted or replaced.

    >>> Stability(cuts=3, noisy_cuts=5, shared=2, tokens=4, changed=1, changed_bytes=6, edits=2).f1
    0.5
    """

    cuts: int = 0
    noisy_cuts: int = 0
    shared: int = 0
    tokens: int = 0
    changed: int = 0
    changed_bytes: int = 0
    edits: int = 0

    def __add__(self, other: "Stability") -> "Stability":
        return Stability(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def f1(self) -> float:
        """Harmonic mean of the shares of cuts that the other text has too: 0 to 1, and 1 where there are none."""
        return 2 * self.shared / total if (total := self.cuts + self.noisy_cuts) else 1.0

    @property
    def changed_per_edit(self) -> float:
        """Tokens of the correct text that an edited character takes with it, on average; 0 without edits."""
        return self.changed / self.edits if self.edits else 0.0

    @property
    def changed_bytes_per_edit(self) -> float:
        """Bytes of the tokens that an edited character takes with it; 0 without edits."""
        return self.changed_bytes / self.edits if self.edits else 0.0


@dataclass(frozen=True, eq=False)
class CharacterAlignment:
    """The fewest edits that make one text of another.

    Args:
        ends: where in the noisy text that ends which stands before character i of the correct one: int64 (N + 1,).
        begins: where there character i begins, behind what was inserted before it: int64 (N + 1,).
        same: whether character i is the same in both: bool (N,).
        edits: characters inserted, deleted or replaced.
    """

    ends: np.ndarray
    begins: np.ndarray
    same: np.ndarray
    edits: int


def align_characters(correct: str, noisy: str) -> CharacterAlignment:
    """Align two texts by their edit distance (Levenshtein 1966).

    Of equally short ways the one that, read from the end, pairs characters first, then deletes. Time and memory N M.

    Raises: InvalidInput: texts whose table would have more than 2^28 cells; give lines or paragraphs.

    >>> found = align_characters("States", "S tate")
    >>> found.begins.tolist(), found.edits
    ([0, 2, 3, 4, 5, 6, 6], 2)
    """
    if (len(correct) + 1) * (len(noisy) + 1) > _MOST:
        raise InvalidInput(f"texts of {len(correct)} and {len(noisy)} characters are too long to align; give lines")
    one, other = (np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4") for text in (correct, noisy))
    return CharacterAlignment(*_align(one, other))


def boundary_stability(tokenizer: Tokenizer, pairs: Iterable[tuple[str, str]]) -> Stability:
    """How alike the correct and the noisy text of each pair are cut.

    A cut of the correct text is shared if the noisy one is cut where the following character begins. Cuts inside a
    character are places of their own, and lost with it. Ends of texts are no cuts.

    Args:
        pairs: correct and noisy text, lines or paragraphs.
    """
    total = Stability()
    for correct, noisy in pairs:
        total += _stability(tokenizer, correct, noisy)
    return total


def _stability(tokenizer: Tokenizer, correct: str, noisy: str) -> Stability:
    aligned = align_characters(correct, noisy)
    one, other = tokenizer.encode(correct), tokenizer.encode(noisy)
    begins, ends = _in_bytes(aligned, one.data, other.data)
    cuts, noisy_cuts = one.boundaries()[1:-1], other.boundaries()[1:-1]
    shared = np.intersect1d(begins[cuts], noisy_cuts)
    # The token of the noisy text that begins at each byte: its end and its id.
    wide = np.flatnonzero(np.diff(other.offsets))
    end_at, id_at = np.full(len(other.data) + 1, -2), np.full(len(other.data) + 1, -1)
    end_at[other.offsets[wide]], id_at[other.offsets[wide]] = other.offsets[wide + 1], other.ids[wide]
    own = np.flatnonzero(np.diff(one.offsets))
    first, last = begins[one.offsets[own]], ends[one.offsets[own + 1]]
    kept = (first >= 0) & (end_at[first] == last) & (id_at[first] == one.ids[own])
    return Stability(
        cuts=cuts.size,
        noisy_cuts=noisy_cuts.size,
        shared=shared.size,
        tokens=own.size,
        changed=int((~kept).sum()),
        changed_bytes=int(np.diff(one.offsets)[own][~kept].sum()),
        edits=aligned.edits,
    )


def _in_bytes(aligned: CharacterAlignment, data: bytes, noisy: bytes) -> tuple[np.ndarray, np.ndarray]:
    """`begins` and `ends` for every byte position of the correct text; -1 inside a character that is not the same."""
    place, noisy_place = (byte_positions(np.frombuffer(text, np.uint8)) for text in (data, noisy))
    begins, ends = np.full(len(data) + 1, -1), np.full(len(data) + 1, -1)
    begins[place], ends[place] = noisy_place[aligned.begins], noisy_place[aligned.ends]
    widths = np.diff(place)
    for k in range(1, 4):
        inside = np.flatnonzero(aligned.same & (widths > k))
        begins[place[inside] + k] = ends[place[inside] + k] = begins[place[inside]] + k
    return begins, ends


@njit(cache=True, nogil=True)
def _align(one, other):
    n, m = one.size, other.size
    # What reaches each cell: 0 a pair of characters, 1 a deletion, 2 an insertion.
    came = np.empty((n + 1, m + 1), np.uint8)
    row, before = np.arange(m + 1), np.empty(m + 1, np.int64)
    came[0], came[:, 0] = 2, 1
    for i in range(1, n + 1):
        row, before = before, row
        row[0] = i
        for j in range(1, m + 1):
            paired = before[j - 1] + (one[i - 1] != other[j - 1])
            least = min(paired, before[j] + 1, row[j - 1] + 1)
            row[j] = least
            came[i, j] = 0 if least == paired else 1 if least == before[j] + 1 else 2
    ends, begins = np.empty(n + 1, np.int64), np.empty(n + 1, np.int64)
    same = np.zeros(n, np.bool_)
    i, j = n, m
    begins[n] = m
    while i > 0 or j > 0:
        step = came[i, j]
        if step == 2:
            j -= 1
            continue
        ends[i] = j
        i -= 1
        if step == 0:
            j -= 1
            same[i] = one[i] == other[j]
        begins[i] = j
    ends[0] = 0
    return ends, begins, same, row[m]
