"""What tokenizers do to a text, summed over short stretches of it: everything that figures and their intervals come from.

The text is a stream; memory holds sums of a few hundred stretches and the distinct words, never the text.
"""
# G stretches, V vocabulary, W distinct words

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from ..core.errors import InvalidInput
from ..core.segmentation import Segmentation
from ..core.tokenizer import Tokenizer
from .segmenting import segment, spelled
from .words import Spans, find_numbers, find_words, pieces

__all__ = ["Profile", "TextProfile", "profile"]

# Stretches begin at a kibibyte and double, so that in the end there are between half as many and as many as this.
_MOST = 512
_BATCH = 1 << 20  # characters


@dataclass(eq=False)
class TextProfile:
    """A text, whatever the tokenizer.

    Args:
        documents: how many texts there were.
        stretch: bytes of each stretch, the last may be shorter.
        sums: of "bytes", "characters", "words", "numbers" in each stretch, int64 (G,).
        words: distinct words in the order of their first occurrence.
        occurrences: of each word, int64 (W,).
    """

    documents: int
    stretch: int
    sums: dict[str, np.ndarray]
    words: list[str]
    occurrences: np.ndarray


@dataclass(eq=False)
class Profile:
    """What one tokenizer did to it.

    Args:
        sums: in each stretch, int64 (G,): "tokens"; of them "white" (ASCII white space only), "fragments" (begin or end
            inside a character), "unknown", "joining" (hold some of two words or more); "unknown bytes", "changed bytes" (of
            known tokens that do not spell the bytes they own); "word pieces" and "words cut", "number pieces" and "numbers
            whole", each word and number counted where it begins.
        stretches: with `ids` and `counts` how often an id occurs in a stretch; int64, (entries,) each.
        ids: sorted within a stretch.
        counts: at least 1.
        pieces: tokens that hold some of a word, over all its occurrences: int64 (W,), in the order of `TextProfile.words`.
        speed: bytes encoded and seconds it took, float64 (batches, 2); wall time, all cores, after a warm-up.
    """

    sums: dict[str, np.ndarray]
    stretches: np.ndarray
    ids: np.ndarray
    counts: np.ndarray
    pieces: np.ndarray
    speed: np.ndarray

    def id_counts(self, size: int) -> np.ndarray:
        """How often each of `size` ids occurs in the whole text: int64 (V,)."""
        return np.bincount(self.ids, self.counts, size).astype(np.int64)

    def drawn(self, weights_RG: np.ndarray, size: int) -> Iterator[np.ndarray]:
        """The same when stretch g is there `weights_RG[r, g]` times: int64 (V,) for each r."""
        for weights_G in weights_RG:
            yield np.bincount(self.ids, weights_G[self.stretches] * self.counts, size).astype(np.int64)


def profile(
    tokenizers: Mapping[str, Tokenizer], texts: Iterable[str], *, progress: Callable[[int], None] | None = None
) -> tuple[TextProfile, dict[str, Profile]]:
    """Read all texts once, encode each with every tokenizer, and sum up.

    Args:
        tokenizers: name → tokenizer, one at least.
        texts: documents; each is encoded by itself.
        progress: called with the bytes read so far.
    Raises: InvalidInput: no tokenizer, or no text. TokenizerError: a tokenizer cannot encode some of the text.
    """
    if not tokenizers:
        raise InvalidInput("no tokenizer to measure")
    text_sums, documents, at = _Sums(), 0, 0
    words: dict[str, int] = {}
    occurrences = np.zeros(0, np.int64)
    made = {name: _Tally(tokenizer) for name, tokenizer in tokenizers.items()}
    for batch in _batches(texts):
        found, numbers = _at(batch, find_words), _at(batch, find_numbers)
        known = np.fromiter((words.setdefault(word, len(words)) for word in found.texts), np.int64, len(found))
        occurrences = _added(occurrences, np.bincount(known))
        for tally in made.values():
            tally.add(batch, found, numbers, known, at)
        data = np.frombuffer("".join(batch).encode("utf-8", "surrogatepass"), np.uint8)
        text_sums.add("bytes", at + np.arange(data.size))
        text_sums.add("characters", at + np.flatnonzero((data & 0xC0) != 0x80))
        text_sums.add("words", at + found.starts)
        text_sums.add("numbers", at + numbers.starts)
        documents, at = documents + len(batch), at + data.size
        while text_sums.stretches > _MOST:
            for sums in (text_sums, *(tally.sums for tally in made.values())):
                sums.halve()
        if progress is not None:
            progress(at)
    if not at:
        raise InvalidInput("the text is empty; there is nothing to measure")
    text = TextProfile(documents, text_sums.stretch, text_sums.even(text_sums.stretches), list(words), occurrences)
    return text, {name: tally.done(text_sums.stretches, len(words)) for name, tally in made.items()}


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch, size = [], 0
    for text in texts:
        if text:
            batch.append(text)
            size += len(text)
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _at(batch: list[str], find: Callable[[str], Spans]) -> Spans:
    """What is found in each text, as places in all of them; a word does not go on in the next text."""
    starts, ends, found, base = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [], 0
    for text in batch:
        spans = find(text)
        starts.append(base + spans.starts)
        ends.append(base + spans.ends)
        found += spans.texts
        base += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return Spans(np.concatenate(starts), np.concatenate(ends), found)


