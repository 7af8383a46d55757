"""Tokenizer engines: what `encode_batch` costs against the engines by themselves, on all embedded samples."""

import importlib.util

from clock import best
from tokenloom.data import sample, samples
from tokenloom.hosts import load_tokenizer
from tokenloom.hosts.engines import FastokensEngine

__all__ = ["run"]

NAME = "tokenloom-en-16k"


def run(quick: bool = False) -> list[dict]:
    """Megabytes per CPU second of each of our engines, and of `tokenizers` and tiktoken with the same vocabulary.

    Engines are made anew for every run, so that none profits from words that it has seen before.
    """
    texts = [sample(name) for name in samples()]
    runs, size = (2 if quick else 5), sum(len(text.encode()) for text in texts) / 1e6
    theirs = {"tokenizers": size / best(lambda raw: raw.encode_batch_fast(texts), runs, fresh=_tokenizers)}
    if importlib.util.find_spec("tiktoken"):
        theirs["tiktoken"] = size / best(lambda raw: raw.encode_ordinary_batch(texts), runs, fresh=_tiktoken)
    rows = []
    for engine in ("tokenizers", *(["fastokens"] if FastokensEngine.installed() else [])):
        seconds = best(
            lambda ours: ours.encode_batch(texts), runs, fresh=lambda engine=engine: load_tokenizer(NAME, engine=engine)
        )
        for name, speed in theirs.items():
            rows.append(
                {
                    "name": f"encode_batch with {engine}, MB/s",
                    "ours": size / seconds,
                    "theirs": speed,
                    "ratio": size / seconds / speed,
                    "bar": None,
                    "note": f"against {name} by itself; {size:.1f} MB in 13 languages, per CPU second",
                }
            )
    return rows


def _tokenizers():
    from tokenizers import Tokenizer

    return Tokenizer.from_str(load_tokenizer(NAME, engine="tokenizers").spec["text"])


def _tiktoken():
    import json

    import tiktoken

    ours = load_tokenizer(NAME, engine="tokenizers")
    pattern = json.loads(ours.spec["text"])["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    ranks = {ours.vocab[i]: i for i in range(len(ours.vocab) - 1)}
    return tiktoken.Encoding(NAME, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})


if __name__ == "__main__":
    from run import show

    show(run())
