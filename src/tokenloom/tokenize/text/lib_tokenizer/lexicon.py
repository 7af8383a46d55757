"""The lexicon of Less-is-Better while it learns: read an article, then forget, rank anew and put on probation.

Yang 2024, "Rethinking Tokenization: Crafting Better Tokenizers for Large Language Models", arXiv 2403.00417, after Yang,
Frank, van den Bosch 2020, "Less is Better". The steps are those of the authors' published code, random numbers included.

Every string that was ever a chunk or stood beside one is a node of one tree (`core.trie`), so that a chunk is a number, its
letters read backwards are the way to the root, and a sentence is matched without copying it.
"""

from collections.abc import Sequence
from random import Random

import numpy as np

from ....core.errors import InvalidInput
from ....core.trie import empty_table
from .reading import (
    AFTER,
    BEFORE,
    COUNT,
    DRAWN,
    LIFE,
    PARENT,
    SIZE,
    UNIT,
    enter_nodes,
    memorise_all,
    read,
    update,
    useful,
)

__all__ = ["Lexicon", "code_points"]

# Nodes that are no use any more are thrown out when there are more than four to a chunk, and so many besides.
_SPARE = 1 << 16


class Lexicon:
    """A ranked list of chunks that learns from one article after the other.

    Args:
        chunks: what it knows to begin with, the best first; none on probation.
        in_rate: α, the probability that a chunk and the one before it are memorised as one, 0 to 1.
        out_rate: ω, the share of the list, from its end, that is put on probation after each article, 0 to 1.
        life: τ0, articles after which a chunk on probation is forgotten, at least 1.
        update_rate: Δ, the share of its rank by which a chunk moves when rewarded or punished, 0 to 1.
        max_length: characters of a chunk at most; None for no limit.
        inspect_context: end a probation only when the neighbours have changed; where they repeat, memorise the chunk
            with them instead.
        seed: of Python's Mersenne generator, >= 0; one number is drawn for each chunk read.
    Raises: InvalidInput: a rate outside 0 to 1, a life or length below 1, a negative seed, chunks that are empty or no text.

    >>> lexicon = Lexicon(life=3, out_rate=0.01)
    >>> for _ in range(6):
    ...     lexicon.read(["thedog", "thecat", "acat"])
    >>> lexicon.chunks[:4]
    ['the', 't', 'a', 'cat']
    """

    def __init__(
        self,
        chunks: Sequence[str] = (),
        *,
        in_rate: float = 0.25,
        out_rate: float = 0.0001,
        life: int = 10,
        update_rate: float = 0.1,
        max_length: int | None = None,
        inspect_context: bool = True,
        seed: int = 0,
    ) -> None:
        for name, rate in (("in_rate", in_rate), ("out_rate", out_rate), ("update_rate", update_rate)):
            if not 0 <= rate <= 1:
                raise InvalidInput(f"{name}={rate}; it is a rate from 0 to 1")
        if life < 1:
            raise InvalidInput(f"life={life}; it must be at least 1 article")
        if max_length is not None and max_length < 1:
            raise InvalidInput(f"max_length={max_length}; it must be at least 1 character, or None for no limit")
        if seed < 0:
            raise InvalidInput(f"seed={seed}; it must be >= 0")
        self._rates = (float(in_rate), float(out_rate), float(update_rate))
        self._rules = (int(life), max_length or np.iinfo(np.int64).max, bool(inspect_context))
        self._random = _mersenne(seed)
        self._draws = np.zeros(0)
        self._table = empty_table(0)
        self._nodes = np.full((1, 7), (0, 0, 0, -1, 0, -1, -1), np.int32)
        self._order = np.zeros(1, np.int32)
        self._counters = np.array([1, 0, 0, 0])
        units, starts = code_points(chunks)
        if "" in chunks:
            raise InvalidInput(f"chunk {list(chunks).index('')} is empty")
        self._make_room(units.size + 1)
        memorise_all(units, starts, self._table, self._nodes, self._order, self._counters)

    def __len__(self) -> int:
        return int(self._counters[COUNT])

    @property
    def chunks(self) -> list[str]:
        """All chunks, the best first."""
        return [self._string(node) for node in self._order[: len(self)].tolist()]

    @property
    def settled(self) -> list[str]:
        """The chunks that are not on probation, the best first: what is kept when learning ends."""
        nodes = self._order[: len(self)]
        return [self._string(node) for node in nodes[self._nodes[nodes, LIFE] == 0].tolist()]

    @property
    def probation(self) -> dict[str, tuple[int, tuple[str, str] | None]]:
        """Chunks on probation: articles left, and the chunks that stood before and behind, "" at an end of a sentence.

        None stands where no neighbours were noted. Chunks that fell off the end of the list may still be named.
        """
        nodes = self._nodes[: self._counters[SIZE]]
        return {
            self._string(node): (life, None if before < 0 else (self._string(before), self._string(after)))
            for node, (life, before, after) in enumerate(nodes[:, [LIFE, BEFORE, AFTER]].tolist())
            if life > 0
        }

    def read(self, sentences: Sequence[str]) -> None:
        """One step: read an article, sentence by sentence, and bring the list up to date.

        Raises: InvalidInput: a sentence that is no text, see `code_points`.
        """
        self.read_units(*code_points(sentences))

    def read_units(self, units: np.ndarray, starts: np.ndarray) -> None:
        """`read`, of sentences as `code_points` gives them."""
        missing = units.size - (self._draws.size - self._counters[DRAWN])
        if missing > 0:
            self._draws = np.concatenate([self._draws[self._counters[DRAWN] :], self._random.random(missing)])
            self._counters[DRAWN] = 0
        rewards = np.zeros(3 * units.size + 1, np.int32)
        sentence = 0
        while sentence < starts.size - 1:
            self._make_room(4 * int(starts[sentence + 1] - starts[sentence]) + 1)
            sentence = read(
                units, starts, sentence, self._table, self._nodes, self._order, self._counters, rewards, self._draws,
                self._rates[0], *self._rules,
            )  # fmt: skip
        update(self._nodes, self._order, self._counters, rewards, self._rates[1], self._rates[2], self._rules[0])
        if self._counters[SIZE] > 4 * len(self) + _SPARE:
            self._sweep()

    def _string(self, node: int) -> str:
        letters = []
        while node:
            letters.append(chr(self._nodes[node, UNIT]))
            node = int(self._nodes[node, PARENT])
        return "".join(reversed(letters))

    def _make_room(self, nodes: int) -> None:
        """Room for so many more nodes, which are as many as a sentence of a quarter of that length can make."""
        size, room = int(self._counters[SIZE]), len(self._nodes)
        if size + nodes <= room:
            return
        room = 2 * (size + nodes)
        self._nodes = np.concatenate([self._nodes[:size], np.zeros((room - size, 7), np.int32)])
        self._order = np.concatenate([self._order[: len(self)], np.zeros(room - len(self), np.int32)])
        self._enter_all(room)

    def _enter_all(self, room: int) -> None:
        self._table = empty_table(room)
        enter_nodes(self._table, self._nodes, self._counters[SIZE])

    def _sweep(self) -> None:
        """Throw out nodes that neither are nor begin a chunk, one on probation, or a neighbour noted of such."""
        nodes = self._nodes[: self._counters[SIZE]]
        numbers = useful(nodes)
        kept = numbers >= 0
        nodes = nodes[kept]
        nodes[:, PARENT] = numbers[nodes[:, PARENT]]
        for column in (BEFORE, AFTER):
            noted = (nodes[:, LIFE] > 0) & (nodes[:, column] >= 0)
            nodes[:, column] = np.where(noted, numbers[nodes[:, column]], -1)
        self._order = numbers[self._order[: len(self)]]
        self._nodes = nodes
        self._counters[SIZE] = len(nodes)
        self._enter_all(len(nodes))


