"""The laws that hold for every method: nothing changes where nothing is new, and what is shared is untouched, bit for bit."""

import numpy as np
import pytest
import torch
from small_llama import NEW, OLD, PAIRS, TEXT, generator, llama, logits

from tokenloom.transfer.baselines import FOCUS, ReTok, TransTokenizer
from tokenloom.transfer.composition import FVT, Mean, Random
from tokenloom.transfer.rows import Origin
from tokenloom.transfer.tokenadapt import TokenAdapt
from tokenloom.transfer.transplanting import transplant
from tokenloom.transfer.wechsel import WECHSEL
from tokenloom.transfer.word_vectors import CharGrams, WordVectors

RNG = np.random.default_rng(0)
LINES = [(line, line) for line in [TEXT, *TEXT.split("; "), TEXT[::-1]]]
WORDS = list(dict.fromkeys(TEXT.split()))
VECTORS = WordVectors(WORDS, RNG.normal(size=(len(WORDS), 6)), np.arange(len(WORDS), 0, -1),
                      CharGrams(RNG.normal(size=(60, 6)).astype(np.float32), 2, 3))  # fmt: skip


def letters(texts):
    return np.array([[text.count(letter) for letter in "abcdehlmnorst "] for text in texts], np.float32)


# Method → how it is made for a new vocabulary of so many ids.
METHODS = {
    "FVT": lambda size: FVT(),
    "Mean": lambda size: Mean(),
    "Random": lambda size: Random(),
    "ReTok": lambda size: ReTok(),
    "FOCUS": lambda size: FOCUS(np.random.default_rng(0).normal(size=(size, 12))),
    "TransTokenizer": lambda size: TransTokenizer(LINES),
    "TokenAdapt": lambda size: TokenAdapt(letters),
    # As published, WECHSEL keeps special tokens only.
    "WECHSEL": lambda size: WECHSEL(VECTORS, VECTORS, None, copy_shared=True),
}


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", METHODS)
def test_the_same_tokenizer_changes_no_logit(name, tied):
    ids, model = OLD.encode(TEXT).ids, llama(len(OLD.vocab), tied)
    before = logits(model, ids)
    done = transplant(model, OLD, old=OLD, method=METHODS[name](len(OLD.vocab)), generator=generator())
    assert torch.equal(logits(done.model, ids), before)
    assert done.rows.counts()["copied"] == len(OLD.vocab)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", METHODS)
def test_logits_of_shared_tokens_are_the_same_bit_for_bit(name, tied):
    old_ids, new_ids = PAIRS
    place = dict(zip(old_ids.tolist(), new_ids.tolist()))
    ids = [i for i in OLD.encode(TEXT).ids.tolist() if i in place]
    model = llama(len(OLD.vocab), tied)
    before = logits(model, ids)[:, old_ids]
    done = transplant(model, NEW, old=OLD, method=METHODS[name](len(NEW.vocab)), generator=generator())
    assert torch.equal(logits(done.model, [place[i] for i in ids])[:, new_ids], before)
    assert done.model.config.vocab_size == len(NEW.vocab) == done.model.get_output_embeddings().weight.shape[0]


@pytest.mark.parametrize("name", METHODS)
def test_every_row_is_copied_made_or_drawn_and_the_same_again(name):
    first, second = (METHODS[name](len(NEW.vocab))(OLD, NEW, PAIRS) for _ in range(2))
    assert (first.weights != second.weights).nnz == 0 and np.array_equal(first.origin, second.origin)
    assert (first.origin[PAIRS[1]] == Origin.COPIED).all()
    assert np.array_equal(first.weights.sum(1) == 0, first.drawn)
