"""The laws of reducers find what breaks them."""

from dataclasses import dataclass

import pytest
import torch

from tokenloom.core.errors import InvalidInput
from tokenloom.core.token_map import TokenMap
from tokenloom.reduce.budgets import check_features, check_scores, tokens_kept, top
from tokenloom.reduce.crops import Crops
from tokenloom.reduce.divprune import DivPrune
from tokenloom.reduce.fastv import FastV
from tokenloom.reduce.fopru import FoPru
from tokenloom.reduce.hiprune import HiPrune
from tokenloom.reduce.prumerge import PruMerge
from tokenloom.reduce.selections import best_of_each, keep_where
from tokenloom.reduce.signals import Signal, given
from tokenloom.reduce.sparsevlm import SparseVLM
from tokenloom.reduce.tome import ToMe
from tokenloom.reduce.visionzip import VisionZip
from tokenloom.testing import check_reducer


@dataclass(frozen=True)
class Honest:
    keep: int | float

    @property
    def needs(self):
        return {"attention": Signal("cls_attention")}

    def __call__(self, x_BND, *, attention_BN=None):
        scores = given(attention_BN, "cls_attention", self).float()
        check_features(x_BND)
        check_scores(scores, x_BND.shape[:2], "attention_BN")
        return self.choose(x_BND, scores, tokens_kept(self.keep, x_BND.shape[1]))

    def choose(self, x, scores, m):
        return TokenMap.keep(top(scores, m).sort(1).values, of=x.shape[1])


class OneLess(Honest):
    def choose(self, x, scores, m):
        return super().choose(x, scores, max(1, m - 1))


class Ranked(Honest):
    def choose(self, x, scores, m):
        return TokenMap.keep(top(scores, m), of=x.shape[1])


class Pooled(Honest):
    def choose(self, x, scores, m):
        return super().choose(x, scores.mean(0).expand_as(scores), m)


class Careless(Honest):
    def __call__(self, x_BND, *, attention_BN=None):
        if attention_BN is None:
            raise InvalidInput("no cls_attention")
        return self.choose(x_BND, attention_BN.nan_to_num(), tokens_kept(self.keep, x_BND.shape[1]))


class Silent(Honest):
    def __call__(self, x_BND, *, attention_BN=None):
        if attention_BN is None:
            raise InvalidInput("something is missing")
        return super().__call__(x_BND, attention_BN=attention_BN)


class Half(Honest):
    def choose(self, x, scores, m):
        if x.dtype == torch.bfloat16:
            m = tokens_kept(self.keep, x.shape[1])
            return TokenMap.dense(torch.full((len(x), m, x.shape[1]), 3e38))
        return super().choose(x, scores, m)


class Fickle(Honest):
    def choose(self, x, scores, m):
        return super().choose(x, torch.rand_like(scores), m)


def tried(reducer):
    gen = torch.Generator().manual_seed(0)
    check_reducer(reducer, torch.rand(3, 12, 4, generator=gen), {"attention_BN": torch.rand(3, 12, generator=gen)})


def test_an_honest_reducer_passes():
    tried(Honest(4))
    tried(Honest(0.3))


@pytest.mark.parametrize(
    "kind, words",
    [
        (OneLess, r"\[3, 3, 3\] tokens, not 4 each"),
        (Ranked, "is not sorted"),
        (Pooled, "alone differs from the batch"),
        (Careless, "takes features that are NaN"),
        (Silent, "does not name cls_attention"),
        (Half, "bfloat16 does not run"),
        (Fickle, "another map"),
    ],
)
def test_a_reducer_that_breaks_a_law_is_found(kind, words):
    with pytest.raises(AssertionError, match=words):
        tried(kind(4))


def test_the_best_of_each_item_may_be_of_different_number():
    scores = torch.tensor([[1.0, 3, 3, 0], [0, 0, 0, 0], [4, 3, 2, 1]])
    marked = best_of_each(scores, torch.tensor([1, 2, 4]))
    assert marked.int().tolist() == [[0, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1]]
    assert keep_where(marked).index_BM.tolist() == [[1, -1, -1, -1], [0, 1, -1, -1], [0, 1, 2, 3]]
    assert keep_where(torch.zeros(2, 3, dtype=torch.bool)).shape == (2, 0, 3)


ONE = {"attention": torch.rand(1, 9), "rows": torch.rand(1, 3, 9).softmax(2)}


@pytest.mark.parametrize(
    "work",
    [
        lambda x: FoPru(5)(x, attention_BN=ONE["attention"]),
        lambda x: HiPrune(5)(x, object_attention_BN=ONE["attention"], deep_attention_BN=torch.rand(2, 9), grid=(3, 3)),
        lambda x: HiPrune(5)(x, object_attention_BN=torch.rand(2, 9), deep_attention_BN=ONE["attention"], grid=(3, 3)),
        lambda x: VisionZip(5)(x, attention_BT=ONE["attention"], keys_BTHC=torch.rand(2, 9, 1, 2), prefix=1),
        lambda x: FastV(5, layer=1)(x, attention_BQN=ONE["rows"], layer=1, total=9),
        lambda x: SparseVLM(layers=(1,), keep=(5,))(x, attention_BQN=ONE["rows"], text_BQD=torch.rand(2, 3, 4), first_BVD=x, layer=1, total=9),
        lambda x: SparseVLM(layers=(1,), keep=(5,))(x, attention_BQN=torch.rand(2, 2, 9), text_BQD=torch.rand(2, 3, 4), first_BVD=x, layer=1, total=9),
        lambda x: ToMe(r=2)(x, keys_BNHC=torch.rand(2, 9, 1, 2), mass_BN=torch.ones(1, 9), offset=0),
    ],
)  # fmt: skip
def test_signals_of_another_batch_are_refused(work):
    with pytest.raises(InvalidInput, match="has shape"):
        work(torch.rand(2, 9, 4))


@pytest.mark.parametrize(
    "work, words",
    [
        (lambda: Signal("keys", 1.5), "layer=1.5"),
        (lambda: HiPrune(5, layer="a").needs, "layer=a"),
        (lambda: PruMerge(2.5), "neighbours=2.5"),
        (lambda: Crops(2, 2, 2, float("nan"), 50), "height=nan"),
        (lambda: Crops(2, 2, 2, 50.5, 50), "height=50.5"),
        (lambda: DivPrune(3)(torch.rand(0, 9, 4)), "must be floating point"),
        (
            lambda: HiPrune(5)(torch.rand(1, 9, 4), object_attention_BN=torch.rand(1, 9), deep_attention_BN=torch.rand(1, 9), grid=(3, 3, 1)),
            "a grid of 3 x 3 x 1 for 9 tokens",
        ),
    ],
)  # fmt: skip
def test_settings_that_are_no_numbers_are_refused(work, words):
    with pytest.raises(InvalidInput, match=words):
        work()
