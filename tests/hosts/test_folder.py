"""Folders of our own tokenizers: the class is found by the catalogue, and nothing else is."""

import json

import pytest

from tokenloom.core.errors import InvalidInput, TokenizerError
from tokenloom.core.pretrained import MANIFEST, save_files
from tokenloom.hosts import load_tokenizer, tokenizer_from_spec

CONFIG = {"rule": "longest", "chunks": ["the", "he"]}


def save(folder, kind="LiB", config=CONFIG):
    save_files(folder, kind, {"config.json": json.dumps(config).encode()})
    return folder


def test_the_class_is_found_by_its_public_name(tmp_path):
    tok = load_tokenizer(save(tmp_path))
    assert (type(tok).__name__, tok.name) == ("LiB", str(tmp_path))
    assert tok.encode("the").tokens() == [b"the"]
    again = tokenizer_from_spec(json.loads(json.dumps(tok.spec)))
    assert (again.digest, again.name) == (tok.digest, tok.name)
    (tmp_path / "tokenizer.json").write_text("{}")
    assert load_tokenizer(tmp_path).digest == tok.digest, "what we wrote comes before what lies beside it"


@pytest.mark.parametrize("kind", ["os", "Ledger", "StochasTok", "models.Transformer.x", "tokenloom.hosts.load", ""])
def test_other_kinds_are_refused(kind, tmp_path):
    with pytest.raises(TokenizerError, match=f"'{kind}' is no kind of tokenizer"):
        load_tokenizer(save(tmp_path, kind))
    with pytest.raises(TokenizerError, match="is no kind of tokenizer"):
        tokenizer_from_spec({"format": "tokenloom", "kind": kind, "name": "x", "config": CONFIG})


@pytest.mark.parametrize(
    "config, words", [({}, "has a rule and a list"), ([], "has a rule"), (CONFIG | {"rule": "?"}, "rule='\\?'")]
)
def test_a_wrong_config_is_refused(config, words, tmp_path):
    with pytest.raises((TokenizerError, InvalidInput), match=words):
        load_tokenizer(save(tmp_path, config=config))


def test_a_changed_or_missing_file_is_refused(tmp_path):
    save(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(TokenizerError, match="its SHA-256 differs"):
        load_tokenizer(tmp_path)
    save_files(tmp_path, "LiB", {"config.json": b"{"})
    with pytest.raises(TokenizerError, match=r"config\.json is not JSON"):
        load_tokenizer(tmp_path)
    save_files(tmp_path, "LiB", {})
    with pytest.raises(TokenizerError, match=r"holds no LiB with a config\.json"):
        load_tokenizer(tmp_path)
    (tmp_path / MANIFEST).write_text("{}")
    with pytest.raises(TokenizerError, match="lacks format, kind or files"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("arguments", [{"pattern": "a"}, {"engine": "tokenizers"}])
def test_what_such_a_folder_does_not_need_is_refused(arguments, tmp_path):
    with pytest.raises(InvalidInput, match="needs neither pattern= nor engine="):
        load_tokenizer(save(tmp_path), **arguments)
