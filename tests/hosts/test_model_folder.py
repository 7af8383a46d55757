"""Folders of models: what is there stays, what cannot be read is told."""

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from tokenloom.core.errors import StoreError, TokenizerError
from tokenloom.hosts import load_tokenizer
from tokenloom.hosts.model_folder import load_model, save_model
from tokenloom.tokenize.text.bpe import BPE

TOK = BPE(280)(["a text, a text"])


def model():
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=280, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
    )


def test_a_model_comes_back_with_its_class(tmp_path):
    save_model(model(), TOK, {}, tmp_path / "new", notes={"why": "test"})
    assert isinstance(load_model(tmp_path / "new"), LlamaForCausalLM)
    assert load_tokenizer(tmp_path / "new").encode("a text").ids.tolist() == TOK.encode("a text").ids.tolist()
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_folder_that_is_there_stays_as_it_is(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(StoreError, match="is there already"):
        save_model(model(), TOK, {}, tmp_path / "mine", notes={})
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_tokenizer_of_another_format_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(TokenizerError, match=r"no tokenizer\.json"):
        save_model(model(), load_tokenizer("bytes"), {}, tmp_path / "new", notes={})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [None, "{", '{"model_type": "nothing"}'])
def test_what_is_no_model_is_told(tmp_path, content):
    if content is not None:
        (tmp_path / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(StoreError, match=str(tmp_path)):
        load_model(tmp_path)
