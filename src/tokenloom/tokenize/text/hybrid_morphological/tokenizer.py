"""The tokenizer of a lexicon: its tables for the kernels, its vocabulary, its files."""
# V ids, F forms, S different strings, T tokens

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain
from typing import Any, Self

import numpy as np

from ....core.errors import InvalidInput, TokenizerError
from ....core.trie import trie_of
from ....core.vocabulary import Kind, Vocabulary
from ....hosts.folder import FolderTokenizer
from ....hosts.utf8 import valid_runs
from .coding import Tables, encode, realise
from .lexicon import FEATURES, SPECIALS, MorphLexicon, Sounds

__all__ = ["RULES", "Escapes", "HybridTokenizer"]

RULES = ("exact", "published")
_UNKNOWN = "▁u▁"  # how the published decoder writes the unknown token
_MARKS = ("<uppercase>", "<unknown>", " ", "\n", "\t")
_CASED = 0x20000  # no code point above has an upper case
_NOTHING = 0x110000  # behind the last code point


@dataclass(frozen=True)
class Escapes:
    """How often the rules did not choose what stands in texts.

    Args:
        words: stretches between white space.
        spelled: those in which a morph had to be spelled.
        bytes: those with characters that no form has.
    """

    words: int
    spelled: int
    bytes: int

    @property
    def rate(self) -> float:
        """Share of the words in which a morph had to be spelled; 0 for no words."""
        return self.spelled / max(1, self.words)