def code_points(sentences: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Sentences as flat code points, int32 (characters,), and where each begins, int64 (sentences + 1,).

    Raises: InvalidInput: one text instead of many, a sentence that is not a `str`, or one with a lone surrogate.

    >>> code_points(["né", ""])[0].tolist(), code_points(["né", ""])[1].tolist()
    ([110, 233], [0, 2, 2])
    """
    if isinstance(sentences, str | bytes):
        raise InvalidInput("one text was given instead of sentences; give [text], or text.splitlines(keepends=True)")
    for i, sentence in enumerate(sentences):
        if not isinstance(sentence, str):
            raise InvalidInput(f"sentence {i} is {sentence!r}; sentences are str")
    starts = np.zeros(len(sentences) + 1, np.int64)
    np.cumsum([len(sentence) for sentence in sentences], out=starts[1:])
    units = np.frombuffer("".join(sentences).encode("utf-32-le", "surrogatepass"), np.int32)
    if (lone := np.flatnonzero((units >= 0xD800) & (units < 0xE000))).size:
        i = int(np.searchsorted(starts, lone[0], "right")) - 1
        raise InvalidInput(f"sentence {i} has a lone surrogate, {chr(units[lone[0]])!r}; it is no Unicode text")
    return units, starts


def _mersenne(seed: int) -> np.random.Generator:
    """A generator of the very numbers of `random.Random(seed).random()`."""
    *key, position = Random(seed).getstate()[1]
    bits = np.random.MT19937()
    bits.state = {"bit_generator": "MT19937", "state": {"key": np.array(key, np.uint32), "pos": position}}
    return np.random.Generator(bits)
