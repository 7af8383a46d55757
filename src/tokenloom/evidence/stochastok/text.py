"""Language models of the same text, with and without StochasTok: what they predict, and what they know of words.

Sims et al. 2025, arXiv 2506.01687, sections 4.1 and 5, with a model and a text that two cores can manage: the Bible in Basic
English, whose whole vocabulary is some thousand words, so that a small model meets each of them often.
"""

import re
import sqlite3
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import numpy as np
import torch

import tokenloom as tl
from tokenloom.hosts.train import train_bpe

__all__ = ["language", "read_text"]

LENGTH, BATCH, ROW = 128, 16, 160


def read_text(path: str | Path) -> tuple[list[str], list[str]]:
    """Documents of fifty verses to train on, and every twentieth of them, held out."""
    rows = sqlite3.connect(f"file:{path}?mode=ro", uri=True).execute(
        "select vText from bible where bbName = '3' order by bNumber, cNumber, vNumber"
    )
    verses = [text for (text,) in rows]
    documents = ["\n".join(verses[i : i + 50]) + "\n" for i in range(0, len(verses), 50)]
    return [text for i, text in enumerate(documents) if i % 20 != 5], documents[5::20]


def language(
    bible: str, proportion: float, seed: int, vocab_size: int, width: int, layers: int, steps: int, tune: int
) -> dict[str, Any]:
    """Pretrain one model, measure it, then teach it LangGame in `tune` steps and ask it; none for 0."""
    learn, held_out = read_text(bible)
    tok = train_bpe(learn, vocab_size)
    words = _words(learn, tok.vocab)
    plain = tok.encode_batch(learn)
    look, rng = tl.StochasTok(tok.vocab, proportion), np.random.default_rng([seed, 0])
    # Split anew in each pass over the text, as many as the steps take.
    passes = -(-steps * LENGTH * BATCH // plain.ids.size)
    ids = np.concatenate([look(plain, rng=rng).ids for _ in range(passes)])

    model = tl.models.Transformer(
        vocab_size=len(tok.vocab),
        width=width,
        layers=layers,
        heads=4,
        context=ROW,
        generator=torch.Generator().manual_seed(seed),
    )
    source = tl.models.windows(ids, length=LENGTH, batch=BATCH, rng=np.random.default_rng([seed, 1]))
    pretrained = tl.models.train(model, source, steps=steps, lr=3e-3, seed=seed)
    result = {
        "words": len(words),
        "growth": ids.size / plain.ids.size / passes,
        **_bits(model, tok, held_out[:12]),
        **_probes(model, tok.vocab),
        "distances": tl.measure.layer_distances(model, _alternatives(words, tok.vocab)).tolist(),
    }

    ledger = pretrained.ledger
    if tune:
        answers, cost = _langgame(model, tok, words, seed, tune)
        result, ledger = {**result, **answers}, ledger + cost
    return {**result, "ledger": ledger.as_dict()}


def _langgame(
    model: tl.models.Transformer, tok: Any, words: Sequence[str], seed: int, tune: int
) -> tuple[dict[str, Any], tl.Ledger]:
    """Fine-tune on questions about most words; ask new questions about them, and about words that no question showed."""

    def encode(text: str) -> np.ndarray:
        return tok.encode(text).ids

    seen, unseen = tl.measure.hold_out(words, 0.2, rng=np.random.default_rng(0))
    asked = {
        "words of the fine-tuning": tl.measure.LangGame(seen)(500, rng=np.random.default_rng(1)),
        "other words": tl.measure.LangGame(unseen)(500, rng=np.random.default_rng(2)),
    }
    lessons = tl.measure.LangGame(seen)(BATCH * 3 * tune, rng=np.random.default_rng([seed, 2]))
    packs = tl.models.packs(
        tl.measure.examples(lessons, encode), length=ROW, batch=BATCH, pad_id=0, rng=np.random.default_rng([seed, 3])
    )
    tuned = tl.models.train(model, packs, steps=tune, lr=1e-3, seed=seed)
    answers = {who: tl.measure.ask(model, questions, encode) for who, questions in asked.items()}
    results = {
        "langgame": {who: given.normalised for who, given in answers.items()},
        "kinds": {who: {k: kind.normalised for k, kind in given.by_kind.items()} for who, given in answers.items()},
    }
    return results, tuned.ledger


def _words(texts: Sequence[str], vocab: tl.Vocabulary) -> list[str]:
    """Words of lower-case letters that are one token each, most frequent first; the rarest are parts of others."""
    counts = Counter(word for text in texts for word in re.findall(r"(?<= )[a-z]+(?=[ ,.;:\n])", text))
    return [word for word, count in counts.most_common() if count >= 50 and b" " + word.encode() in vocab]


def _bits(model: tl.models.Transformer, tok: Any, texts: Sequence[str]) -> dict[str, float]:
    """Bits per byte of text as the tokenizer cuts it, and split at random (p = 0.5)."""
    plain, data = tok.encode_batch(texts), [text.encode() for text in texts]
    split = tl.StochasTok(tok.vocab, 0.5)(plain, rng=np.random.default_rng(0))
    return {
        "bits plain": tl.measure.text_bits(model, plain, data, length=LENGTH),
        "bits split": tl.measure.text_bits(model, split, data, length=LENGTH),
    }


def _probes(model: tl.models.Transformer, vocab: tl.Vocabulary) -> dict[str, float]:
    """What is linear in the embedding of a word's token: its letters, its first letter, its length; a quarter held out."""
    tokens = [i for i in range(256, len(vocab)) if re.fullmatch(rb" [a-z]{3,}", vocab[i])]
    order = np.random.default_rng(0).permutation(tokens)
    test, train = np.split(order, [len(order) // 4])
    x = model.embed.weight.detach().numpy()
    letters = np.array([[letter.encode() in token for letter in ascii_lowercase] for token in vocab])
    first = np.array([[token[1:2] == letter.encode() for letter in ascii_lowercase] for token in vocab])
    lengths = vocab.lengths.astype(float)
    probe, number = tl.measure.linear_probe, tl.measure.number_probe
    return {
        "letters": probe(x[train], letters[train], x[test], letters[test], ridge=1.0).auc,
        "first letter": probe(x[train], first[train], x[test], first[test], ridge=1.0).auc,
        "length": number(x[train], lengths[train], x[test], lengths[test], ridge=1.0).r2,
    }


def _alternatives(words: Sequence[str], vocab: tl.Vocabulary) -> list[list[np.ndarray]]:
    """Up to five tokenizations of each word of five letters or more: whole first, then in two parts."""
    ways = [tl.measure.tokenizations(vocab, f" {word}".encode())[:5] for word in words if len(word) >= 5]
    return [way for way in ways if len(way) > 1]