class HybridTokenizer(FolderTokenizer):
    """The tokenizer of a lexicon.

    Ids are those of the lexicon, then the 256 bytes. `vocab` has the citation form of each id; which form stands in a text,
    `decode` and the segmentation say. A mark owns no byte, and is the only special token that ordinary text becomes.

    Args:
        lexicon: of morphs and strings.
        rule: "exact" gives back every text; "published" is the authors' encoder and decoder: unknown characters, white space
            by itself, some forms and dotted capitals are lost, and a text can spell special tokens.
        name: of the tokenizer.
    Raises: InvalidInput: no such rule.

    >>> from tokenloom.tokenize.text.hybrid_morphological import Morph
    >>> from tokenloom.tokenize.text.hybrid_morphological.turkish import TURKISH
    >>> tok = HybridTokenizer(TURKISH.lexicon([Morph("root", ("kitap", "kitab"), "voicing"), Morph("root", ("ev",))]))
    >>> tok.encode("Kitabım evlerde").tokens()
    [b'', b'Kitab', b'\\xc4\\xb1m', b' ', b'ev', b'ler', b'de']
    >>> tok.encode("kitaplar").ids[:1].tolist() == tok.encode("kitabım").ids[:1].tolist()
    True
    >>> tok.decode(tok.encode("İzmir!").ids).decode()
    'İzmir!'
    """

    kind = "HybridTokenizer"
    engine = "tokenloom"
    spells = False

    def __init__(self, lexicon: MorphLexicon, *, rule: str = "exact", name: str = "hybrid-morphological") -> None:
        if rule not in RULES:
            raise InvalidInput(f"rule={rule!r}; rules are {', '.join(RULES)}")
        self.lexicon, self.rule, self.name = lexicon, rule, name
        self.unknown = lexicon.id_of("<unknown>", "special") if rule == "published" else None

    @cached_property
    def vocab(self) -> Vocabulary:
        """The citation form and the kind of each id."""
        kinds = {"special": Kind.SPECIAL, "unused": Kind.UNUSED}
        tokens = [(morph.forms[0] if morph.forms else "").encode() for morph in self.lexicon.morphs]
        made = [Kind.NORMAL if token in (b" ", b"\n", b"\t") else kinds.get(morph.kind, Kind.NORMAL)
                for token, morph in zip(tokens, self.lexicon.morphs)]  # fmt: skip
        return Vocabulary([*tokens, *(bytes([b]) for b in range(256))], kinds=[*made, *[Kind.BYTE] * 256])

    @property
    def config(self) -> dict[str, Any]:
        return {"rule": self.rule, "lexicon": self.lexicon.config}

    @classmethod
    def from_config(cls, config: dict[str, Any], name: str) -> Self:
        match config:
            case {"rule": str(rule), "lexicon": dict(lexicon)}:
                return cls(MorphLexicon.from_config(lexicon), rule=rule, name=name)
        raise TokenizerError(f"{name}: a HybridTokenizer has a rule and a lexicon")

    def with_rule(self, rule: str) -> "HybridTokenizer":
        """The same lexicon under another rule; the ids mean the same.

        Raises: InvalidInput: no such rule.
        """
        return HybridTokenizer(self.lexicon, rule=rule, name=self.name)

    def decode(self, ids: Sequence[int] | np.ndarray) -> bytes:
        """The bytes that `ids`, shape (T,), stand for: of each id the form that its context asks for.

        Raises: InvalidInput: an id outside the vocabulary.
        """
        ids_T = np.ascontiguousarray(self.vocab.check_ids(ids), np.int32)
        pieces_T = np.empty(ids_T.size, np.int32)
        t = self._tables
        realise(ids_T, t.ids, t.sounds, t.rules, t.marks, pieces_T)
        written = self._written
        return b"".join([written[piece] for piece in pieces_T.tolist()])

    def escapes(self, texts: Iterable[str | bytes]) -> Escapes:
        """Count the words of `texts` in which a morph had to be spelled, or a character is no form's.

        >>> from tokenloom.tokenize.text.hybrid_morphological import Morph
        >>> tok = HybridTokenizer(MorphLexicon.of([Morph("root", ("ev",))], {}, Sounds({}, "")))
        >>> tok.escapes(["ev Ev evi"])
        Escapes(words=3, spelled=0, bytes=1)
        """
        runs = [run for text in texts for run in valid_runs(text) if isinstance(run, str)]
        return Escapes(*(int(count) for count in self._encode(runs)[3]))

    def _ids(self, texts: list[str], threads: int | None) -> tuple[np.ndarray, np.ndarray]:
        ids_T, _, starts, _ = self._encode(texts)
        return ids_T, starts

    def _run_ends(self, run: str | bytes, ids_T: np.ndarray) -> np.ndarray:
        # Never by the lengths of citation forms: they may fit by accident.
        return np.arange(1, len(run) + 1) if isinstance(run, bytes) else self._ends(run, ids_T)

    def _ends(self, text: str, ids_T: np.ndarray) -> np.ndarray:
        return self._encode([text])[1]

    def _stray(self, data: bytes) -> np.ndarray:
        return super()._stray(data) if self.unknown is None else np.full(len(data), self.unknown, np.int32)

    def _encode(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        starts = np.zeros(len(texts) + 1, np.int64)
        np.cumsum([len(text) for text in texts], out=starts[1:])
        points = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)
        return encode(points, starts, self._tables)

    @cached_property
    def _forms(self) -> list[str]:
        """The forms of all ids one after the other, F without those of the bytes."""
        return list(chain.from_iterable(morph.forms or ("",) for morph in self.lexicon.morphs))

    @cached_property
    def _written(self) -> list[bytes]:
        """The bytes of each of 2F pieces, and last of all of piece -1, none."""
        published, special = self.rule == "published", self.lexicon.forms["special"]
        upper = str.capitalize if published else _capitalise(self.lexicon.sounds)
        owners = chain.from_iterable([morph.kind] * max(1, len(morph.forms)) for morph in self.lexicon.morphs)
        silent = {form for form in special if not published and form not in (" ", "\n", "\t")}
        forms = ["" if kind == "special" and form in silent else form for kind, form in zip(owners, self._forms)]
        if published:
            forms[int(self._tables.ids[special["<unknown>"][0], 0])] = _UNKNOWN
        single = [bytes([b]) for b in range(256)]
        return [*(form.encode() for form in forms), *single, *(upper(form).encode() for form in forms), *single, b""]

    @cached_property
    def _tables(self) -> Tables:
        lexicon, sounds, published = self.lexicon, self.lexicon.sounds, self.rule == "published"
        morphs, size = lexicon.morphs, len(lexicon)
        counts_V = np.array([*(max(1, len(morph.forms)) for morph in morphs), *[1] * 256])
        first_V = (np.cumsum(counts_V) - counts_V).astype(np.int32)
        names = {name: i for i, name in enumerate(lexicon.rules, 1)}
        special = {name: lexicon.id_of(name, "special") for name in SPECIALS}
        white = {special[name] for name in (" ", "\n", "\t")}
        strings: dict[str, list[int]] = {}
        for column, kind in enumerate(("root", "suffix", "string")):
            for form, (i, number) in lexicon.forms[kind].items():
                strings.setdefault(form, [-1, -1, -1])[column] = int(first_V[i]) + number
        if published:  # there the special tokens are roots
            for form, i in special.items():
                strings.setdefault(form, [-1, -1, -1])[0] = int(first_V[i])
        lengths = np.array([len(form) for form in strings])
        edges = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        links, string_of = trie_of(np.frombuffer("".join(strings).encode("utf-32-le"), np.uint32), edges)
        vowels = set(sounds.vowels)
        begins = [bool(morph.forms) and morph.forms[0][0] in vowels for morph in morphs]
        ids = [[names.get(m.rule, 0), vowel, i in white] for i, (m, vowel) in enumerate(zip(morphs, begins))]
        rules = [
            [*(rule.weights.get(feature, 0) for feature in FEATURES), rule.forms - 1,
             lexicon.id_of(rule.follower, "suffix") if rule.follower else -1, rule.first_at_end]
            for rule in lexicon.rules.values()
        ]  # fmt: skip
        start = (3, 0) if published else (sounds.initial, sounds.initial & 1)
        return Tables(
            letters=_letters(published, tuple(sounds.upper.items())),
            links=links,
            string_of=string_of,
            found=np.array(list(strings.values()), np.int32).reshape(-1, 3),
            forms=np.array(
                [[*map(len, self._forms), *[1] * 256], np.repeat(np.arange(size + 256), counts_V)], np.int32
            ).T.copy(),
            ids=np.column_stack([first_V, np.array([*ids, *[[0, 0, not published]] * 256])]).astype(np.int32),
            sounds=np.array([*self._sounds(capital=False), *self._sounds(capital=True)], np.int8),
            rules=np.array([[0] * 10, *rules], np.int32),
            marks=np.array([*(special[name] for name in _MARKS), size, *start, published], np.int32),
        )

    def _sounds(self, capital: bool) -> list[tuple[bool, int, int, bool, bool]]:
        """Of each form: whether it is of letters, its vowel class, whether that is a front one, hard, ends in a vowel."""
        sounds, made = self.lexicon.sounds, []
        for morph in self.lexicon.morphs:
            for form in morph.forms or ("",):
                if self.rule == "published":
                    # The authors look at what they have written: a first letter in upper case is no vowel to them.
                    text = form.capitalize() if capital else form
                    found = _last(sounds, text)
                    vowel = 3 if found is None else found
                    front = int((found is not None and found % 2 == 1) or (morph.front and text == form))
                else:
                    # A root keeps its class where a vowel drops out: nakit, nakde.
                    text = form
                    found = _last(sounds, morph.forms[0] if morph.kind == "root" else form)
                    vowel = -1 if found is None else found | morph.front
                    front = vowel & 1 if vowel >= 0 else -1
                hard, open_ = text.endswith(tuple(sounds.hard)), text.endswith(tuple(sounds.vowels))
                made.append((form.isalpha(), vowel, front, hard, open_))
        return [*made, *[(False, -1, -1, False, False)] * 256]


