"""What a sensible person writes to encode a corpus: `tokenizers` → numpy → file.

    python benchmarks/naive_encode.py TOKENIZER.json OUT.bin CORPUS.jsonl ...

The rival in `encode.py`. All cores work inside `encode_batch`.
"""

import json
import sys
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer


def main(tokenizer_file: str, out: str, *inputs: str) -> None:
    """Encode the texts of JSON-lines files in batches, with an end-of-text token behind each."""
    tokenizer = Tokenizer.from_file(tokenizer_file)
    end_of_text = tokenizer.token_to_id("<|endoftext|>")
    with Path(out).open("wb") as file:
        for path in inputs:
            batch = []
            with Path(path).open(encoding="utf-8") as lines:
                for line in lines:
                    batch.append(json.loads(line)["text"])
                    if len(batch) == 1000:
                        write(tokenizer, batch, end_of_text, file)
                        batch = []
            write(tokenizer, batch, end_of_text, file)


def write(tokenizer, batch, end_of_text, file):
    for encoding in tokenizer.encode_batch(batch):
        np.array([*encoding.ids, end_of_text], np.uint16).tofile(file)


if __name__ == "__main__":
    main(*sys.argv[1:])
