import pytest

from tokenloom.hosts import load_tokenizer


@pytest.fixture(scope="session")
def english():
    return load_tokenizer("tokenloom-en-16k")
