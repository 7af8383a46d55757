"""CUTE: eight kinds of questions, each answered again from its text alone."""

import re
from collections import Counter
from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput
from tokenloom.data import sample
from tokenloom.measure.cute import KINDS, Cute, levenshtein

WORDS = sample("common-words").split()
QUESTIONS = Cute(WORDS)(4_000, rng=np.random.default_rng(0))
ALTERED = ("spelling", "insertion", "deletion", "substitution", "swapping")


def chisquare(observed):
    return pytest.importorskip("scipy.stats", reason="needs the package 'scipy'").chisquare(observed).pvalue


@cache
def edits(a, b):
    """Levenshtein distance as defined."""
    if not a or not b:
        return len(a) + len(b)
    return min(edits(a[1:], b) + 1, edits(a, b[1:]) + 1, edits(a[1:], b[1:]) + (a[0] != b[0]))


FORMS = {
    "spelling": r'Spell out the word "(\w+)"\. Answer:',
    "inverse spelling": r'Write the word that is spelled out: "(\w(?: \w)+)"\. Answer:',
    "contains": r'Is there a "(\w)" in "(\w+)"\? Answer:',
    "orthographic": r'Closer in Levenshtein distance to "(\w+)": "(\w+)" or "(\w+)"\? Answer:',
    "insertion": r'Add "(\w)" after every "(\w)" in "(\w+)"\. Answer:',
    "deletion": r'Delete every "(\w)" in "(\w+)"\. Answer:',
    "substitution": r'Substitute "(\w)" for every "(\w)" in "(\w+)"\. Answer:',
    "swapping": r'Swap "(\w)" and "(\w)" in "(\w+)"\. Answer:',
}


def solved(kind, *asked):
    """The right answer, letter by letter."""
    match kind, asked:
        case "spelling", (word,):
            return " ".join(list(word))
        case "inverse spelling", (letters,):
            return "".join(letters.split())
        case "contains", (letter, word):
            return "Yes" if any(c == letter for c in word) else "No"
        case "orthographic", (word, a, b):
            return a if edits(word, a) < edits(word, b) else b
        case "insertion", (new, old, word):
            return "".join(c + new if c == old else c for c in word)
        case "deletion", (old, word):
            return "".join(c for c in word if c != old)
        case "substitution", (new, old, word):
            return "".join(new if c == old else c for c in word)
        case "swapping", (a, b, word):
            return "".join({a: b, b: a}.get(c, c) for c in word)


def asked(question):
    """Kind and what is asked about, from the text alone."""
    ((kind, found),) = [(kind, m) for kind, form in FORMS.items() if (m := re.fullmatch(form, question.text))]
    return kind, *found.groups()


def near(a, b):
    """One letter substituted, or two exchanged."""
    different = [(x, y) for x, y in zip(a, b) if x != y]
    exchanged = len(different) == 2 and different[0] == different[1][::-1]
    return len(a) == len(b) and (len(different) == 1 or exchanged)


def test_an_oracle_that_reads_the_text_is_always_right():
    for q in QUESTIONS:
        assert asked(q)[0] == q.kind
        assert solved(*asked(q)) == q.right, q


def test_wrong_options_are_wrong_different_and_as_the_paper_makes_them():
    for q in QUESTIONS:
        wrong = [option for option in q.options if option != q.right]
        assert len({*q.options}) == len(q.options) == (2 if q.kind in ("contains", "orthographic") else 4)
        if q.kind in ALTERED:
            assert all(near(option.replace(" ", ""), q.right.replace(" ", "")) for option in wrong), q
            assert q.kind != "spelling" or all(option[1::2].strip() == "" for option in wrong), q
        elif q.kind == "inverse spelling":
            assert {*wrong} <= {*WORDS}, q
        elif q.kind == "contains":
            assert {*q.options} == {"Yes", "No"}, q
        else:
            assert {*q.options} == {*asked(q)[2:]}, q


