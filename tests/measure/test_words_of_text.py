"""Words and numbers, and their pieces, against a plain count."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput, SegmentationError
from tokenloom.core.segmentation import Segmentation
from tokenloom.measure.words import continued_words, fertility, find_numbers, find_words, pieces

TEXTS = st.text(alphabet="ab é's’-.12 \n天地ท\u0301\u200d", max_size=40)


@st.composite
def segmentations(draw, texts=TEXTS):
    data = draw(texts).encode()
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
    offsets = [0, *cuts, len(data)]
    return Segmentation(range(len(offsets) - 1), offsets, data)


@given(TEXTS)
def test_spans_are_where_their_texts_stand(text):
    for spans in (find_words(text), find_numbers(text)):
        found = [text.encode()[a:b].decode() for a, b in zip(spans.starts, spans.ends)]
        assert found == spans.texts
        assert (spans.starts[1:] >= spans.ends[:-1]).all() and all(found)


@given(TEXTS)
def test_every_letter_is_in_one_word_and_every_digit_in_one_number(text):
    words, numbers = "".join(find_words(text).texts), "".join(find_numbers(text).texts)
    assert [c for c in words if c.isalpha()] == [c for c in text if c.isalpha()]
    assert numbers == "".join(c for c in text if c.isnumeric() and not c.isalpha())


@given(segmentations())
def test_pieces_are_the_tokens_that_hold_a_byte_of_the_word(seg):
    words = find_words(seg.data.decode())
    offsets = seg.offsets.tolist()
    plain = [
        sum(max(begin, start) < min(end, stop) for begin, end in itertools.pairwise(offsets))
        for start, stop in zip(words.starts.tolist(), words.ends.tolist())
    ]
    assert pieces(seg, words).tolist() == plain


@pytest.mark.parametrize(
    "text, words",
    [
        ("l'été d’avant", ["l'été", "d’avant"]),
        ("'quoted' x'", ["quoted", "x"]),
        ("東京タワー", ["東", "京", "タ", "ワ", "ー"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("ക്ഷ\u200dര e\u0301a", ["ക്ഷ\u200dര", "e\u0301a"]),
        ("a1b under_score", ["a", "b", "under", "score"]),
        ("", []),
    ],
)
def test_words_are_runs_of_letters_and_marks(text, words):
    assert find_words(text).texts == words


def test_fertility_and_continued_words_by_hand():
    # un|believ|able| story: 3 tokens hold some of the first word, 1 of the second.
    seg = Segmentation([0, 1, 2, 3], [0, 2, 8, 12, 18], b"unbelievable story")
    assert fertility(seg) == 2.0 and continued_words(seg) == 0.5


def test_a_text_without_words_has_no_fertility():
    with pytest.raises(InvalidInput, match="no word"):
        fertility(Segmentation([1], [0, 2], b"12"))


def test_words_of_bytes_that_are_no_text_are_refused():
    with pytest.raises(InvalidInput, match="byte 1 is 0xff"):
        fertility(Segmentation([1], [0, 2], b"a\xff"))


def test_spans_of_another_text_are_refused():
    with pytest.raises(SegmentationError, match="ends at byte 4"):
        pieces(Segmentation([1], [0, 2], b"ab"), find_words("abcd"))


def test_no_words_have_no_pieces():
    assert pieces(Segmentation([], [0], b""), find_words("")).dtype == np.int64
