"""Boundaries against a plain comparison of sets."""

import math
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput
from tokenloom.data import sample
from tokenloom.hosts import load_tokenizer
from tokenloom.measure.morphology import boundaries, read_segmentations

TOK = load_tokenizer("tokenloom-en-16k")
WORDS = st.lists(st.lists(st.text("abcdeğüti", min_size=1, max_size=5), min_size=1, max_size=4), min_size=1, max_size=8)


@pytest.mark.parametrize("before", [" ", "", "xx"])
@given(words=WORDS)
def test_counts_are_those_of_sets_of_places(before, words):
    found = boundaries(TOK, words, before=before)
    for i, parts in enumerate(words):
        word, skip = "".join(parts), len(before.encode())
        cuts = {int(c) - skip for c in TOK.encode(before + word).boundaries()} & set(range(1, len(word.encode())))
        seams = set(list(accumulate(len(part.encode()) for part in parts))[:-1])
        assert (found.shared[i], found.found[i], found.right[i], found.tokens[i]) == (
            len(cuts & seams),
            len(cuts),
            len(seams),
            len(cuts) + 1,
        ), parts


def test_a_tokenizer_of_bytes_finds_all_and_is_seldom_right():
    found = boundaries(load_tokenizer("bytes"), [["ev", "ler", "den"], ["kitap"]])
    assert (found.recall, found.precision, found.hard) == (1.0, 2 / 11, 0.0)
    assert found.f1 == pytest.approx(2 * 2 / (11 + 2))


def test_no_seams_have_neither_recall_nor_hardness():
    found = boundaries(load_tokenizer("bytes"), [["kitap"]])
    assert math.isnan(found.recall) and math.isnan(found.hard) and found.precision == 0.0


@pytest.mark.parametrize("name, words", [("morph-tr", 1500), ("morph-fi", 1200), ("morph-de", 1200)])
def test_the_embedded_lists_are_read(name, words):
    found = read_segmentations(sample(name))
    assert len(found) == words and ["Abbildung", "s", "index"] in read_segmentations(sample("morph-de"))


@pytest.mark.parametrize(
    "table, said",
    [
        ("", "holds no words"),
        ("word\tsegmentation", "holds no words"),
        ("ev", "my.tsv, line 1: 'ev' is no word"),
        ("ev\tev|ler", "line 1"),
        ("evler\tev||ler", "line 1"),
    ],
)
def test_a_list_that_does_not_fit_is_refused(table, said):
    with pytest.raises(InvalidInput, match=said):
        read_segmentations(table, "my.tsv")


def test_no_words_are_refused():
    with pytest.raises(InvalidInput, match="no words"):
        boundaries(load_tokenizer("bytes"), [])


def test_a_word_is_hard_when_a_seam_lies_inside_a_token():
    assert TOK.encode(" the").tokens() == [b" the"] and TOK.encode(" abq").tokens()[-1] == b"q"
    found = boundaries(TOK, [["th", "e"], ["ab", "q"], ["the"]])
    assert found.hard == 0.5  # of the two with a seam