def test_kinds_and_places_of_the_answer_are_uniform():
    assert chisquare([Counter(q.kind for q in QUESTIONS)[kind] for kind in KINDS]) > 1e-3
    four = Counter((q.kind, q.answer) for q in QUESTIONS if len(q.options) == 4)
    two = Counter((q.kind, q.answer) for q in QUESTIONS if len(q.options) == 2)
    assert chisquare([four[pair] for pair in product([*ALTERED, "inverse spelling"], range(4))]) > 1e-3
    assert chisquare([two[pair] for pair in product(["contains", "orthographic"], range(2))]) > 1e-3


def test_yes_is_right_as_often_as_no_and_the_nearer_word_is_named_first_as_often_as_last():
    contains = Counter(q.right for q in QUESTIONS if q.kind == "contains")
    assert chisquare([contains["Yes"], contains["No"]]) > 1e-3
    first = Counter(q.right == asked(q)[2] for q in QUESTIONS if q.kind == "orthographic")
    assert chisquare([first[True], first[False]]) > 1e-3


def test_every_question_asks_something():
    for q in QUESTIONS:
        kind, *about = asked(q)
        assert (
            len(about[0 if kind in ("spelling", "inverse spelling", "orthographic") else -1].replace(" ", "")) >= 3
        ), q
        if kind in ("insertion", "deletion", "substitution", "swapping"):
            assert q.right not in ("", about[-1]), q
        if kind == "swapping":
            assert about[-1].count(about[0]) == about[-1].count(about[1]) == 1, q
        if kind == "orthographic":
            assert abs(edits(about[0], about[1]) - edits(about[0], about[2])) >= 2 and len({*about}) == 3, q


@given(st.text("abc", max_size=6), st.text("abc", max_size=6))
def test_the_distance_is_its_definition(a, b):
    assert levenshtein(a, b) == edits(a, b)


def test_one_seed_gives_the_same_questions():
    assert Cute(WORDS)(50, rng=np.random.default_rng(0)) == QUESTIONS[:50]
    assert Cute(WORDS)(50, rng=np.random.default_rng(1)) != QUESTIONS[:50]


def test_answers_of_one_letter_have_enough_wrong_ones():
    questions = Cute(
        ["aab"] + [f"{c}xy" for c in "abcdefghijklmnopqrstuvw"] + ["zzz", "xxy"], options=26, kinds=["deletion"]
    )
    made = questions(100, rng=np.random.default_rng(0))
    assert all(len({*q.options}) == 26 for q in made) and any(len(q.right) == 1 for q in made)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"words": ["one", "two", "Three"]}, "word 2 is 'Three'"),
        ({"words": ["one", "two", "two"]}, "the word 'two' is there twice"),
        ({"words": ["one", "two", "a", "of", "in"], "options": 2}, "only 2 of 5 words have at least 3 letters; need 3"),
        ({"words": ["one", "two", "six"]}, "options=4, but only 3 of 3 words"),
        ({"options": 1}, "options=1; a choice is among 2 … 26"),
        ({"options": 27}, "options=27; a choice is among 2 … 26"),
        ({"kinds": ["semantic"]}, "'semantic'.*choose from 'spelling'"),
        ({"kinds": []}, r"kinds=\(\)"),
    ],
)
def test_cute_refuses(settings, words):
    with pytest.raises(InvalidInput, match=words):
        Cute(**{"words": WORDS} | settings)


def test_words_of_which_a_kind_makes_nothing_are_refused():
    with pytest.raises(InvalidInput, match="3 words gave no question of kind 'swapping'"):
        Cute(["aaa", "bbb", "ccc"], options=3, kinds=["swapping"])(1, rng=np.random.default_rng(0))
    with pytest.raises(InvalidInput, match="n=-1"):
        Cute(WORDS)(-1, rng=np.random.default_rng(0))
