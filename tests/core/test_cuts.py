"""Where texts are cut: a plain twin by `finditer`, and refusals."""

import numpy as np
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from tokenloom.core.cuts import CL100K_PATTERN, O200K_PATTERN, O200K_WORDS, byte_positions, cut_all, cut_points
from tokenloom.core.errors import InvalidInput
from tokenloom.core.merges import GPT2_PATTERN

PATTERNS = [GPT2_PATTERN, CL100K_PATTERN, O200K_PATTERN, O200K_WORDS, r"\p{N}{1,3}", r"(\w)(\w)", r"x*", r"(?=b)", "."]


@pytest.mark.parametrize("pattern", PATTERNS)
@given(text=st.text(st.sampled_from("ab x1 \n.é世'sS"), max_size=30))
def test_matches_and_what_lies_between_them_are_pieces(pattern, text):
    edges = {0, len(text)} | {edge for match in regex.finditer(pattern, text) for edge in match.span()}
    assert cut_points(text, pattern).tolist() == sorted(edges)


@pytest.mark.parametrize("cut", [*PATTERNS, None, lambda text: np.arange(0, len(text), 3)])
@given(texts=st.lists(st.text(st.sampled_from("ab x1 \n.é世'sS"), max_size=12), max_size=5))
def test_many_texts_are_cut_like_each_by_itself(cut, texts):
    points, numbers = cut_all(texts, cut)
    pieces = [set(part) for part in np.split(points[:-1], np.cumsum(numbers)[:-1])] if texts else []
    begins = np.cumsum([0, *map(len, texts)])
    expected = [set(cut_points(text, cut)[:-1] + begin) for text, begin in zip(texts, begins)]
    # A pattern may match nothing: then a piece is empty.
    assert [part - {int(end)} if not text else part for part, text, end in zip(pieces, texts, begins[1:])] == expected
    assert points[-1] == begins[-1] and numbers.sum() == points.size - 1


def test_a_function_says_the_cuts_with_or_without_the_ends():
    assert cut_points("abcdef", lambda text: np.array([4, 2, 2])).tolist() == [0, 2, 4, 6]
    assert cut_points("abc", lambda text: np.array([0, 1, 3])).tolist() == [0, 1, 3]


def test_no_cut_is_one_piece_and_no_text_is_none():
    assert cut_points("a b", None).tolist() == [0, 3]
    assert [cut_points("", cut).tolist() for cut in (None, GPT2_PATTERN, lambda text: [])] == [[0], [0], [0]]


@pytest.mark.parametrize(
    ("cut", "words"),
    [("(a", "no regular expression"), (lambda text: [9], "the text has 3 characters"), (lambda text: [-1], "from -1")],
)
def test_cuts_that_are_none_are_refused(cut, words):
    with pytest.raises(InvalidInput, match=words):
        cut_points("abc", cut)


@given(st.text(max_size=20))
def test_byte_positions_are_where_characters_begin(text):
    expected = np.cumsum([0, *(len(c.encode()) for c in text)]).tolist()
    assert byte_positions(np.frombuffer(text.encode(), np.uint8)).tolist() == expected
