"""Bilingual dictionaries: pairs of a word and its translation."""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

from ..core.errors import CorpusError

__all__ = ["dictd_pairs", "load_pairs"]

# Digits of the numbers in an index of dictd.
_DIGITS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_VALUE = {digit: value for value, digit in enumerate(_DIGITS)}
# Pronunciation, word class, field and remarks.
_ASIDE = re.compile(r"/[^/]*/|<[^>]*>|\[[^]]*\]|\([^)]*\)|\{[^}]*\}")


def load_pairs(path: str | Path) -> list[tuple[str, str]]:
    """Pairs from a file: a word, a tab and its translation on each line, or two words with a space between; or of dictd.

    Args:
        path: UTF-8 text, or a dictionary of dictd, NAME.dict.dz beside NAME.index.
    Raises: CorpusError: the file cannot be read, or a line has no two sides.
    """
    path = Path(path)
    try:
        if path.name.endswith(".dict.dz"):
            index = path.with_name(path.name.removesuffix(".dict.dz") + ".index")
            return list(dictd_pairs(index.read_bytes(), path.read_bytes()))
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise CorpusError(f"{path} cannot be read as a dictionary: {error}") from error
    pairs = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            sides = line.strip().split("\t" if "\t" in line.strip() else None)
            if len(sides) != 2:
                raise CorpusError(f"{path}: line {number} has {len(sides)} columns; a word, a tab, a translation")
            pairs.append((sides[0].strip(), sides[1].strip()))
    return pairs


def dictd_pairs(index: bytes, definitions: bytes) -> Iterator[tuple[str, str]]:
    """Pairs from a dictionary of FreeDict: each headword with each translation that a comma or semicolon sets apart.

    An entry is a line of the headword and its pronunciation, lines of translations, and indented lines of examples.

    Args:
        index: lines of headword, offset and length, whose digits are those of base 64.
        definitions: the entries, compressed by gzip.
    Raises: CorpusError: an index that does not fit the entries.

    >>> import gzip
    >>> entry = "dog /dɒɡ/\\nHund <masc> [zool.], Köter\\n   Synonym: {cur}\\n".encode()
    >>> list(dictd_pairs(b"dog\\tA\\t6\\n", gzip.compress(entry)))
    [('dog', 'Hund'), ('dog', 'Köter')]
    """
    text = gzip.decompress(definitions)
    for line in index.splitlines():
        fields = line.split(b"\t")
        if len(fields) < 3 or fields[0].startswith(b"00"):
            continue
        begin, size = _number(fields[1]), _number(fields[2])
        if begin + size > len(text):
            raise CorpusError(f"the entry of {fields[0].decode()!r} ends at {begin + size}, the text at {len(text)}")
        head, *rest = text[begin : begin + size].decode("utf-8", "replace").split("\n")
        word = _ASIDE.sub(" ", head).strip()
        for translations in rest:
            if translations[:1].isspace() or not word:
                continue
            for side in re.split("[,;]", _ASIDE.sub(" ", translations)):
                if side := " ".join(side.split()):
                    yield word, side


def _number(digits: bytes) -> int:
    try:
        value = 0
        for digit in digits:
            value = value * 64 + _VALUE[digit]
        return value
    except KeyError as error:
        raise CorpusError(f"{digits.decode('ascii', 'replace')!r} is no number of an index of dictd") from error
