"""Token Recycling: the published tree, the matrix by plain loops, equal text whatever the matrix holds, choosing a tree, refusals."""

import numpy as np
import pytest
import torch
from drafters import outcomes, tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenloom.core.draft_tree import DraftTree
from tokenloom.core.errors import InvalidInput, StoreError
from tokenloom.predict.decode.drafting import Draft
from tokenloom.predict.decode.generating import generate
from tokenloom.predict.decode.sampling import Warp
from tokenloom.predict.decode.session import CausalSession, Step
from tokenloom.predict.decode.token_recycling import TokenRecycling, choose_tree, forward_costs, published_tree
from tokenloom.predict.decode.verification import Accepted

MODEL = tiny_model(1, 11)
SMALL = DraftTree.from_paths([[0], [1], [2], [0, 0], [0, 1], [1, 0], [0, 0, 0]])


def test_the_published_tree_has_80_nodes_on_six_levels():
    """Counts of the specification, level by level."""
    assert len(published_tree()) == 81 and [len(nodes) for nodes in published_tree().levels] == [1, 8, 21, 25, 15, 8, 3]
    assert published_tree().paths.shape == (40, 7) and published_tree().ranks_N.max() == 7
    # Whoever has a child n has children 0 to n - 1, and a parent no fewer than its later siblings.
    counts = [len(published_tree().children(node)) for node in range(81)]
    for node in range(81):
        children = published_tree().children(node)
        assert published_tree().ranks_N[children].tolist() == list(range(len(children)))
        assert [counts[c] for c in children] == sorted((counts[c] for c in children), reverse=True)
    path = [0, 0, 0, 0, 0]
    assert any(published_tree().ranks_N[row[1:6]].tolist() == path for row in published_tree().paths)


TREES = [SMALL, DraftTree.chain(0), DraftTree.chain(4), published_tree()]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 3), st.booleans(), st.booleans())
def test_text_is_the_models_own_with_any_tree_and_any_matrix(seed, which, garbage, on_prompt):
    rng = np.random.default_rng(seed)
    drafter = TokenRecycling(TREES[which], update_on_prompt=on_prompt)
    if garbage:
        drafter.matrix_Vk = torch.from_numpy(rng.integers(0, 11, (11, 8)))
    prompt = rng.integers(0, 11, int(rng.integers(1, 6))).tolist()
    found = generate(MODEL, prompt, drafter, max_new_tokens=20)
    assert found.ids == generate(MODEL, prompt, max_new_tokens=20).ids
    if which == 1:
        assert set(found.steps) == {1}


def test_one_candidate_is_enough():
    drafter = TokenRecycling(DraftTree.chain(3), k=1)
    found = generate(MODEL, [1, 2], drafter, max_new_tokens=60)
    assert found.ids == generate(MODEL, [1, 2], max_new_tokens=60).ids and max(found.steps) > 1


def test_the_matrix_is_that_of_a_plain_loop():
    """Node by node, in the order of the tree, so that the last of equal tokens decides; and drafts are looked up in it."""
    session, drafter = CausalSession(MODEL), TokenRecycling(SMALL, k=3)
    plain = np.zeros((11, 3), int)
    drafter.begin(session, [5, 2], None)
    rng = torch.Generator().manual_seed(0)
    for root in (2, 7, 2, 2, 0, 7):
        draft = drafter.draft([5, root])
        right = [root]
        for node in range(1, len(SMALL)):
            right.append(int(plain[right[SMALL.parents_N[node]], SMALL.ranks_N[node]]))
        assert draft.tokens_N.tolist() == right
        logits = torch.randn(len(SMALL), 11, generator=rng)
        for node, token in enumerate(right):
            plain[token] = sorted(range(11), key=lambda i: -float(logits[node, i]))[:3]
        drafter.learn(draft, Step(logits), Accepted((0, 1), 4))
        assert drafter.matrix_Vk.tolist() == plain.tolist()
    assert drafter.passes == 6 and drafter.stayed_N.tolist() == [6, 6, 0, 0, 0, 0, 0, 0]


def test_a_prompt_teaches_only_if_it_shall():
    prompt = [3, 1, 4, 1, 5]
    silent, learned = TokenRecycling(SMALL), TokenRecycling(SMALL, update_on_prompt=True)
    for drafter in (silent, learned):
        session = CausalSession(MODEL)
        step = session.extend(prompt[:-1])
        drafter.begin(session, prompt, step)
    assert not silent.matrix_Vk.any()
    right = step.logits_NV.topk(8).indices
    assert torch.equal(learned.matrix_Vk[[3, 4]], right[[0, 2]]) and torch.equal(learned.matrix_Vk[1], right[3])
    assert not learned.matrix_Vk[5].any()


def test_the_matrix_stays_from_prompt_to_prompt_unless_it_shall_not():
    for keep in (True, False):
        drafter = TokenRecycling(SMALL, keep=keep)
        generate(MODEL, [1, 2], drafter, max_new_tokens=9)
        seen = drafter.matrix_Vk.clone()
        drafter.begin(CausalSession(MODEL), [1], None)
        assert torch.equal(drafter.matrix_Vk, seen if keep else torch.zeros_like(seen)) and seen.any()


