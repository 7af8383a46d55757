"""GlobalCom2 against a restatement in plain loops: budgets, guidance, padding."""

from math import exp, floor, sqrt

import pytest
import torch

from tokenloom.core.errors import InvalidInput
from tokenloom.reduce.crops import Crops
from tokenloom.reduce.globalcom2 import GlobalCom2
from tokenloom.reduce.signals import MissingSignal, Signal
from tokenloom.testing import check_reducer

GRIDS = [(1, 2), (2, 1), (2, 2), (1, 3), (3, 2)]  # rows and columns
SHAPES = [(2, 2, 480, 640), (2, 2, 640, 300), (1, 3, 200, 900), (3, 1, 700, 400), (2, 3, 333, 500)]


def logits(crops, seed=0):
    return 3 * torch.randn(crops.count, crops.side**2, generator=torch.Generator().manual_seed(seed)) + 1


def reduced(reducer, scores, crops):
    return reducer(torch.ones(*scores.shape, 2), scores_CN=scores, crops=crops)


def plain_budgets(first, rows, columns, side, keep, tau):
    sums = [[0.0] * columns for _ in range(rows)]
    for y in range(side):
        for x in range(side):
            i, j = min(y // (side // rows), rows - 1), min(x // (side // columns), columns - 1)
            sums[i][j] += first[y * side + x]
    flat = [s for line in sums for s in line]
    powers = [exp((s - max(flat)) / tau) for s in flat]
    return [min(1, keep * (1 + p / sum(powers) - 1 / len(flat))) for p in powers]


def plain_resize(values, side, height, width):
    """Bilinear, pixel centres at halves, edges repeated."""

    def place(i, size):
        at = min(max((i + 0.5) * side / size - 0.5, 0), side - 1)
        low = floor(at)
        return low, min(low + 1, side - 1), at - low

    out = []
    for y in range(height):
        y0, y1, fy = place(y, height)
        for x in range(width):
            x0, x1, fx = place(x, width)
            upper = values[y0 * side + x0] * (1 - fx) + values[y0 * side + x1] * fx
            lower = values[y1 * side + x0] * (1 - fx) + values[y1 * side + x1] * fx
            out.append(upper * (1 - fy) + lower * fy)
    return out


def best(scores, k, among):
    return sorted(sorted(among, key=lambda i: (-scores[i], i))[:k])


def restated(scores, crops, keep, tau=10.0):
    """Kept patches of each crop, in plain loops."""
    side, n = crops.side, crops.side**2
    top, bottom, left, right = crops.area
    above = plain_resize(scores[0], side, bottom - top, right - left)
    shares = plain_budgets(scores[0], crops.rows, crops.columns, side, keep, tau)
    kept = [best(scores[0], int(n * keep + 1e-9), range(n))]
    for c in range(1, crops.count):
        y0, x0 = (c - 1) // crops.columns * side, (c - 1) % crops.columns * side
        valid = [p for p in range(n) if top <= y0 + p // side < bottom and left <= x0 + p % side < right]
        guide = {p: above[(y0 + p // side - top) * (right - left) + x0 + p % side - left] for p in valid}
        own_length = sqrt(sum(scores[c][p] ** 2 for p in valid)) or 1
        guide_length = sqrt(sum(g * g for g in guide.values())) or 1
        both = {p: scores[c][p] / own_length + guide[p] / guide_length for p in valid}
        count = min(len(valid), max(1, int(len(valid) * shares[c - 1] + 1e-9)))
        kept.append(best(both, count, valid))
    return kept


@pytest.mark.parametrize("keep", [0.25, 0.6])
@pytest.mark.parametrize("rows, columns", GRIDS)
def test_budgets_are_those_of_the_plain_restatement(rows, columns, keep):
    crops = Crops(rows, columns, 7, 100 * rows, 100 * columns)  # 7 does not divide: the last cells are larger
    first = logits(crops)[0]
    found = GlobalCom2(keep).budgets(first, crops)
    right = plain_budgets(first.double().tolist(), rows, columns, 7, keep, 10)
    assert found.tolist() == pytest.approx(right, abs=1e-6)
    assert float(found.mean()) == pytest.approx(keep)  # none is clipped


@pytest.mark.parametrize("keep", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("shape", SHAPES)
def test_kept_patches_are_those_of_the_plain_restatement(shape, keep):
    rows, columns, height, width = shape
    crops = Crops(rows, columns, 8, height, width)
    scores = logits(crops, seed=rows + columns)
    found = reduced(GlobalCom2(keep), scores, crops)
    right = restated(scores.double().tolist(), crops, keep)
    assert [[i for i in row if i >= 0] for row in found.index_BM.tolist()] == right


def test_the_laws_of_reducers_hold():
    crops = Crops(2, 2, 6, 100, 100)
    for reducer in (GlobalCom2(0.3), GlobalCom2(0.3, tau="auto", score="received_attention")):
        check_reducer(reducer, torch.randn(5, 36, 3), {"scores_CN": logits(crops), "crops": crops}, whole=True)


@pytest.mark.parametrize("shape", SHAPES)
def test_at_one_all_that_shows_the_picture_is_kept(shape):
    rows, columns, height, width = shape
    crops = Crops(rows, columns, 8, height, width)
    assert torch.equal(reduced(GlobalCom2(1.0), logits(crops), crops).sources_BMN.any(1), crops.valid)


def test_an_even_thumbnail_divides_evenly_and_even_crops_keep_their_first_patches():
    crops = Crops(2, 3, 6, 200, 300)
    even = torch.ones(7, 36)
    assert GlobalCom2(0.25).budgets(even[0], crops).tolist() == [0.25] * 6
    assert reduced(GlobalCom2(0.25), even, crops).index_BM.tolist() == [list(range(9))] * 7


def test_one_crop_gets_the_whole_budget():
    crops = Crops(1, 1, 6, 50, 50)
    assert GlobalCom2(0.3).budgets(logits(crops)[0], crops).tolist() == pytest.approx([0.3], abs=1e-15)


def test_tau_by_the_spread_of_the_sums_makes_the_scale_of_scores_irrelevant():
    crops = Crops(2, 2, 6, 100, 100)
    first = logits(crops)[0]
    auto = GlobalCom2(0.3, tau="auto")
    assert torch.allclose(auto.budgets(first, crops), auto.budgets(first / 1000, crops))
    assert float(auto.budgets(first, crops).std()) > 0.01
    # With probabilities the published temperature makes all equal.
    assert float(GlobalCom2(0.3).budgets(first.softmax(0), crops).std()) < 0.005


def test_budgets_do_not_exceed_one():
    crops = Crops(1, 2, 6, 50, 100)
    first = torch.zeros(6, 6)
    first[:, 0] = 100
    assert GlobalCom2(0.8).budgets(first.flatten(), crops).tolist() == pytest.approx([1, 0.4])


def test_the_thumbnail_is_in_raster_order_or_in_that_of_its_scores():
    crops = Crops(2, 2, 6, 100, 100)
    scores = logits(crops)
    raster, ranked = (reduced(GlobalCom2(0.2, sort_thumbnail=s), scores, crops).index_BM for s in (True, False))
    assert torch.equal(raster[1:], ranked[1:])
    first = [i for i in ranked[0].tolist() if i >= 0]
    assert first == scores[0].sort(descending=True).indices[:7].tolist()
    assert [i for i in raster[0].tolist() if i >= 0] == sorted(first)


def test_a_sliver_of_a_crop_keeps_a_token():
    crops = Crops(1, 3, 10, 100, 210)  # the picture fills 21 of 30 columns: 5, 10 and 6 at the edges
    thin = Crops(1, 2, 10, 1000, 1010)
    assert thin.valid.sum(1).tolist() == [100, 50, 50] and crops.valid.sum(1).tolist() == [100, 60, 100, 60]
    found = reduced(GlobalCom2(0.001), logits(thin), thin)
    assert found.counts_B.tolist() == [1, 1, 1]


def test_it_asks_for_scores_of_the_last_block_and_the_crops():
    assert GlobalCom2(0.25).needs == {"scores": Signal("cls_logits", -1), "crops": Signal("crops")}


SQUARE = Crops(2, 2, 3, 50, 50)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: GlobalCom2(0.0), "keep=0.0"),
        (lambda: GlobalCom2(1.2), "keep=1.2"),
        (lambda: GlobalCom2(64), "must be a share"),
        (lambda: GlobalCom2(0.2, tau=0.0), "tau=0.0"),
        (lambda: GlobalCom2(0.2, tau="std"), "tau='std'"),
        (lambda: GlobalCom2(0.2, score="keys"), "'keys'"),
        (lambda: GlobalCom2(0.2, layer=0), "layer=0"),
        (lambda: reduced(GlobalCom2(0.2), torch.ones(4, 9), SQUARE), "4 crops and 9 patches, but there are 5 of 9"),
        (lambda: reduced(GlobalCom2(0.2), torch.ones(5, 8), SQUARE), "8 patches"),
        (lambda: GlobalCom2(0.2)(torch.ones(5, 9, 1), scores_CN=torch.ones(4, 9), crops=SQUARE), r"scores_CN has shape \(4, 9\)"),
        (lambda: reduced(GlobalCom2(0.2), torch.full((5, 9), torch.inf), SQUARE), "scores_CN is not finite"),
        (lambda: reduced(GlobalCom2(0.2), torch.ones(5, 1), Crops(2, 2, 1, 5, 5)), "2 x 2 crops for a thumbnail of 1 x 1"),
    ],
)  # fmt: skip
def test_globalcom2_refuses(make, words):
    with pytest.raises(InvalidInput, match=words):
        make()


def test_missing_scores_and_crops_name_themselves():
    with pytest.raises(MissingSignal, match="GlobalCom2 needs cls_logits"):
        GlobalCom2(0.2)(torch.ones(5, 9, 1), crops=SQUARE)
    with pytest.raises(MissingSignal, match="GlobalCom2 needs crops"):
        GlobalCom2(0.2)(torch.ones(5, 9, 1), scores_CN=torch.ones(5, 9))
