"""The three rules: the greedy one against a walk over all paths, the others by all their outcomes, and by chi-square."""

import numpy as np
import pytest
import torch
from drafters import outcomes, random_tree
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from tokenloom.core.draft_tree import DraftTree
from tokenloom.core.errors import InvalidInput
from tokenloom.predict.decode.sampling import Warp, drawn, happens
from tokenloom.predict.decode.verification import greedy, rejection, sample_and_match


@settings(max_examples=200)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_the_greedy_rule_takes_the_longest_right_path_the_first_of_equals(seed, vocab):
    rng = np.random.default_rng(seed)
    tree = random_tree(rng, 12, 4)
    tokens, choices = rng.integers(0, vocab, (2, len(tree)))
    found = greedy(tree, tokens, choices)
    longest = []
    for path in tree.paths.tolist():
        path = [node for node in path if node >= 0]
        right = 0
        while right + 1 < len(path) and tokens[path[right + 1]] == choices[path[right]]:
            right += 1
        longest = max(longest, path[: right + 1], key=len)
    # Two equal candidates of a node may both be right: what is written is the same.
    assert len(found.nodes) == len(longest) and found.nodes[0] == 0
    assert [tokens[n] for n in found.nodes[1:]] == [tokens[n] for n in longest[1:]]
    assert all(tree.parents_N[b] == a for a, b in zip(found.nodes, found.nodes[1:]))
    assert found.token == choices[found.nodes[-1]]


def rows(rng, n, vocab, zeros=0.3):
    """Distributions, some of whose entries are 0."""
    raw = rng.random((n, vocab)) * (rng.random((n, vocab)) > zeros) + 1e-3 * np.eye(vocab)[rng.integers(0, vocab, n)]
    return torch.from_numpy(raw / raw.sum(1, keepdims=True))


def law_of_two(p_of, vocab):
    """The model's own: probabilities of two tokens, one after the other."""
    return {(a, b): float(p_of(())[a] * p_of((a,))[b]) for a in range(vocab) for b in range(vocab)}


def written(found, tokens):
    return (*[int(tokens[n]) for n in found.nodes[1:]], found.token)


def continued(found, tokens, p_of, draw):
    """The first two tokens: what a verification wrote, and what the model draws itself where that is one."""
    text = written(found, tokens)
    return (text if len(text) > 1 else (*text, draw(p_of(text), None)))[:2]


WARPS = [Warp(), Warp(temperature=0.7), Warp(temperature=0.7, top_p=0.8), Warp(top_k=2)]


@pytest.mark.parametrize("warp", WARPS, ids=repr)
@pytest.mark.parametrize("seed", range(6))
def test_sampled_and_matched_tokens_have_the_models_distribution(monkeypatch, seed, warp):
    rng, vocab = np.random.default_rng(seed), 3
    p_of = conditionals(rng, vocab, warp)
    tree = random_tree(rng, 6, vocab)
    tokens = rng.integers(0, vocab, len(tree))
    p_NV = torch.stack([p_of(text_of(tree, tokens, n)) for n in range(len(tree))])
    found = outcomes(
        monkeypatch, lambda draw: continued(sample_and_match(tree, tokens, p_NV, None), tokens, p_of, draw)
    )
    assert_law(found, law_of_two(p_of, vocab))


@pytest.mark.parametrize("warp", WARPS, ids=repr)
@pytest.mark.parametrize("seed", range(6))
def test_tokens_that_pass_rejection_have_the_models_distribution(monkeypatch, seed, warp):
    """Candidates are drawn too: without replacement, each node's from its own q."""
    rng, vocab = np.random.default_rng(100 + seed), 3
    p_of = conditionals(rng, vocab, warp)
    tree = DraftTree.from_paths([[0], [1], [0, 0], [1, 0], [0, 1]][: int(rng.integers(1, 6))])
    q_NV = rows(rng, len(tree), vocab, zeros=0)  # with as many ids as candidates and more

    def run(draw):
        tokens = drafted(tree, q_NV, draw)
        p_NV = torch.stack([p_of(text_of(tree, tokens, n)) for n in range(len(tree))])
        return continued(rejection(tree, tokens, q_NV, p_NV, None), tokens, p_of, draw)

    assert_law(outcomes(monkeypatch, run), law_of_two(p_of, vocab))


def test_a_rule_that_is_wrong_does_not_pass(monkeypatch):
    """The control: accepting every candidate gives the distribution of the draft."""
    rng, vocab = np.random.default_rng(5), 3
    p_of, tree = conditionals(rng, vocab, Warp()), DraftTree.chain(1)
    q_NV = rows(rng, 2, vocab, zeros=0)

    def run(draw):
        token = draw(q_NV[0], None)
        return token, draw(p_of((token,)), None)

    found, right = outcomes(monkeypatch, run), law_of_two(p_of, vocab)
    assert sum(abs(found[key] - right[key]) for key in right) / 2 > 0.05
    with pytest.raises(AssertionError):
        assert_law(found, right)
    assert len(tree) == 2


