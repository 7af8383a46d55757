"""Learn a vocabulary from text with other people's trainers: `tokenizers` for byte-pair encoding, Unigram and WordPiece,
`sentencepiece` for Unigram from counts.
"""

import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.cuts import cut_all
from ..core.errors import InvalidInput, require
from ..core.merges import GPT2_PATTERN
from .engines import foreign
from .json_tokenizer import JsonTokenizer
from .ranks import byte_level_json
from .surface import from_alphabet, to_alphabet
from .utf8 import valid_runs

if TYPE_CHECKING:
    from tokenizers.pre_tokenizers import PreTokenizer
    from tokenizers.trainers import Trainer

__all__ = ["BERT_SPECIAL", "train_bpe", "train_unigram", "train_wordpiece", "unigram_of_counts"]

BERT_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


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
    from tokenizers import models, pre_tokenizers, trainers

    _check_size(vocab_size, 256, "bytes", special)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(special),
        min_frequency=1,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=progress,
    )
    model = _learn(models.BPE(), _words(pattern), trainer, texts)["model"]
    ids = {from_alphabet(token): i for token, i in model["vocab"].items()}
    merges = [(from_alphabet(left), from_alphabet(right)) for left, right in model["merges"]]
    specials = {token: len(ids) + i for i, token in enumerate(special)}
    return JsonTokenizer(byte_level_json(ids, merges, pattern, specials, name), name)


def train_unigram(
    texts: Iterable[str | bytes],
    vocab_size: int,
    *,
    special: tuple[str, ...] = ("<|endoftext|>",),
    pattern: str = GPT2_PATTERN,
    name: str = "unigram",
    progress: bool = False,
) -> JsonTokenizer:
    """Train a byte-level Unigram vocabulary: pieces with probabilities; a word is cut into the likeliest pieces.

    Kudo 2018, arXiv 1804.10959. The 256 bytes are always among the pieces, so any bytes come back from their ids. The best
    pieces come first.

    Args:
        texts, vocab_size, special, pattern, name, progress: as for `train_bpe`.
    Returns: nearly the same tokenizer for the same texts: the trainer adds up probabilities in an order that changes from
        run to run, and of pieces that are equally good now the one and now the other stays.
    Raises: InvalidInput: `vocab_size` too small, or no text at all.

    >>> train_unigram(["low lower lowest " * 3], 262).encode("lowest").tokens()[0]
    b'low'
    """
    from tokenizers import models, pre_tokenizers, trainers

    _check_size(vocab_size, 256, "bytes", special)
    trainer = trainers.UnigramTrainer(
        vocab_size=vocab_size - len(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=progress,
    )
    model = _learn(models.Unigram(), _words(pattern), trainer, texts)["model"]
    return _unigram(model["vocab"], pattern, special, name)


def unigram_of_counts(
    counts: Mapping[str, int],
    vocab_size: int,
    *,
    special: tuple[str, ...] = ("<|endoftext|>",),
    pattern: str = GPT2_PATTERN,
    name: str = "unigram",
) -> JsonTokenizer:
    """Train a byte-level Unigram vocabulary on strings that are counted already, with the trainer of `sentencepiece`.

    It reads each string once, however often it occurs, and adds up in a fixed order. Pieces have at most 16 characters of
    average width, as there.

    Args:
        counts: how often each string occurs, >= 1; `pattern` finds the words in them.
        vocab_size, special, pattern, name: as for `train_unigram`.
    Returns: the same tokenizer for the same counts.
    Raises: InvalidInput: `vocab_size` too small, or nothing counted; MissingExtra: the package is not installed.

    >>> unigram_of_counts({"low": 9, "lower": 3, "lowest": 3}, 258).encode("lowest").tokens()[0]
    b'low'
    """
    _check_size(vocab_size, 256, "bytes", special)
    package = require("sentencepiece", "hf")
    words = _alphabet_words(counts, pattern)
    if not words:
        raise InvalidInput("there is no text to train on")
    characters = sum(len(from_alphabet(word).decode("utf-8", "replace")) for word in words)
    unseen = sorted({to_alphabet(bytes([byte])) for byte in range(256)} - set("".join(words)))
    written = io.BytesIO()
    with foreign("sentencepiece"):
        package.SentencePieceTrainer.train(
            sentence_iterator=(f"{word}\t{count}" for word, count in sorted(words.items())),
            input_format="tsv",
            model_writer=written,
            model_type="unigram",
            vocab_size=vocab_size - len(special) - len(unseen) + 1,  # one is its unknown token
            hard_vocab_limit=False,
            max_sentencepiece_length=round(16 * sum(map(len, words)) / characters),
            character_coverage=1.0,
            normalization_rule_name="identity",
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            split_by_unicode_script=False,
            split_by_number=False,
            split_by_whitespace=False,
            bos_id=-1,
            eos_id=-1,
            num_threads=1,  # what is added up, and in which order, depends on it
            minloglevel=2,
        )
        model = package.SentencePieceProcessor(model_proto=written.getvalue())
        learnt = [(model.id_to_piece(i), model.get_score(i)) for i in range(1, model.vocab_size())]
    least = min(score for _, score in learnt)
    return _unigram([*learnt, *((byte, least) for byte in unseen)], pattern, special, name)


def _alphabet_words(counts: Mapping[str, int], pattern: str) -> Counter[str]:
    """The words that `pattern` finds in counted strings, in GPT-2's alphabet, and how often each occurs."""
    strings = list(counts)
    joined = "".join(strings)
    points, numbers = cut_all(strings, pattern)
    repeats = np.repeat([counts[string] for string in strings], numbers).tolist()
    words: Counter[str] = Counter()
    for (begin, end), count in zip(pairwise(points.tolist()), repeats):
        words[to_alphabet(joined[begin:end].encode())] += count
    return words


def _unigram(scored: Iterable[tuple[str, float]], pattern: str, special: tuple[str, ...], name: str) -> JsonTokenizer:
    """The tokenizer of pieces in GPT-2's alphabet, the best first."""
    pieces = sorted(scored, key=lambda piece: (-piece[1], piece[0]))
    parsed = byte_level_json({}, [], pattern, {token: len(pieces) + i for i, token in enumerate(special)}, name)
    parsed["model"] = {"type": "Unigram", "unk_id": None, "vocab": pieces, "byte_fallback": False}
    return JsonTokenizer(json.dumps(parsed, ensure_ascii=False), name)


def train_wordpiece(
    texts: Iterable[str | bytes],
    vocab_size: int,
    *,
    special: tuple[str, ...] = BERT_SPECIAL,
    name: str = "wordpiece",
    progress: bool = False,
) -> JsonTokenizer:
    """Train a WordPiece vocabulary as BERT has it, cased: words and signs, cut into the longest pieces from the left.

    What comes back from ids is not the text: white space is one space, and a word with a character that `texts` do not
    have, or of more than a hundred, is [UNK]. `encode` still gives every byte of the text to a token.

    Args:
        texts, vocab_size, name, progress: as for `train_bpe`.
        special: tokens that no text produces, [UNK] among them; they get the first ids.
    Returns: nearly the same tokenizer for the same texts: of pieces that are equally good now the one and now the other
        stays.
    Raises: InvalidInput: `vocab_size` below the characters of the texts and special tokens, no [UNK], or no text at all.

    >>> train_wordpiece(["low lower lowest " * 3], 22).encode("lowest low").tokens()
    [b'lowe', b'st', b' low']
    """
    from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

    _check_size(vocab_size, 1, "character", special)
    if "[UNK]" not in special:
        raise InvalidInput(f"special tokens {special} lack '[UNK]', which stands for words that no pieces make")
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, min_frequency=1, special_tokens=list(special), show_progress=progress
    )
    parsed = _learn(
        models.WordPiece(unk_token="[UNK]"),
        pre_tokenizers.BertPreTokenizer(),
        trainer,
        texts,
        normalizer=normalizers.BertNormalizer(lowercase=False, strip_accents=False),
        decoder=decoders.WordPiece(),
    )
    if (size := len(parsed["model"]["vocab"])) > vocab_size:
        raise InvalidInput(f"vocab_size={vocab_size}; the characters of the texts and special tokens alone are {size}")
    return JsonTokenizer(parsed, name)


