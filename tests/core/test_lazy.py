"""Names that are imported when first used."""

import sys

import pytest

from tokenloom.core.errors import MissingExtra
from tokenloom.core.lazy import lazy


def test_a_name_whose_module_needs_torch_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # what Python keeps for a module that cannot be imported
    monkeypatch.delitem(sys.modules, "tokenloom.models.transformer", raising=False)
    with pytest.raises(MissingExtra, match=r"pip install 'tokenloom\[torch\]'"):
        lazy("tokenloom.models", {"Transformer": "tokenloom.models.transformer:Transformer"})[0]("Transformer")


def test_another_missing_module_is_told_as_it_is():
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        lazy("tokenloom", {"name": "tokenloom.no_such_module:name"})[0]("name")


def test_an_unknown_name_is_an_attribute_error_of_the_package():
    with pytest.raises(AttributeError, match="module 'tokenloom' has no attribute 'other'"):
        lazy("tokenloom", {})[0]("other")
