"""Whether two engines mean the same: they are asked about a text that holds what engines have been seen to disagree on.

Thirteen languages, contractions, digits in all lengths, runs and kinds of white space, emoji, composed and decomposed
letters, code, controls, the added tokens of the file, and characters from everywhere in Unicode.
"""

from typing import Any, Protocol

import numpy as np

from .engines import Flat

__all__ = ["PROBE", "same_ids"]


class _Engine(Protocol):
    def flat(self, texts: list[str], threads: int | None = None) -> Flat: ...


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


def same_ids(one: _Engine, other: _Engine, tokenizer: dict[str, Any]) -> bool:
    """Whether two engines agree on the probe text, whole, line by line, and around the file's added tokens."""
    added = [token["content"] for token in tokenizer.get("added_tokens") or []]
    texts = [PROBE, *PROBE.splitlines(keepends=True), _every_script(), *(f"a {t} b{t}c" for t in added[:256])]
    (left, left_starts), (right, right_starts) = one.flat(texts), other.flat(texts)
    return np.array_equal(left, right) and np.array_equal(left_starts, right_starts)