class _Sums:
    """Sums by stretch, which grow as the text does."""

    def __init__(self) -> None:
        self.stretch = 1024
        self.by_name: dict[str, np.ndarray] = {}
        self.keys: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    @property
    def stretches(self) -> int:
        return max((sums.size for sums in self.by_name.values()), default=0)

    def add(self, name: str, places: np.ndarray, weights: np.ndarray | None = None) -> None:
        """Add weights, 1 each without, at byte positions."""
        new = np.bincount(places // self.stretch, weights).astype(np.int64)
        old = self.by_name.get(name, new[:0])
        longer, shorter = (old, new) if old.size > new.size else (new, old)
        longer[: shorter.size] += shorter
        self.by_name[name] = longer

    def add_ids(self, places: np.ndarray, ids: np.ndarray) -> None:
        """Count each id where it begins."""
        self.keys.append(_merged([(places // self.stretch, ids.astype(np.int64), np.ones(ids.size, np.int64))]))
        # As often as the list doubles, so that neither memory nor time runs away on long texts.
        if sum(counts.size for *_, counts in self.keys[1:]) > max(1 << 22, self.keys[0][0].size):
            self.keys = [_merged(self.keys)]

    def halve(self) -> None:
        """Two neighbouring stretches become one."""
        self.stretch *= 2
        for name, sums in self.by_name.items():
            self.by_name[name] = np.append(sums, np.zeros(sums.size % 2, np.int64)).reshape(-1, 2).sum(1)
        if self.keys:
            self.keys = [_merged([(stretches // 2, ids, counts) for stretches, ids, counts in self.keys])]

    def even(self, size: int) -> dict[str, np.ndarray]:
        """All sums with one length."""
        return {name: np.append(sums, np.zeros(size - sums.size, np.int64)) for name, sums in self.by_name.items()}


def _merged(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts of equal stretch and id added; sorted by both."""
    stretches, ids, counts = (np.concatenate(column) for column in zip(*parts))
    width = int(ids.max(initial=0)) + 1
    keys, inverse = np.unique(stretches * width + ids, return_inverse=True)
    return keys // width, keys % width, np.bincount(inverse, counts, keys.size).astype(np.int64)


@dataclass(eq=False)
class _Tally:
    """One tokenizer at work."""

    tokenizer: Tokenizer
    sums: _Sums = field(default_factory=_Sums)
    pieces: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    speed: list[tuple[int, float]] = field(default_factory=list)
    checked: set[str] = field(default_factory=set)

    def add(self, texts: list[str], words: Spans, numbers: Spans, known: np.ndarray, at: int) -> None:
        """Encode a batch that begins at byte `at`; `known` numbers its words."""
        if not self.speed:
            self.tokenizer.encode_batch(texts[:1])
        began = perf_counter()
        batch = self.tokenizer.encode_batch(texts)
        seconds = perf_counter() - began
        seg = segment(self.tokenizer, texts, batch)
        self.speed.append((len(seg.data), seconds))
        # A token without bytes behind the last one belongs to the last stretch, not to one that there is not.
        sums, begins = self.sums, at + np.minimum(seg.offsets[:-1], len(seg.data) - 1)
        sums.add("tokens", begins)
        sums.add_ids(begins, seg.ids)
        unknown = getattr(self.tokenizer, "unknown", None)
        kinds = _kinds(seg, unknown, words)
        for name, which in kinds.items():
            sums.add(name, begins[which])
        spells = getattr(self.tokenizer, "spells", True)
        changed = ~kinds["unknown"] & ~spelled(self.tokenizer.vocab, seg) if spells else np.zeros(len(seg), bool)
        if unknown is None and changed.any():
            self._check(seg, changed)
        for name, which in (("unknown bytes", kinds["unknown"]), ("changed bytes", changed)):
            sums.add(name, begins[which], np.diff(seg.offsets)[which])
        cut = pieces(seg, words)
        sums.add("word pieces", at + words.starts, cut)
        sums.add("words cut", at + words.starts[cut > 1])
        self.pieces = _added(self.pieces, np.bincount(known, cut).astype(np.int64))
        cut = pieces(seg, numbers)
        sums.add("number pieces", at + numbers.starts, cut)
        sums.add("numbers whole", at + numbers.starts[cut == 1])

    def _check(self, seg: Segmentation, changed: np.ndarray) -> None:
        """Engines drop without a word what they have no token for; a character by itself they cannot."""
        tokens = (seg.data[seg.offsets[i] : seg.offsets[i + 1]] for i in np.flatnonzero(changed).tolist())
        met = set(b"".join(tokens).decode("utf-8", "ignore")) - self.checked
        for character in sorted(met):
            if not character.isspace():
                self.tokenizer.encode(character)
        self.checked |= met

    def done(self, stretches: int, words: int) -> Profile:
        return Profile(
            self.sums.even(stretches),
            *_merged(self.sums.keys),
            _added(self.pieces, np.zeros(words, np.int64)),
            np.array(self.speed, np.float64),
        )


def _added(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    longer, shorter = (one.copy(), other) if one.size > other.size else (other.copy(), one)
    longer[: shorter.size] += shorter
    return longer


def _kinds(seg: Segmentation, unknown: int | None, words: Spans) -> dict[str, np.ndarray]:
    """Which tokens are of what kind: bool (T,) each."""
    data = np.frombuffer(seg.data, np.uint8)
    begins, ends = seg.offsets[:-1], seg.offsets[1:]
    owning = ends > begins
    # Dark bytes before each place: a token is white when none lies between its ends.
    dark = np.concatenate([[0], np.cumsum((data != 0x20) & ((data < 0x09) | (data > 0x0D)))])
    inside = np.append((data & 0xC0) == 0x80, False)
    held = np.searchsorted(words.starts, ends, side="left") - np.searchsorted(words.ends, begins, side="right")
    return {
        "white": owning & (dark[begins] == dark[ends]),
        "fragments": owning & (inside[begins] | inside[ends]),
        "unknown": seg.ids == (-1 if unknown is None else unknown),
        "joining": owning & (held > 1),
    }
