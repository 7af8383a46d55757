"""One trial: tokenizers trained on legal, on general and on mixed text, and all that is measured on them."""

from pathlib import Path
from typing import Any

import numpy as np

from ...measure.efficiency import term_table, token_lengths, tokens_per_character
from ...measure.ocr_noise import OCRNoise
from ...measure.stability import boundary_stability
from ...tokenize.text.kl3m_tokenizers import KL3M
from .texts import Texts, legal_texts

__all__ = ["CUSTOM", "GENERAL", "LEGAL", "SMALLER", "TERMS", "trial"]

GENERAL, LEGAL, CUSTOM = "general text", "legal text", "legal text, custom tokens"
# Twenty terms, chosen before anything was trained.
TERMS = {
    "legal": "habeas corpus,summary judgment,indemnification,plaintiff,jurisdiction,subpoena,negligence,fiduciary duty,"
    "res judicata,injunctive relief",
    "financial": "securities,amortization,collateral,shareholder,derivative,EBITDA,liquidity,underwriter,dividend yield,"
    "accounts receivable",
}
# The paper's example.
RIGHT = "The United States Senate is responsible for the"
WRONG = "Thc Vnited S tates 5enate is nesp0nslbe for the"
BOUNDS = {"3 bytes": 3, "4 bytes": 4, "no bound": None}
SMALLER = "no bound, smaller"


def trial(archives: str | None, seed: int, characters: int, sizes: list[int], **noise: Any) -> dict[str, Any]:
    """Everything once, from one draw of training texts and noise; the settings are those of `run`."""
    rng = np.random.default_rng(seed)
    texts = legal_texts(Path(archives) if archives else None)
    legal, general = (texts.drawn(kind, characters, rng) for kind in ("legal", "general"))
    plain, custom = KL3M(sizes[-1], custom=(), min_frequency=1), KL3M(sizes[-1], min_frequency=1)
    families = {
        GENERAL: plain.nested(general, sizes),
        LEGAL: plain.nested(legal, sizes),
        CUSTOM: custom.nested(legal, sizes),
    }
    made = {
        who: {
            str(size): {
                "density": {name: tokens_per_character(tok, held) for name, held in texts.held_out.items()},
                "terms": {kind: term_table({who: tok}, names.split(","))[who] for kind, names in TERMS.items()},
                "lengths": token_lengths(tok.vocab).tolist(),
            }
            for size, tok in family.items()
        }
        for who, family in families.items()
    }
    mixed = [*legal[: len(legal) // 2], *general[: len(general) // 2]]
    size = sum(len(text.encode()) for text in (*legal, *general))
    return {"made": made, "misread": _misread(texts, mixed, rng, **noise), "bytes": size}


def _misread(
    texts: Texts, train: list[str], rng: np.random.Generator, *, character_size: int, lines: int, rate: float
) -> dict[str, Any]:
    """Held-out lines and noisy copies of them, cut by tokenizers with different bounds.

    With a bound there are more tokens, and of more cuts more fall together. So there is also a tokenizer that has no bound
    and is so much smaller that it makes as many tokens of training text as the bound of three.
    """
    tokenizers = {n: KL3M.character(character_size, bound, min_frequency=1)(train) for n, bound in BOUNDS.items()}
    sizes = np.geomspace(300, character_size, 60).astype(int).tolist()
    smaller = KL3M(character_size, custom=(), min_frequency=1).nested(train, sizes)
    some = train[::20]
    cost = tokens_per_character(tokenizers["3 bytes"], some)
    tokenizers[SMALLER] = min(smaller.values(), key=lambda t: abs(tokens_per_character(t, some) - cost))
    held = [line.strip() for kind in ("legal", "general") for p in texts.held_out[kind] for line in p.split("\n")]
    held = [line for line in held if 60 <= len(line) <= 200]
    chosen = [held[i] for i in rng.permutation(len(held))[:lines]]
    pairs = [(line, OCRNoise(rate)(line, rng=rng)) for line in chosen]
    found = {}
    for name, tok in tokenizers.items():
        stable = boundary_stability(tok, pairs)
        found[name] = {
            "f1": stable.f1,
            "changed": stable.changed_per_edit,
            "changed bytes": stable.changed_bytes_per_edit,
            "density": tokens_per_character(tok, chosen),
            "ids": len(tok.vocab),
            "sentence": [len(tok.encode(text)) for text in (WRONG, RIGHT)],
        }
    return found
