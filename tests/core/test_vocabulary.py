import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput, VocabularyError
from tokenloom.core.vocabulary import Kind, Vocabulary

tokens = st.lists(st.binary(min_size=1, max_size=4), max_size=20)


@given(tokens)
def test_ids_and_bytes_are_inverse_to_each_other(entries):
    vocab = Vocabulary(entries)
    for token in {*entries, b"never there"}:
        assert list(vocab.ids_of(token)) == [i for i, other in enumerate(entries) if other == token]
    assert [vocab[i] for i in range(len(vocab))] == entries
    assert vocab.lengths.tolist() == [len(t) for t in entries]
    assert bytes(vocab.buffer) == b"".join(entries)


@given(tokens, st.lists(st.integers(0, 19)))
def test_decoding_joins_bytes(entries, ids):
    ids = [i for i in ids if i < len(entries)]
    assert Vocabulary(entries).decode(ids) == b"".join(entries[i] for i in ids)


def test_special_and_unused_ids_own_no_bytes():
    vocab = Vocabulary([b"a", b"<s>", b"", b"b"], special=[1], kinds=[0, 0, 3, 0])
    assert vocab.decode([1, 0, 2, 3, 1]) == b"ab"
    assert vocab.special_ids.tolist() == [1]
    assert vocab.ids_of(b"") == ()


def test_special_tokens_are_found_by_bytes_or_added_at_the_end():
    vocab = Vocabulary([b"a", b"<s>"], special=[b"<s>", b"</s>"])
    assert list(vocab) == [b"a", b"<s>", b"</s>"]
    assert vocab.kinds.tolist() == [Kind.NORMAL, Kind.SPECIAL, Kind.SPECIAL]


def test_a_normal_token_is_preferred_to_a_byte_of_the_same_bytes():
    vocab = Vocabulary([b"A", b"\xc3", b"A"], kinds=[Kind.BYTE, Kind.BYTE, Kind.NORMAL])
    assert vocab.ids_of(b"A") == (2, 0)
    assert (vocab.id_of(b"A"), vocab.id_of(b"\xc3")) == (2, 1)


def test_the_digest_tells_vocabularies_apart_that_join_to_the_same_bytes():
    one, two = Vocabulary([b"ab", b"c"]), Vocabulary([b"a", b"bc"])
    assert one.digest != two.digest and one != two
    assert Vocabulary([b"a"]).digest != Vocabulary([b"a"], special=[0]).digest
    assert Vocabulary([b"ab", b"c"]) == one and hash(Vocabulary([b"ab", b"c"])) == hash(one)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Vocabulary(["a"]), "token 0 is 'a'; tokens are bytes"),
        (lambda: Vocabulary([b"a", b""]), "id 1 has no bytes"),
        (lambda: Vocabulary([b"a"], special=[1]), "special id 1 is not among the 1 ids"),
        (lambda: Vocabulary([b"ab"], kinds=[Kind.BYTE]), "kind byte but stands for b'ab'"),
        (lambda: Vocabulary([b"a"], kinds=[7]), "kinds are"),
        (lambda: Vocabulary([b"a"], kinds=[0, 0]), "2 kinds for 1 tokens"),
        (lambda: Vocabulary([b"a"]).id_of(b"b"), "no id stands for b'b'"),
    ],
)
def test_a_vocabulary_refuses(make, words):
    with pytest.raises(VocabularyError, match=words):
        make()


@pytest.mark.parametrize("ids, words", [([0, 1], "id 1 at position 1"), ([-1], "id -1"), ([0.5], "whole numbers")])
def test_ids_outside_the_vocabulary_are_refused(ids, words):
    with pytest.raises(InvalidInput, match=words):
        Vocabulary([b"a"]).decode(np.array(ids))
