"""Aksharas and letters: what Tamil and Kannada are written in, and what their grammar is about.

Grammar is about letters, consonants and vowels: மரம் + இல் is ம ர த்த் இல். Writing is in aksharas: மரத்தில், where த்+இ is
one sign, தி. So grammars are written and matched in letters, consonants with the sign that takes the vowel away, vowels as
they are written alone; and words are cut between aksharas only. A seam inside an akshara moves to its beginning:
மர + த் + தில். Otherwise a piece would begin with a vowel sign that has no consonant, or end with a consonant whose vowel
depends on what comes next, and could not be pronounced by itself.
"""

import unicodedata
from functools import lru_cache

import regex

__all__ = ["AKSHARA", "JOINERS", "is_consonant", "is_vowel", "letters", "spell"]

JOINERS = "\u200c\u200d"
# Tamil writes each consonant without a vowel by itself; Kannada joins it to the next, unless a ZWNJ keeps them apart.
AKSHARA = regex.compile(r"(?:[\u0C95-\u0CB9\u0CDE]\u0CBC?\u0CCD\u200D?(?=[\u0C95-\u0CB9\u0CDE]))*\X")

_BLOCKS = (0x0B80, 0x0C80)  # Tamil and Kannada have the same signs at the same places
_SIGNS = {0x3E: 0x06, 0x3F: 0x07, 0x40: 0x08, 0x41: 0x09, 0x42: 0x0A, 0x43: 0x0B, 0x44: 0x60, 0x46: 0x0E, 0x47: 0x0F,
          0x48: 0x10, 0x4A: 0x12, 0x4B: 0x13, 0x4C: 0x14}  # fmt: skip
_VOWEL = {chr(block + sign): chr(block + vowel) for block in _BLOCKS for sign, vowel in _SIGNS.items()}
_SIGN = {vowel: sign for sign, vowel in _VOWEL.items()} | {chr(block + 0x05): "" for block in _BLOCKS}
_CONSONANTS = {chr(block + at) for block in _BLOCKS for at in (*range(0x15, 0x3A), 0x5E)}


def is_consonant(letter: str) -> bool:
    """Whether it is a consonant of Tamil or Kannada."""
    return letter in _CONSONANTS


def is_vowel(letter: str) -> bool:
    """Whether it is a vowel of Tamil or Kannada."""
    return letter in _SIGN


@lru_cache(1 << 16)
def letters(text: str) -> str:
    """The letters of a text, one character each: consonants by their character, vowels by that which is written alone.

    The text is brought to NFC, so that two-part vowel signs are one; joiners fall out, vowel signs without a consonant count as
    vowels, other scripts stay.

    >>> letters("கொடி"), letters("மரம்"), letters("ಕ್ಕ"), letters("é!")
    ('கஒடஇ', 'மஅரஅம', 'ಕಕಅ', 'é!')
    """
    out: list[str] = []
    bare = False  # whether the last letter is a consonant of which the vowel is not known yet
    for c in unicodedata.normalize("NFC", text):
        if c in JOINERS:
            continue
        joined = bare and _block(c) == _block(out[-1])
        if bare and not (joined and (c in _VOWEL or _is_virama(c))):
            out.append(chr(_block(out[-1]) + 0x05))
        if not (joined and _is_virama(c)):
            out.append(_VOWEL.get(c, c))
        bare = c in _CONSONANTS
    if bare:
        out.append(chr(_block(out[-1]) + 0x05))
    return "".join(out)


def spell(letters: str) -> str:
    """How letters are written; `letters(spell(x))` is x.

    >>> spell("மஅரஅம"), spell("ಕಕಅ")
    ('மரம்', 'ಕ್ಕ')
    """
    out: list[str] = []
    bare = False
    for c in letters:
        if bare:
            if c in _SIGN and _block(c) == _block(out[-1]):
                out.append(_SIGN[c])
                bare = False
                continue
            out.append(chr(_block(out[-1]) + 0x4D))
        out.append(c)
        bare = c in _CONSONANTS
    if bare:
        out.append(chr(_block(out[-1]) + 0x4D))
    return "".join(out)


def _is_virama(c: str) -> bool:
    return ord(c) & 0x7F == 0x4D


def _block(c: str) -> int:
    """Where the block of 128 characters begins in which `c` lies."""
    return ord(c) & ~0x7F
