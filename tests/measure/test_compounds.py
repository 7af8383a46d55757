"""Scores of splits and hardness, by hand and by their definitions."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tokenloom as tl
from tokenloom.core.errors import InvalidInput
from tokenloom.measure.compounds import hardness, score_splits


@st.composite
def splits(draw):
    """Words with two splits of each."""
    words = draw(st.lists(st.text("abc", min_size=1, max_size=6), min_size=1, max_size=6))

    def split(word):
        cuts = sorted(draw(st.sets(st.integers(1, 5))))
        edges = [0, *(cut for cut in cuts if cut < len(word)), len(word)]
        return [word[a:b] for a, b in pairwise(edges)]

    return [split(word) for word in words], [split(word) for word in words]


def seams(parts):
    return {sum(map(len, parts[:k])) for k in range(1, len(parts))}


@given(splits())
def test_scores_are_their_definitions(pair):
    found, right = pair
    scores = score_splits(found, right)
    hits = sum(len(seams(a) & seams(b)) for a, b in zip(found, right, strict=True))
    made, there = (sum(len(seams(parts)) for parts in side) for side in pair)
    assert scores.precision == (hits / made if made else 1)
    assert scores.recall == (hits / there if there else 1)
    assert scores.exact == sum(a == b for a, b in zip(found, right, strict=True)) / len(right)
    for value, chosen in ((scores.compounds, True), (scores.whole, False)):
        some = [a == b for a, b in zip(found, right, strict=True) if (len(b) > 1) == chosen]
        assert value == (sum(some) / len(some) if some else 0)
    assert scores.f1 == pytest.approx(2 * hits / (made + there) if hits else (1 if made == there == 0 else 0))


def test_a_compound_is_hard_when_a_seam_is_inside_a_token():
    tok = tl.BPE(600)(["Hausboot Haus boot Bootshaus"] * 9)
    assert tok.encode("Hausboot").tokens() == [b"Hausboot"]
    assert hardness(tok, [["Haus", "boot"]]) == (1.0, 1.0)
    assert hardness(tok, [["Haus", "boot"], ["Haus", "x"]]) == (0.5, 1.5)
    assert hardness(tok, [["Boots", "haus"]], before=" ") == (1.0, 1.0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: score_splits([], []), "0 words are split"),
        (lambda: score_splits([["a"]], [["a"], ["b"]]), "1 words are split, 2 are right"),
        (lambda: score_splits([["a", "b"]], [["a", "c"]]), "are not the same word"),
        (lambda: hardness(tl.load_tokenizer("bytes"), []), "two constituents at least"),
        (lambda: hardness(tl.load_tokenizer("bytes"), [["Haus"]]), "two constituents at least"),
    ],
)
def test_what_cannot_be_compared_is_refused(call, words):
    with pytest.raises(InvalidInput, match=words):
        call()