def test_every_text_keeps_its_probability(monkeypatch):
    """Three tokens of three, with a matrix that learns while it drafts."""
    model, warp = tiny_model(4, 3, sharp=3.0), Warp(0.8, None, 0.9)

    def run(draw):
        drafter = TokenRecycling(DraftTree.from_paths([[0], [1], [0, 0]]), k=2)
        drafter.matrix_Vk = torch.tensor([[1, 2], [2, 0], [0, 1]])
        return tuple(generate(model, [1, 2], drafter, max_new_tokens=3, temperature=0.8, top_p=0.9, generator=torch.Generator()).ids)  # fmt: skip

    found = outcomes(monkeypatch, run)
    for text in np.ndindex(3, 3, 3):
        with torch.no_grad():
            logits = model(torch.tensor([[1, 2, *text]])).logits[0]
        assert found[text] == pytest.approx(np.prod([float(warp(logits[1 + i])[text[i]]) for i in range(3)]), abs=1e-12)


def used(stayed, passes, tree=SMALL):
    drafter = TokenRecycling(tree)
    drafter.passes, drafter.stayed_N = passes, np.array(stayed)
    return drafter


@settings(max_examples=60)
@given(st.lists(st.integers(0, 20), min_size=7, max_size=7), st.lists(st.floats(0.01, 1), min_size=8, max_size=8))
def test_the_chosen_tree_is_the_best_of_all_parts(counts, extra):
    """Against every set of nodes that has all its parents."""
    stayed = [20]
    for node in range(1, 8):
        stayed.append(min(counts[node - 1], stayed[SMALL.parents_N[node]]))
    costs = {n: 1 + sum(extra[:n]) for n in range(1, 9)}
    chosen = choose_tree(used(stayed, 20), costs)
    best = 0.0
    for bits in range(2**7):
        nodes = [n for n in range(1, 8) if bits >> (n - 1) & 1]
        if all(SMALL.parents_N[n] in (0, *nodes) for n in nodes):
            best = max(best, (1 + sum(stayed[n] for n in nodes) / 20) / costs[len(nodes) + 1])
    names = {tuple(SMALL.ranks_N[[m for m in range(8) if SMALL.mask[n, m]][1:]]): n for n in range(1, 8)}
    mine = [
        names[tuple(chosen.ranks_N[[m for m in range(len(chosen)) if chosen.mask[n, m]][1:]])]
        for n in range(1, len(chosen))
    ]
    assert (1 + sum(stayed[n] for n in mine) / 20) / costs[len(chosen)] == pytest.approx(best)


def test_costs_are_measured_and_lead_to_a_tree():
    costs = forward_costs(MODEL, (1, 4), cached=3, repeats=1)
    assert set(costs) == {1, 4} and min(costs.values()) > 0
    drafter = TokenRecycling(published_tree())
    generate(MODEL, [1, 2], drafter, max_new_tokens=60)
    assert (
        len(choose_tree(drafter, {1: 1.0, 81: 1.0001})) > 8 > len(choose_tree(drafter, {1: 1.0, 2: 9.0, 81: 99.0})) == 1
    )


def test_what_is_saved_comes_back(tmp_path):
    drafter = TokenRecycling(SMALL, k=3, update_on_prompt=True)
    generate(MODEL, [1, 2], drafter, max_new_tokens=20)
    drafter.save_pretrained(tmp_path / "m")
    again = TokenRecycling.from_pretrained(tmp_path / "m")
    assert torch.equal(again.matrix_Vk, drafter.matrix_Vk) and again.tree.ranks_N.tolist() == SMALL.ranks_N.tolist()
    assert (again.k, again.needs_prompt, again.keep) == (3, True, True)
    first, second = (generate(MODEL, [4], d, max_new_tokens=20).steps for d in (drafter, again))
    assert first == second
    with pytest.raises(StoreError, match="nothing to save"):
        TokenRecycling().save_pretrained(tmp_path / "n")
    (tmp_path / "m" / "matrix.safetensors").write_bytes(b"")
    with pytest.raises(StoreError, match="its SHA-256 differs"):
        TokenRecycling.from_pretrained(tmp_path / "m")


@pytest.mark.parametrize(
    "work, words",
    [
        (lambda: TokenRecycling(k=0), "k=0"),
        (lambda: TokenRecycling(SMALL, k=2), "asks for candidate 2, but k=2"),
        (lambda: generate(tiny_model(0, 5), [1], TokenRecycling(), max_new_tokens=2), "k=8, but the model has 5"),
        (lambda: generate(MODEL, [1], with_matrix(12), max_new_tokens=2), "of 12 ids, and the model has 11"),
        (lambda: choose_tree(TokenRecycling(), {1: 1.0}), "not been used"),
        (lambda: choose_tree(used([1] * 8, 1), {2: 1.0}), "that of one token"),
        (lambda: forward_costs(MODEL, (0,)), "at least 1"),
    ],
)
def test_what_cannot_be_recycled_is_refused(work, words):
    with pytest.raises(InvalidInput, match=words):
        work()


def with_matrix(ids):
    drafter = TokenRecycling()
    drafter.matrix_Vk = torch.zeros(ids, 8, dtype=torch.int64)
    return drafter


def test_drafts_of_other_trees_are_not_counted():
    drafter = TokenRecycling(SMALL)
    drafter.begin(CausalSession(MODEL), [1], None)
    drafter.learn(Draft(DraftTree.chain(0), np.array([1])), Step(torch.randn(1, 11)), Accepted((0,), 1))
    assert drafter.passes == 0
