"""Counting pieces: the same as `collections.Counter`, and cuts that no word notices."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenloom.core.cuts import SPACED, pattern_of
from tokenloom.core.tally import Tally, between_seams, seams


def entries(tally):
    data, starts = tally.data.tobytes(), tally.starts.tolist()
    return {data[begin:end]: count for begin, end, count in zip(starts, starts[1:], tally.counts.tolist())}


def add(tally, pieces, weights):
    data = np.frombuffer(b"".join(pieces), np.uint8)
    tally.add(data, np.cumsum([0, *map(len, pieces)]), np.array(weights, np.int64))


@given(st.lists(st.lists(st.tuples(st.binary(max_size=3), st.integers(0, 9)), max_size=30), max_size=4))
def test_a_tally_counts_like_a_counter_in_the_order_of_first_appearance(batches):
    tally, counter = Tally(), Counter()
    for batch in batches:
        add(tally, [piece for piece, _ in batch], [weight for _, weight in batch])
        for piece, weight in batch:
            if piece and weight:
                counter[piece] += weight
    assert list(entries(tally).items()) == list(counter.items())


def test_a_tally_grows_past_its_first_room():
    pieces = [str(i).encode() for i in range(10_000)]
    tally = Tally()
    add(tally, pieces + pieces, [1] * 20_000)
    assert len(tally) == 10_000
    assert entries(tally) == dict.fromkeys(pieces, 2)


# Spaces and what is like a space, letters of every class, signs, digits, marks, and what patterns treat by itself.
ALPHABET = " \t\n\r\u000b\u001c\u0085\u00a0\u1680\u2003\u2028\u202f\u205f\u3000\u180e\u200b aAbé\u0301世ǅ\u0295ªʰ019½٣.,'’“s!/-_\x00\x7f\ufeff\U0001f600"


@pytest.mark.parametrize("pattern", sorted(SPACED))
@given(text=st.text(st.sampled_from(ALPHABET), max_size=40))
def test_words_do_not_notice_that_the_text_was_cut_at_its_seams(pattern, text):
    find = pattern_of(pattern).findall
    data = text.encode()
    cuts = seams(np.frombuffer(data, np.uint8), np.array([0, len(data)]))
    parts = [data[begin:end].decode() for begin, end in zip(cuts.tolist(), cuts[1:].tolist())]
    assert "".join(parts) == text
    assert [word for part in parts for word in find(part)] == find(text)


@pytest.mark.parametrize("pattern", sorted(SPACED))
@given(texts=st.lists(st.text(st.sampled_from(ALPHABET + "ab     "), max_size=30), max_size=4))
def test_pieces_between_seams_have_the_same_words_in_any_company(pattern, texts):
    find = pattern_of(pattern).findall
    data = "".join(texts).encode()
    starts = np.cumsum([0, *(len(text.encode()) for text in texts)])
    flat = np.frombuffer(data, np.uint8)
    cuts = seams(flat, starts)
    parts = [data[begin:end].decode() for begin, end in pairwise(cuts.tolist())]
    joined = [part for part, chosen in zip(parts, between_seams(flat, cuts)) if chosen]
    assert all(part[0] == " " and not part[1].isspace() and not part[-1].isspace() for part in joined)
    assert find("".join(joined)) == [word for part in joined for word in find(part)]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("to be or", ["to", " be", " or"]),
        ("a  b c ", ["a  b", " c "]),
        (" a b", [" a", " b"]),
        ("é ü 世 界", ["é", " ü", " 世", " 界"]),
        ("a\u00a0 b\n c", ["a\u00a0 b\n c"]),
        ("x", ["x"]),
    ],
)
def test_seams_are_single_spaces_between_other_characters(text, parts):
    data = text.encode()
    cuts = seams(np.frombuffer(data, np.uint8), np.array([0, len(data)])).tolist()
    assert [data[begin:end].decode() for begin, end in pairwise(cuts)] == parts


def test_seams_keep_the_borders_of_texts():
    assert seams(np.frombuffer(b"a bc d", np.uint8), np.array([0, 3, 3, 6])).tolist() == [0, 1, 3, 3, 4, 6]