def conditionals(rng, vocab, warp):
    logits = {}

    def p_of(text):
        if text not in logits:
            logits[text] = torch.from_numpy(2 * rng.standard_normal(vocab))
        return warp(logits[text])

    for a in range(vocab):  # in a fixed order
        p_of(()), p_of((a,))
    return p_of


def text_of(tree, tokens, node):
    return () if node == 0 else (*text_of(tree, tokens, tree.parents_N[node]), int(tokens[node]))


def drafted(tree, q_NV, draw):
    tokens = np.zeros(len(tree), np.int64)
    for node in range(len(tree)):
        q = q_NV[node].clone()
        for child in tree.children(node):
            tokens[child] = draw(q / q.sum(), None)
            q[tokens[child]] = 0
    return tokens


def assert_law(found, right):
    assert abs(sum(found.values()) - 1) < 1e-12
    assert sum(abs(found[key] - right.get(key, 0)) for key in {*found, *right}) / 2 < 1e-12


@pytest.mark.slow
def test_many_draws_pass_a_chi_square():
    rng, vocab, n = np.random.default_rng(0), 4, 20_000
    p_of = conditionals(rng, vocab, Warp(temperature=1.3))
    tree, generator = DraftTree.from_paths([[0], [1], [0, 0]]), torch.Generator().manual_seed(0)
    q_NV = rows(rng, len(tree), vocab, zeros=0)
    counts = np.zeros(vocab)
    fixed = np.array([0, 2, 1, 3])
    matched = np.zeros(vocab)
    p_fixed = torch.stack([p_of(text_of(tree, fixed, node)) for node in range(len(tree))])
    for _ in range(n):
        tokens = drafted(tree, q_NV, lambda q, _: drawn(q, generator))
        p_NV = torch.stack([p_of(text_of(tree, tokens, node)) for node in range(len(tree))])
        counts[written(rejection(tree, tokens, q_NV, p_NV, generator), tokens)[0]] += 1
        matched[written(sample_and_match(tree, fixed, p_fixed, generator), fixed)[0]] += 1
    for found in (counts, matched):
        assert chisquare(found, n * p_of(()).numpy()).pvalue > 0.001


@settings(max_examples=60)
@given(st.integers(0, 500), st.floats(0.2, 3), st.integers(1, 9), st.floats(0.05, 1))
def test_warped_probabilities_are_those_of_transformers(seed, temperature, top_k, top_p):
    from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    logits = torch.randn(3, 8, generator=torch.Generator().manual_seed(seed)).double().round(decimals=1)  # with equals
    scores = TopPLogitsWarper(top_p)(
        None, TopKLogitsWarper(top_k)(None, TemperatureLogitsWarper(temperature)(None, logits))
    )
    ours = Warp(temperature, top_k, top_p)(logits)
    assert torch.allclose(ours, scores.softmax(-1), atol=1e-12) or top_p == 1


def test_temperature_zero_is_the_first_of_the_most_probable():
    assert Warp(0)(torch.tensor([[1.0, 3.0, 3.0]])).tolist() == [[0, 1, 0]]


def test_what_is_drawn_follows_its_probabilities_and_never_is_impossible():
    generator = torch.Generator().manual_seed(0)
    p = torch.tensor([0.0, 0.3, 0.0, 0.7, 0.0])
    found = np.bincount([drawn(p, generator) for _ in range(5000)], minlength=5)
    assert found[[0, 2, 4]].tolist() == [0, 0, 0] and chisquare(found[[1, 3]], [1500, 3500]).pvalue > 0.001
    assert not any(happens(0.0, generator) for _ in range(100)) and all(happens(1.0, generator) for _ in range(100))


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Warp(-1), "temperature=-1"),
        (lambda: Warp(top_k=0), "top_k=0"),
        (lambda: Warp(top_p=0), "top_p=0"),
        (lambda: Warp()(torch.tensor([torch.nan])), "NaN"),
        (lambda: greedy(DraftTree.chain(1), np.zeros(2), np.zeros(3)), "3 rows for a tree of 2"),
        (lambda: sample_and_match(DraftTree.chain(1), np.zeros(1), torch.zeros(2, 3), None), "1 rows for a tree of 2"),
        (
            lambda: rejection(
                DraftTree.chain(1), np.array([0, 1]), torch.tensor([[1.0, 0], [1, 0]]), torch.ones(2, 2) / 2, None
            ),
            "token 1, which has no probability",
        ),
    ],
)
def test_what_cannot_be_verified_is_refused(make, words):
    with pytest.raises(InvalidInput, match=words):
        make()
