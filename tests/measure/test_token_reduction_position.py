"""Measures of token reduction: analytic values, plain restatements, refusals; and the list of methods."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tokenloom.core.errors import InvalidInput, UnknownMethod
from tokenloom.measure import token_reduction_position as measures
from tokenloom.measure.token_reduction_position import (
    Methods,
    agreement,
    break_even,
    cache_bytes,
    chair,
    cover,
    distinct,
    divergence,
    extra_nats,
    jaccard,
    loss_spread,
    methods,
    patch_centre,
    prefill_flops,
    probes,
    purity,
    recall_by_depth,
    redundancy,
    slant,
    spikes,
    spread,
    steps_to,
)


def features(n: int, width: int = 5, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, width))


@given(st.integers(2, 9), st.integers(0, 50))
def test_cover_and_redundancy_are_those_of_all_pairs_of_tokens(n, seed):
    x, left = features(n, seed=seed), features(max(2, n // 2), seed=seed + 100)

    def distance(a, b):
        return 1 - a @ b / math.sqrt(a @ a * (b @ b))

    pairs = [distance(a, b) for i, a in enumerate(left) for j, b in enumerate(left) if i != j]
    nearest = [min(distance(a, b) for a in left) for b in x]
    alike = [1 - min(distance(a, b) for j, b in enumerate(left) if i != j) for i, a in enumerate(left)]
    found = cover(x, left)
    assert found.closest == pytest.approx(min(pairs))
    assert found.mean == pytest.approx(np.mean(nearest), abs=1e-9)
    assert found.farthest == pytest.approx(max(nearest), abs=1e-9)
    assert redundancy(left) == pytest.approx(np.mean(alike))


def test_everything_kept_covers_everything():
    assert cover(features(6), features(6)).farthest == 0.0


def test_one_token_has_no_pair():
    assert cover(features(6), features(6)[:1]).closest == math.inf


@pytest.mark.parametrize(
    "left, words",
    [(np.zeros((0, 5)), "a token at least"), (np.ones((2, 4)), "width 5, and of 4"), (np.zeros((1, 5)), "no direction"),
     (np.full((1, 5), np.nan), "not finite")],
)  # fmt: skip
def test_cover_refuses(left, words):
    with pytest.raises(InvalidInput, match=words):
        cover(features(6), left)


@pytest.mark.parametrize(
    "kept, words",
    [([], "at least one"), ([1, 1], "none twice"), ([6], "of 6 tokens"), ([0.5], "integers"), ([-1], "at least one")],
)
def test_places_are_refused(kept, words):
    with pytest.raises(InvalidInput, match=words):
        patch_centre(np.array(kept) if kept else np.array([], int), (2, 3))


def test_redundancy_of_one_token_is_refused():
    with pytest.raises(InvalidInput, match="no other"):
        redundancy(features(1))


@given(st.sets(st.integers(0, 12)), st.sets(st.integers(0, 12)))
def test_jaccard_is_that_of_sets(left, right):
    arrays = [np.array(sorted(s), int) for s in (left, right)]
    if not left | right:
        with pytest.raises(InvalidInput, match="empty"):
            jaccard(*arrays)
    else:
        assert jaccard(*arrays) == len(left & right) / len(left | right)


def test_a_selector_of_the_bottom_has_a_low_centre():
    assert patch_centre(np.array([12, 13, 14, 15]), (4, 4)) == (1.0, 0.5)
    assert patch_centre(np.array([0, 4, 8, 12]), (4, 4)) == (0.5, 0.0)


def test_patches_that_follow_the_picture_show_content_and_no_place():
    grid = (4, 3)
    kept = np.array([0, 1, 5])
    mirrored = np.array([(3 - k // 3) * 3 + k % 3 for k in kept])
    found = slant(kept, mirrored, grid)
    assert found.place == pytest.approx(0) and found.content < 0  # the upper half
    same = slant(kept, kept, grid)
    assert same.content == 0 and same.place == pytest.approx(patch_centre(kept, grid)[0] - 0.5)


def test_all_patches_are_spread_evenly_and_those_of_one_part_are_not():
    assert spread(np.arange(36), (6, 6), blocks=3) == 1.0
    assert spread(np.array([0, 1, 6, 7]), (6, 6), blocks=3) == 0.0
    # Two of nine equal parts, as often: log 2 by log 9.
    assert spread(np.array([0, 35]), (6, 6), blocks=3) == pytest.approx(math.log(2) / math.log(9))


@pytest.mark.parametrize("blocks", [1, 7])
def test_spread_refuses_blocks_that_the_grid_has_not(blocks):
    with pytest.raises(InvalidInput, match="2 to 6"):
        spread(np.array([0]), (6, 6), blocks=blocks)


@given(st.integers(1, 30), st.integers(0, 99))
def test_purity_counts_the_commonest_object_of_each_group(n, seed):
    rng = np.random.default_rng(seed)
    group, thing = rng.integers(-1, 4, n), rng.integers(0, 3, n)
    if (group < 0).all():
        with pytest.raises(InvalidInput, match="no patch"):
            purity(group, thing)
        return
    right = sum(max((thing[group == g] == t).sum() for t in range(3)) for g in range(4))
    assert purity(group, thing) == right / (group >= 0).sum()


@given(hnp.arrays(np.float64, (3, 4), elements=st.floats(-9, 9)))
def test_nothing_diverges_from_itself(logits):
    assert divergence(logits, logits) == 0.0 and divergence(logits, logits + 3) == pytest.approx(0, abs=1e-12)
    assert agreement(logits, logits) == 1.0


def test_divergence_is_that_of_the_definition():
    p, q = np.array([0.5, 0.25, 0.25]), np.array([0.25, 0.25, 0.5])
    assert divergence(np.log(p)[None], np.log(q)[None] - 7) == pytest.approx((p * np.log(p / q)).sum())
    assert agreement(np.log(p)[None], np.log(q)[None]) == 0.0


def test_divergence_refuses_other_shapes_and_infinite_logits():
    with pytest.raises(InvalidInput, match="shapes"):
        divergence(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(InvalidInput, match="not finite"):
        divergence(np.array([[np.inf, 0]]), np.zeros((1, 2)))


def test_probes_of_a_table_made_by_hand():
    # Six right yes, two wrong yes, four missed, eight right no.
    said = np.array([True] * 8 + [False] * 12)
    there = np.array([True] * 6 + [False] * 2 + [True] * 4 + [False] * 8)
    found = probes(said, there)
    assert (found.accuracy, found.precision, found.recall, found.yes) == (14 / 20, 6 / 8, 6 / 10, 8 / 20)
    assert found.f1 == pytest.approx(2 * 0.75 * 0.6 / (0.75 + 0.6))


def test_probes_without_a_yes_have_no_precision():
    found = probes(np.array([False, False]), np.array([True, False]))
    assert math.isnan(found.precision) and found.recall == 0 and found.f1 == 0


def test_probes_refuse_other_lengths():
    with pytest.raises(InvalidInput, match="1 answers to 2"):
        probes(np.array([True]), np.array([True, False]))


def test_chair_of_three_captions():
    found = chair([["cat", "mat", "cat"], ["dog"], []], [{"mat"}, {"dog"}, {"sky"}], [10, 5, 5])
    assert (found.mentions, found.captions, found.per_100_tokens) == (2 / 4, 1 / 3, 10.0)
    assert math.isnan(chair([[]], [{"sky"}], [3]).mentions)
    with pytest.raises(InvalidInput, match="2 lengths"):
        chair([["cat"]], [{"cat"}], [1, 2])


@given(st.lists(st.integers(0, 2), min_size=1, max_size=12), st.integers(1, 3))
def test_distinct_counts_different_grams(ids, n):
    if n > len(ids):
        with pytest.raises(InvalidInput, match=f"n={n}"):
            distinct(np.array(ids), n)
        return
    grams = [tuple(ids[i : i + n]) for i in range(len(ids) - n + 1)]
    assert distinct(np.array(ids), n) == len(set(grams)) / len(grams)


def test_extra_nats_are_positive_where_text_is_predicted_worse():
    assert extra_nats(np.log([0.5, 0.5]), np.log([0.25, 0.5])) == pytest.approx(math.log(2) / 2)
    with pytest.raises(InvalidInput, match="2 and 1"):
        extra_nats(np.zeros(2), np.zeros(1))


def test_recall_by_depth_tells_beginning_from_end():
    found = recall_by_depth(np.array([1, 1, 0, 0, 1]), np.array([0.0, 0.1, 0.3, 0.9, 1.0]), bins=4)
    assert found[:2].tolist() == [1.0, 0.0] and math.isnan(found[2]) and found[3] == 0.5
    with pytest.raises(InvalidInput, match=r"in \[0, 1\]"):
        recall_by_depth(np.array([1]), np.array([1.5]))


def test_training_measures_of_curves_made_by_hand():
    assert loss_spread(np.array([[1.0, 2.0], [3.0, 2.0]])) == pytest.approx(math.sqrt(2) / 2)
    with pytest.raises(InvalidInput, match="two seeds"):
        loss_spread(np.zeros((1, 4)))
    assert spikes(np.array([1, 1, 1, 3.1, 3.0])) == 0.2
    assert steps_to(np.array([3, 2.5, 1]), 2.5) == 2 and steps_to(np.array([3.0]), 1.0) is None


def test_pruning_in_a_layer_saves_that_part_of_the_operations():
    full, half = ([100] * 4, [100] * 2 + [50] * 2)
    one = 4 * 100 * 8**2 + 2 * 100**2 * 8 + 3 * 100 * 8 * 16
    less = 4 * 50 * 8**2 + 2 * 50**2 * 8 + 3 * 50 * 8 * 16
    assert prefill_flops(full, width=8, hidden=16) == 4 * one
    assert prefill_flops(half, width=8, hidden=16) == 2 * one + 2 * less
    assert cache_bytes(half, heads=2, head_width=4) == 2 * 300 * 2 * 4 * 2
    with pytest.raises(InvalidInput, match="at least 1"):
        prefill_flops([], width=8, hidden=16)


def test_break_even_lies_where_gain_meets_cost():
    lengths = np.array([100, 200, 400])
    assert break_even(lengths, 0.01 * lengths, np.full(3, 3.0)) == pytest.approx(300)
    assert break_even(lengths, np.ones(3), np.zeros(3)) == 100.0
    assert break_even(lengths, np.zeros(3), np.ones(3)) is None
    # A gain that is lost again: the last crossing counts.
    assert break_even(lengths, np.array([2.0, 0.0, 2.0]), np.ones(3)) == pytest.approx(300)
    with pytest.raises(InvalidInput, match="ascend"):
        break_even(lengths[::-1], np.zeros(3), np.zeros(3))


QUERIES = [
    ({"training": "free", "stage": "pre-LLM", "without": "CLS"}, {"hiprune", "divprune", "fopru"}),
    ({"stage": "in-LLM"}, {"fastv", "sparsevlm", "transprune"}),
    ({"guidance": "text", "stage": "pre-LLM"}, {"explainability-compression"}),
    ({"training": "finetune"}, {"matryoshka-m3", "tokenflex", "explainability-compression"}),
    ({"restores": True, "stage": "encoder"}, {"tome", "token-transforming", "super-token-sampling"}),
    ({"exclusivity": "many-to-many"}, {"token-transforming", "tokenflex", "super-token-sampling", "prumerge"}),
    ({"budget": "per-group"}, {"globalcom2"}),
    ({"budget": "per-input"}, {"token-correlation-compression", "prumerge"}),
    ({"criterion": "similarity", "family": "prune"}, {"divprune"}),
    ({"family": "pool"}, {"matryoshka-m3", "tokenflex"}),
    ({"family": "merge"}, {"tome"}),
    ({"criterion": "magnitude"}, {"transprune"}),
]


@pytest.mark.parametrize("query, expected", QUERIES)
def test_methods_are_found_by_their_properties(query, expected):
    found = {one.slug for one in methods().select(**query)}
    assert expected <= found
    for slug in found:  # every answer has what was asked for
        for field, value in query.items():
            held = methods()[slug].needs if field == "without" else getattr(methods()[slug], field)
            assert (
                (value not in held)
                if field == "without"
                else value in held
                if isinstance(held, tuple)
                else value == held
            )


@pytest.mark.parametrize("way", ["json", "csv", "markdown"])
def test_the_list_of_methods_comes_back_from_each_format(way):
    assert getattr(Methods, f"from_{way}")(getattr(methods(), way)()) == methods()


@pytest.mark.parametrize("method", methods(), ids=lambda one: one.slug)
def test_what_is_said_to_be_in_the_library_is_there(method):
    import importlib

    module, _, name = method.in_library.partition(":")
    reducer = getattr(importlib.import_module(module), name)
    assert reducer.__doc__ and callable(reducer)


def test_unknown_methods_fields_and_values_are_refused():
    with pytest.raises(UnknownMethod, match="did you mean 'divprune'"):
        methods()["divprun"]
    with pytest.raises(InvalidInput, match="no field 'colour'"):
        methods().select(colour="red")
    with pytest.raises(InvalidInput, match="stage is never 'late'"):
        methods().select(stage="late")
    with pytest.raises(InvalidInput, match="not JSON"):
        Methods.from_json("[")
    with pytest.raises(InvalidInput, match="has the fields"):
        Methods.from_json('[{"slug": "x"}]')
    with pytest.raises(InvalidInput, match="must begin with the line"):
        Methods.from_csv("a,b\n")
    text = methods().json().replace('"free"', '"gratis"', 1)
    with pytest.raises(InvalidInput, match="training is"):
        Methods.from_json(text)


@pytest.mark.parametrize(
    "work",
    [
        lambda: measures.agreement(np.zeros((2, 3)), np.zeros((1, 3))),
        lambda: measures.agreement(np.full((2, 3), np.nan), np.zeros((2, 3))),
        lambda: measures.agreement(np.zeros((0, 3)), np.zeros((0, 3))),
        lambda: measures.divergence(np.zeros((0, 3)), np.zeros((0, 3))),
        lambda: measures.cache_bytes([-5], heads=1, head_width=4),
        lambda: measures.break_even(np.array([1, 2]), np.array([np.nan, 1.0]), np.array([0.0, 0.0])),
    ],
)
def test_measures_of_nothing_or_of_nan_are_refused(work):
    with pytest.raises(InvalidInput):
        work()
