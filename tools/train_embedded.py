"""Train the vocabulary that travels with the package; gives the same file, byte for byte, on any machine.

    python tools/train_embedded.py

Text: the English samples (literary, technical, legal), the English columns of the parallel ones, then Python, JSON, SQL and
numbers, and the German columns so that foreign names are not cut into bytes. 16,384 ids, the last of them <|endoftext|>.
"""

import csv
import io
from importlib.resources import files
from pathlib import Path

from tokenloom.data import sample
from tokenloom.hosts.train import train_bpe

NAME = "tokenloom-en-16k"
TARGET = Path(str(files("tokenloom.data"))) / "tokenizers" / f"{NAME}.json"
# GPT-2's words, but numbers in threes: the samples hold more different numbers than this vocabulary has room for.
PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def column(name: str, language: str) -> str:
    """One language of a parallel sample."""
    rows = csv.DictReader(io.StringIO(sample(name)), delimiter="\t", quoting=csv.QUOTE_NONE)
    return "\n".join(row[language] for row in rows)


def main() -> None:
    texts = [sample(name) for name in ("en-literary", "en-technical", "en-legal", "code-python", "json-digits")]
    texts += [column(name, language) for language in ("en", "de") for name in ("udhr-parallel-13", "ui-parallel-12")]
    train_bpe(texts, 16_384, pattern=PATTERN, name=NAME).save(TARGET)


if __name__ == "__main__":
    main()
