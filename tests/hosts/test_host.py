"""Laws of all tokenizers from outside, on small files of every notation and on arbitrary bytes."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_files import byte_level, clip, silent_bpe, unigram, word_piece
from tokenizers import normalizers

from tokenloom.core.errors import InvalidInput, TokenizerError
from tokenloom.core.tokenizer import Tokenizer, as_bytes
from tokenloom.core.vocabulary import Kind
from tokenloom.data import sample, samples
from tokenloom.hosts import load_tokenizer, tokenizer_from_spec
from tokenloom.hosts.json_tokenizer import JsonTokenizer
from tokenloom.hosts.utf8 import valid_runs

KINDS = {
    "bytes": load_tokenizer("bytes"),
    "english": load_tokenizer("tokenloom-en-16k"),
    "byte-level": JsonTokenizer(byte_level(), "byte-level"),
    "composing": JsonTokenizer(byte_level(normalizers.NFC()), "composing"),
    "word-piece": JsonTokenizer(word_piece(), "word-piece"),
    "unigram": JsonTokenizer(unigram(), "unigram"),
    "clip": JsonTokenizer(clip(), "clip"),
}
LOSSLESS = ["bytes", "english", "byte-level"]

pieces = st.sampled_from(
    [
        "the",
        " tokens",
        "é",
        "e\u0301",
        "\ufb01",
        "\u200d",
        "☕️",
        "👍🏽",
        "\ud83d",
        "\n",
        "  ",
        "[MASK]",
        "<s>",
        "<|endoftext|>",
        "<think>",
        "▁",
        "1999",
    ]
)
texts = st.one_of(
    st.binary(max_size=40),
    st.text(st.characters(exclude_categories=()), max_size=40),
    st.lists(pieces, max_size=12).map("".join),
    st.lists(st.one_of(pieces.map(as_bytes), st.binary(min_size=1, max_size=3)), max_size=12).map(b"".join),
)


@pytest.mark.parametrize("kind", KINDS)
@given(text=texts)
def test_every_byte_belongs_to_exactly_one_token(kind, text):
    seg = KINDS[kind].encode(text)
    assert seg.data == as_bytes(text) and b"".join(seg.tokens()) == seg.data
    assert bool(len(seg)) == bool(seg.data)


@pytest.mark.parametrize("kind", LOSSLESS)
@given(text=texts)
def test_byte_level_tokenizers_decode_what_they_encoded_and_each_token_owns_its_own_bytes(kind, text):
    tokenizer = KINDS[kind]
    seg = tokenizer.encode(text)
    assert tokenizer.decode(seg.ids) == as_bytes(text)
    assert seg.tokens() == [tokenizer.vocab[i] for i in seg.ids]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("threads", [None, 1])
@given(documents=st.lists(texts, max_size=6))
def test_a_batch_holds_the_ids_of_its_texts(kind, threads, documents):
    tokenizer = KINDS[kind]
    batch = tokenizer.encode_batch(iter(documents), threads=threads)
    assert [ids.tolist() for ids in batch] == [tokenizer.encode(text).ids.tolist() for text in documents]


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_longer_than_a_batch_gives_the_same_ids_as_its_parts(kind):
    tokenizer = KINDS[kind]
    documents = ["the tokens", b"\xff", "", "lower!"] * 9000
    batch = tokenizer.encode_batch(document for document in documents)
    assert len(batch) == 36_000
    assert all(np.array_equal(batch[i], batch[i + 4 * 8000]) for i in range(4))


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_in_a_text_are_ordinary_text_and_none_is_added(kind):
    tokenizer = KINDS[kind]
    special = [i for i in tokenizer.vocab.special_ids if i != tokenizer.unknown]
    for i in special:
        ids = tokenizer.encode(b"a " + tokenizer.vocab[i] + b" b").ids
        assert not set(ids.tolist()) & set(special)


@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_is_made_again_from_its_spec(kind):
    tokenizer = KINDS[kind]
    again = tokenizer_from_spec(json.loads(json.dumps(tokenizer.spec)))
    assert (again.name, again.engine, again.digest) == (tokenizer.name, tokenizer.engine, tokenizer.digest)
    assert again.vocab == tokenizer.vocab
    assert again.encode("the tökens") == tokenizer.encode("the tökens")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "bytes"])
def test_a_saved_tokenizer_is_read_back(kind, tmp_path):
    path = tmp_path / "tokenizer.json"
    KINDS[kind].save(path)
    assert load_tokenizer(path).digest == KINDS[kind].digest == load_tokenizer(tmp_path).digest


def test_every_kind_is_a_tokenizer():
    assert all(isinstance(tokenizer, Tokenizer) for tokenizer in KINDS.values())


def test_engines_agree_on_all_samples_and_the_digest_does_not_depend_on_them(english):
    pytest.importorskip("fastokens", reason="needs fastokens: pip install 'tokenloom[data]'")
    slow = load_tokenizer("tokenloom-en-16k", engine="tokenizers")
    assert (english.engine, slow.engine, slow.digest) == ("fastokens", "tokenizers", english.digest)
    documents = [sample(name) for name in samples()]
    assert slow.encode_batch(documents) == english.encode_batch(documents)


def test_surface_bytes_carry_the_word_mark_as_a_space():
    piece, gram, byte = (KINDS[kind].vocab for kind in ("word-piece", "unigram", "byte-level"))
    assert b" the" in piece and b"en" in piece and piece.kinds[1] == Kind.SPECIAL
    assert b" the" in gram and b"ken" in gram and gram[gram.ids_of(b"A")[0]] == b"A"
    assert gram.kinds[0x41 + 1] == Kind.BYTE and gram[0x41 + 1] == b"A"
    assert b" token" in byte and byte[len(byte) - 1] == b"<|endoftext|>"
    assert KINDS["clip"].vocab[4] == b"ab "


def test_dropped_white_space_goes_to_the_token_after_it_and_at_the_end_to_the_last():
    assert KINDS["word-piece"].encode(" the  low\n").tokens() == [b" the", b"  low\n"]


def test_spans_of_characters_become_bytes_also_where_a_normaliser_changed_the_text():
    assert KINDS["composing"].encode("the e\u0301 ☕").tokens() == [b"the", " e\u0301".encode(), " ☕".encode()]
    assert KINDS["unigram"].encode("the ﬁé").tokens()[-3:] == ["ﬁ".encode(), b"", "é".encode()]


def test_byte_tokens_cut_inside_a_character():
    unigram = KINDS["unigram"]
    assert unigram.encode("the ñ").tokens()[-2:] == [b"\xc3", b"\xb1"]
    # Also where the text's bytes are not those of its tokens: the ligature was taken apart.
    assert unigram.encode("ﬁñ").tokens()[-2:] == [b"\xc3", b"\xb1"]


def test_a_word_mark_before_the_text_owns_no_byte_also_where_characters_tell_the_places():
    unigram = KINDS["unigram"]
    seg = unigram.encode("a\ufb01")
    assert [unigram.vocab[i] for i in seg.ids.tolist()] == [b" ", b"a", b"f", b"i"]
    assert seg.tokens() == [b"", b"a", "ﬁ".encode(), b""]
    assert unigram.encode("☕\ufb01").tokens()[:2] == [b"", "☕".encode()[:1]]
    # A space that the text has is the mark's own.
    assert unigram.encode(" a\ufb01").tokens() == [b" ", b"a", "ﬁ".encode(), b""]


def test_bytes_that_are_not_text_become_byte_tokens_or_the_unknown_token():
    assert KINDS["unigram"].encode(b"\xff").ids.tolist() == [256]
    assert KINDS["word-piece"].encode(b"low\xff").ids.tolist()[-1] == 0
    assert KINDS["word-piece"].encode(" \n").ids.tolist() == [0]


def test_what_no_token_stands_for_is_refused_when_there_is_no_unknown_token():
    silent = JsonTokenizer(silent_bpe(), "letters")
    assert silent.encode("xabx").tokens() == [b"xabx"]
    for text in ("xyz", b"ab\xff"):
        with pytest.raises(TokenizerError, match=r"neither a token for .* nor an unknown token"):
            silent.encode(text)
        with pytest.raises(TokenizerError, match="letters has neither"):
            silent.encode_batch(["ab", text])


def test_padding_truncation_and_dropout_of_the_file_are_not_applied():
    assert len(KINDS["word-piece"].encode("the token low lower est the token")) == 7
    text = json.loads(byte_level())
    text["model"]["dropout"] = 0.9
    noisy = JsonTokenizer(json.dumps(text), "noisy")
    assert noisy.encode("tokens lowest") == KINDS["byte-level"].encode("tokens lowest")


def test_a_batch_of_one_string_is_refused():
    with pytest.raises(InvalidInput, match="many texts"):
        KINDS["bytes"].encode_batch("text")


@given(text=texts)
def test_runs_are_maximal_valid_and_lose_nothing(text):
    runs = valid_runs(text)
    assert b"".join(as_bytes(run) for run in runs) == as_bytes(text)
    assert all(type(one) is not type(two) for one, two in pairwise(runs))
    assert all(isinstance(run, bytes) or run.encode() for run in runs)
