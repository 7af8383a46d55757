"""Other people's engines for a `tokenizer.json`, behind one small face: texts in, flat ids out.

`tokenizers` reads every such file and is the reference. `fastokens` reads many and is an order of magnitude faster; it is
used only after it gave the same ids on a probe text, which holds what engines have been seen to disagree on.
"""
# T tokens of all texts together

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np

from ..core.errors import TokenizerError

__all__ = ["FastokensEngine", "TokenizersEngine", "foreign", "same_ids"]

Flat = tuple[np.ndarray, np.ndarray]

PROBE = (
    "All human beings are born free and equal in dignity and rights. I'll say it's WE'VE what they'd'nt DON'T.\n\n"
    "Alle Menschen sind frei und gleich an Würde und Rechten geboren; Straßenbahnhaltestelle.\r\n\r\n"
    "Tous les êtres humains naissent libres, égaux\u00a0: «\u202fœuvre\u202f» \n \n"
    "Kaikki ihmiset syntyvät vapaina ja tasavertaisina arvoltaan ja oikeuksiltaan.\n   \n"
    "Minden emberi lény szabadon születik és egyenlő méltósága és joga van.\t\t\n"
    "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. İSTANBUL ılık\n"
    "Watu wote wamezaliwa huru, hadhi na haki zao ni sawa.\n"
    "மனிதப் பிறிவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர்\n"
    "ಎಲ್ಲಾ ಮಾನವರೂ ಸ್ವತಂತ್ರರಾಗಿಯೇ ಹುಟ್ಟಿದ್ದಾರೆ\n"
    "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता १२३४५\n"
    "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق ٠١٢٣٤٥\n"
    "人人生而自由,在尊严和权利上一律平等。「他們賦有理性」\n"
    "すべての人間は、生れながらにして自由であり、ｶﾀｶﾅ１２３\n"
    "1 22 333 4444 55555 1999 3.14159 1e-10 0xFF 1,234,567 ½ Ⅻ ²³ 2026-11-24T13:30:00Z\n"
    "if __name__ == '__main__':\n\tfor i in range(10):\n        x[i] += f\"{i:>3}\"  # why?\n\n\n\n}\n{}();//<!--\n"
    "👩‍👩‍👧‍👦 🇫🇮 👍🏽 ☕️ 🏳️‍🌈 e\u0301 ﬁ Å Ω \u200b\u200d\ufeff \u0085\u2028\u3000 ſ K 'ſ 'S 'K\x00\x01\x7f "
    "   leading,  double,   triple    spaces      \n  \t mixed \u00a0 \x0b\x0c\nend of line \n \n\n \r\r\n"
    "CamelCaseWord HTTPServer ÉTÉété ǅungla ʰa ª º snake_case kebab-case http://example.org/?q=a%20b&c=#d @user #tag "
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa -------------------------- ........... "
)


def _every_script() -> str:
    """A letter, sign or unassigned character from everywhere in Unicode, in twos, so that classes show in the cuts."""
    codes = (code for code in range(0x21, 0x33480, 61) if not 0xD800 <= code < 0xE000)
    return "".join(f"{chr(code)}{chr(code + 1)}a " for code in codes)


class TokenizersEngine:
    """Hugging Face `tokenizers`; sequences of `Encoding` objects, turned into arrays one text at a time."""

    name = "tokenizers"

    def __init__(self, text: str) -> None:
        from tokenizers import Tokenizer

        with foreign("tokenizers"):
            self._tokenizer = Tokenizer.from_str(text)
            self._tokenizer.encode_special_tokens = True

    def flat(self, texts: list[str], threads: int | None = None) -> Flat:
        """Ids of `texts`: int32 (T,), and where each text begins, int64 (texts + 1,)."""
        tokenizer = self._tokenizer
        with foreign(self.name):
            if threads == 1:
                batches = (tokenizer.encode_batch_fast([text], add_special_tokens=False) for text in texts)
                encodings = [batch[0] for batch in batches]
            else:
                encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
            starts = np.zeros(len(texts) + 1, np.int64)
            np.cumsum([len(encoding) for encoding in encodings], out=starts[1:])
            ids_T = np.empty(starts[-1], np.int32)
            for i, encoding in enumerate(encodings):
                ids_T[starts[i] : starts[i + 1]] = encoding.ids
        return ids_T, starts

    def spans(self, text: str) -> np.ndarray:
        """First character and the one after the last of each token, int64 (T, 2)."""
        with foreign(self.name):
            encoding = self._tokenizer.encode(text, add_special_tokens=False)
            return np.array(encoding.offsets, np.int64).reshape(-1, 2)


class FastokensEngine:
    """`fastokens`, which writes ids straight into one buffer."""

    name = "fastokens"

    def __init__(self, text: str) -> None:
        from fastokens import Tokenizer

        with foreign("fastokens"):
            self._tokenizer = Tokenizer.from_json_str(text)

    @staticmethod
    def installed() -> bool:
        return find_spec("fastokens") is not None

    def flat(self, texts: list[str], threads: int | None = None) -> Flat:
        """Ids of `texts`: int32 (T,), and where each text begins, int64 (texts + 1,)."""
        encode = self._tokenizer.encode_batch_flat
        with foreign(self.name):
            if threads == 1:
                # A batch of one stays in the calling thread.
                parts = [encode([text], add_special_tokens=False, split_special_tokens=True) for text in texts]
                ids, sizes = b"".join(part[0] for part in parts), [len(part[0]) // 4 for part in parts]
                starts = np.zeros(len(texts) + 1, np.int64)
                np.cumsum(sizes, out=starts[1:])
            else:
                ids, edges = encode(texts, add_special_tokens=False, split_special_tokens=True)
                starts = np.frombuffer(edges, "<u8").astype(np.int64)
        return np.frombuffer(ids, "<i4"), starts


def same_ids(one: Any, other: Any, tokenizer: dict[str, Any]) -> bool:
    """Whether two engines agree on the probe text, whole, line by line, and around the file's added tokens."""
    added = [token["content"] for token in tokenizer.get("added_tokens") or []]
    texts = [PROBE, *PROBE.splitlines(keepends=True), _every_script(), *(f"a {t} b{t}c" for t in added[:256])]
    (left, left_starts), (right, right_starts) = one.flat(texts), other.flat(texts)
    return np.array_equal(left, right) and np.array_equal(left_starts, right_starts)


@contextmanager
def foreign(engine: str) -> Iterator[None]:
    """Tell an engine's failure again as `TokenizerError`; its panics are no `Exception`s and would end the program."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError, TokenizerError):
        raise
    except BaseException as error:
        raise TokenizerError(f"the engine {engine} failed: {error}") from error
