"""A token model as a model of bytes: covers with their weights, one step a byte."""
# V ids, N ordinary tokens sorted by their bytes, S = 257 symbols: the bytes, and the end of the text

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ....core.covers import Covers, States, whole_characters
from ....core.errors import InvalidInput
from ....core.tokenizer import as_bytes
from ....core.vocabulary import Kind
from ....hosts.host import HostTokenizer
from ....tokenize.text.covers import covers_of
from .bytes import END, ByteDistribution, ByteText, check_sampling

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ByteModel", "Cover"]


@dataclass(frozen=True)
class Cover:
    """One cover of a text.

    Args:
        ids: its tokens, `before` and those that all covers share included.
        unspent: the bytes of the last token that reach beyond the text.
        log_weight: natural logarithm of its probability, given the tokens that all covers share.
    """

    ids: tuple[int, ...]
    unspent: bytes
    log_weight: float


class ByteModel(ByteDistribution):
    """The distribution over bytes that a language model over tokens amounts to.

    Args:
        lm: a Hugging Face causal model or a `Transformer`; or a function from ids (a list) to the natural logarithms of the
            probabilities of the next id, float (V,).
        tokenizer: of the model: BPE from a file (see `tokenize.text.covers`), or "bytes".
        before: ids in front of every text, such as the one for its beginning. Without any, a prompt must hold a place that
            is always between two tokens, such as a word and a space, for nothing tells how likely a first token is.
        exact: whether token sequences that no text is encoded as are left out. Trained models seldom write them; with False
            they count, which is an approximation.
    Raises: TokenizerError: a tokenizer whose covers are not known; it draws at random or changes texts.
        InvalidInput: an id of `before` that there is not.

    The end of the text is any special token of the tokenizer.
    """

    def __init__(
        self,
        lm: nn.Module | Callable[[list[int]], np.ndarray],
        tokenizer: HostTokenizer,
        *,
        before: Sequence[int] = (),
        exact: bool = True,
    ) -> None:
        self.covers: Covers = covers_of(tokenizer)
        self.tokenizer = tokenizer
        self.before = [int(i) for i in tokenizer.vocab.check_ids(list(before))]
        self.exact = exact
        self.special = np.flatnonzero(tokenizer.vocab.kinds == Kind.SPECIAL)
        self.log_probs: Callable[[list[int]], np.ndarray] = _asked(lm)

    def start(self, prompt: str | bytes = b"") -> TokenCovers:
        """A text that begins with `prompt`: one call for what cannot change any more, and one for each byte behind it.

        Raises: InvalidInput: nothing in front of the first token whose choice is open; `prompt` is not the beginning of
            valid UTF-8, or cannot be encoded.
        """
        return self._begin(self.before, as_bytes(prompt))

    def start_between(
        self, prefix: str | bytes, suffix: str | bytes, *, marks: tuple[int, int, int], suffix_first: bool = False
    ) -> TokenCovers:
        """A text that goes on from `prefix` to `suffix`, by a model that was trained to fill in.

        `prefix` may end inside a token. The tokens that it certainly has stand where the model wants them; those that
        depend on what follows come last, with what is written: they are part of the middle.

        Args:
            marks: the ids that announce prefix, suffix and middle.
            suffix_first: suffix, prefix, middle with the prefix at the very end, instead of prefix, suffix, middle.
        Raises: InvalidInput: as `start`; fewer or unknown marks.
        """
        if len(marks) != 3:
            raise InvalidInput(f"{len(marks)} marks; prefix, suffix and middle have one each")
        pre, suf, mid = self.tokenizer.vocab.check_ids(list(marks)).tolist()
        data, behind = as_bytes(prefix), self.tokenizer.encode(suffix).ids.tolist()
        if suffix_first:
            return self._begin([*self.before, pre, suf, *behind, mid], data)
        ids, at, states = self._settled(data)
        here = TokenCovers(self, [*self.before, pre, *ids, suf, *behind, mid], states, ids[-1] if ids else None)
        return self._pushed(here, data[at:])

    def fill(
        self,
        prefix: str | bytes,
        suffix: str | bytes,
        *,
        marks: tuple[int, int, int],
        suffix_first: bool = False,
        new: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        rng: np.random.Generator | None = None,
    ) -> bytes:
        """Write what stands between `prefix` and `suffix`.

        Args:
            marks, suffix_first: as in `start_between`.
            new, temperature, top_p, rng: as in `generate`.
        Raises: InvalidInput: as both.
        """
        check_sampling(new, temperature, top_p, rng)
        here = self.start_between(prefix, suffix, marks=marks, suffix_first=suffix_first)
        return self._continued(here, new, temperature, top_p, rng)

    def _begin(self, before: list[int], data: bytes) -> TokenCovers:
        ids, at, states = self._settled(data)
        if not before and not ids:
            raise InvalidInput(
                f"nothing stands before the first token of {data[:40]!r}, and no place in it is always between two tokens: "
                "give before=[id], such as the one that begins texts, or a longer prompt"
            )
        return self._pushed(TokenCovers(self, [*before, *ids], states, ids[-1] if ids else None), data[at:])

    @staticmethod
    def _pushed(here: TokenCovers, data: bytes) -> TokenCovers:
        for byte in data:
            here.push(byte)
        return here

    def _settled(self, data: bytes) -> tuple[list[int], int, States]:
        """The ids of `data` that do not depend on what follows, how many bytes they spell, and the states behind them."""
        at, states = self.covers.settled(data)
        if not at:
            return [], 0, states
        whole = data[: len(data) - len(whole_characters(data)[1])]
        seg = self.tokenizer.encode(whole)
        count = int(np.searchsorted(seg.offsets, at))
        if seg.offsets[count] != at:
            raise InvalidInput(
                f"{self.tokenizer.name} has no cut at byte {at} of {data!r}, where all its encodings have one"
            )
        return seg.ids[:count].tolist(), at, states


