"""Sessions: every node of a tree is a plain pass over its path, and what is kept is a cache that was never longer."""

import pytest
import torch
from drafters import random_tree, tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import default_rng
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, GPT2Config, GPT2LMHeadModel, MambaConfig, MambaForCausalLM

from tokenloom.core.draft_tree import DraftTree
from tokenloom.core.errors import InvalidInput
from tokenloom.core.ledger import Ledger
from tokenloom.models.transformer import Transformer
from tokenloom.predict.decode.session import CausalSession


def models():
    torch.manual_seed(0)
    gemma = Gemma3TextConfig(vocab_size=11, hidden_size=16, intermediate_size=24, num_hidden_layers=6, num_attention_heads=4,
                             num_key_value_heads=2, head_dim=8, sliding_window=4, bos_token_id=None, eos_token_id=None)  # fmt: skip
    gpt2 = GPT2Config(
        vocab_size=11, n_embd=16, n_layer=2, n_head=2, n_positions=64, bos_token_id=None, eos_token_id=None
    )
    eager = tiny_model(1, attn_implementation="eager")
    return {
        "Llama": tiny_model(),
        "Llama, eager": eager,
        "Gemma 3, sliding windows": Gemma3ForCausalLM(gemma).double().eval(),
        "GPT-2": GPT2LMHeadModel(gpt2).double().eval(),
        "ours": Transformer(vocab_size=11, width=16, layers=2, heads=2).double(),
    }


MODELS = models()
every = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def plain(model, ids):
    return CausalSession(model).extend(ids, hidden=True)


@every
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 7))
def test_each_node_is_a_plain_pass_over_its_path(model, seed, cached):
    rng = default_rng(seed)
    prompt, tree = rng.integers(0, 11, cached).tolist(), random_tree(rng, 8, 11)
    tokens = rng.integers(0, 11, len(tree)).tolist()
    session = CausalSession(model)
    if cached:
        session.extend(prompt)
    step = session.extend(tokens, tree, hidden=True)
    for node in range(len(tree)):
        path, above = [], node
        while above >= 0:
            path.append(tokens[above])
            above = tree.parents_N[above]
        right = plain(model, prompt + path[::-1])
        assert torch.allclose(step.logits_NV[node], right.logits_NV[-1], atol=1e-10)
        assert torch.allclose(step.hidden_ND[node], right.hidden_ND[-1], atol=1e-10)


@every
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000))
def test_what_is_kept_is_as_if_nothing_else_had_been_there(model, seed):
    rng = default_rng(seed)
    prompt, tree = rng.integers(0, 11, 6).tolist(), random_tree(rng, 8, 11)
    tokens = rng.integers(0, 11, len(tree)).tolist()
    session = CausalSession(model)
    session.extend(prompt)
    session.extend(tokens, tree)
    path = [node for node in tree.paths[int(rng.integers(len(tree.paths)))].tolist() if node >= 0]
    path = path[: int(rng.integers(1, len(path) + 1))]
    session.keep(6, path)
    kept = prompt + [tokens[node] for node in path]
    assert session.ids == kept
    more = rng.integers(0, 11, 3).tolist()
    assert torch.allclose(session.extend(more).logits_NV, plain(model, kept + more).logits_NV[-3:], atol=1e-10)
    session.keep(2)
    assert torch.allclose(session.extend([5]).logits_NV, plain(model, [*prompt[:2], 5]).logits_NV[-1:], atol=1e-10)
    session.keep(0)
    assert torch.allclose(session.extend([5]).logits_NV, plain(model, [5]).logits_NV, atol=1e-10)


def test_a_cache_is_that_of_a_fresh_prompt():
    model = MODELS["Llama"]
    session, fresh = CausalSession(model), CausalSession(model)
    session.extend([1, 2, 3])
    session.extend([4, 5, 6, 7], DraftTree.from_paths([[0], [1], [1, 0]]))
    session.keep(3, [0, 2, 3])
    fresh.extend([1, 2, 3, 4, 6, 7])
    for a, b in zip(session._cache.layers, fresh._cache.layers):
        assert torch.allclose(a.keys, b.keys, atol=1e-12) and torch.allclose(a.values, b.values, atol=1e-12)


@every
def test_the_ledger_counts_calls_tokens_and_parameters(model):
    session = CausalSession(model)
    assert session.extend([1, 2, 3], last=True).logits_NV.shape == (1, 11)
    session.extend([4])
    size = sum(weight.numel() for weight in model.parameters())
    assert session.ledger == Ledger(2, 4, 4 * size)


@pytest.mark.parametrize(
    "work, words",
    [
        (lambda s: s.extend([]), "one at least"),
        (lambda s: s.extend([11]), "from 0 to 10"),
        (lambda s: s.extend([1, 2], DraftTree.chain(2)), "2 ids for a tree of 3"),
        (lambda s: s.keep(1), "length=1"),
        (lambda s: (s.extend([1, 2, 3]), s.keep(1, [1, 0])), "must ascend"),
        (lambda s: (s.extend([1, 2, 3]), s.keep(1, [2])), "be there"),
    ],
)
def test_calls_that_make_no_sense_are_refused(work, words):
    with pytest.raises(InvalidInput, match=words):
        work(CausalSession(MODELS["Llama"]))
    with pytest.raises(InvalidInput, match="a Transformer takes no pixel_values"):
        CausalSession(MODELS["ours"]).extend([1], pixel_values=torch.zeros(1))


def test_models_that_cannot_take_back_are_refused():
    mamba = MambaForCausalLM(MambaConfig(vocab_size=11, hidden_size=8, num_hidden_layers=1, state_size=4))
    with pytest.raises(InvalidInput, match="no token can be taken back"):
        CausalSession(mamba)
