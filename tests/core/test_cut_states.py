"""The automaton of a pattern says of every text what some continuation of it shows."""

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenloom.core.cut_states import cut_by, cut_states
from tokenloom.core.cuts import CL100K_PATTERN, O200K_PATTERN
from tokenloom.core.errors import InvalidInput
from tokenloom.core.merges import GPT2_PATTERN

PATTERNS = {
    "none": (),
    "GPT-2": (GPT2_PATTERN,),
    "SmolLM2": (r"\p{N}", GPT2_PATTERN),
    "threes from the right": (r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))|[^\p{N}]+",),
    "words": (r" ?\b[a-z]+\b|.",),
}
SLOW = {"CL100K": (CL100K_PATTERN,), "O200K": (O200K_PATTERN,)}


def by_continuation(text, patterns, letters, longest):
    """All ways in which `text` is cut at the beginning of a longer one."""
    words = ("".join(word) for length in range(longest + 1) for word in product(letters, repeat=length))
    return {tuple(at for at in cut_by(text + word, patterns) if at < len(text)) for word in words}


def agree(patterns, letters, length, longest):
    states = cut_states(patterns)
    for text in map("".join, product(letters, repeat=length)):
        readings = states.readings(text)
        assert {tuple(cuts) for _, cuts in readings} == by_continuation(text, patterns, letters, longest), text
        for state, cuts in readings:
            assert states.after(text, cuts) == state


@pytest.mark.parametrize(
    "name, letters",
    [
        *product(["none", "GPT-2", "SmolLM2", "threes from the right"], ["a1 ", "s'e ", "\n a!", "l'1"]),
        ("words", "a1 "),
    ],
)
def test_the_ways_to_cut_a_beginning_are_those_of_its_continuations(name, letters):
    agree(PATTERNS[name], letters, 4, 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
@pytest.mark.parametrize("letters", ["a1 ", "s'e ", "\n A!", "e'R", "é漢 \u0301"])
def test_the_words_of_larger_vocabularies(name, letters):
    agree(SLOW[name], letters, 4, 3)


@settings(max_examples=50)
@given(st.text(st.sampled_from("aZé漢1٣ \n\t'sl.\u0301\U0001f600"), max_size=12), st.sampled_from(sorted(PATTERNS)))
def test_no_text_is_cut_in_a_way_that_the_automaton_does_not_know(text, name):
    states = cut_states(PATTERNS[name])
    assert states.after(text, cut_by(text, PATTERNS[name])) >= 0, text


def test_one_character_more_settles_whether_the_last_space_belongs_to_a_word():
    states = cut_states((GPT2_PATTERN,))
    assert sorted(cuts for _, cuts in states.readings("a  ")) == [[0, 1], [0, 1, 2]]
    assert [cuts for _, cuts in states.readings("a  b")] == [[0, 1, 2]]


@pytest.mark.parametrize("pattern, words", [("(", "no regular expression"), (r"ab(?=.{4}c)|.", "looks")])
def test_what_cannot_be_told_is_refused(pattern, words):
    with pytest.raises(InvalidInput, match=words):
        cut_states((pattern,))
