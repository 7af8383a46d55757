"""The laws that hold for every method: nothing changes where nothing is new, and what is shared is untouched, bit for bit."""

import json

import numpy as np
import pytest
import torch
from small_llama import NEW, OLD, PAIRS, TEXT, generator, llama, logits
from transformers import BertConfig, BertForMaskedLM

from tokenloom.hosts.json_tokenizer import JsonTokenizer
from tokenloom.tokenize.text.bpe import BPE
from tokenloom.transfer.baselines import FOCUS, ReTok, TransTokenizer
from tokenloom.transfer.composition import FVT, Mean, Random
from tokenloom.transfer.rows import Origin, shared_ids
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


# Kind → a model of the old vocabulary.
MODELS = {
    "tied": lambda: llama(len(OLD.vocab)),
    "untied": lambda: llama(len(OLD.vocab), False),
    "padded": lambda: llama(len(OLD.vocab) + 12),
    "with a bias": lambda: biased(),
}


def biased():
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(OLD.vocab) + 5, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=16)  # fmt: skip
    model = BertForMaskedLM(config).eval()
    torch.nn.init.normal_(model.get_output_embeddings().bias)
    return model


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("name", METHODS)
def test_the_same_tokenizer_changes_no_logit(name, kind):
    ids, model = OLD.encode(TEXT).ids, MODELS[kind]()
    before = logits(model, ids)[:, : len(OLD.vocab)]
    done = transplant(model, OLD, old=OLD, method=METHODS[name](len(OLD.vocab)), generator=generator())
    assert torch.equal(logits(done.model, ids), before)
    assert done.rows.counts()["copied"] == len(OLD.vocab)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("name", METHODS)
def test_logits_of_shared_tokens_are_the_same_bit_for_bit(name, kind):
    old_ids, new_ids = PAIRS
    place = dict(zip(old_ids.tolist(), new_ids.tolist()))
    ids = [i for i in OLD.encode(TEXT).ids.tolist() if i in place]
    model = MODELS[kind]()
    before = logits(model, ids)[:, old_ids]
    done = transplant(model, NEW, old=OLD, method=METHODS[name](len(NEW.vocab)), generator=generator())
    assert torch.equal(logits(done.model, [place[i] for i in ids])[:, new_ids], before)
    assert done.model.config.vocab_size == len(NEW.vocab) == done.model.get_output_embeddings().weight.shape[0]


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("name", METHODS)
def test_a_permuted_vocabulary_permutes_the_logits(name, kind):
    order = np.random.default_rng(0).permutation(len(OLD.vocab))
    moved = permuted(OLD, order)
    ids, model = OLD.encode(TEXT).ids, MODELS[kind]()
    before = logits(model, ids)[:, order]
    done = transplant(model, moved, old=OLD, method=METHODS[name](order.size), generator=generator())
    assert moved.encode(TEXT).ids.tolist() == np.argsort(order)[ids].tolist()
    assert torch.equal(logits(done.model, moved.encode(TEXT).ids), before)


def permuted(tokenizer, order):
    """The same tokenizer in which id k is what was id order[k]."""
    file = json.loads(tokenizer.spec["text"])
    place = np.argsort(order).tolist()
    file["model"]["vocab"] = {token: place[i] for token, i in file["model"]["vocab"].items()}
    for token in file["added_tokens"]:
        token["id"] = place[token["id"]]
    return JsonTokenizer(file, "permuted")


@pytest.mark.parametrize("name", METHODS)
def test_a_special_token_without_an_old_one_is_drawn_whatever_it_is_called(name):
    new = BPE(302, special=["<|endoftext|>", "<|the cat|>"])([TEXT * 20])
    rows = METHODS[name](len(new.vocab))(OLD, new, shared_ids(OLD.vocab, new.vocab))
    assert rows.origin[new.vocab.id_of(b"<|the cat|>")] == Origin.DRAWN
    assert rows.origin[new.vocab.id_of(b"<|endoftext|>")] == Origin.COPIED


@pytest.mark.parametrize("name", METHODS)
def test_every_row_is_copied_made_or_drawn_and_the_same_again(name):
    first, second = (METHODS[name](len(NEW.vocab))(OLD, NEW, PAIRS) for _ in range(2))
    assert (first.weights != second.weights).nnz == 0 and np.array_equal(first.origin, second.origin)
    assert (first.origin[PAIRS[1]] == Origin.COPIED).all()
    assert np.array_equal(first.weights.sum(1) == 0, first.drawn) and (first.weights.data > 0).all()
