"""What the same content costs in different languages.

Petrov et al. 2023, "Language Model Tokenizers Introduce Unfairness Between Languages", arXiv 2305.15425: the premium of a
language is the number of its tokens divided by those of the same content in English.
"""
# S sentences (rows), L languages

import csv
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.errors import InvalidInput
from ..core.tokenizer import Tokenizer

__all__ = ["Parallel", "parallel_tokens", "premiums", "read_parallel"]


@dataclass(frozen=True)
class Parallel:
    """The same content in several languages.

    Args:
        languages: L names, no two alike.
        rows: S rows of L texts.
    Raises: InvalidInput: fewer than two languages, two alike, no rows, or one of another length.
    """

    languages: tuple[str, ...]
    rows: Sequence[Sequence[str]]

    def __post_init__(self) -> None:
        if len(self.languages) < 2 or len(set(self.languages)) < len(self.languages):
            raise InvalidInput(f"aligned text needs two languages at least, no two alike; got {list(self.languages)}")
        if not self.rows:
            raise InvalidInput("aligned text without rows")
        for i, row in enumerate(self.rows):
            if len(row) != len(self.languages):
                raise InvalidInput(f"row {i + 1} has {len(row)} texts for {len(self.languages)} languages")

    def column(self, language: str) -> list[str]:
        """All texts of one language.

        Raises: InvalidInput: it is not there.
        """
        if language not in self.languages:
            raise InvalidInput(f"no language {language!r} in the aligned text; there are {', '.join(self.languages)}")
        i = self.languages.index(language)
        return [row[i] for row in self.rows]


def read_parallel(table: str, name: str = "the table") -> Parallel:
    """Aligned text from tab-separated lines, the languages in the first; rows with an empty text are left out.

    A first column that is numbered and not a language (its title is "article", "id", "key" or empty) is left out too.

    Raises: InvalidInput: a line with another number of columns, or what `Parallel` refuses; `name` stands in the message.

    >>> read_parallel("id\\ten\\tde\\n1\\tone\\teins\\n2\\ttwo\\tzwei").column("de")
    ['eins', 'zwei']
    """
    lines = list(csv.reader(table.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))
    if not lines:
        raise InvalidInput(
            f"{name} is empty; aligned text has languages in the first line and a text of each in the others"
        )
    skip = lines[0][0].lower() in ("article", "id", "key", "")
    for number, line in enumerate(lines, 1):
        if len(line) != len(lines[0]):
            raise InvalidInput(f"{name}, line {number}: {len(line)} columns, but the first line has {len(lines[0])}")
    try:
        return Parallel(tuple(lines[0][skip:]), [line[skip:] for line in lines[1:] if all(line[skip:])])
    except InvalidInput as error:
        raise InvalidInput(f"{name}: {error}") from error


def parallel_tokens(tokenizer: Tokenizer, parallel: Parallel) -> np.ndarray:
    """How many tokens each text takes: int64 (S, L)."""
    flat = tokenizer.encode_batch([text for row in parallel.rows for text in row])
    return flat.lengths.reshape(len(parallel.rows), len(parallel.languages))


def premiums(tokens_SL: np.ndarray, base: int) -> np.ndarray:
    """Tokens of each language divided by those of language number `base`: float64 (L,) (Petrov et al. 2023, section 3).

    Raises: InvalidInput: the base has no token.

    >>> premiums(np.array([[2, 3], [2, 5]]), 0).tolist()
    [1.0, 2.0]
    """
    total_L = np.asarray(tokens_SL).sum(0)
    if not total_L[base]:
        raise InvalidInput("a premium against a language without tokens")
    return total_L / total_L[base]
