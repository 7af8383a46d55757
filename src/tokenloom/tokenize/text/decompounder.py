"""A small learned decompounder: for each place in a word, the probability that two constituents meet there.

It takes the place of the byte-level encoder-decoder of CompoundPiece at a size that a laptop trains in seconds: logistic
regression on the letters around the place and on whether what stands left and right of it is known as a word, with
Duchi, Hazan, Singer 2011's AdaGrad. What it is taught, and how its cuts are used, is in compoundpiece.py.
"""
# W words, F features of a place, K known words

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numba import njit

from ...core.byte_index import BASE, extend
from ...core.errors import InvalidInput, StoreError
from ...core.pretrained import load_files, save_files
from ...core.seeds import MIX_1

__all__ = ["Decompounder", "Taught"]

Taught = tuple[str, Sequence[int]]

_SLOTS = 1 << 18  # weights; features share them by hash
_FEATURES = 34
_SHORTEST = 2  # characters of a constituent


class Decompounder:
    """Cuts words into constituents; made by `learn`, or read from a folder.

    Args:
        weights: float32 (2^18,).
        known: hashes of known words, uint64 (K,), ascending.
        buckets: how common each is, 1 to 7, uint8 (K,).

    >>> taught = [(word, [4]) for word in ("hausboot", "baumhaus", "bootbaum", "hausbaum")] * 9 + [("boot", []), ("haus", [])] * 9
    >>> model = Decompounder.learn(taught, {"haus": 9, "boot": 9, "baum": 9}, rng=np.random.default_rng(0))
    >>> model(["baumboot", "baum"])
    [['baum', 'boot'], ['baum']]
    """

    def __init__(self, weights: np.ndarray, known: np.ndarray, buckets: np.ndarray) -> None:
        self.weights, self.known, self.buckets = weights, known, buckets

    @classmethod
    def learn(
        cls,
        taught: Sequence[Taught],
        counts: Mapping[str, int],
        *,
        rng: np.random.Generator,
        epochs: int = 6,
        rate: float = 0.01,
    ) -> "Decompounder":
        """Train from nothing.

        Args:
            taught: words, and the character positions where constituents meet; none for a word that is whole.
            counts: words of ordinary text and how often they occur, by which parts are recognised.
            rng: the order in which words are shown.
            epochs: how often each is shown.
            rate: of learning. This and that of `tune` are ours, chosen on German compounds that seed 0 of the evidence does
                not test.
        Raises: InvalidInput: nothing is taught, or a position outside its word.
        """
        lowered: dict[str, int] = {}
        for word, count in counts.items():
            lowered[word.lower()] = lowered.get(word.lower(), 0) + count
        words = [word for word in lowered if len(word) >= _SHORTEST]
        codes, starts = _flat(words)
        known, first = np.unique(_hashes(codes, starts), return_index=True)
        common = np.array([lowered[words[i]] for i in first.tolist()], np.float64)
        buckets = np.clip(1 + np.log2(np.maximum(common, 1)) // 2, 1, 7).astype(np.uint8)
        return cls(np.zeros(_SLOTS, np.float32), known, buckets).tune(taught, rng=rng, epochs=epochs, rate=rate)

    def tune(
        self, taught: Sequence[Taught], *, rng: np.random.Generator, epochs: int = 6, rate: float = 0.03
    ) -> "Decompounder":
        """Another decompounder, trained on from here."""
        if not taught:
            raise InvalidInput("no words to learn from")
        for word, cuts in taught:
            if any(not 0 < cut < len(word) for cut in cuts):
                raise InvalidInput(f"{word!r} has {len(word)} characters; it cannot be cut at {list(cuts)}")
        codes, starts = _flat([word for word, _ in taught])
        right = np.zeros(codes.size, np.bool_)
        for begin, (_, cuts) in zip(starts.tolist(), taught):
            right[[begin + cut for cut in cuts]] = True
        weights, squares = self.weights.copy(), np.full(_SLOTS, 1e-3, np.float32)
        for _ in range(epochs):
            order = rng.permutation(len(taught))
            _learn(codes, starts, right, order, self.known, self.buckets, np.float32(rate), weights, squares)
        return Decompounder(weights, self.known, self.buckets)

    def probabilities(self, words: Sequence[str]) -> list[np.ndarray]:
        """For each word of n characters the probability of a cut before each, float64 (n,); 0 where a part is too short."""
        codes, starts = _flat(words)
        scores = _score(codes, starts, self.known, self.buckets, self.weights)
        return np.split(scores, starts[1:-1]) if len(words) else []

    def __call__(self, words: Sequence[str]) -> list[list[str]]:
        """The constituents of each word, which put together are the word; a word that is whole is its own only one."""
        parts = []
        for word, cuts in zip(words, self.probabilities(words)):
            edges = [0, *np.flatnonzero(cuts > 0.5).tolist(), len(word)]
            kept = [edges[0]]
            for edge in edges[1:-1]:
                if edge - kept[-1] >= _SHORTEST:
                    kept.append(edge)
            parts.append([word[a:b] for a, b in zip(kept, [*kept[1:], len(word)])])
        return parts

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model into `folder`: `model.safetensors`, `config.json` and `tokenloom.json`."""
        from safetensors.numpy import save

        tensors = {"weights": self.weights, "known": self.known, "buckets": self.buckets}
        save_files(folder, "Decompounder", {"model.safetensors": save(tensors), "config.json": b"{}\n"})

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "Decompounder":
        """Read what `save_pretrained` wrote.

        Raises: StoreError: it is something else, or damaged.
        """
        from safetensors.numpy import load

        saved = load_files(folder)
        if saved.kind != "Decompounder" or "model.safetensors" not in saved.files:
            raise StoreError(f"{folder} holds a {saved.kind}, not a Decompounder")
        tensors = load(saved.files["model.safetensors"])
        weights, known, buckets = (tensors[name] for name in ("weights", "known", "buckets"))
        if weights.shape != (_SLOTS,) or known.ndim != 1 or buckets.shape != known.shape:
            raise StoreError(f"{folder}: arrays of shapes {weights.shape}, {known.shape}, {buckets.shape} do not fit")
        return cls(weights, known, buckets)


def _flat(words: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Lower-case characters of all words, uint32, as many as the words have, and where each word begins."""
    # A few letters become two in lower case; they stay, so that positions do.
    lower = ["".join(c.lower() if len(c.lower()) == 1 else c for c in word) for word in words]
    starts = np.cumsum([0, *map(len, lower)]).astype(np.int64)
    return np.frombuffer("".join(lower).encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint32), starts


@njit(cache=True, nogil=True)
def _hashes(codes, starts):
    found = np.zeros(starts.size - 1, np.uint64)
    for word in range(found.size):
        for k in range(starts[word], starts[word + 1]):
            found[word] = extend(found[word], codes[k])
    return found


@njit(cache=True, nogil=True)
def _bucket(h, known, buckets):
    """How common a word is, 0 for one that is not known."""
    at = np.searchsorted(known, h)
    return np.int64(buckets[at]) if at < known.size and known[at] == h else np.int64(0)


@njit(cache=True, nogil=True)
def _heads(codes, begin, n, head, power):
    """Hashes of the beginnings of a word, and powers to tell those of its ends."""
    for k in range(n):
        head[k + 1] = extend(head[k], codes[begin + k])
        power[k + 1] = power[k] * BASE


@njit(cache=True, nogil=True)
def _features(codes, begin, n, cut, head, power, known, buckets, out):
    """The weights that speak for a cut of the word before character `cut`; returns how many they are."""
    size = 0
    for side in range(3):  # letters before, behind, and around
        for k in range(1, 7 if side < 2 else 5):
            h = np.uint64(side * 16 + k)
            first = cut - k if side != 1 else cut
            last = cut + k if side != 0 else cut
            for at in range(max(first, -1), min(last, n + 1)):
                # The edge of the word is a letter of its own.
                h = extend(h, codes[begin + at] if 0 <= at < n else np.uint32(1))
            out[size] = _place(h)
            size += 1
    left, right = cut, n - cut
    for tag, value in ((64, min(left, 12)), (65, min(right, 12)), (66, 0)):
        out[size] = _place(np.uint64(tag * 64 + value))
        size += 1
    behind = _bucket(head[n] - head[cut] * power[right], known, buckets)
    whole = _bucket(head[cut], known, buckets)
    # Without one or two letters that may link the parts, as in Bundestag-s-wahl.
    short = _bucket(head[cut - 1], known, buckets) if left > 3 else np.int64(0)
    shorter = _bucket(head[cut - 2], known, buckets) if left > 4 else np.int64(0)
    # As a linking letter on the wrong side would have it.
    late = _bucket(head[n] - head[cut + 1] * power[right - 1], known, buckets) if right > 3 else np.int64(0)
    for tag, value in (
        (70, behind),
        (71, whole),
        (72, short),
        (73, shorter),
        (74, late),
        (75, 8 * behind + whole),
        (76, 8 * behind + short),
        (77, 8 * behind + shorter),
        (78, 8 * late + whole),
        (79, 64 * min(right, 6) + behind),
        (80, 64 * min(left, 6) + whole),
    ):
        out[size] = _place(np.uint64(tag * 4096 + value))
        size += 1
    # A letter that links counts with what it leaves.
    h = extend(extend(np.uint64(90), codes[begin + cut - 1]), np.uint32(8 * behind + short))
    out[size] = _place(h)
    return size + 1


@njit(cache=True, nogil=True)
def _place(h):
    h = (h ^ (h >> np.uint64(29))) * MIX_1
    return np.int64((h ^ (h >> np.uint64(32))) & np.uint64(_SLOTS - 1))


@njit(cache=True, nogil=True)
def _learn(codes, starts, right, order, known, buckets, rate, weights, squares):
    longest = 0
    for word in range(starts.size - 1):
        longest = max(longest, starts[word + 1] - starts[word])
    head, power = np.zeros(longest + 1, np.uint64), np.ones(longest + 1, np.uint64)
    places = np.empty(_FEATURES, np.int64)
    for word in order:
        begin, n = starts[word], starts[word + 1] - starts[word]
        _heads(codes, begin, n, head, power)
        for cut in range(_SHORTEST, n - _SHORTEST + 1):
            size = _features(codes, begin, n, cut, head, power, known, buckets, places)
            total = np.float32(0)
            for k in range(size):
                total += weights[places[k]]
            slope = np.float32(1 / (1 + np.exp(-total))) - np.float32(right[begin + cut])
            for k in range(size):
                squares[places[k]] += slope * slope
                weights[places[k]] -= rate * slope / np.sqrt(squares[places[k]])


@njit(cache=True, nogil=True)
def _score(codes, starts, known, buckets, weights):
    longest = 0
    for word in range(starts.size - 1):
        longest = max(longest, starts[word + 1] - starts[word])
    head, power = np.zeros(longest + 1, np.uint64), np.ones(longest + 1, np.uint64)
    places, scores = np.empty(_FEATURES, np.int64), np.zeros(codes.size)
    for word in range(starts.size - 1):
        begin, n = starts[word], starts[word + 1] - starts[word]
        _heads(codes, begin, n, head, power)
        for cut in range(_SHORTEST, n - _SHORTEST + 1):
            size = _features(codes, begin, n, cut, head, power, known, buckets, places)
            total = np.float32(0)
            for k in range(size):
                total += weights[places[k]]
            scores[begin + cut] = 1 / (1 + np.exp(-total))
    return scores
