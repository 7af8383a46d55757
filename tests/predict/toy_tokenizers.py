"""Tiny tokenizers of every kind, and a language model over their tokens that is made from a distribution over texts."""

from collections import defaultdict
from itertools import product

import numpy as np

from tokenloom.hosts.json_tokenizer import JsonTokenizer
from tokenloom.hosts.surface import to_alphabet

BOS = "<s>"
DIGITS = {"type": "Digits", "individual_digits": True}
THREES = {
    "type": "Split",
    "pattern": {"Regex": r"\p{N}{1,3}| ?\p{L}+|\s*\n+|\s+(?!\S)|\s+"},
    "behavior": "Isolated",
    "invert": False,
}
FROM_RIGHT = {**THREES, "pattern": {"Regex": r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))|[^\p{N}]+"}}


def byte_level(use_regex=False):
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


# Name → the steps that cut texts into words.
WORDS = {
    "no words": [byte_level()],
    "GPT-2": [byte_level(True)],
    "SmolLM2": [DIGITS, byte_level(True)],
    "threes": [THREES, byte_level()],
    "threes from the right": [FROM_RIGHT, byte_level()],
}


def merged_vocabulary(units, merges):
    """Units, then what merges make of them; a merge of tokens that there are not is left out."""
    tokens, kept = dict.fromkeys(units), []
    for left, right in merges:
        if left in tokens and right in tokens and (left, right) not in kept:
            kept.append((left, right))
            tokens[left + right] = None
    return {token: i for i, token in enumerate(tokens)}, kept


def bpe(steps, merges):
    """Byte-level BPE with merges of bytes, such as (b"a", b"b")."""
    units = [to_alphabet(bytes([byte])) for byte in range(256)]
    vocab, kept = merged_vocabulary(units, [(to_alphabet(left), to_alphabet(right)) for left, right in merges])
    return _tokenizer(vocab, kept, pre_tokenizer={"type": "Sequence", "pretokenizers": steps})


def sentencepiece(letters, merges):
    """BPE of characters with byte fallback and marks for spaces."""
    units = [f"<0x{byte:02X}>" for byte in range(256)] + [letter.replace(" ", "▁") for letter in letters]
    pairs = [(left.replace(" ", "▁"), right.replace(" ", "▁")) for left, right in merges]
    vocab, kept = merged_vocabulary(units, [pair for pair in pairs if "<" not in pair[0] + pair[1]])
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    return _tokenizer(vocab, kept, normalizer=replace, byte_fallback=True)


def _tokenizer(vocab, merges, *, pre_tokenizer=None, normalizer=None, byte_fallback=False):
    special = {"id": len(vocab), "content": BOS, "special": True}
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    decoder = (
        {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}]}
        if byte_fallback
        else byte_level()
    )  # fmt: skip
    file = {
        "version": "1.0",
        "added_tokens": [special | plain],
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": decoder,
        "model": {
            "type": "BPE",
            "vocab": vocab,
            "merges": [list(pair) for pair in merges],
            "byte_fallback": byte_fallback,
        },
    }
    return JsonTokenizer(file, "toy", engine="tokenizers")


class Oracle:
    """All texts of `length` letters with probabilities drawn at random, and the language model over tokens that follows.

    `covers[x]` are all beginnings of encodings whose last token reaches to the end of `x` or beyond, with their
    probabilities; `next_byte[x]` those of `x` and each byte behind it, and of `x` as the whole text.
    """

    def __init__(self, tokenizer, letters, length, rng):
        texts = ["".join(text) for text in product(letters, repeat=length)]
        (self.bos,) = tokenizer.vocab.special_ids.tolist()
        self.vocab = tokenizer.vocab
        self.mass = defaultdict(float)
        self.next_byte, self.covers = defaultdict(lambda: np.zeros(257)), defaultdict(lambda: defaultdict(float))
        for text, p in zip(texts, rng.dirichlet(np.full(len(texts), 0.3))):
            data, seg = text.encode(), tokenizer.encode(text)
            ids = (*seg.ids.tolist(), self.bos)
            for end in range(len(ids) + 1):
                self.mass[ids[:end]] += p
            for end in range(len(data) + 1):
                self.next_byte[data[:end]][data[end] if end < len(data) else 256] += p
                self.covers[data[:end]][ids[: int(np.searchsorted(seg.offsets, end))]] += p
        self._known = {}

    def __call__(self, ids):
        """A language model: log-probabilities of the next id after the one for the beginning and others."""
        assert ids[0] == self.bos
        given = tuple(ids[1:])
        if given not in self._known:
            with np.errstate(divide="ignore"):
                mass = [self.mass.get((*given, i), 0.0) for i in range(len(self.vocab))]
                self._known[given] = np.log(np.array(mass) / self.mass[given])
        return self._known[given]


class FillingOracle:
    """All pairs of a text of `length` letters and one letter behind it, written for filling in, each cut at every token.

    A document is prefix, suffix, middle, or with `suffix_first` suffix, prefix and middle at once. `mass[x, suffix]` are the
    probabilities of x and each byte behind it, and of x as the whole text, together with the suffix.
    """

    marks = (1, 2, 3)  # bytes that no text here has

    def __init__(self, tokenizer, letters, length, rng):
        pre, suf, mid = self.marks
        (end,) = tokenizer.vocab.special_ids.tolist()
        self.size, self.documents = len(tokenizer.vocab), defaultdict(lambda: defaultdict(float))
        self.mass = defaultdict(lambda: np.zeros(257))
        pairs = [("".join(text), suffix) for text in product(letters, repeat=length) for suffix in letters]
        for (text, suffix), p in zip(pairs, rng.dirichlet(np.full(len(pairs), 0.3))):
            data, ids = text.encode(), tokenizer.encode(text).ids.tolist()
            behind = tokenizer.encode(suffix).ids.tolist()
            documents = {(pre, suf, *behind, mid, *ids, end)}
            documents |= {(pre, *ids[:cut], suf, *behind, mid, *ids[cut:], end) for cut in range(len(ids) + 1)}
            for document in documents:
                for at in range(1, len(document)):
                    self.documents[document[:at]][document[at]] += p
            for at in range(len(data) + 1):
                self.mass[data[:at], suffix][data[at] if at < len(data) else 256] += p

    def __call__(self, ids):
        """A language model: log-probabilities of the next id in a document."""
        row = np.zeros(self.size)
        behind = self.documents[tuple(ids)]
        row[list(behind)] = list(behind.values())
        with np.errstate(divide="ignore"):
            return np.log(row / row.sum())
