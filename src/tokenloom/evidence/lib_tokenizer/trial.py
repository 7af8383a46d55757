"""One training of each kind on the same lines, and what is counted."""

import heapq
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import regex

import tokenloom as tl

from ...core.merges import GPT2_PATTERN
from ...data import sample
from ...hosts.train import train_bpe

__all__ = ["BPE", "LIB", "METHODS", "RULES", "UNIT", "trial"]

LIB, BPE, WORDS = METHODS = ("LiB", "BPE inside words", "words")
RULES = {"reference": "LiB, the authors' encoder", "longest": "LiB, longest match"}
UNIT = "bytes per token"


def read(text: str, bible: str, seed: int) -> tuple[list[str], list[str]]:
    """Lines to learn from, and every twentieth stretch of fifty lines, held out; the seed says which."""
    if bible and text == "english":
        rows = sqlite3.connect(f"file:{bible}?mode=ro", uri=True).execute(
            "select vText from bible where bbName = '3' order by bNumber, cNumber, vNumber"
        )
        lines = [f"{verse}\n" for (verse,) in rows]
    else:
        lines = sample({"english": "en-literary", "chinese": "zh-classical"}[text]).splitlines(keepends=True)
    held_out = [i // 50 % 20 == seed for i in range(len(lines))]
    return [line for line, held in zip(lines, held_out) if not held], [x for x, held in zip(lines, held_out) if held]


def trial(text: str, bible: str, seed: int, sizes: Sequence[int], learning: dict[str, Any]) -> dict[str, Any]:
    """Method → its curve, a point for each size, on the same lines."""
    learn, test = read(text, bible, seed)
    words = regex.compile(GPT2_PATTERN)
    common = [w for w, _ in Counter(words.findall("".join(learn))).most_common() if len(w.encode()) > 1]
    lib = tl.LessIsBetter(**learning)(learn, seed=seed)
    curves: dict[str, Any] = {}
    for size in sizes:
        few, bpe, known = lib.best(size), train_bpe(["".join(learn)], size), set(common[: size - 257])
        toks = {LIB: few, BPE: bpe, **{name: few.with_rule(rule) for rule, name in RULES.items()}}
        cut = {name: [tok.encode("".join(lines)).tokens() for lines in (learn, test)] for name, tok in toks.items()}
        types = {name: tok.vocab[:] for name, tok in toks.items()}
        if text == "english":  # without spaces there are no words to look up
            cut[WORDS] = [spelled(words.findall("".join(lines)), known) for lines in (learn, test)]
            types[WORDS] = [*few.vocab[:257], *(word.encode() for word in known)]
        for name, (learnt, unseen) in cut.items():
            curves.setdefault(name, []).append(point(types[name], learnt, unseen))
    return curves


def spelled(words: Iterable[str], known: set[str]) -> list[bytes]:
    """Known words whole, others in bytes."""
    return [t for w in words for t in ([w.encode()] if w in known else [bytes([b]) for b in w.encode()])]


def point(types: Sequence[bytes], learnt: Sequence[bytes], unseen: Sequence[bytes]) -> dict[str, float]:
    """What is reported of one vocabulary and its tokens of both texts."""
    text = sum(map(len, learnt))
    return {
        "types": len(types),
        UNIT: sum(map(len, unseen)) / len(unseen),
        "several words": sum(several(token) for token in unseen) / len(unseen),
        "types of several words": sum(map(several, types)) / len(types),
        "description length": (huffman_bits(learnt) + 8 * sum(map(len, types))) / text,
    }


def several(token: bytes) -> bool:
    """Whether a token has white space between other characters."""
    return len(token.split()) > 1


def huffman_bits(tokens: Iterable[bytes]) -> int:
    """Length of `tokens` in the best code that gives each its own bits: every joining of two costs their sum."""
    heap, bits = list(Counter(tokens).values()), 0
    heapq.heapify(heap)
    while len(heap) > 1:
        both = heapq.heappop(heap) + heapq.heappop(heap)
        heapq.heappush(heap, both)
        bits += both
    return bits
