"""FastV against its definition, and what it refuses."""

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput
from tokenloom.reduce.fastv import FastV
from tokenloom.reduce.signals import MissingSignal, Signal


@given(
    rows=st.lists(st.lists(st.integers(0, 5), min_size=9, max_size=9), min_size=1, max_size=4),
    keep=st.one_of(st.integers(1, 9), st.floats(0.01, 1.0)),
)
def test_the_last_row_decides_and_the_lower_index_of_equals(rows, keep):
    attention = torch.tensor(rows, dtype=torch.float32)[None]
    made = FastV(keep)(torch.zeros(1, 9, 4), layer=2, total=9, attention_BQN=attention)
    m = keep if isinstance(keep, int) else max(1, round(keep * 9))
    best = sorted(range(9), key=lambda k: (-rows[-1][k], k))[:m]
    assert made.index_BM.tolist() == [sorted(best)]


def test_a_batch_is_its_items_and_any_precision_will_do():
    attention, x = torch.rand(3, 2, 8), torch.zeros(3, 8, 4)
    whole = FastV()(x, layer=2, total=8, attention_BQN=attention)
    assert whole.index_BM.shape == (3, 4)
    for b in range(3):
        alone = FastV()(x[b : b + 1], layer=2, total=8, attention_BQN=attention[b : b + 1])
        assert torch.equal(alone.index_BM[0], whole.index_BM[b])
    assert FastV()(x.bfloat16(), layer=2, total=8, attention_BQN=attention.bfloat16()).shape == (3, 4, 8)


def test_keep_1_keeps_all_in_their_order():
    made = FastV(1.0)(torch.zeros(1, 5, 2), layer=2, total=5, attention_BQN=torch.rand(1, 2, 5))
    assert made.index_BM.tolist() == [[0, 1, 2, 3, 4]]


def test_it_works_once_and_needs_the_layer_that_has_run():
    assert FastV(layer=3).layers == (3,) and FastV(layer=3).needs(3) == {"attention": Signal("text_attention", 3)}


@pytest.mark.parametrize(
    "settings, words", [({"keep": 0}, "keep=0"), ({"keep": 1.5}, "keep=1.5"), ({"layer": 0}, "layer=0")]
)
def test_settings_that_make_no_sense_are_refused(settings, words):
    with pytest.raises(InvalidInput, match=words):
        FastV(**settings)


@pytest.mark.parametrize(
    "changed, error, words",
    [
        ({"attention_BQN": None}, MissingSignal, "FastV needs text_attention"),
        ({"layer": 1}, InvalidInput, "layer=1; tokens are dropped after layer 2"),
        ({"attention_BQN": torch.rand(1, 2, 3)}, InvalidInput, "attention_BQN has shape"),
        ({"attention_BQN": torch.full((1, 2, 5), torch.inf)}, InvalidInput, "attention_BQN is not finite"),
        ({"attention_BQN": torch.zeros(1, 0, 5)}, InvalidInput, "attention_BQN is not finite"),
        (
            {"x_BND": torch.zeros(1, 3, 4), "attention_BQN": torch.rand(1, 2, 3)},
            InvalidInput,
            "keep=4, but each item has 3",
        ),
        ({"x_BND": torch.full((1, 5, 4), torch.nan)}, InvalidInput, "features are not finite"),
    ],
)
def test_what_it_cannot_use_is_refused(changed, error, words):
    values = {"x_BND": torch.zeros(1, 5, 4), "layer": 2, "total": 5, "attention_BQN": torch.rand(1, 2, 5)} | changed
    with pytest.raises(error, match=re.escape(words)):
        FastV(keep=4)(values.pop("x_BND"), **values)
