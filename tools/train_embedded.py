"""Train the vocabulary that travels with the package; gives the same file, byte for byte, on any machine.

    python tools/train_embedded.py

Text: the English samples (literary, technical, legal), the English columns of the parallel ones, and the Python sample, so
that indentation and identifiers are known too. 16,384 ids, the last of them <|endoftext|>.
"""

import csv
import io
from importlib.resources import files
from pathlib import Path

from tokenloom.data import sample
from tokenloom.hosts.train import train_bpe

NAME = "tokenloom-en-16k"
TARGET = Path(str(files("tokenloom.data"))) / "tokenizers" / f"{NAME}.json"


def english(name: str) -> str:
    """The column `en` of a parallel sample."""
    rows = csv.DictReader(io.StringIO(sample(name)), delimiter="\t", quoting=csv.QUOTE_NONE)
    return "\n".join(row["en"] for row in rows)


def main() -> None:
    texts = [sample(name) for name in ("en-literary", "en-technical", "en-legal", "code-python")]
    texts += [english(name) for name in ("udhr-parallel-13", "ui-parallel-12")]
    train_bpe(texts, 16_384, name=NAME).save(TARGET)


if __name__ == "__main__":
    main()
