"""LangGame: its law, its rules, its texts, and an oracle that reads nothing but the text."""

import re
from collections import Counter
from itertools import combinations, product
from string import ascii_lowercase

import numpy as np
import pytest

from tokenloom.core.errors import InvalidInput
from tokenloom.data import sample
from tokenloom.measure.choice import choose
from tokenloom.measure.langgame import KINDS, SUBSTRING_KINDS, LangGame

WORDS = sample("common-words").split()
QUESTIONS = LangGame(WORDS)(6_000, rng=np.random.default_rng(0))


def chisquare(observed, expected=None):
    return pytest.importorskip("scipy.stats", reason="needs the package 'scipy'").chisquare(observed, expected).pvalue


def parsed(text):
    """Kind, what is asked about and the options listed, from the text alone."""
    listed = re.search(r"\[ (.*?)\]", text)[1].split(", ")
    for kind, form in {
        "most": r"has the most letter '(\w)'s\?",
        "contains": r"contains '(\w+)'\?",
        "starts": r"starts with '(\w+)'\?",
        "ends": r"ends with '(\w+)'\?",
        "longest": r"is the longest\?()",
        "shortest": r"is the shortest\?()",
    }.items():
        if found := re.search(form, text):
            return kind, found[1], listed
    raise AssertionError(text)


def oracle(text):
    """How well each listed option answers, by counting letters."""
    kind, asked, listed = parsed(text)
    return {
        "most": [word.count(asked) for word in listed],
        "contains": [asked in word for word in listed],
        "starts": [word[: len(asked)] == asked for word in listed],
        "ends": [word[-len(asked) :] == asked for word in listed],
        "longest": [len(word) for word in listed],
        "shortest": [-len(word) for word in listed],
    }[kind]


# The law


def test_kinds_and_places_of_the_answer_are_uniform():
    counts = Counter((q.kind, q.answer) for q in QUESTIONS)
    assert chisquare([counts[pair] for pair in product(KINDS, range(4))]) > 1e-3


def test_letters_and_answers_are_uniform_within_their_bounds():
    game = LangGame(WORDS, kinds=["most"])
    letters = Counter(parsed(q.text)[1] for q in game(3_000, rng=np.random.default_rng(1)))
    possible = [c for c in ascii_lowercase if any(w.count(c) >= 2 for w in WORDS)]
    assert set(letters) == set(possible)
    assert chisquare([letters[c] for c in possible]) > 1e-3
    game = LangGame(WORDS, kinds=["shortest"])
    short = [w for w in WORDS if len(w) <= 3]
    answers = Counter(q.right for q in game(5_000, rng=np.random.default_rng(2)))
    assert chisquare([answers[w] for w in short]) > 1e-3


def exact_law(kind, words, k, lengths):
    """Probability of what is asked, answer and others: by enumeration of all draws, those that fail dropped."""
    draws = []
    if kind == "most":
        for c in ascii_lowercase:
            right = [w for w in words if w.count(c) >= 2]
            draws += [(1 / 26 / len(right), c, w, [v for v in words if v.count(c) <= 1]) for w in right]
    elif kind in SUBSTRING_KINDS:
        for w in words:
            low, high = lengths(len(w))
            for length in range(low, high + 1):
                parts = [w[i : i + length] for i in range(len(w) - length + 1)]
                parts = {"contains": parts, "starts": parts[:1], "ends": parts[-1:]}[kind]
                fits = {"contains": str.__contains__, "starts": str.startswith, "ends": str.endswith}[kind]
                for part in parts:
                    others = [v for v in words if not fits(v, part)]
                    draws.append((1 / len(words) / (high - low + 1) / len(parts), part, w, others))
    else:
        right, wrong = [w for w in words if len(w) >= 7], [w for w in words if len(w) <= 4]
        if kind == "shortest":
            right, wrong = [w for w in words if len(w) <= 3], [w for w in words if len(w) >= 6]
        draws = [(1, "", w, wrong) for w in right]
    law = Counter()
    for weight, asked, answer, others in draws:
        chosen = list(combinations(sorted(others), k - 1))
        for some in chosen:
            law[asked, answer, some] += weight / len(chosen)
    total = sum(law.values())
    return {outcome: weight / total for outcome, weight in law.items()}


