"""KL3M tokenizers: BPE with hand-picked domain tokens, and BPE with short tokens only, for the correction of text.

Bommarito, Katz, Bommarito 2025, "KL3M Tokenizers: A Family of Domain-Specific and Character-Level Tokenizers for Legal,
Financial, and Preprocessing Applications", arXiv 2503.17247, section 3.

Differs from the authors' code: the alphabet is the 256 bytes and nothing else (theirs holds 68 characters that can never
be used); a custom or padding token is one that is not learnt yet by its bytes (theirs compares notations and lists runs of
spaces twice); a learnt token that an added one would cut is added too; padding stops at a power of two that is reached
already; random cuts have a generator.
"""
# M merges

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

import numpy as np

from ...core.cuts import Cut
from ...core.errors import InvalidInput
from ...core.merges import GPT2_PATTERN
from ...hosts.json_tokenizer import JsonTokenizer
from ...hosts.ranks import byte_level_json
from ...hosts.utf8 import valid_runs
from .bpe import Veto, count_pieces, learn_merges, spell
from .custom_tokens import custom_tokens

__all__ = ["KL3M", "SPECIAL"]

SPECIAL = (
    *("<|start|>", "<|end|>", "<|pad|>", "<|unk|>", "<|sep|>", "<|cls|>", "<|mask|>"),
    *("<|system|>", "</|system|>", "<|user|>", "</|user|>", "<|instruction|>", "</|instruction|>"),
)
_MOST_RUNS = 1 << 13  # together they have n^2 / 4 characters
_FORMS = ("NFC", "NFD", "NFKC", "NFKD")


