"""What is measured of each tokenizer, and how the orders of tokenizers agree."""
# Q questions, R resamples, D denominators, T tokenizers

from itertools import combinations
from typing import Any

import numpy as np

from ...core.lexicon import Lexicon
from ...measure.resampling import resample
from ...measure.tokenization_standards import (
    PUBLISHED,
    Integrity,
    integrity_of_counts,
    linguistic_integrity,
    score_correlations,
)
from . import sources

__all__ = ["CLAIM", "DENOMINATORS", "SPACES", "published_correlations", "rankings", "trial"]

DENOMINATORS = ("unique", "occurrences", "bytes")
SPACES = ("merged", "apart", "kept")
CLAIM = ("gemma-2", "llama-3.1", "Qwen2.5", "aya-expanse")


def trial(archives: str | None, language: str, seed: int | None, size: int, resamples: int) -> dict[str, Any]:
    """Tokenizer → everything measured: the published ones, or those trained on the half of the texts that `seed` draws."""
    texts, lexicons = sources.texts(archives, language), sources.lexicons(archives, language)
    tokenizers = sources.published(archives) if seed is None else sources.trained(archives, seed, size)
    # The same resamples for all tokenizers, so that their order can be compared.
    weights_RQ = resample(len(texts), resamples, np.random.default_rng(0))
    return {name: _measured(tok, texts, lexicons, language, weights_RQ) for name, tok in tokenizers.items()}


def _measured(tok: Any, texts: list[str], lexicons: dict[str, Lexicon], language: str, weights_RQ: np.ndarray) -> Any:
    batch, main = tok.encode_batch(texts), next(iter(lexicons.values()))

    def counts(weights_Q: np.ndarray) -> np.ndarray:
        return np.bincount(batch.ids, np.repeat(weights_Q, batch.lengths), len(tok.vocab)).astype(np.int64)

    def judged(weights_Q: np.ndarray, lexicon: Lexicon = main, spaces: Any = "merged") -> Integrity:
        return integrity_of_counts(tok.vocab, counts(weights_Q), lexicon, language=language, spaces=spaces)

    whole = np.ones(len(texts), np.int64)
    timed = linguistic_integrity(tok, texts, main, language=language)
    assert timed.timing is not None
    by_lexicon = {name: judged(whole, lexicon) for name, lexicon in lexicons.items()}
    by_rule = {rule: judged(whole, spaces=rule) for rule in SPACES}
    return {
        "bytes": sum(len(text.encode()) for text in texts),
        "shares": {name: {"%TR": _three(one.valid), "%Pure": _three(one.pure), "alone": _three(one.pure_alone)}
                   for name, one in by_lexicon.items()},
        "counts": {name: {"judged": one.valid.of.unique, "valid": one.valid.part.unique, "pure": one.pure.part.unique}
                   for name, one in by_lexicon.items()},
        "spaces": {rule: [one.valid.of.unique, one.valid.unique, one.valid.occurrences] for rule, one in by_rule.items()},
        "numbers": {"ids": timed.vocabulary, "tokens": timed.tokens, "judged tokens": timed.valid.of.unique,
                    "seconds": timed.timing.seconds, "megabytes per second": timed.timing.bytes_per_second / 1e6,
                    "occurrences in fragments, %": 100 * timed.fragments.occurrences / timed.tokens},
        "by length of text": [[share, judged(whole * (np.arange(len(texts)) < share * len(texts))).valid.unique]
                              for share in (0.1, 0.25, 0.5, 1.0)],
        "resampled": [_three(judged(weights_Q).valid) for weights_Q in weights_RQ],
    }  # fmt: skip


def _three(share: Any) -> list[float]:
    return [getattr(share, by) for by in DENOMINATORS]


def _tau(x: np.ndarray, y: np.ndarray) -> float:
    """Kendall's rank correlation (tau-a): concordant less discordant pairs, by all pairs."""
    pairs = list(combinations(range(len(x)), 2))
    return float(np.mean([np.sign((x[i] - x[j]) * (y[i] - y[j])) for i, j in pairs]))


def rankings(found: dict[str, Any]) -> dict[str, list[float]]:
    """Tau of the orders by two denominators or two lexicons; for denominators also the ends of 95 % of the resamples."""
    resampled_TRD = np.array([cell["resampled"] for cell in found.values()])
    shares = {name: np.array([cell["shares"][name]["%TR"] for cell in found.values()])
              for name in next(iter(found.values()))["shares"]}  # fmt: skip
    main, *others = shares
    taus = {}
    for i, j in combinations(range(3), 2):
        again = [_tau(resampled_TRD[:, r, i], resampled_TRD[:, r, j]) for r in range(resampled_TRD.shape[1])]
        value = _tau(shares[main][:, i], shares[main][:, j])
        taus[f"{DENOMINATORS[i]} and {DENOMINATORS[j]}"] = [value, *np.quantile(again, [0.025, 0.975]).tolist()]
    for other in others:
        for k, by in enumerate(DENOMINATORS[:2]):
            taus[f"{main} and {other}, {by}"] = [_tau(shares[main][:, k], shares[other][:, k])]
    return taus


def published_correlations() -> dict[str, Any]:
    """The paper's claim and what all of its rows say; how many choices of four rows reach it."""

    def of(names: Any) -> Any:
        rows = [PUBLISHED[name] for name in names]
        return score_correlations([row.metrics() for row in rows], [row.score for row in rows])

    fours = [of(names)["%TR"].r for names in combinations(PUBLISHED, 4)]
    return {
        "four rows": {name: str(found) for name, found in of(CLAIM).items()},
        "eight rows": {name: str(found) for name, found in of(PUBLISHED).items()},
        "choices of four rows": len(fours),
        "of them with r of %TR at least 0.9": sum(r >= 0.9 for r in fours),
        "of them with r of %TR below 0": sum(r < 0 for r in fours),
    }
