"""A vocabulary of fifty thousand ids and text to go with it, without a network."""

import os
import sysconfig
from pathlib import Path

from tokenloom.core.errors import TokenizerError
from tokenloom.data import sample, samples
from tokenloom.hosts import load_tokenizer
from tokenloom.hosts.host import HostTokenizer
from tokenloom.hosts.train import train_bpe

__all__ = ["english", "large_tokenizer"]

SIZE = 50_257


def large_tokenizer() -> HostTokenizer:
    """GPT-2's where its file is found, otherwise one of its size that is trained here, in about twenty seconds.

    Looked for in installed packages, and below the folder that TOKENLOOM_TEST_FILES names.
    """
    try:
        return load_tokenizer("gpt2")
    except TokenizerError:
        root = os.environ.get("TOKENLOOM_TEST_FILES")
        found = next(Path(root).rglob("r50k_base.tiktoken"), None) if root else None
        return load_tokenizer("gpt2", folder=found.parent) if found else _trained()


def english() -> list[str]:
    """The English samples: stories, manuals, licences."""
    return [sample(name) for name in samples() if name.startswith("en-")]


def _trained() -> HostTokenizer:
    library = Path(sysconfig.get_path("stdlib"))
    sources = [
        path.read_bytes() for folder in (".", "test", "asyncio") for path in sorted((library / folder).glob("*.py"))
    ]
    return train_bpe([*map(sample, samples()), *sources], SIZE, name="trained on samples and Python's library")