@dataclass(frozen=True)
class KL3M:
    """Learn a domain tokenizer: 13 special tokens, 256 bytes, merges, then custom tokens that were not learnt.

    Texts are normalised, in training and in use; then custom and padding tokens are found in them, whatever stands around
    them, the longest first; then come words and merges. So decoding gives the normalised text back: NFKC unites
    compatible characters (ﬁ becomes fi, ² becomes 2, a no-break space a space) and `cased=False` also loses upper case.
    With `form=None` and `cased=True` any bytes come back.

    The tokenizer of the first generation is `KL3M(32_768, form=None)`, of the third 65,536 and of the fourth 131,072 ids,
    cased or not; `KL3M.character` makes those for the correction of text. The file pads batches on the left.

    Args:
        vocab_size: ids in all before padding; fewer where pairs are used up or custom tokens were learnt and kept.
        custom: strings that become tokens; None for `custom_tokens`, to which `citation_parts` may be added.
        max_length: bytes of a merged token at most, its space included; None for no limit.
        form: "NFC", "NFD", "NFKC", "NFKD", or None for texts as they are.
        cased: keep upper case.
        min_frequency: a pair that occurs less often is not merged; the authors use 10, and 1 on the command line.
        padded: add runs of spaces and of line ends of length 2, 3, 4 … up to the next power of two.
        split: where texts are cut in training instead of into words, such as by `random_splits.RandomWhitespaceSplit`: the tokenizer then
            merges over whole texts (fifth generation).
        name: of the tokenizer.
    Raises: InvalidInput: a vocabulary smaller than the bytes, special and custom tokens, a bound below 1, a custom token
        that is given twice, shorter than 2 characters, special, or changed by the normalisation. In training also: more
        than 2^13 runs would be needed.

    >>> tok = KL3M(300, custom=("U.S.C.",), min_frequency=1)(["the parties hereto, the parties thereto"])
    >>> tok.encode("the parties, 5U.S.C.9").tokens()
    [b'the', b' parties', b',', b' ', b'5', b'U.S.C.', b'9']
    """

    vocab_size: int
    custom: Sequence[str] | None = None
    max_length: int | None = None
    form: str | None = "NFKC"
    cased: bool = True
    min_frequency: int = 10
    padded: bool = False
    split: Callable[..., np.ndarray] | None = None
    name: str = "kl3m"

    def __post_init__(self) -> None:
        if self.form is not None and self.form not in _FORMS:
            raise InvalidInput(f"form={self.form!r}; it is one of {', '.join(_FORMS)}, or None")
        custom = custom_tokens(cased=self.cased) if self.custom is None else tuple(self.custom)
        object.__setattr__(self, "custom", custom)
        seen = set(SPECIAL)
        for token in custom:
            if len(token) < 2:
                raise InvalidInput(f"custom token {token!r}; it needs two characters or more")
            if token in seen:
                raise InvalidInput(f"custom token {token!r} is given twice, or special")
            if (normal := self._normal(token)) != token:
                raise InvalidInput(
                    f"custom token {token!r} becomes {normal!r} when texts are normalised; give that one"
                )
            seen.add(token)
        self._limit(self.vocab_size)
        if self.max_length is not None and self.max_length < 1:
            raise InvalidInput(f"max_length={self.max_length}; a token has at least one byte")
        if self.min_frequency < 1:
            raise InvalidInput(f"min_frequency={self.min_frequency}; it must be >= 1")

    @classmethod
    def character(
        cls,
        vocab_size: int = 4096,
        max_length: int | None = 3,
        *,
        form: str | None = "NFKC",
        cased: bool = True,
        min_frequency: int = 10,
        name: str = "kl3m-character",
    ) -> "KL3M":
        """Tokens of at most `max_length` bytes, no custom tokens, and 13 runs of spaces and line ends.

        The authors' are 4,096 and 8,192 ids with 3 bytes, 16,384 ids with 4. Bytes count, as in GPT-2's alphabet: a space
        is one, a letter outside ASCII two or more.

        Args:
            vocab_size: ids in all, a power of two from 512 on; the last 13 are the runs, more where pairs are used up.
        Raises: InvalidInput: no such size, or as for the class.
        """
        if vocab_size < 512 or vocab_size & (vocab_size - 1):
            raise InvalidInput(f"vocab_size={vocab_size}; it is a power of two from 512 on, such as 4096")
        return cls(
            # The authors subtract the special tokens twice; the runs take the place.
            vocab_size - len(SPECIAL),
            custom=(),
            max_length=max_length,
            form=form,
            cased=cased,
            min_frequency=min_frequency,
            padded=True,
            name=name,
        )

    def __call__(
        self,
        texts: Iterable[str | bytes],
        *,
        rng: np.random.Generator | None = None,
        progress: Callable[[str, int, int | None], None] | None = None,
    ) -> JsonTokenizer:
        """Train on `texts`, read once.

        Args:
            texts: a stream of documents; bytes that are not UTF-8 are left out.
            rng: cuts the texts; needed with `split` only.
            progress: called with what is being done, how much of it is done, and of how much (None: not known).
        Returns: the same tokenizer for the same texts (and, with `split`, in the same order).
        Raises: InvalidInput: there is no text, or `split` without `rng`.
        """
        return self.nested(texts, [self.vocab_size], rng=rng, progress=progress)[self.vocab_size]

    def nested(
        self,
        texts: Iterable[str | bytes],
        sizes: Iterable[int],
        *,
        rng: np.random.Generator | None = None,
        progress: Callable[[str, int, int | None], None] | None = None,
    ) -> dict[int, JsonTokenizer]:
        """Tokenizers of several sizes from one training: the merges of a smaller are the first of a larger one's.

        So its special tokens, bytes and merges have the same ids in the larger. Different `max_length` give no such family:
        their merges part at the first that is too long.

        Args:
            sizes: each in place of `vocab_size`.
            texts, rng, progress: as for training.
        Raises: InvalidInput: a size that is too small, or as for training.
        """
        limits = {size: self._limit(size) for size in sizes}
        if not limits:
            raise InvalidInput("no sizes are given")
        top = max(limits.values())
        pieces = count_pieces(
            (self._normal(run) for text in texts for run in valid_runs(text) if isinstance(run, str)),
            self._cut(rng),
            progress=None if progress is None else lambda done: progress("bytes read", done, None),
        )
        merges = learn_merges(
            pieces,
            256,
            top,
            min_frequency=self.min_frequency,
            veto=Veto(max_length=self.max_length),
            progress=None if progress is None else lambda done: progress("merges learnt", done, top),
        )
        merges = self._without_cut(merges, set(limits.values()))
        return {size: self._tokenizer(merges[:limit]) for size, limit in limits.items()}

    def _limit(self, vocab_size: int) -> int:
        """How many merges are learnt."""
        assert self.custom is not None
        if (limit := vocab_size - len(SPECIAL) - 256 - len(self.custom)) < 0:
            raise InvalidInput(
                f"vocab_size={vocab_size}; {len(SPECIAL)} special tokens, 256 bytes and {len(self.custom)} custom tokens "
                f"need {vocab_size - limit}"
            )
        return limit

    def _normal(self, text: str) -> str:
        if self.form is not None and not text.isascii():
            text = unicodedata.normalize(self.form, text)  # type: ignore[arg-type]
        # Letter by letter, as the engines do it: a sigma at the end of a word stays as it is elsewhere.
        return text if self.cased else text.replace("Σ", "σ").lower()

    def _cut(self, rng: np.random.Generator | None) -> Cut:
        if (split := self.split) is None:
            return GPT2_PATTERN
        if not isinstance(rng, np.random.Generator):
            raise InvalidInput("random cuts need rng=numpy.random.default_rng(seed)")
        return lambda text: split(text, rng=rng)

    def _parted(self, learnt: Iterable[bytes]) -> tuple[list[str], list[str]]:
        """The custom tokens that were learnt, and those that are to be added."""
        known, parts = set(learnt), (list[str](), list[str]())
        for token in self.custom or ():
            parts[token.encode() not in known].append(token)
        return parts

    def _without_cut(self, merges: np.ndarray, limits: set[int]) -> np.ndarray:
        """The merges without those that make a custom token in which an added one lies, and without what builds on them.

        Added tokens are found first: with "177" added, "1776" would be cut, though it was learnt. So it is added too.
        """
        while True:
            tokens, cut = spell(merges), set()
            for limit in limits:
                learnt, added = self._parted(tokens[: 256 + limit])
                cut |= {token.encode() for token in learnt if _lies_in(token, set(added))}
            if not cut:
                return merges
            number = np.arange(len(tokens))  # of each symbol, without those left out; -1 for these
            kept: list[tuple[int, int]] = []
            for i, (left, right) in enumerate(merges.tolist(), 256):
                lost = tokens[i] in cut or number[left] < 0 or number[right] < 0
                number[i] = -1 if lost else 256 + len(kept)
                if not lost:
                    kept.append((int(number[left]), int(number[right])))
            merges = np.array(kept, np.int32).reshape(-1, 2)

    def _tokenizer(self, merges: np.ndarray) -> JsonTokenizer:
        tokens = spell(merges)
        ids = {token: len(SPECIAL) + i for i, token in enumerate(tokens)}
        learnt, added = self._parted(ids)
        if self.padded:
            known = {*ids, *(token.encode() for token in added)}
            added += _runs(known, learnt, len(SPECIAL) + len(tokens) + len(added))
        pairs = [(tokens[left], tokens[right]) for left, right in merges.tolist()]
        parsed = byte_level_json(
            ids,
            pairs,
            None if self.split else GPT2_PATTERN,
            {token: i for i, token in enumerate(SPECIAL)},
            self.name,
            added={token: len(SPECIAL) + len(tokens) + i for i, token in enumerate(added)},
            normalizer=self._normalizer(),
        )
        for token in parsed["added_tokens"]:
            token["normalized"] = not token["special"]
        parsed["padding"] = {
            "strategy": "BatchLongest",
            "direction": "Left",
            "pad_to_multiple_of": None,
            "pad_id": SPECIAL.index("<|pad|>"),
            "pad_type_id": 0,
            "pad_token": "<|pad|>",
        }
        return JsonTokenizer(parsed, self.name)

    def _normalizer(self) -> dict[str, Any] | None:
        steps = [{"type": step} for step in (self.form, None if self.cased else "Lowercase") if step]
        return {"type": "Sequence", "normalizers": steps} if steps else None


def _lies_in(token: str, added: set[str]) -> bool:
    """Whether one of `added` is a part of `token`."""
    return any(token[begin:end] in added for begin in range(len(token)) for end in range(begin + 2, len(token) + 1))


def _runs(known: set[bytes], learnt: list[str], size: int) -> list[str]:
    """As many runs of spaces and of line ends in turn, 2, 3, 4 … long, as `size` lacks to a power of two.

    None of them is `known` or lies in a custom token that was `learnt`.
    """
    lacking = (1 << (size - 1).bit_length()) - size
    if lacking > _MOST_RUNS:
        raise InvalidInput(
            f"{size} ids were found, and {lacking} runs of spaces would be needed up to a power of two, more than "
            f"{_MOST_RUNS}; ask for a size nearer to one, or leave padded=False"
        )
    runs = (sign * length for length in count(2) for sign in " \n")
    fresh = (run for run in runs if run.encode() not in known and not any(run in token for token in learnt))
    return list(islice(fresh, lacking))
