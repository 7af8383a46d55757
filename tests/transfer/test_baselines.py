"""ReTok, FOCUS and TransTokenizer against plain restatements."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from small_llama import NEW, OLD, PAIRS, TEXT, llama
from transformers import BertConfig, BertForMaskedLM

from tokenloom.core.errors import InvalidInput
from tokenloom.tokenize.text.bpe import BPE
from tokenloom.transfer.baselines import (
    FOCUS,
    ReTok,
    TransTokenizer,
    links,
    sparsemax,
    static_vectors,
    train_tables_only,
)
from tokenloom.transfer.composition import FVT, unshared
from tokenloom.transfer.rows import Origin

VECTORS = np.random.default_rng(0).normal(size=(len(NEW.vocab), 12))
LINES = [(line, line) for line in [TEXT, *TEXT.split("; "), TEXT[::-1]]]
METHODS = [ReTok(), FOCUS(VECTORS), TransTokenizer(LINES)]


def test_retok_is_fvt_and_trains_the_tables_alone():
    assert np.array_equal(ReTok()(OLD, NEW, PAIRS).weights.toarray(), FVT()(OLD, NEW, PAIRS).weights.toarray())
    for tied, tables in ((True, 1), (False, 2)):
        model = llama(len(OLD.vocab), tied)
        trained = train_tables_only(model)
        assert len(trained) == tables and {len(table) for table in trained} == {len(OLD.vocab)}
        body = {name: value.clone() for name, value in model.model.layers.state_dict().items()}
        before = [table.detach().clone() for table in trained]
        ids = torch.as_tensor(OLD.encode(TEXT).ids.astype(np.int64))[None]
        model(input_ids=ids, labels=ids).loss.backward()
        torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1).step()
        assert all(torch.equal(value, body[name]) for name, value in model.model.layers.state_dict().items())
        assert all(not torch.equal(table, other) for table, other in zip(trained, before))


def test_an_output_bias_is_trained_with_the_tables():
    model = BertForMaskedLM(
        BertConfig(vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)
    )
    shapes = sorted(tuple(table.shape) for table in train_tables_only(model))
    assert shapes == [(40,), (40, 16)]


@given(st.lists(st.floats(-2, 2), min_size=1, max_size=9))
def test_sparsemax_is_the_nearest_point_of_the_simplex(scores):
    made = sparsemax(np.array([scores]))[0]
    assert (made >= 0).all() and abs(made.sum() - 1) < 1e-9
    # The conditions of the projection: one limit below all that count, above or at the others.
    limit = (np.array(scores) - made)[made > 0]
    assert np.ptp(limit) < 1e-9 and (np.array(scores)[made == 0] <= limit[0] + 1e-9).all()


def test_sparsemax_is_what_an_optimiser_finds():
    scores = np.array([0.8, 0.75, 0.3, -0.4, 0.1])
    found = minimize(
        lambda p: ((p - scores) ** 2).sum(),
        np.full(5, 0.2),
        bounds=[(0, 1)] * 5,
        constraints={"type": "eq", "fun": lambda p: p.sum() - 1},
    )
    assert np.allclose(sparsemax(scores[None])[0], found.x, atol=1e-5)


@pytest.mark.parametrize("spread", [0.01, 1.0])
def test_focus_weighs_shared_tokens_by_the_sparsemax_of_their_cosines(spread):
    # Vectors that are nearly alike need nearly all keys, more than are looked at first; others a few.
    vectors = 1 + spread * VECTORS
    vectors[PAIRS[1][3]] = 0
    vectors[unshared(NEW.vocab, PAIRS)[0]] = 0
    rows = FOCUS(vectors)(OLD, NEW, PAIRS)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)
    shared = [(j, i) for j, i in zip(*(ids.tolist() for ids in PAIRS)) if vectors[i].any()]
    sizes = []
    for i in unshared(NEW.vocab, PAIRS).tolist():
        right = np.zeros(len(OLD.vocab))
        if vectors[i].any():
            for (j, _), weight in zip(shared, sparsemax(np.array([[unit[i] @ unit[other] for _, other in shared]]))[0]):
                right[j] += weight
            sizes.append(int((right > 0).sum()))
        assert np.abs(rows.weights[[i]].toarray()[0] - right).max() < 1e-6, NEW.vocab[i]
    assert rows.counts()["drawn"] == 1 and rows.per_dimension
    assert max(sizes) > 64 if spread < 0.1 else max(sizes) < 64


def test_focus_without_a_shared_token_draws_everything():
    nothing = np.zeros(0, np.int64), np.zeros(0, np.int64)
    assert FOCUS(VECTORS)(OLD, NEW, nothing).drawn.all()


def test_static_vectors_of_tokens_in_the_same_company_are_alike():
    rng = np.random.default_rng(0)
    words = {"x": "ab", "y": "cd"}
    lines = ["".join(f"{side}{rng.choice(list(words[side]))}" for _ in range(20)) for side in "xy" for _ in range(30)]
    tok = BPE(257)(lines)
    vectors = static_vectors(tok, lines, 4, rng=np.random.default_rng(0))
    of = {letter: vectors[tok.vocab.id_of(letter.encode())] for letter in "abcdz"}
    unit = {letter: vector / np.linalg.norm(vector) for letter, vector in of.items() if letter != "z"}
    assert unit["a"] @ unit["b"] > 0.9 > 0.5 > unit["a"] @ unit["c"]
    assert not of["z"].any()


def plain_links(causes, effects, rounds, tension, nothing):
    """Expectation and maximisation in loops; None is the cause of nothing."""
    t, both = {}, [(list(e), list(f)) for e, f in zip(causes, effects) if len(e) and len(f)]

    def joint(e, f):
        for j, effect in enumerate(f):
            near = [math.exp(-tension * abs((i + 1) / len(e) - (j + 1) / len(f))) for i in range(len(e))]
            cells = [(cause, (1 - nothing) * n / sum(near)) for cause, n in zip(e, near)] + [(None, nothing)]
            yield effect, [(cause, prior * t.get((cause, effect), 1.0)) for cause, prior in cells]

    for _ in range(rounds):
        counts, totals = {}, {}
        for e, f in both:
            for effect, cells in joint(e, f):
                whole = sum(value for _, value in cells)
                for cause, value in cells:
                    counts[cause, effect] = counts.get((cause, effect), 0) + value / whole
                    totals[cause] = totals.get(cause, 0) + value / whole
        t = {pair: count / totals[pair[0]] for pair, count in counts.items()}
    found = {}
    for e, f in both:
        for effect, cells in joint(e, f):
            best = max(value for _, value in cells)
            cause = next(cause for cause, value in cells if value > best * (1 - 1e-9))
            if cause is not None:
                found[cause, effect] = found.get((cause, effect), 0) + 1
    return found


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 5), max_size=5), st.lists(st.integers(0, 7), max_size=6)),
        min_size=1,
        max_size=6,
    ),
    st.integers(0, 4),
)
def test_links_are_those_of_expectation_and_maximisation(texts, rounds):
    causes, effects = ([np.array(side, np.int64) for side in sides] for sides in zip(*texts))
    made = links(causes, effects, rounds=rounds)
    right = plain_links(causes, effects, rounds, 4.0, 0.08)
    assert {(e, f): n for e, f, n in zip(*(a.tolist() for a in made))} == right


def test_links_find_translations_that_stand_elsewhere():
    rng = np.random.default_rng(0)
    causes = [rng.permutation(30)[:6] for _ in range(200)]
    effects = [100 + rng.permutation(one) for one in causes]
    found, effect, counts = links(causes, effects, tension=0.0)
    assert counts[effect == found + 100].sum() > 0.99 * counts.sum()


def test_transtokenizer_counts_the_pieces_that_stand_for_a_token():
    rows = TransTokenizer(LINES)(OLD, NEW, PAIRS)
    new_ids, old_ids, counts = links(*([tok.encode(line).ids for line, _ in LINES] for tok in (NEW, OLD)))
    for i in unshared(NEW.vocab, PAIRS).tolist():
        right = np.zeros(len(OLD.vocab))
        for j, n in zip(old_ids[new_ids == i].tolist(), counts[new_ids == i].tolist()):
            right[j] += n / counts[new_ids == i].sum()
        assert np.allclose(rows.weights[[i]].toarray()[0], right), NEW.vocab[i]
    assert rows.counts()["composed"] > 0
    seldom = TransTokenizer(LINES, least=10**6)(OLD, NEW, PAIRS)
    assert seldom.counts()["composed"] == 0 and (seldom.origin[PAIRS[1]] == Origin.COPIED).all()


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: FOCUS(np.full((2, 2), np.nan)), "finite"),
        (lambda: FOCUS(np.zeros(3)), r"\(N, D\)"),
        (lambda: FOCUS(VECTORS[:5])(OLD, NEW, PAIRS), "5 static vectors"),
        (lambda: TransTokenizer([]), "0 pairs of texts"),
        (lambda: TransTokenizer(LINES, least=0), "least=0"),
        (lambda: links([np.array([1])], []), "1 sequences of causes"),
        (lambda: static_vectors(NEW, [TEXT], 999, rng=np.random.default_rng(0)), "width=999"),
        (lambda: static_vectors(NEW, ["t"], 3, rng=np.random.default_rng(0)), "no text has two tokens"),
    ],
)
def test_baselines_refuse(call, said):
    with pytest.raises(InvalidInput, match=said):
        call()