def _last(sounds: Sounds, text: str) -> int | None:
    """The class of the last vowel that has one."""
    return next((sounds.harmony[letter] for letter in reversed(text) if letter in sounds.harmony), None)


def _capitalise(sounds: Sounds) -> Callable[[str], str]:
    def upper(form: str) -> str:
        first = sounds.upper.get(form[:1], form[:1].upper())
        return first + form[1:] if len(first) == 1 else form

    return upper


@cache
def _letters(published: bool, pairs: tuple[tuple[str, str], ...]) -> np.ndarray:
    """Of each code point its lower case, whether it begins with a mark, whether it is white space: uint32 (_CASED, 3).

    A character whose case would not come back has no lower case here; it is neither upper nor in any form.
    """
    lower, upper = {high: low for low, high in pairs}, dict(pairs)
    table = np.zeros((_CASED, 3), np.uint32)
    for code in range(_CASED):
        letter = chr(code)
        low = lower.get(letter, letter.lower())
        if published:
            table[code, 1] = letter.isupper()
        elif low != letter:
            table[code, 1] = len(low) == 1 and upper.get(low, low.upper()) == letter
            low = low if table[code, 1] else ""
        table[code, 0] = ord(low) if len(low) == 1 else _NOTHING
        table[code, 2] = letter.isspace()
    return table
