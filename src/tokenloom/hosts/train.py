"""Learn a byte-level BPE vocabulary from text, with the trainer of `tokenizers`."""

import json
from collections.abc import Iterable, Iterator

from ..core.errors import InvalidInput
from ..core.merges import GPT2_PATTERN
from .engines import foreign
from .json_tokenizer import JsonTokenizer
from .ranks import byte_level_json
from .surface import from_alphabet
from .utf8 import valid_runs

__all__ = ["train_bpe"]


def train_bpe(
    texts: Iterable[str | bytes],
    vocab_size: int,
    *,
    special: tuple[str, ...] = ("<|endoftext|>",),
    pattern: str = GPT2_PATTERN,
    name: str = "trained",
    progress: bool = False,
) -> JsonTokenizer:
    """Train byte-level BPE: 256 bytes, then merges of the most frequent pairs inside words, then the special tokens.

    Args:
        texts: what to learn from; read once. Bytes that are not UTF-8 are left out of the counts.
        vocab_size: ids in all, at least 256 and the special tokens; fewer are made when every word is one token.
        special: tokens that no text produces; they get the last ids.
        pattern: the regular expression that finds words; GPT-2's unless told.
        name: the name of the tokenizer.
        progress: whether the trainer draws its bar on the terminal.
    Returns: the same tokenizer for the same texts, on any number of cores.
    Raises: InvalidInput: `vocab_size` too small, or no text at all.

    >>> train_bpe(["low lower lowest " * 3], 260).encode("lowest").tokens()
    [b'low', b'e', b's', b't']
    """
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

    learnt = vocab_size - len(special)
    if learnt < 256:
        raise InvalidInput(f"vocab_size={vocab_size}; 256 bytes and {len(special)} special tokens need more")
    if len(set(special)) < len(special) or "" in special:
        raise InvalidInput(f"special tokens {special} are empty or equal")
    trainer = trainers.BpeTrainer(
        vocab_size=learnt,
        min_frequency=1,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=progress,
    )
    empty = True

    def runs() -> Iterator[str]:
        nonlocal empty
        for text in texts:
            for run in valid_runs(text):
                if isinstance(run, str):
                    empty = False
                    yield run

    with foreign("tokenizers"):
        tokenizer = Tokenizer(models.BPE())
        split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
        tokenizer.train_from_iterator(runs(), trainer=trainer)
    if empty:
        raise InvalidInput("there is no text to train on")
    model = json.loads(tokenizer.to_str())["model"]
    ids = {from_alphabet(token): i for token, i in model["vocab"].items()}
    merges = [(from_alphabet(left), from_alphabet(right)) for left, right in model["merges"]]
    specials = {token: len(ids) + i for i, token in enumerate(special)}
    return JsonTokenizer(byte_level_json(ids, merges, pattern, specials, name), name)
