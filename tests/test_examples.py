"""Every example in a docstring is run; it sees the names of its own module."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

from tokenloom.core.errors import MissingExtra

SOURCE = Path(__file__).parents[1] / "src"
MODULES = sorted(
    ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    for path in SOURCE.rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_true(name):
    try:
        module = import_module(name)
    except MissingExtra as error:
        pytest.skip(str(error))
    failed, tried = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert tried > 0, f"the examples of {name} are not found"
    assert failed == 0
