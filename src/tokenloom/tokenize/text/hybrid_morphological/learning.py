"""The lexicon for a corpus: the roots with which its words begin, and strings for what has no morphs.

The authors filter roots by their frequency on the web and take strings that byte-pair encoding learnt. So do we: a root is
worth the words that begin with it. Because the longest root goes before any suffix, one is left out that stands more often
where a suffix would fit (la before r, where lar should be), and loses its other forms if the rules err about it more often
than not. Strings are learnt from the ends of words from the place on where nothing else fits.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import regex

from ....core.errors import InvalidInput
from ....hosts.utf8 import valid_runs
from ..bpe import UNIT_OF_BYTE, Pieces, learn_merges, spell
from .lexicon import SPECIALS, Language, Morph, unique
from .tokenizer import HybridTokenizer

__all__ = ["HybridMorphology", "folded_words"]

ROUNDS = 3
_WORD = regex.compile(r"\p{L}[\p{L}\p{M}]*|\p{N}+|[^\s\p{L}\p{N}]+")


def folded_words(texts: Iterable[str | bytes], language: Language) -> Counter[str]:
    """Runs of letters, of digits and of signs, in lower case, and how often each occurs; bytes that are not UTF-8 do not.

    >>> from tokenloom.tokenize.text.hybrid_morphological.turkish import TURKISH
    >>> folded_words(["Iğdır'da 12 ev, İzmir'de ev"], TURKISH).most_common(2)
    [("'", 2), ('ev', 2)]
    """
    low = str.maketrans({upper: lower for lower, upper in language.sounds.upper.items()})
    words: Counter[str] = Counter()
    for text in texts:
        for run in valid_runs(text):
            if isinstance(run, str):
                words.update(_WORD.findall(run.translate(low).lower()))
    return words


@dataclass(frozen=True)
class HybridMorphology:
    """Make the tokenizer of a language for a corpus.

    Args:
        language: its sounds, rules and suffixes.
        vocab_size: ids in all: specials, roots, suffixes, strings and the 256 bytes; fewer where the corpus gives no more. The
            authors have 32,768 and no bytes.
        strings: how many of them are strings; more where fewer roots are used. The authors have 12,512.
        name: of the tokenizer.
    Raises: InvalidInput: a vocabulary in which there is no room for a root.
    """

    language: Language
    vocab_size: int = 32768
    strings: int = 12512
    name: str = "hybrid-morphological"

    def __post_init__(self) -> None:
        if self._roots < 1 or self.strings < 0:
            raise InvalidInput(
                f"vocab_size={self.vocab_size} and strings={self.strings} leave {self._roots} ids to roots; they need one"
            )

    def __call__(self, texts: Iterable[str | bytes], roots: Sequence[Morph]) -> HybridTokenizer:
        """Choose among `roots` and learn strings.

        Args:
            texts: the corpus, read once; their order makes no difference.
            roots: all that the language has, those first that win where two have a form in common.
        Raises: InvalidInput: there is no word in the texts, or no root.
        """
        words = Counter(dict(sorted(folded_words(texts, self.language).items())))
        if not words or not roots:
            raise InvalidInput(f"{len(words)} words and {len(roots)} roots; a lexicon needs both")
        kept = self._used(unique(roots), words)
        strings = self._strings(kept, words, self.strings + self._roots - len(kept))
        return HybridTokenizer(self.language.lexicon(kept, strings), name=self.name)

    @property
    def _roots(self) -> int:
        return self.vocab_size - 256 - len(SPECIALS) - len(self.language.suffixes) - self.strings

    def _used(self, roots: list[Morph], words: Counter[str]) -> list[Morph]:
        """Those with which most words begin, in the order of their frequency, after `ROUNDS` of pruning."""
        for last in (*[False] * (ROUNDS - 1), True):
            lexicon = self.language.lexicon(roots)
            uses = _Uses.count(HybridTokenizer(lexicon, rule="published"), words)
            right = _Uses.count(HybridTokenizer(lexicon), words)
            pruned = []
            for k, root in enumerate(roots):
                i = len(SPECIALS) + k
                wrong = uses.total[i] - right.total[i]
                if uses.begins[i] == 0 or (uses.instead[i] > uses.begins[i] and len(root.forms) == 1):
                    continue
                if len(root.forms) > 1 and (wrong > right.total[i] or uses.instead[i] > uses.begins[i]):
                    root = Morph(root.kind, root.forms[:1], front=root.front)
                pruned.append((uses.begins[i], root))
            if last:
                pruned.sort(key=lambda pair: -pair[0])
            roots = unique(root for _, root in pruned)
        return roots[: self._roots]

    def _strings(self, roots: list[Morph], words: Counter[str], limit: int) -> list[str]:
        """What byte-pair encoding learns on the ends of words behind their first byte, single characters first."""
        tok = HybridTokenizer(self.language.lexicon(roots))
        listed, bytes_from = list(words), len(tok.lexicon)
        ids, ends, starts, _ = tok._encode(listed)
        # The first byte of each word, or the token behind the word.
        places = np.append(np.flatnonzero(ids >= bytes_from), ids.size)
        firsts = places[np.searchsorted(places, starts[:-1])]
        tails: Counter[bytes] = Counter()
        for k in np.flatnonzero(firsts < starts[1:]).tolist():
            begin = int(ends[firsts[k] - 1]) if firsts[k] > starts[k] else 0
            tails[listed[k].encode()[begin:]] += words[listed[k]]
        letters: Counter[str] = Counter()
        for tail, count in tails.items():
            for letter in tail.decode():
                letters[letter] += count
        single = [letter for letter, count in letters.most_common() if count > 1][: limit // 2]
        found = dict.fromkeys(single)
        if tails:
            merges = learn_merges(_pieces(tails), 256, 256 + 2 * limit)
            for token in spell(merges)[256:]:
                if len(found) == limit:
                    break
                if len(text := token.decode(errors="ignore")) > 1 and text.encode() == token:
                    found.setdefault(text)
        return list(found)[:limit]


@dataclass(frozen=True)
class _Uses:
    """How often each id stands in words, float64 (V,).

    Args:
        total: anywhere.
        begins: at the beginning of a word.
        instead: behind it, where a suffix fits, too, that is as long or one letter shorter, two letters at least.
    """

    total: np.ndarray
    begins: np.ndarray
    instead: np.ndarray

    @classmethod
    def count(cls, tok: HybridTokenizer, words: Counter[str]) -> "_Uses":
        ids, ends, starts, _ = tok._encode(list(words))
        weights = np.repeat(np.fromiter(words.values(), np.int64), np.diff(starts))
        first = np.zeros(ids.size, bool)
        first[starts[:-1][np.diff(starts) > 0]] = True
        suffixes = {form for form in tok.lexicon.forms["suffix"] if len(form) > 1}
        longest, fits = max(map(len, suffixes), default=0), np.zeros(ids.size, bool)
        data, word_of = [word.encode() for word in words], np.repeat(np.arange(len(words)), np.diff(starts))
        for k in np.flatnonzero(~first).tolist():
            word, begin = data[word_of[k]], int(ends[k - 1])
            size = len(word[begin : int(ends[k])].decode(errors="ignore"))
            behind = word[begin : begin + 4 * longest].decode(errors="ignore")
            fits[k] = any(behind[:n] in suffixes for n in range(size - 1, longest + 1))
        total = len(tok.vocab)
        return cls(
            np.bincount(ids, weights, total),
            np.bincount(ids, weights * first, total),
            np.bincount(ids, weights * fits, total),
        )


def _pieces(counts: Counter[bytes]) -> Pieces:
    starts = np.zeros(len(counts) + 1, np.int64)
    np.cumsum([len(piece) for piece in counts], out=starts[1:])
    units = UNIT_OF_BYTE[np.frombuffer(b"".join(counts), np.uint8)]
    return Pieces(units, starts, np.fromiter(counts.values(), np.int64, len(counts)))