LENGTHS = {
    "up to three": lambda letters: (1, min(3, letters)),
    "up to half": lambda letters: (1, letters // 2),
    "beyond half": lambda letters: (letters // 2 + 1, letters),
}


@pytest.mark.parametrize(
    "kind, substrings", [*product(KINDS, ["up to three"]), *product(SUBSTRING_KINDS, ["up to half", "beyond half"])]
)
def test_questions_follow_the_law_of_the_paper(kind, substrings):
    words = ["a", "on", "tot", "noon", "banana", "letters", "onionson"]
    law, n = exact_law(kind, words, 3, LENGTHS[substrings]), 4_000
    questions = LangGame(words, options=3, kinds=[kind], substrings=substrings)(n, rng=np.random.default_rng(3))
    seen = Counter((parsed(q.text)[1], q.right, tuple(sorted({*q.options} - {q.right}))) for q in questions)
    assert set(seen) <= set(law)
    # Rare outcomes together, as the χ² approximation needs.
    common = [outcome for outcome, p in law.items() if p * n >= 5]
    rest = 1 - sum(law[outcome] for outcome in common)
    observed = [seen[outcome] for outcome in common]
    expected = [n * law[outcome] for outcome in common]
    if rest * n >= 5:
        observed.append(n - sum(observed))
        expected.append(n * rest)
    expected = np.array(expected) * sum(observed) / sum(expected)
    assert chisquare(observed, expected) > 1e-3, (observed, expected)


def test_every_order_of_the_options_is_equally_likely():
    game = LangGame(["aa", "b", "c", "d"], kinds=["most"])
    counts = Counter(q.options for q in game(2_400, rng=np.random.default_rng(0)))
    assert len(counts) == 24
    assert chisquare([*counts.values()]) > 1e-3


# The rules


def test_every_rule_holds_for_every_question():
    for q in QUESTIONS:
        kind, asked, listed = parsed(q.text)
        others = [option for option in q.options if option != q.right]
        assert kind == q.kind and tuple(listed) == q.options and len({*q.options}) == 4 and {*q.options} <= {*WORDS}
        assert {
            "most": q.right.count(asked) >= 2 and all(w.count(asked) <= 1 for w in others),
            "contains": asked in q.right and not any(asked in w for w in others),
            "starts": q.right.startswith(asked) and not any(w.startswith(asked) for w in others),
            "ends": q.right.endswith(asked) and not any(w.endswith(asked) for w in others),
            "longest": len(q.right) >= 7 and all(len(w) <= 4 for w in others),
            "shortest": len(q.right) <= 3 and all(len(w) >= 6 for w in others),
        }[kind], q
        assert kind not in SUBSTRING_KINDS or 1 <= len(asked) <= min(3, len(q.right)), q


def test_exactly_one_option_is_right_and_an_oracle_finds_it_from_the_text_alone():
    scores = np.array([oracle(q.text) for q in QUESTIONS], float)
    assert ((scores == scores.max(1, keepdims=True)).sum(1) == 1).all()
    assert choose(scores, [q.answer for q in QUESTIONS]).normalised == 1.0


def test_choosing_at_random_is_worth_nothing():
    scores = np.random.default_rng(0).random((len(QUESTIONS), 4))
    result = choose(scores, [q.answer for q in QUESTIONS])
    assert abs(result.normalised) < 4 * result.stderr * 4 / 3


@pytest.mark.parametrize("k", [2, 3, 6])
def test_any_number_of_options(k):
    for q in LangGame(WORDS, options=k)(300, rng=np.random.default_rng(0)):
        assert len({*q.options}) == k and int(np.argmax(oracle(q.text))) == q.answer


def test_lengths_seen_in_fine_tuning_and_held_out_do_not_meet():
    lengths = {}
    for substrings in ("up to half", "beyond half"):
        game = LangGame(WORDS, kinds=SUBSTRING_KINDS, substrings=substrings)
        questions = game(2_000, rng=np.random.default_rng(0))
        assert all(int(np.argmax(oracle(q.text))) == q.answer for q in questions)
        lengths[substrings] = {(len(parsed(q.text)[1]), len(q.right)) for q in questions}
    assert all(2 * part <= whole for part, whole in lengths["up to half"])
    assert all(2 * part > whole for part, whole in lengths["beyond half"])
    assert {(1, 2), (3, 6), (3, 7)} <= lengths["up to half"]
    assert {(1, 1), (2, 3), (4, 6), (6, 6)} <= lengths["beyond half"]


# The texts


def all_texts(kind, asked, listed):
    """Every wording that the specification allows, with the choices that made it."""
    question = {
        "most": f"has the most letter '{asked}'s?",
        "contains": f"contains '{asked}'?",
        "starts": f"starts with '{asked}'?",
        "ends": f"ends with '{asked}'?",
        "longest": "is the longest?",
        "shortest": "is the shortest?",
    }[kind]
    for option, options, the in product(
        ["word", "", "string", "option", "choice", "option word", "option string"],
        ["options", "choices", "option words", "option strings"],
        ["the", "the possible", "the available"],
    ):
        whiches = [f"Which {option} {question}", f"What {option} {question}", f"Which of {the} {options} {question}"]
        lists = [f"{the.capitalize()} {options}:", f"{the.capitalize()} {options} are:", f"These are {the} {options}:"]
        for (i, which), (j, shown), order in product(enumerate(whiches), enumerate(lists), (0, 1)):
            parts = [which.replace("  ", " "), f"{shown} [ {', '.join(listed)}]."]
            yield f"{parts[order]} {parts[1 - order]} Answer:", (i, j, order, options, the, option if i < 2 else None)


def test_texts_are_those_of_the_specification_and_all_of_them_occur():
    made = set()
    for q in QUESTIONS[:400]:
        forms = {choices for text, choices in all_texts(*parsed(q.text)) if text == q.text}
        assert forms, q.text
        assert "  " not in q.text and q.text.endswith(" Answer:")
        made |= forms
    for place, number in enumerate((3, 3, 2, 4, 3, 8)):
        assert len({form[place] for form in made}) == number


def test_one_seed_gives_the_same_questions_and_a_longer_list_begins_with_the_shorter():
    game = LangGame(WORDS)
    assert game(50, rng=np.random.default_rng(0)) == QUESTIONS[:50]
    assert game(50, rng=np.random.default_rng(1)) != QUESTIONS[:50]
    assert game(0, rng=np.random.default_rng(0)) == []


# Refusals


def test_what_hardly_any_draw_finds_is_still_asked():
    questions = LangGame(["zz", "a", "b", "c"], kinds=["most"])(500, rng=np.random.default_rng(0))
    assert {parsed(q.text)[1] for q in questions} == {"z"}
    words = ["a" * n for n in range(1, 30)] + [
        "ab"
    ]  # every word contains "a"; only "b" and "ab" tell one from the rest
    questions = LangGame(words, options=30, kinds=["contains"])(5, rng=np.random.default_rng(0))
    assert {parsed(q.text)[1] for q in questions} <= {"b", "ab"}


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"words": []}, "for 'most' the 0 words would need one with some letter at least twice"),
        ({"words": ["Hello"]}, "word 0 is 'Hello'; words are of lower-case letters"),
        ({"words": ["a", "a b"]}, "word 1 is 'a b'"),
        ({"words": ["a", "é"]}, "word 1 is 'é'"),
        ({"words": ["a", ""]}, "word 1 is ''"),
        ({"words": ["one", "two", "one"]}, "the word 'one' is there twice"),
        ({"options": 1}, "options=1; a choice is among at least 2"),
        ({"options": 1001}, "options=1001, but for 'most' the 1000 words would need .* and 1000 with it at most once"),
        ({"options": 322, "kinds": ["longest"]}, "one of at least 7 letters and 321 of at most 4"),
        ({"options": 475, "kinds": ["shortest"]}, "one of at most 3 letters and 474 of at least 6"),
        ({"kinds": []}, r"kinds=\(\); choose from 'most'"),
        ({"kinds": ["most", "rhymes"]}, "kinds=.*'rhymes'"),
        ({"substrings": "half"}, "substrings='half'; choose"),
        ({"words": ["ab", "abc"], "options": 3, "kinds": ["starts"]}, "a beginning that 2 others do not have"),
        ({"words": ["ab", "cb", "b"], "options": 2, "kinds": ["ends"], "substrings": "up to half"}, "an ending that 1"),
        ({"words": ["a", "b", "c"], "options": 2, "kinds": ["contains"], "substrings": "up to half"}, "a part that 1"),
    ],
)
def test_langgame_refuses(settings, words):
    with pytest.raises(InvalidInput, match=words):
        LangGame(**{"words": WORDS} | settings)


def test_k_may_be_as_large_as_the_words_allow_and_no_larger():
    long, short = [w for w in WORDS if len(w) >= 7], [w for w in WORDS if len(w) <= 4]
    (q,) = LangGame(WORDS, options=len(short) + 1, kinds=["longest"])(1, rng=np.random.default_rng(0))
    assert {*q.options} - {q.right} == {*short} and q.right in long
    with pytest.raises(InvalidInput, match="longest"):
        LangGame(WORDS, options=len(short) + 2, kinds=["longest"])


def test_a_negative_number_of_questions_is_refused():
    with pytest.raises(InvalidInput, match="n=-1"):
        LangGame(WORDS)(-1, rng=np.random.default_rng(0))