@dataclass
class _Branch:
    """Tokens that end at one place of the text, and all single tokens that may come next and reach to its end."""

    ids: list[int]
    log_weight: float  # of `ids`
    states: States
    last: int | None
    scores: np.ndarray  # log-probabilities of rows low … high - 1
    end: float  # log-probability of the end of the text; only at depth 0
    low: int
    depth: int  # bytes of the text behind `ids`
    following: np.ndarray  # the next byte of each row


class TokenCovers(ByteText):
    """A text and its covers; see `ByteModel.start`.

    `log_mass` is the natural logarithm of the probability of all that may follow, given the tokens that all covers share.
    """

    log_mass: float

    def __init__(self, model: ByteModel, ids: list[int], states: States, last: int | None) -> None:
        self._model = model
        self._branches: list[_Branch] = []
        self._open(ids, 0.0, states, last)
        self._add_up()

    @property
    def covers(self) -> list[Cover]:
        """All covers of the text, those that end with it first."""
        tokens, spelled = self._model.covers.tokens, self._model.covers.bytes
        found = [Cover(tuple(one.ids), b"", one.log_weight) for one in self._branches if not one.depth]
        for one in self._branches:
            if one.depth:
                for k in np.flatnonzero(one.scores > -np.inf).tolist():
                    ids = (*one.ids, int(tokens[one.low + k]))
                    found.append(Cover(ids, spelled[one.low + k][one.depth :], one.log_weight + float(one.scores[k])))
        return found

    def push(self, byte: int) -> None:
        if not 0 <= byte <= 255:
            raise InvalidInput(f"{byte} is no byte; bytes are 0 to 255")
        covers, kept, ended = self._model.covers, [], []
        for one in self._branches:
            low, high = np.searchsorted(one.following, [byte, byte + 1])
            depth = one.depth + 1
            scores, first = one.scores[low:high], one.low + int(low)
            longer, following = covers.rows_after(first, first + scores.size, depth)
            for k in range(longer - first):
                if scores[k] > -np.inf:
                    ended.append((one, int(covers.tokens[first + k]), one.log_weight + float(scores[k])))
            scores = scores[longer - first :]
            if (scores > -np.inf).any():
                kept.append(
                    _Branch(one.ids, one.log_weight, one.states, one.last, scores, -np.inf, longer, depth, following)
                )
        if not kept and not ended:
            raise InvalidInput(f"no encoding goes on with byte {byte:#04x} here; is it within a character?")
        self._branches = kept
        for one, token, log_weight in ended:
            states = covers.advance(one.states, one.last, token) if self._model.exact else ()
            self._open([*one.ids, token], log_weight, states, token)
        self._add_up()

    def _open(self, ids: list[int], log_weight: float, states: States, last: int | None) -> None:
        """Ask the model what comes after `ids`."""
        model, covers = self._model, self._model.covers
        log_probs_V = np.asarray(model.log_probs(ids), np.float64)
        if log_probs_V.size <= covers.tokens.max():
            raise InvalidInput(
                f"the model knows {log_probs_V.size} ids, but the tokenizer has ids up to {covers.tokens.max()}; is it its own?"
            )
        scores_N = log_probs_V[covers.tokens]
        if model.exact:
            scores_N[~covers.follow(states, last)] = -np.inf
        end = float(np.logaddexp.reduce(log_probs_V[model.special[model.special < log_probs_V.size]], initial=-np.inf))
        first, following = covers.rows_after(0, covers.tokens.size, 0)
        self._branches.append(_Branch(ids, log_weight, states, last, scores_N, end, first, 0, following))

    def _add_up(self) -> None:
        """The probability of each next symbol: the weights of the covers of the text with it, over those of all."""
        highest = max(one.log_weight + max(float(one.scores.max(initial=-np.inf)), one.end) for one in self._branches)
        if highest == -np.inf:
            raise InvalidInput("the model gives no probability to any text that goes on from here")
        mass_S = np.zeros(END + 1)
        for one in self._branches:
            weights = np.exp(one.scores + (one.log_weight - highest))
            mass_S[:END] += np.bincount(one.following, weights, END)
            mass_S[END] += np.exp(one.end + one.log_weight - highest)
        total = mass_S.sum()
        self.probabilities = mass_S / total
        self.log_mass = float(highest + np.log(total))


def _asked(lm: Any) -> Callable[[list[int]], np.ndarray]:
    """A function that asks the model, and runs only what it was not asked before."""
    if hasattr(lm, "parameters"):
        from ....models.prefix_cache import PrefixCache

        return PrefixCache(lm)
    if not callable(lm):
        raise InvalidInput(f"a {type(lm).__name__} is no language model: give a module, or a function of ids")
    return lm
