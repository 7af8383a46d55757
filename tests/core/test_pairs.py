"""Byte-pair encoding over whole numbers: learning against a recount of everything, encoding against merging one by one."""

import re
from collections import Counter
from itertools import chain, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenloom.core import pair_learning
from tokenloom.core.errors import VocabularyError
from tokenloom.core.pair_encoding import PairEncoder
from tokenloom.core.pair_learning import NO_VETO, Veto, learn_pairs
from tokenloom.core.pair_merging import check_merges, merge_pieces, pair_table

ALPHABET = 3
NONE = np.empty((0, 2), np.int32)


def merged(piece, pair, new):
    """The piece with every occurrence of the pair merged, from left to right."""
    out, i = [], 0
    while i < len(piece):
        joins = tuple(piece[i : i + 2]) == tuple(pair)
        out.append(new if joins else piece[i])
        i += 1 + joins
    return out


def allowed(units, veto):
    """The veto by its definition, on the units of a token."""
    words, word = 0, False
    for unit in units:
        words, word = words + (unit != veto.space and not word), unit != veto.space
    return (
        (veto.max_length is None or len(units) <= veto.max_length)
        and (veto.max_words is None or words <= veto.max_words)
        and not any(pair in veto.apart for pair in pairwise(units))
    )


def learn_slowly(pieces, counts, limit, min_frequency=1, veto=NO_VETO, made=()):
    """Recount all pairs before each merge."""
    pieces, spelled, merges = [list(piece) for piece in pieces], [(u,) for u in range(ALPHABET)], []

    def make(pair):
        merges.append(tuple(pair))
        spelled.append(spelled[pair[0]] + spelled[pair[1]])
        return [merged(piece, pair, len(spelled) - 1) for piece in pieces]

    for pair in made:
        pieces = make(pair)
    while len(merges) < limit:
        total = Counter()
        for piece, count in zip(pieces, counts):
            for pair in pairwise(piece):
                total[pair] += count
        fit = [
            pair
            for pair, count in total.items()
            if count >= min_frequency and allowed(spelled[pair[0]] + spelled[pair[1]], veto)
        ]
        if not fit:
            break
        pieces = make(min(fit, key=lambda pair: (-total[pair], pair)))
    return merges, pieces


def flat(pieces):
    return np.array(list(chain(*pieces)), np.int32), np.cumsum([0, *map(len, pieces)]).astype(np.int64)


def unflat(ids, starts):
    return [ids[begin:end].tolist() for begin, end in zip(starts.tolist(), starts[1:].tolist())]


@st.composite
def corpora(draw, longest=70):
    # Runs of one unit, where left-to-right order shows, as often as mixtures; few units, so that ties abound.
    run = st.builds(lambda unit, n: [unit] * n, st.integers(0, ALPHABET - 1), st.integers(1, 9))
    piece = st.lists(run, min_size=1, max_size=longest // 9).map(lambda runs: list(chain(*runs)))
    pieces = draw(st.lists(piece, min_size=1, max_size=5))
    counts = draw(st.lists(st.integers(1, 4), min_size=len(pieces), max_size=len(pieces)))
    return pieces, counts


VETOES = st.builds(
    Veto,
    max_length=st.none() | st.integers(1, 6),
    space=st.integers(-1, ALPHABET - 1),
    max_words=st.none() | st.integers(1, 3),
    apart=st.lists(st.tuples(*[st.integers(0, ALPHABET - 1)] * 2), max_size=2).map(tuple),
)


@given(corpora(), st.integers(1, 4), VETOES, st.integers(0, 25))
def test_learning_equals_a_recount_after_each_merge(corpus, min_frequency, veto, limit):
    pieces, counts = corpus
    expected, _ = learn_slowly(pieces, counts, limit, min_frequency, veto)
    units, starts = flat(pieces)
    learnt = learn_pairs(units, starts, np.array(counts), NONE, ALPHABET, limit, min_frequency=min_frequency, veto=veto)
    assert [tuple(pair) for pair in learnt.tolist()] == expected


@given(corpora(), corpora(), VETOES, st.integers(0, 9))
def test_learning_goes_on_from_symbols_that_other_merges_made(other, corpus, veto, inherited):
    made, _ = learn_slowly(*other, inherited)
    pieces, counts = corpus
    expected, _ = learn_slowly(pieces, counts, len(made) + 12, veto=veto, made=made)
    _, symbols = learn_slowly(pieces, counts, len(made), made=made)
    units, starts = flat(symbols)
    made = np.array(made, np.int32).reshape(-1, 2)
    learnt = learn_pairs(units, starts, np.array(counts), made, ALPHABET, 12, veto=veto)
    assert [tuple(pair) for pair in learnt.tolist()] == expected[len(made) :]


@given(corpora(longest=200), corpora(longest=200), st.integers(0, 40))
def test_both_encoders_make_the_merges_one_by_one(corpus, others, limit):
    merges, final = learn_slowly(*corpus, limit)
    merges = np.array(merges, np.int32).reshape(-1, 2)
    table = pair_table(merges, ALPHABET + np.arange(len(merges)))
    encode = PairEncoder(merges, ALPHABET)
    for pieces, want in ((corpus[0], final), (others[0], None), ([[], *others[0], []], None)):
        slow = pieces
        for rank, pair in enumerate(merges.tolist()):
            slow = [merged(piece, pair, ALPHABET + rank) for piece in slow]
        assert want is None or slow == want
        units, starts = flat(pieces)
        assert unflat(*merge_pieces(units, starts, *table)) == slow
        assert unflat(*encode(units, starts)) == slow


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=6, unique=True), corpora(longest=200))
def test_merges_that_nobody_learnt_are_made_too_or_refused(pairs, corpus):
    chained = []
    for pair in pairs:
        chained += [pair] if max(pair) < ALPHABET + len(chained) else []
    merges = np.array(chained, np.int32).reshape(-1, 2)
    slow = corpus[0]
    for rank, pair in enumerate(merges.tolist()):
        slow = [merged(piece, pair, ALPHABET + rank) for piece in slow]
    units, starts = flat(corpus[0])
    ids = unflat(*merge_pieces(units, starts, *pair_table(merges, ALPHABET + np.arange(len(merges)))))
    assert ids == slow
    try:
        encode = PairEncoder(merges, ALPHABET)
    except VocabularyError:
        return
    assert unflat(*encode(units, starts)) == slow


