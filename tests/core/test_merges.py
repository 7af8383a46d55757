import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenloom.core.errors import VocabularyError
from tokenloom.core.merges import merges_of
from tokenloom.core.vocabulary import Kind, Vocabulary

BYTES = [bytes([i]) for i in range(256)]


def last_merge(token, ranks):
    """The two parts in which the obvious way ends, merging the pair of lowest rank over and over; None if not in two."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        options = [(ranks.get(parts[i] + parts[i + 1], ranks[token]), i) for i in range(len(parts) - 1)]
        rank, i = min(options)
        if rank >= ranks[token]:
            return None
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return parts


@st.composite
def grown_vocabularies(draw):
    """Bytes, then tokens that join two earlier ones, perhaps out of order: some of them cannot be rebuilt."""
    tokens = [b"a", b"b", b"c"]
    for left, right in draw(st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 2**16)), max_size=25)):
        token = tokens[left % len(tokens)] + tokens[right % len(tokens)]
        if token not in tokens and len(token) < 20:
            tokens.append(token)
    grown = tokens[3:]
    return [*BYTES, *(grown if draw(st.booleans()) else draw(st.permutations(grown)))]


@given(grown_vocabularies())
def test_merges_are_those_of_the_plain_algorithm(tokens):
    ranks = {token: i for i, token in enumerate(tokens)}
    expected = [last_merge(token, ranks) if len(token) > 1 else None for token in tokens]
    lost = [i for i in range(256, len(tokens)) if expected[i] is None]
    if lost:
        with pytest.raises(VocabularyError, match=rf"id {lost[0]} \(b'\w+'\) is not the merge of two earlier ids"):
            merges_of(Vocabulary(tokens))
        return
    found = merges_of(Vocabulary(tokens))
    assert found[:256].tolist() == [[-1, -1]] * 256
    assert [[tokens[left], tokens[right]] for left, right in found[256:]] == expected[256:]


def test_special_and_unused_ids_have_no_merge_and_build_none():
    vocab = Vocabulary([*BYTES, b"ab", b"bc", b"abc"], special=[256], kinds=[0] * 259)
    assert merges_of(vocab)[256:].tolist() == [[-1, -1], [98, 99], [97, 257]]
    kinds = np.zeros(258, np.uint8)
    kinds[256] = Kind.UNUSED
    assert merges_of(Vocabulary([*BYTES, b"", b"ab"], kinds=kinds))[256:].tolist() == [[-1, -1], [97, 98]]


def test_a_vocabulary_without_all_bytes_is_refused():
    with pytest.raises(VocabularyError, match="byte 0x62 is no token"):
        merges_of(Vocabulary([*BYTES[:98], *BYTES[99:], b"ab"]))
    with pytest.raises(VocabularyError, match="byte 0x61 is no token"):
        merges_of(Vocabulary(BYTES, special=[97]))
