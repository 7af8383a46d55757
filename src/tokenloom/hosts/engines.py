"""Other people's engines for a `tokenizer.json`, behind one small face: texts in, flat ids out.

`tokenizers` reads every such file and is the reference. `fastokens` reads many and is an order of magnitude faster; it is
used only after it gave the same ids on a probe text (probe.py).
"""
# T tokens of all texts together

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import numpy as np

from ..core.errors import TokenizerError

__all__ = ["FastokensEngine", "Flat", "TokenizersEngine", "foreign"]

Flat = tuple[np.ndarray, np.ndarray]


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

    def cut_at(self, character: str) -> "TokenizersEngine":
        """The same byte-level model with words that `character` parts, itself one; no copy of the vocabulary."""
        from tokenizers import Tokenizer, pre_tokenizers

        other = TokenizersEngine.__new__(TokenizersEngine)
        other._tokenizer = Tokenizer(self._tokenizer.model)
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        other._tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Split(character, "isolated"), byte_level]
        )
        return other

    def spans(self, text: str) -> np.ndarray:
        """First character and the one after the last of each token, int64 (T, 2)."""
        with foreign(self.name):
            encoding = self._tokenizer.encode(text, add_special_tokens=False)
            return np.array(encoding.offsets, np.int64).reshape(-1, 2)


class FastokensEngine:
    """`fastokens`, which writes ids straight into one buffer.

    Of all characters below U+323B0, tried one by one between letters, digits and spaces, it reads one otherwise than
    `tokenizers`, for GPT-2's words only: `disputed`, which it takes for white space. Such texts are left to the other.
    """

    name = "fastokens"
    disputed = "\u180e"

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


@contextmanager
def foreign(engine: str) -> Iterator[None]:
    """Tell an engine's failure again as `TokenizerError`; its panics are no `Exception`s and would end the program."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError, TokenizerError):
        raise
    except BaseException as error:
        raise TokenizerError(f"the engine {engine} failed: {error}") from error