def test_a_merge_that_no_text_reaches_is_refused_by_name():
    with pytest.raises(VocabularyError, match="do not make id 6"):
        PairEncoder(np.array([[0, 1], [1, 2], [3, 2], [0, 4]]), 3)


def test_dropped_merges_begin_with_a_space_on_the_right_and_depend_on_the_seed_alone(monkeypatch):
    rng = np.random.default_rng(0)
    units, starts = rng.integers(0, ALPHABET, 4000).astype(np.int32), np.arange(0, 4001, 40)

    def learn(dropout, seed):
        veto = Veto(space=1, dropout=dropout, seed=seed)
        return learn_pairs(units.copy(), starts, np.ones(100, np.int64), NONE, ALPHABET, 30, veto=veto)

    def begins_with_space(merges):
        first = [0, 1, 2]
        for left, _ in merges.tolist():
            first.append(first[left])
        return [first[right] == 1 for _, right in merges.tolist()]

    assert not any(begins_with_space(learn(1.0, 0)))
    assert any(begins_with_space(learn(0.0, 0)))
    assert np.array_equal(learn(0.5, 7), learn(0.5, 7))
    monkeypatch.setattr(
        pair_learning, "_STEPS", 3
    )  # the random state goes in and out of the compiled loop, all 64 bits
    for seed in (7, 2**64 - 1):
        whole = learn(0.5, seed)
        monkeypatch.setattr(pair_learning, "_STEPS", 99)
        assert np.array_equal(learn(0.5, seed), whole)
        monkeypatch.setattr(pair_learning, "_STEPS", 3)
    assert not np.array_equal(learn(0.5, 7), learn(0.5, 8))


def test_progress_tells_how_many_merges_are_learnt():
    rng = np.random.default_rng(0)
    told = []
    units, starts = rng.integers(0, 3, 9000).astype(np.int32), np.array([0, 9000])
    learn_pairs(units, starts, np.ones(1, np.int64), NONE, 3, 600, progress=told.append)
    assert told == [256, 512, 600]


@pytest.mark.parametrize(
    ("merges", "words"),
    [
        ([[0, 1], [4, 0]], "merge 1 joins [4, 0], but only ids 0 to 3 exist by then"),
        ([[0, -1]], "merge 0 joins [0, -1]"),
        ([[0, 1], [2, 2], [0, 1]], "merge 2 joins [0, 1] a second time"),
    ],
)
def test_merges_that_do_not_chain_are_refused(merges, words):
    with pytest.raises(VocabularyError, match=re.escape(words)):
        check_merges(merges, 3)
