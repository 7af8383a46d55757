"""FoPru: tokens and rows against plain choices."""

from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput
from tokenloom.reduce.fopru import FoPru
from tokenloom.reduce.signals import MissingSignal, Signal
from tokenloom.testing import check_reducer


def kept(reducer, scores, grid=None):
    return reducer(torch.ones(*scores.shape, 2), attention_BN=scores, grid=grid).index_BM.tolist()


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20), st.data())
def test_the_best_are_kept_the_lower_index_of_equals_in_the_original_order(scores, data):
    m = data.draw(st.integers(1, len(scores)))
    right = sorted(sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:m])
    assert kept(FoPru(m), torch.tensor([scores]).float()) == [right]


@given(st.integers(1, 6), st.integers(1, 4), st.data())
def test_rows_are_the_best_of_all_sets_of_rows(h, w, data):
    cells = data.draw(st.lists(st.integers(0, 9), min_size=h * w, max_size=h * w))
    count = data.draw(st.integers(1, h))
    scores = torch.tensor(cells).float().view(1, h, w)
    found = kept(FoPru(count * w, "rows"), scores.view(1, -1), (h, w))[0]
    rows = found[::w]
    assert found == [r // w * w + c for r in rows for c in range(w)]  # complete rows
    best = max(float(scores[0, list(some)].sum()) for some in combinations(range(h), count))
    assert float(scores[0, [r // w for r in rows]].sum()) == best


@pytest.mark.parametrize("share", [0.01, 0.2, 0.25, 0.5, 0.8, 1.0])
def test_a_share_of_rows_is_rounded_and_at_least_one(share):
    found = kept(FoPru(share, "rows"), torch.arange(40.0)[None], (8, 5))[0]
    assert len(found) == 5 * max(1, round(share * 8))


def test_rank_and_rows_agree_where_rows_are_even():
    scores = torch.tensor([3.0, 1, 4, 1, 5]).repeat_interleave(4)[None]
    for rows in range(1, 6):
        assert kept(FoPru(4 * rows), scores) == kept(FoPru(4 * rows, "rows"), scores, (5, 4))


def test_a_constant_more_changes_nothing():
    scores = torch.randint(0, 64, (2, 24), generator=torch.Generator().manual_seed(0)) / 64
    for reducer in (FoPru(7), FoPru(0.5, "rows")):
        assert kept(reducer, scores, (4, 6)) == kept(reducer, scores + 2, (4, 6))


@pytest.mark.parametrize(
    "reducer, rows",
    [(FoPru(9), None), (FoPru(0.2, score="cls"), None), (FoPru(12, "rows"), None), (FoPru(0.3, "rows"), 12)],
)
def test_the_laws_of_reducers_hold(reducer, rows):
    gen = torch.Generator().manual_seed(0)
    signals = {"attention_BN": torch.rand(3, 36, generator=gen), "grid": (6, 6)}
    check_reducer(reducer, torch.randn(3, 36, 4, generator=gen), signals, rows=rows)


def test_what_it_asks_for_follows_from_the_settings():
    assert FoPru(2).needs == {"attention": Signal("received_attention")}
    assert FoPru(2, score="cls", layer=-2).needs == {"attention": Signal("cls_attention", -2)}
    assert set(FoPru(2, "rows").needs) == set(FoPru(2, per_crop=True).needs) == {"attention", "grid"}


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: FoPru(0.0), "keep=0.0"),
        (lambda: FoPru(1.01), "keep=1.01"),
        (lambda: FoPru(2, "columns"), "'columns'"),
        (lambda: FoPru(2, score="both"), "'both'"),
        (lambda: FoPru(2, layer=0), "layer=0"),
        (lambda: kept(FoPru(3, "rows"), torch.ones(1, 6), (2, 4)), "2 x 4 for 6"),
        (lambda: kept(FoPru(4, "rows"), torch.ones(1, 6), (2, 3)), "whole rows, which have 3"),
        (lambda: kept(FoPru(9, "rows"), torch.ones(1, 6), (2, 3)), "has 6 tokens"),
        (lambda: kept(FoPru(7), torch.ones(1, 6)), "has 6 tokens"),
    ],
)
def test_fopru_refuses(make, words):
    with pytest.raises(InvalidInput, match=words):
        make()


def test_missing_attention_and_a_missing_grid_name_themselves():
    with pytest.raises(MissingSignal, match="cls_attention"):
        FoPru(2, score="cls")(torch.ones(1, 6, 1))
    with pytest.raises(MissingSignal, match="grid"):
        FoPru(3, "rows")(torch.ones(1, 6, 1), attention_BN=torch.ones(1, 6))
