"""Layouts and schedules: what their names promise, masks that leak nothing, decoding with a cache, queries, counts."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput
from tokenloom.core.layout import Layout, morton, unmorton
from tokenloom.core.schedule import Schedule, still_masked, to_mask
from tokenloom.models.transformer import Cache, Transformer

RNG = np.random.default_rng(0)
# 3, 4 or 6 axes of 12 positions, in every way that there is.
SCHEDULES = {
    "raster": Schedule.raster(12),
    "all at once": Schedule.at_once(12),
    "prefix and causal registers": Schedule.prefix(4) + Schedule.raster(8),
    "causal prefix and rings": Schedule.prefix(3, causal=True) + Schedule.rings(3, 3),
    "coarse to fine": Schedule.blocks([1, 2, 3, 6]),
    "scales": Schedule.levels(Layout.levels([(1, 1), (2, 2), (2, 4)])),
    "cells": Schedule.cells((2, 6), (2, 3)),
    "strided": Schedule.strided((2, 6), (2, 3)),
    "rings": Schedule.rings(3, 4),
    "rings of a volume": Schedule.rings(2, 3, 2),
    "volume raster": Schedule.raster(2 * 3 * 2),
    "pivots": Schedule.pivots(12, np.array([3, 7, 1])),
    "random": Schedule.random(12, 4, rng=RNG),
    "random, arccos": Schedule.random(12, 5, rng=RNG, curve="arccos"),
    "any subset": Schedule.any_subset(RNG.permutation(12), known=5),
    "any order": Schedule.any_subset(RNG.permutation(12), known=0),
    "octree": Schedule.levels(Layout.octree([np.array([0]), np.array([1, 6]), np.array([8, 9, 14, 48, 51])])),
    "until": Schedule.rings(3, 4).until(2),
}
every = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)


def sees(schedule, i, j, strict=False):
    return schedule.step_N[j] < schedule.step_N[i] or (not strict and schedule.step_N[j] == schedule.step_N[i])


@every
def test_groups_are_an_ordered_partition_and_masks_follow_from_them(schedule):
    n = len(schedule)
    assert sorted(np.concatenate(schedule.groups).tolist()) == list(range(n)) == sorted(schedule.order_N.tolist())
    assert len(schedule.groups) == schedule.steps
    for step, group in enumerate(schedule.groups):
        assert (schedule.step_N[group] == step).all() and (np.diff(group) > 0).all()
    for strict in (False, True):
        plain = [[sees(schedule, i, j, strict) for j in range(n)] for i in range(n)]
        assert schedule.mask(strict=strict).tolist() == plain


def network(n):
    made = Transformer(
        vocab_size=7, width=16, layers=2, heads=2, context=2 * n + 2, generator=torch.Generator().manual_seed(1)
    )
    with torch.no_grad():
        for weight in made.parameters():
            weight.mul_(8) if weight.dim() == 2 else None  # else nothing would be seen of attention
    return made.double().eval()


@every
def test_no_gradient_comes_from_what_may_not_be_seen(schedule):
    n, model = len(schedule), network(len(schedule))
    ids = torch.arange(n)[None] % 7
    mask = torch.from_numpy(schedule.mask())
    seen = []
    embedded = []
    model.embed.register_forward_hook(
        lambda module, args, out: embedded.append(out.detach().requires_grad_()) or embedded[-1]
    )
    logits = model(ids, mask=mask, positions=torch.arange(n))
    for i in range(n):
        (gradient,) = torch.autograd.grad(logits[0, i].logsumexp(0) + logits[0, i, 0], embedded[-1], retain_graph=True)
        seen.append((gradient[0].abs().sum(1) > 0).tolist())
    assert seen == schedule.mask().tolist()


@every
def test_decoding_step_by_step_with_a_cache_is_the_masked_pass(schedule):
    n, model = len(schedule), network(len(schedule))
    ids = torch.arange(n)[None] * 3 % 7
    with torch.no_grad():
        whole = model(ids, mask=torch.from_numpy(schedule.mask()), positions=torch.arange(n))
        cache = Cache([])
        for group in schedule.groups:
            # All that is cached is of earlier steps, and a group sees itself.
            logits = model(ids[:, group], positions=torch.from_numpy(group), cache=cache, mask=torch.ones(len(group), cache.length + len(group), dtype=torch.bool))  # fmt: skip
            assert torch.allclose(logits, whole[:, group], atol=1e-12)


@every
def test_what_is_not_known_yet_is_one_step_that_is_not_seen(schedule):
    for step in range(schedule.steps):
        cut = schedule.until(step)
        known = schedule.step_N < step
        assert np.array_equal(cut.mask(strict=True)[~known], np.broadcast_to(known, (int((~known).sum()), len(known))))
        assert np.array_equal(cut.mask()[known], schedule.mask()[known])


@every
def test_a_query_sees_what_is_known_before_its_step_and_is_followed_by_the_values(schedule):
    queried = schedule.with_queries()
    asked = int((schedule.step_N >= schedule.given).sum())
    assert queried.query_T.sum() == asked and len(queried.source_T) == len(schedule) + asked
    mask, source, query = queried.schedule.mask(), queried.source_T, queried.query_T
    for t in range(len(source)):
        own = schedule.step_N[source[t]]
        values = {int(source[u]) for u in np.flatnonzero(mask[t] & ~query)}
        assert values == set(np.flatnonzero(schedule.step_N < own if query[t] else schedule.step_N <= own).tolist())
    assert queried.schedule.steps - queried.schedule.given == 2 * (schedule.steps - schedule.given)
    if all(len(group) == 1 for group in schedule.groups):
        assert np.array_equal(mask, np.tril(np.ones_like(mask)))


def test_names_mean_what_they_say():
    assert Schedule.cells((2, 4), (2, 2)).step_N.tolist() == [0, 0, 1, 1, 0, 0, 1, 1]
    assert Schedule.strided((2, 4), (2, 2)).step_N.tolist() == [0, 1, 0, 1, 2, 3, 2, 3]
    assert Schedule.rings(2, 3).step_N.tolist() == [0, 1, 2, 1, 2, 3]
    assert Schedule.rings(2, 2, 2).step_N.tolist() == [0, 1, 1, 2, 1, 2, 2, 3]
    assert Schedule.levels(Layout.levels([(1,), (2,), (4,)])).step_N.tolist() == [0, 1, 1, 2, 2, 2, 2]
    assert [g.tolist() for g in Schedule.pivots(5, np.array([4, 1])).groups] == [[1, 4], [0, 2, 3]]
    subset = Schedule.any_subset(np.array([2, 0, 3, 1]), known=2)
    assert ([g.tolist() for g in subset.groups], subset.given) == ([[0, 2], [3], [1]], 1)
    both = Schedule.prefix(2) + Schedule.prefix(2, causal=True) + Schedule.raster(2)
    assert (both.step_N.tolist(), both.given) == ([0, 0, 1, 2, 3, 4], 3)
    assert (Schedule.raster(2) + Schedule.prefix(2)).given == 0
    hierarchical = Schedule.random(4, 2, rng=np.random.default_rng(0)) + Schedule.random(
        8, 3, rng=np.random.default_rng(0)
    )
    assert hierarchical.steps == 5 and max(hierarchical.step_N[:4]) == 1


def test_layouts_place_their_tokens():
    assert Layout.grid(2, 3).positions_NA.tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    assert Layout.sequence(3).positions_NA.tolist() == [[0], [1], [2]]
    scales = Layout.levels([(1, 2), (2, 4)])
    assert scales.positions_NA[:2].tolist() == [[0.5, 0.5], [0.5, 2.5]] and scales.level_N.tolist() == [0] * 2 + [1] * 8
    two = Layout.tracks(Layout.sequence(3), Layout.sequence(3))
    assert two.positions_NA[:, 0].tolist() == [0, 1, 2] * 2 and two.track_N.tolist() == [0] * 3 + [1] * 3
    tree = Layout.octree([np.array([0]), np.array([0, 7]), morton(np.array([[0, 0, 0], [3, 2, 3]]))])
    assert tree.positions_NA.tolist() == [[1.5] * 3, [0.5] * 3, [2.5] * 3, [0, 0, 0], [3, 2, 3]]


@settings(max_examples=50)
@given(st.lists(st.tuples(*[st.integers(0, 1023)] * 3), min_size=1, max_size=20))
def test_morton_codes_interleave_bits_and_shift_to_their_parents(cells):
    cells = np.array(cells)
    codes = morton(cells)
    plain = [sum(((int(c[a]) >> b) & 1) << (3 * b + a) for a in range(3) for b in range(10)) for c in cells]
    assert codes.tolist() == plain and np.array_equal(unmorton(codes), cells)
    assert np.array_equal(morton(cells // 2), codes >> 3)


@settings(max_examples=80)
@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from(["cosine", "arccos", "linear"]))
def test_counts_fall_to_nothing_and_follow_their_curve(n, steps, curve):
    if curve != "linear" and steps > n:
        with pytest.raises(InvalidInput, match="each step takes one"):
            still_masked(n, steps, curve)
        return
    left = still_masked(n, steps, curve).tolist()
    cur = n
    for s, found in enumerate(left):
        if curve == "linear":
            right = n * (steps - s - 1) // steps
        else:
            share = (
                np.cos(np.pi * (s + 1) / (2 * steps)) if curve == "cosine" else np.arccos((s + 1) / steps) * 2 / np.pi
            )
            right = 0 if s == steps - 1 else max(1, min(cur - 1, int(np.floor(n * share))))
        assert found == right and (curve == "linear" or found < cur)
        cur = found
    if curve != "linear" or steps <= n:
        assert Schedule.random(n, steps, rng=np.random.default_rng(0), curve=curve).steps == steps


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from([0.1, 0.2, 0.3]), st.booleans()), min_size=1, max_size=10), st.data())
def test_the_lowest_scores_are_masked_the_first_of_equals(pairs, data):
    scores, among = (np.array(values) for values in zip(*pairs))
    count = data.draw(st.integers(0, int(among.sum())))
    chosen = sorted((i for i in range(len(scores)) if among[i]), key=lambda i: (scores[i], i))[:count]
    assert np.flatnonzero(to_mask(scores, count, among_N=among)).tolist() == sorted(chosen)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Schedule(np.array([0, 2])), "all from 0 on"),
        (lambda: Schedule(np.array([0.0])), "must be integers"),
        (lambda: Schedule(np.array([0, 1]), given=3), "given=3 of 2"),
        (lambda: Schedule.cells((4, 4), (3, 2)), "does not divide"),
        (lambda: Schedule.strided((4,), (2, 2)), "does not divide"),
        (lambda: Schedule.any_subset(np.array([0, 0]), known=1), "no permutation"),
        (lambda: Schedule.any_subset(np.array([1, 0]), known=3), "known=3 of 2"),
        (lambda: Schedule.pivots(4, np.arange(4)), "4 pivots of 4"),
        (lambda: Schedule.pivots(4, np.array([4])), "from 0 to 3"),
        (lambda: Schedule.blocks([1, 0]), "at least 1"),
        (lambda: Schedule.raster(3).until(3), "step=3 of 3"),
        (lambda: Schedule.random(3, 0, rng=RNG), "each step takes one"),
        (lambda: still_masked(3, 2, "square"), "curve='square'"),
        (lambda: to_mask(np.array([np.nan]), 1), "NaN"),
        (lambda: to_mask(np.array([1.0]), 2), "count=2 of 1"),
        (lambda: Layout.grid(2, 0), "at least 1"),
        (lambda: Layout.levels([(1,), (2, 2)]), "as many axes"),
        (lambda: Layout.tracks(Layout.grid(2), Layout.grid(2, 2)), "as many axes"),
        (lambda: Layout.octree([np.array([0]), np.array([9])]), "in cube 1 of the level above"),
        (lambda: morton(np.array([[0, 0, 1024]])), "from 0 to 1023"),
        (lambda: Layout(np.zeros((2, 1)), np.zeros(1), np.zeros(2)), "must be"),
    ],
)
def test_what_is_no_layout_or_schedule_is_refused(make, words):
    with pytest.raises(InvalidInput, match=words):
        make()
