"""Legal and general English from packages, with held-out text that does not repeat what is trained on.

Licences repeat one another, so holding out documents is not enough: of a held-out document only the paragraphs count in
which at most a fifth of the runs of five words occur anywhere in the training text.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.errors import CorpusError
from ...data.embedded import sample
from ..english import HELD_OUT, PARTS, held_out
from ..packages import Package, find_packages

__all__ = ["Texts", "legal_texts"]

LEGAL = ("licences", "notices")
GENERAL = ("big.txt", "Brown", "sentences", "e-mails", "reviews", "web", "encyclopedia")
# Questions of task sets, which are no licences: bar examination, claims in court, sentences of contracts and filings.
TASKS = {"tort law": "us_tort_law", "court claims": "illinois-law", "finance": "ner_finance"}
_BLANK = re.compile(r"\n(?:[^\S\n]*\n)+")
_WORD = re.compile(r"\w+")
_RUN, _SEEN = 5, 0.2


@dataclass(frozen=True)
class Texts:
    """What is trained on, documents by kind, and what is measured on, paragraphs by name."""

    train: dict[str, list[str]]
    held_out: dict[str, list[str]]

    def drawn(self, kind: str, characters: int, rng: np.random.Generator) -> list[str]:
        """Documents of a kind in random order, as many as it takes; fewer where there are no more."""
        chosen, size = [], 0
        for i in rng.permutation(len(self.train[kind])).tolist():
            if size >= characters:
                break
            chosen.append(self.train[kind][i])
            size += len(chosen[-1])
        return chosen


def legal_texts(archives: Path | None) -> Texts:
    """The texts from the folder of archives, see `tokenloom.evidence.english`; None for the small embedded samples.

    Raises: CorpusError: an archive is not there, or cannot be read.
    """
    if archives is None:
        documents = {"legal": _cut("en-legal"), "general": _cut("en-literary") + _cut("en-technical")}
        train, tests = _split(documents)
        return Texts(train, tests)
    packages = {part.name: part.package for part in (*PARTS, *HELD_OUT.values())}
    evals = packages["tasks"]
    needed = [packages[name] for name in (*LEGAL, *GENERAL, "tasks", "sqlite", "austen")]
    find_packages(archives, list(dict.fromkeys(needed)))
    documents = {
        kind: [text for name in names for text in _documents(archives, name)]
        for kind, names in (("legal", LEGAL), ("general", GENERAL))
    }
    train, tests = _split(documents)
    for name, folder in TASKS.items():
        tests[name] = list(_asked(archives, evals, f"evals/registry/data/{folder}/samples.jsonl"))
    for name, text in (("database manual", "sqlite"), ("novels", "austen")):
        tests[name] = list(held_out(archives, text))
    return Texts(train, tests)


def _cut(name: str) -> list[str]:
    """A sample as documents of twenty paragraphs."""
    paragraphs = _BLANK.split(sample(name))
    return ["\n\n".join(paragraphs[at : at + 20]) for at in range(0, len(paragraphs), 20)]


def _documents(archives: Path, part_name: str) -> Iterator[str]:
    part = next(part for part in PARTS if part.name == part_name)
    for name, content in part.package.read(archives, part.pattern):
        texts = part.texts(name, content)
        # A large file is many documents; a licence or an e-mail is one.
        for text in texts if part_name in ("reviews", "web", "encyclopedia") else ["\n\n".join(texts)]:
            paragraphs = [
                p for p in _BLANK.split(text.replace("\r\n", "\n")) if sum(map(str.isascii, p)) >= 0.97 * len(p)
            ]
            for at in range(0, len(paragraphs), 100):
                yield "\n\n".join(paragraphs[at : at + 100])


def _split(documents: dict[str, list[str]]) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Every tenth document is held out; no paragraph is trained on twice, and none is held out that was trained on."""
    train: dict[str, list[str]] = {}
    tests: dict[str, list[str]] = {}
    for kind, texts in documents.items():
        seen: set[str] = set()
        train[kind] = []
        for i, text in enumerate(texts):
            if i % 10:
                new = [p for p in _BLANK.split(text) if p.strip() and " ".join(p.split()) not in seen]
                seen.update(" ".join(p.split()) for p in new)
                if new:
                    train[kind].append("\n\n".join(new))
        runs = {run for text in train[kind] for run in _runs(text)}
        tests[kind] = [p for text in texts[::10] for p in dict.fromkeys(_BLANK.split(text)) if _is_new(p, runs)]
    return train, tests


def _runs(text: str) -> list[str]:
    words = _WORD.findall(text.lower())
    return [" ".join(words[at : at + _RUN]) for at in range(len(words) - _RUN + 1)]


def _is_new(paragraph: str, runs: set[str]) -> bool:
    own = _runs(paragraph)
    return len(own) > 0 and sum(run in runs for run in own) <= _SEEN * len(own)


def _asked(archives: Path, package: Package, pattern: str) -> Iterator[str]:
    """The longest message after the first, which is the same everywhere, of each record of a task set; each once."""
    found: dict[str, None] = {}
    for name, content in package.read(archives, pattern):
        for line in content.decode().splitlines():
            try:
                found[max((m["content"] for m in json.loads(line)["input"][1:]), key=len)] = None
            except (ValueError, KeyError, IndexError, TypeError) as error:
                raise CorpusError(f"{name} holds no tasks: {error!r}") from error
    yield from found
