"""Encoding where pieces are long: SuperBPE's lines, and Supertokens' whole documents; our engine against the others.

Vocabularies of 8,000 ids, trained on the embedded English samples; the text is all of them, a document each.
"""

from functools import partial

from clock import best
from tokenloom.data import sample, samples
from tokenloom.hosts.engines import FastokensEngine
from tokenloom.hosts.json_tokenizer import JsonTokenizer
from tokenloom.tokenize.text.bpe import BPE
from tokenloom.tokenize.text.superbpe import SuperBPE

__all__ = ["run"]

SIZE = 8000


def run(quick: bool = False) -> list[dict]:
    """Megabytes per CPU second of `encode_batch` on one thread, the best of some runs."""
    english = [sample(name) for name in samples() if name.startswith("en-")]
    runs, size = (2 if quick else 5), sum(len(text) for text in english) / 1e6
    rows = []
    for name, tokenizer in {
        "SuperBPE": SuperBPE(SIZE)(english),
        "BPE without words": BPE(SIZE, None)(text[i : i + 4000] for text in english for i in range(0, len(text), 4000)),
    }.items():
        speeds = {}
        for engine in ("tokenloom", "tokenizers", *(["fastokens"] if FastokensEngine.installed() else [])):
            # Made anew for every run, so that none profits from pieces that it has seen before.
            made = partial(JsonTokenizer, tokenizer.spec["text"], name, engine=engine)
            speeds[engine] = size / best(lambda fresh: fresh.encode_batch(english, 1), runs, fresh=made)
        for other in list(speeds)[1:]:
            rows.append(
                {
                    "name": f"encode {name}, MB/s",
                    "ours": speeds["tokenloom"],
                    "theirs": speeds[other],
                    "ratio": speeds["tokenloom"] / speeds[other],
                    "bar": "≥ 5",
                    "note": f"against {other}; {size:.1f} MB, per CPU second",
                }
            )
    return rows


if __name__ == "__main__":
    from run import show

    show(run())