def _check_size(vocab_size: int, least: int, what: str, special: tuple[str, ...]) -> None:
    if vocab_size - len(special) < least:
        raise InvalidInput(f"vocab_size={vocab_size}; {least} {what} and {len(special)} special tokens need more")
    if len(set(special)) < len(special) or "" in special:
        raise InvalidInput(f"special tokens {special} are empty or equal")


def _words(pattern: str) -> "PreTokenizer":
    from tokenizers import Regex, pre_tokenizers

    with foreign("tokenizers"):
        split = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([split, byte_level])


def _learn(
    model: Any, words: "PreTokenizer", trainer: "Trainer", texts: Iterable[str | bytes], **parts: Any
) -> dict[str, Any]:
    """The parsed `tokenizer.json` of what `trainer` learns; `parts` are further steps of it."""
    from tokenizers import Tokenizer

    empty = True

    def runs() -> Iterator[str]:
        nonlocal empty
        for text in texts:
            for run in valid_runs(text):
                if isinstance(run, str):
                    empty = False
                    yield run

    with foreign("tokenizers"):
        tokenizer: Tokenizer = Tokenizer(model)
        tokenizer.pre_tokenizer = words
        for step, part in parts.items():
            setattr(tokenizer, step, part)
        tokenizer.train_from_iterator(runs(), trainer=trainer)
    if empty:
        raise InvalidInput("there is no text to train on")
    return json.loads(tokenizer.to_str())
