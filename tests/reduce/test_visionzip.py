"""VisionZip: its laws, the published rule restated token by token, the sums of its rows, refusals."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_reducers import visionzip

from tokenloom.core.errors import InvalidInput
from tokenloom.reduce.visionzip import VisionZip
from tokenloom.testing import check_token_map


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def inputs(batch, n, seed=0):
    return {
        "attention_BT": noise(batch, n, seed=seed).softmax(1),
        "keys_BTHC": noise(batch, n, 3, 5, seed=seed + 1),
        "prefix": 1,
    }


@settings(max_examples=60)
@given(st.integers(0, 500), st.integers(2, 24), st.integers(1, 23), st.sampled_from([0, 10 / 64, 0.5, 0.9]))
def test_the_rule_is_the_published_one(seed, n, keep, part):
    keep = min(keep, n - 1)
    x, signals = noise(2, n, 4, seed=seed), inputs(2, n, seed)
    found = VisionZip(keep, part)(x, **signals)
    check_token_map(found)
    contextual = min(round(keep * part), keep - 1)
    for b in range(2):
        right = visionzip(x[b], signals["attention_BT"][b], signals["keys_BTHC"][b], keep - contextual, contextual)
        np.testing.assert_allclose(found.apply(x)[b], right, atol=1e-5)


@pytest.mark.parametrize("keep, contextual", [(64, 10), (128, 20), (192, 30)])
def test_the_budgets_are_the_published_ones(keep, contextual):
    found = VisionZip(keep)(noise(1, 577, 8), **inputs(1, 577))
    sums = found.matrix()[0].sum(1)
    assert found.counts_B.tolist() == [keep]
    assert sums[: keep - contextual].tolist() == [1.0] * (keep - contextual)
    np.testing.assert_allclose(sums[keep - contextual :], 2, atol=1e-5)
    assert found.kind == "many-to-one" and not found.rows_sum_to_one


def test_averages_sum_to_one_and_keep_the_length():
    found = VisionZip(64, average=True)(noise(1, 577, 8), **inputs(1, 577))
    assert found.rows_sum_to_one and found.kind == "many-to-one"
    row = found.matrix()[0, -1]
    assert row.unique().numel() == 2  # equal weights


@pytest.mark.parametrize("keep", [1, 6, 0.5])
def test_the_laws_of_reducers_hold_for_what_is_merged(keep):
    x, signals = noise(3, 20, 6), inputs(3, 20)
    found = VisionZip(keep)(x, **signals)
    for b in range(3):
        alone = VisionZip(keep)(
            x[b : b + 1], **{k: v[b : b + 1] if torch.is_tensor(v) else v for k, v in signals.items()}
        )
        assert torch.allclose(alone.matrix()[0], found.matrix()[b])
    assert torch.equal(VisionZip(1.0)(x, **signals).matrix(), torch.eye(20).expand(3, -1, -1))
    half = {k: v.bfloat16() if torch.is_tensor(v) else v for k, v in signals.items()}
    assert VisionZip(keep)(x.bfloat16(), **half).apply(x.bfloat16()).dtype == torch.bfloat16


def nan(name):
    given = inputs(1, 9)
    return {**given, name: torch.full_like(given[name], torch.nan)}


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: VisionZip(0), "keep=0"),
        (lambda: VisionZip(5, contextual=1.0), "contextual=1.0"),
        (lambda: VisionZip(10)(noise(1, 9, 4), **inputs(1, 9)), "has 9 tokens"),
        (lambda: VisionZip(3)(noise(1, 9, 4), **{**inputs(1, 9), "prefix": 0}), "prefix=0; VisionZip is made for one"),
        (lambda: VisionZip(3)(noise(1, 9, 4), **{**inputs(1, 9), "prefix": None}), "VisionZip needs prefix"),
        (lambda: VisionZip(3)(noise(1, 9, 4), keys_BTHC=noise(1, 9, 1, 2), prefix=1), "VisionZip needs cls_attention"),
        (lambda: VisionZip(3)(noise(1, 9, 4), **inputs(1, 8)), "attention_BT has shape"),
        (lambda: VisionZip(3)(noise(1, 9, 4), **nan("attention_BT")), "attention_BT is not finite"),
        (lambda: VisionZip(3)(noise(1, 9, 4), **nan("keys_BTHC")), "keys are not finite"),
        (lambda: VisionZip(3)(noise(1, 9, 4) / 0, **inputs(1, 9)), "features are not finite"),
    ],
)
def test_visionzip_refuses(make, words):
    with pytest.raises(InvalidInput, match=words):
        make()
