"""One trial: small models on a hybrid tokenizer and on BPE, which read the same bytes."""

from typing import Any

import numpy as np
import torch

import tokenloom as tl

from .tokens import HYBRID, PLAIN, both, split

__all__ = ["LONGER", "model"]

LONGER = "BPE, as many tokens"


def model(
    archives: str | None, seed: int, size: int, strings: int, width: int, layers: int, megabytes: float, length: int, batch: int
) -> dict[str, Any]:  # fmt: skip
    """A small model on each tokenizer: as many steps on the same bytes, windows of as many bytes on average; and one on
    BPE that goes on until it has read as many tokens as that on hybrid."""
    train, held = split(archives, "turkish", np.random.default_rng(seed))
    learn = [text for part in train.values() for text in part]
    toks = dict(zip((HYBRID, PLAIN), both(archives, "turkish", size, strings, learn)))
    order = np.random.default_rng([seed, 1]).permutation(len(learn))
    ends = np.cumsum([len(learn[i].encode()) for i in order])
    texts = [learn[i] for i in order[: int(np.searchsorted(ends, megabytes * 1e6)) + 1]]
    test = [text for part in held.values() for text in part[: max(1, len(part) // 12)]]
    ids = {name: tok.encode_batch(texts).ids for name, tok in toks.items()}
    steps = max(2, ids[PLAIN].size // (length * batch))
    growth = ids[HYBRID].size / ids[PLAIN].size
    made: dict[str, Any] = {}
    for name, kind, window, n in (
        (HYBRID, HYBRID, round(length * growth), steps),
        (PLAIN, PLAIN, length, steps),
        (LONGER, PLAIN, length, round(steps * growth)),
    ):
        tok = toks[kind]
        net = tl.models.Transformer(vocab_size=len(tok.vocab), width=width, layers=layers, heads=4, context=window,
                                    generator=torch.Generator().manual_seed(seed))  # fmt: skip
        source = tl.models.windows(ids[kind], length=window, batch=batch, rng=np.random.default_rng([seed, 2]))
        spent = tl.models.train(net, source, steps=n, lr=4e-3, warmup=min(100, n // 2), seed=seed)
        bits = tl.measure.text_bits(net, tok.encode_batch(test), [text.encode() for text in test], length=window)
        made[name] = {"bits per byte": bits, "tokens read": spent.ledger.tokens, "window": window,
                      "parameters": sum(p.numel() for p in net.parameters()), "ledger": spent.ledger.as_dict()}  # fmt: skip
    return {"models": made, "steps": steps, "held-out bytes": sum(len(text.encode()) for text in test)}
