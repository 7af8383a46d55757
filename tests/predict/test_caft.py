"""CAFT against a double loop over heads and positions, against plain fine-tuning, and what its heads may see."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from tokenloom.core.errors import InvalidInput, StoreError
from tokenloom.models.batches import IGNORED, pack, packs, windows
from tokenloom.models.training import logits_of, train
from tokenloom.models.transformer import Transformer
from tokenloom.predict.objectives.caft import (
    CAFT,
    CaftHeads,
    HeadPretraining,
    SineUntil,
    constant,
    evaluate_heads,
    head_losses,
    linear,
    reflected_sine,
    sine,
    train_caft,
)
from tokenloom.predict.objectives.caft.losses import label_counts, targets
from tokenloom.predict.objectives.caft.trunk import states_of

V = 23


def ours(tied=False, dropout=0.0):
    generator = torch.Generator().manual_seed(3)
    model = Transformer(
        vocab_size=V, width=16, layers=2, heads=2, context=32, tied=tied, dropout=dropout, generator=generator
    )
    return _lively(model)


def llama(tied=False, attention="sdpa"):
    config = LlamaConfig(vocab_size=V, hidden_size=16, intermediate_size=24, num_hidden_layers=3, num_attention_heads=2,
                         num_key_value_heads=1, tie_word_embeddings=tied, bos_token_id=0, eos_token_id=0,
                         attn_implementation=attention)  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return _lively(LlamaForCausalLM(config))


def _lively(model):
    """Weights large enough that attention matters, in float64."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 2:
                weight.mul_(8)
    return model.double().eval()


MODELS = {
    "Transformer": ours,
    "Llama": llama,
    "Llama, eager": lambda: llama(attention="eager"),
    "tied": lambda: ours(True),
}
each_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


def tolerance(model):
    """Eager attention of transformers goes through float32."""
    return 1e-6 if getattr(model.config, "_attn_implementation", "") == "eager" else 1e-10


def disturbed(heads):
    """Heads that differ from each other and from the model."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in heads.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=generator, dtype=weight.dtype))
    return heads


def rows(batch=3, length=12, seed=0):
    """Ids, of which some are predicted."""
    rng = np.random.default_rng(seed)
    ids = torch.from_numpy(rng.integers(0, V, (batch, length)))
    labels = torch.where(torch.from_numpy(rng.random((batch, length)) < 0.6), ids, IGNORED)
    return {"input_ids": ids, "labels": labels}


def packed(seed=0, length=16):
    """Rows of several examples, some of them shorter than the heads look ahead."""
    rng = np.random.default_rng(seed)
    pairs = [(rng.integers(0, V, rng.integers(1, 4)), rng.integers(0, V, rng.integers(1, 6))) for _ in range(9)]
    return pack(pairs, length=length, pad_id=0), pairs


def text(length=10, batch=2, seed=0):
    ids = np.random.default_rng(9).integers(0, V, 300)
    return windows(ids, length=length, batch=batch, rng=np.random.default_rng(seed))


def weights_of(model):
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


def difference(before, model):
    return max((before[name] - weight).abs().max().item() for name, weight in model.named_parameters())


# Losses


def plain_losses(model, heads, batch, span_of=None):
    """-log p, head by head and position by position; `span_of` tells which example a place of a row belongs to."""
    states = states_of(model, batch)
    found = []
    for k in range(len(heads) + 1):
        made = states if k == 0 else heads(model, states, batch, k)
        log_p = heads.unembedding(model, k)(made).log_softmax(-1)
        terms = []
        for b, row in enumerate(batch["labels"].tolist()):
            for t in range(len(row) - 1 - k):
                label = row[t + 1 + k]
                same = span_of is None or k == 0 or span_of[b][t] == span_of[b][t + 1 + k]
                if label != IGNORED and same:
                    terms.append(-float(log_p[b, t, label].detach()))
        found.append(sum(terms) / len(terms) if terms else 0.0)
    return found


@each_model
@pytest.mark.parametrize("kind, separate", [("layer", False), ("linear", False), ("layer", True), ("linear", True)])
def test_losses_are_those_of_a_double_loop(make, kind, separate):
    model = make()
    heads = disturbed(CaftHeads(model, heads=3, kind=kind, separate_unembedding=separate))
    batch = rows()
    assert head_losses(model, heads, batch).tolist() == pytest.approx(plain_losses(model, heads, batch), abs=1e-12)


@each_model
@pytest.mark.parametrize("seed", range(3))
def test_heads_predict_within_an_example_and_see_nothing_else(make, seed):
    model = make()
    heads = disturbed(CaftHeads(model, heads=4))
    batch, pairs = packed(seed)
    # Row and place of each example, as `pack` fills rows: in their order, until the next one does not fit.
    spans = np.full(batch["input_ids"].shape, -1)
    row = at = 0
    sums, counts = np.zeros(5), np.zeros(5)
    for number, (question, answer) in enumerate(pairs):
        size = len(question) + len(answer)
        row, at = (row, at) if at + size <= spans.shape[1] else (row + 1, 0)
        spans[row, at : at + size] = number
        at += size
        alone = torch.from_numpy(np.concatenate([question, answer]))[None]
        labels = alone.clone()
        labels[:, : len(question)] = IGNORED
        # Filled up on the right, so that it is longer than the heads look ahead.
        one = {"input_ids": F.pad(alone, (0, 5)), "labels": F.pad(labels, (0, 5), value=IGNORED)}
        held = label_counts(one, 4).numpy()
        sums, counts = sums + head_losses(model, heads, one).detach().numpy() * held, counts + held
    found = head_losses(model, heads, batch).tolist()
    assert found == pytest.approx(plain_losses(model, heads, batch, spans), abs=1e-12)
    assert found == pytest.approx((sums / counts.clip(1)).tolist(), abs=tolerance(model))


@given(st.integers(0, 2**32 - 1), st.integers(2, 9), st.integers(0, 4))
def test_targets_are_the_labels_further_on_that_see_the_position(seed, length, k):
    rng = np.random.default_rng(seed)
    labels = torch.from_numpy(np.where(rng.random((2, length)) < 0.7, rng.integers(0, V, (2, length)), IGNORED))
    mask = torch.from_numpy(rng.random((2, 1, length, length)) < 0.7).tril() | torch.eye(length, dtype=torch.bool)
    batch = {"input_ids": labels.clamp(min=0), "labels": labels, "mask": mask}
    expected = [
        [int(labels[b, t + 1 + k]) if k == 0 or mask[b, 0, t + 1 + k, t] else IGNORED for t in range(length - 1 - k)]
        for b in range(2)
    ]
    assert targets(batch, k).tolist() == expected
    assert label_counts(batch, k)[k] == sum(label != IGNORED for row in expected for label in row)


@each_model
def test_a_head_without_a_label_has_loss_0_and_no_gradient(make):
    model = make()
    heads = disturbed(CaftHeads(model, heads=3))
    labels = torch.full((2, 8), IGNORED)
    labels[:, 2] = 1  # Heads 0 and 1 look there, from positions 1 and 0; the others would from before the row.
    batch = {"input_ids": rows(2, 8)["input_ids"], "labels": labels}
    losses = head_losses(model, heads, batch)
    assert losses[2:].tolist() == [0, 0] and (losses[:2] > 0).all()
    losses[2:].sum().backward()
    assert all(weight.grad is None or not weight.grad.any() for weight in model.parameters())
    assert np.isfinite(train_caft(model, heads, [batch] * 2, CAFT(), steps=2, lr=1e-3).losses).all()


def test_a_linear_head_predicts_the_next_token_at_first():
    model = llama()
    heads = CaftHeads(model, heads=3, kind="linear")
    batch = rows()
    states = states_of(model, batch)
    log_p = logits_of(model, batch).log_softmax(-1)
    losses = head_losses(model, heads, batch)
    for k in range(1, 4):
        assert torch.equal(heads(model, states, batch, k), states)
        labels = batch["labels"][:, 1 + k :]
        expected = F.nll_loss(log_p[:, : -1 - k].flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
        assert losses[k].item() == pytest.approx(expected.item(), abs=1e-12)


@each_model
def test_layer_heads_start_as_the_chosen_layer(make):
    model = make()
    layers = model.blocks if isinstance(model, Transformer) else model.model.layers
    for start in (-1, -2):
        heads = CaftHeads(model, heads=2, start=start)
        for body in heads.bodies:
            assert all(torch.equal(a, b) for a, b in zip(body.parameters(), layers[start].parameters()))
            assert not {id(p) for p in body.parameters()} & {id(p) for p in model.parameters()}
    batch = rows()
    # On what the last layer reads, a head that starts as the last layer is the last layer.
    norm = model.norm if isinstance(model, Transformer) else model.model.norm
    made = norm(CaftHeads(model)(model, states_of(model, batch, before_last_layer=True), batch, 1))
    torch.testing.assert_close(made, states_of(model, batch), atol=tolerance(model), rtol=0)


# What heads see


@each_model
@pytest.mark.parametrize("kind", ["layer", "linear"])
def test_a_head_does_not_depend_on_later_tokens(make, kind):
    model = make()
    heads = disturbed(CaftHeads(model, heads=2, kind=kind))
    one, other = rows(1, 10), rows(1, 10)
    other["input_ids"] = other["input_ids"].clone()
    other["input_ids"][:, 6:] = (other["input_ids"][:, 6:] + 1) % V
    for k in (1, 2):
        a, b = (heads(model, states_of(model, x), x, k) for x in (one, other))
        torch.testing.assert_close(a[:, :6], b[:, :6], atol=tolerance(model), rtol=0)
        assert (a[:, 6] - b[:, 6]).abs().max() > 1e-3


@each_model
def test_padding_on_the_left_changes_nothing(make):
    model = make()
    heads = disturbed(CaftHeads(model, heads=3))
    batch = rows(2, 10)
    ids, labels = (F.pad(batch[name], (4, 0), value=value) for name, value in (("input_ids", 7), ("labels", IGNORED)))
    labels[:, 4] = IGNORED  # Nothing predicts the first token of a row that is not padded.
    mask = torch.ones(14, 14, dtype=torch.bool).tril()
    mask[:, :4] = False
    mask |= torch.eye(14, dtype=torch.bool)
    positions = (torch.arange(14) - 4).clamp(min=0).expand(2, 14)
    shifted = {"input_ids": ids, "labels": labels, "mask": mask.expand(2, 1, 14, 14), "positions": positions}
    expected = head_losses(model, heads, batch)
    torch.testing.assert_close(head_losses(model, heads, shifted), expected, atol=tolerance(model), rtol=0)


# Schedules and the sum


def test_schedules_at_known_places():
    places = (0, 0.3, 1)
    assert [reflected_sine(s) for s in places] == pytest.approx([1, math.sin(0.35 * math.pi), 0], abs=1e-12)
    assert [sine(s) for s in places] == pytest.approx([0, math.sin(0.15 * math.pi), 1])
    assert [linear(s) for s in places] == [0, 0.3, 1]
    assert [constant(s) for s in places] == [1, 1, 1]
    assert [SineUntil(0.6)(s) for s in (0, 0.3, 0.6, 1)] == pytest.approx([0, math.sin(math.pi / 4), 1, 1])


def test_the_loss_is_the_weighted_sum():
    losses = torch.tensor([2.0, 3.0, 5.0], dtype=torch.float64)
    gamma = math.sin(0.7 * math.pi / 2)
    assert float(CAFT()(losses, 0.3)) == pytest.approx(2 + 0.01 * gamma * (0.8 * 3 + 0.64 * 5))
    assert float(CAFT(0.5, 0.1, linear)(losses, 0.3)) == pytest.approx(2 + 0.1 * 0.3 * (0.5 * 3 + 0.25 * 5))
    assert HeadPretraining().weights(2, 0.3).tolist() == pytest.approx([0, 0.8, 0.64])


# Training


def plain_fine_tuning(model, batches, steps, lr, betas=(0.9, 0.999), decay=0.1):
    """AdamW, clipping and a half cosine down to a tenth, in plain torch; everything is trained."""
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    adamw = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0}], betas=betas
    )
    for step, batch in zip(range(1, steps + 1), batches):
        for group in adamw.param_groups:
            group["lr"] = lr / 10 + (lr - lr / 10) * (1 + math.cos(math.pi * step / steps)) / 2
        loss = F.cross_entropy(logits_of(model, batch)[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten())
        adamw.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adamw.step()


@each_model
@pytest.mark.parametrize("case", ["no heads", "K = 0", "beta = 0", "gamma = 0"])
def test_without_a_share_of_the_heads_it_is_plain_fine_tuning(make, case):
    model, twin = make(), make()
    heads = None if case == "no heads" else disturbed(CaftHeads(model, heads=0 if case == "K = 0" else 2))
    beta, gamma = 0.0 if case == "beta = 0" else 0.5, (lambda s: 0.0) if case == "gamma = 0" else constant
    stage = CAFT(beta=beta, gamma=gamma, freeze_unembedding=False)
    train_caft(model, heads, text(), stage, steps=8, lr=1e-3, weight_decay=0.1)
    plain_fine_tuning(twin, text(), 8, 1e-3)
    assert difference(weights_of(twin), model) < 1e-9
    assert difference(weights_of(make()), model) > 1e-3


def test_without_a_share_of_the_heads_it_is_the_training_of_models_with_its_dropout():
    def make():
        return ours(dropout=0.2).float()

    model, twin = make(), make()
    heads = disturbed(CaftHeads(model, heads=2))
    options = {
        "steps": 6,
        "lr": 1e-3,
        "warmup": 2,
        "weight_decay": 0.1,
        "betas": (0.9, 0.95),
        "accumulate": 2,
        "seed": 7,
    }
    found = train_caft(model, heads, text(), CAFT(beta=0, freeze_unembedding=False), **options)
    plain = train(twin, text(), **options)
    assert found.losses[:, 0] == pytest.approx(plain.losses, rel=1e-5)
    assert difference(weights_of(twin), model) < 1e-5
    assert plain.ledger.tokens == found.ledger.tokens and plain.ledger.forward_passes == found.ledger.forward_passes


@each_model
def test_a_step_follows_the_gradient_of_the_whole_loss(make):
    model, twin = make(), make()
    heads = disturbed(CaftHeads(model, heads=3, separate_unembedding=True))
    also = disturbed(CaftHeads(twin, heads=3, separate_unembedding=True))
    batch = rows()
    stage = CAFT(beta=0.7, train_heads=True, freeze_unembedding=False)
    # With betas of 0, a first step of AdamW is the sign of the gradient: g / (|g| + eps); SGD would need another loop.
    options = {"steps": 1, "lr": 1e-3, "min_lr": 1e-3, "betas": (0.0, 0.0), "clip": 1e9}
    train_caft(model, heads, [batch], stage, **options)
    stage(head_losses(twin, also, batch), 0.0).backward()
    for mine, theirs in ((model, twin), (heads, also)):
        for after, before in zip(mine.parameters(), theirs.parameters()):
            step = 1e-3 * before.grad / (before.grad.abs() + 1e-8)
            torch.testing.assert_close(after, before - step, atol=1e-9, rtol=0)


def test_batches_of_a_step_count_by_their_labels():
    few, many = rows(1, 12, seed=1), rows(1, 12, seed=2)
    few["labels"] = torch.where(torch.arange(12) == 6, few["labels"].new_tensor(3), IGNORED).expand(1, 12)
    together = {name: torch.cat([few[name], many[name]]) for name in few}
    made = []
    for batches, accumulate in (([few, many], 2), ([together], 1)):
        model = llama()
        heads = disturbed(CaftHeads(model, heads=3))
        found = train_caft(model, heads, batches, CAFT(beta=0.5), steps=1, lr=1e-3, accumulate=accumulate)
        made.append((weights_of(model), found.losses))
    assert max(float((made[0][0][name] - made[1][0][name]).abs().max()) for name in made[0][0]) < 1e-9
    assert made[0][1][0] == pytest.approx(made[1][1][0], abs=1e-12)
    model = llama()
    heads = disturbed(CaftHeads(model, heads=3))
    apart, whole = evaluate_heads(model, heads, [few, many]), head_losses(model, heads, together)
    assert apart.each == pytest.approx(whole.tolist(), abs=1e-12)
    assert apart.score() == pytest.approx(sum(0.8**k * one for k, one in enumerate(whole.tolist())))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_gradient_that_is_clipped_is_that_of_the_mean_over_the_step(accumulate, monkeypatch):
    model, stage = llama(), CAFT(beta=0.5, train_heads=True, freeze_unembedding=False)
    heads = disturbed(CaftHeads(model, heads=2))
    batches = [rows(1, 12, seed=seed) for seed in range(accumulate)]
    together = {name: torch.cat([one[name] for one in batches]) for name in batches[0]}
    stage(head_losses(model, heads, together), 0.0).backward()
    weights = [*model.parameters(), *heads.parameters()]
    expected = math.sqrt(sum(weight.grad.square().sum().item() for weight in weights))
    norms, clip = [], torch.nn.utils.clip_grad_norm_
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *given: norms.append(clip(*given).item()))
    for weight in weights:
        weight.grad = None
    train_caft(model, heads, batches, stage, steps=1, lr=1e-3, accumulate=accumulate)
    assert norms == [pytest.approx(expected, rel=1e-10)]


def test_what_is_frozen_has_no_dropout():
    batch = rows()
    model = ours(dropout=0.5)
    heads = disturbed(CaftHeads(model, heads=2, kind="linear"))
    still = head_losses(model, heads, batch).tolist()
    taught = train_caft(model, heads, [batch], HeadPretraining(), steps=1, lr=1e-9)
    assert taught.losses[0, 1:] == pytest.approx(still[1:], abs=1e-9)
    assert train_caft(model, heads, [batch], CAFT(), steps=1, lr=1e-9).losses[0] != pytest.approx(still, abs=1e-3)
    heads, model = disturbed(CaftHeads(model, heads=2)), ours()
    still = head_losses(model, heads.eval(), batch).tolist()
    for stage, same in ((CAFT(), True), (CAFT(train_heads=True), False), (HeadPretraining(), False)):
        found = train_caft(model, heads, [batch], stage, steps=1, lr=1e-9).losses[0, 1:]
        assert (found == pytest.approx(still[1:], abs=1e-6)) == same


@pytest.mark.parametrize("training", [True, False])
def test_modes_are_as_before_afterwards(training):
    model = llama()
    heads = CaftHeads(model, heads=1)
    model.train(training)
    heads.train(not training)
    for run in (
        lambda: CaftHeads(model, heads=1),
        lambda: evaluate_heads(model, heads, [rows()]),
        lambda: train_caft(model, heads, [rows()], CAFT(), steps=1, lr=1e-3),
        lambda: train_caft(model, heads, [rows()], HeadPretraining(), steps=1, lr=1e-3),
    ):
        run()
        assert (model.training, heads.training) == (training, not training)


@each_model
def test_in_the_first_stage_only_heads_learn(make):
    model = make()
    heads = disturbed(CaftHeads(model, heads=2))
    before, own = weights_of(model), weights_of(heads)
    found = train_caft(model, heads, [rows()] * 12, HeadPretraining(), steps=12, lr=1e-2)
    assert difference(before, model) == 0 and difference(own, heads) > 0.01
    assert all(weight.grad is None and weight.requires_grad for weight in model.parameters())
    assert np.isnan(found.losses[:, 0]).all() and (found.losses[-3:, 1:].mean(0) < found.losses[:3, 1:].mean(0)).all()


def test_heads_that_read_before_the_last_layer_are_taught_there():
    model, batch = llama(), rows()
    heads = disturbed(CaftHeads(model, heads=2, start=-2))
    there = head_losses(model, heads, batch, before_last_layer=True)
    read = states_of(model, batch, before_last_layer=True)
    _, *hidden = model.model(input_ids=batch["input_ids"], output_hidden_states=True).hidden_states
    assert torch.equal(read, hidden[-2])
    found = train_caft(model, heads, [batch], HeadPretraining(before_last_layer=True), steps=1, lr=1e-3)
    assert found.losses[0, 1:] == pytest.approx(there[1:].tolist(), abs=1e-12)
    assert there[0] == head_losses(model, heads, batch)[0] and (there[1:] != head_losses(model, heads, batch)[1:]).all()


@each_model
def test_frozen_heads_get_no_gradient_and_the_trunk_gets_one_from_each(make):
    model = make()
    heads = disturbed(CaftHeads(model, heads=3)).requires_grad_(False)
    for k in range(1, 4):
        model.zero_grad()
        head_losses(model, heads, rows())[k].backward()
        embedding = model.embed if isinstance(model, Transformer) else model.model.embed_tokens
        assert embedding.weight.grad.abs().max() > 0
    assert all(weight.grad is None for weight in heads.parameters())


@pytest.mark.parametrize("tied", [False, True])
def test_a_frozen_output_layer_is_the_input_embedding_where_they_are_tied(tied):
    model = llama(tied)
    heads = CaftHeads(model, heads=2)
    before, own = weights_of(model), weights_of(heads)
    train_caft(model, heads, text(), CAFT(beta=0.5), steps=3, lr=1e-2)
    assert difference(own, heads) == 0
    assert torch.equal(model.lm_head.weight, before["model.embed_tokens.weight" if tied else "lm_head.weight"])
    assert torch.equal(model.model.embed_tokens.weight, before["model.embed_tokens.weight"]) == tied
    assert not torch.equal(model.model.layers[0].mlp.up_proj.weight, before["model.layers.0.mlp.up_proj.weight"])
    train_caft(model, heads, text(), CAFT(beta=0.5, train_heads=True, freeze_unembedding=False), steps=1, lr=1e-2)
    assert not torch.equal(model.lm_head.weight, before.get("lm_head.weight", before["model.embed_tokens.weight"]))
    assert difference(own, heads) > 0


def test_only_what_requires_gradients_is_fine_tuned_and_it_does_so_afterwards():
    model = llama()
    model.requires_grad_(False)
    model.model.layers[1].mlp.requires_grad_(True)
    heads, before = CaftHeads(model, heads=2), weights_of(model)
    train_caft(model, heads, text(), CAFT(beta=0.5), steps=2, lr=1e-2)
    changed = {name for name, weight in model.named_parameters() if not torch.equal(weight, before[name])}
    assert changed == {name for name in before if name.startswith("model.layers.1.mlp.")}
    assert {name for name, weight in model.named_parameters() if weight.requires_grad} == changed
    assert all(weight.requires_grad for weight in heads.parameters()) and not model.training


def test_bfloat16_is_close_and_leaves_the_weights_as_they_are():
    found = []
    for precision in ("no", "bf16"):
        model = llama().float()
        heads = disturbed(CaftHeads(model, heads=2))
        found.append(train_caft(model, heads, text(), CAFT(), steps=3, lr=1e-3, precision=precision).losses)
        assert all(weight.dtype == torch.float32 for weight in model.parameters())
    assert found[0] == pytest.approx(found[1], rel=0.05) and (found[0] != found[1]).any()


def test_the_same_seed_gives_the_same_weights_and_torch_is_left_alone():
    state, made = torch.get_rng_state(), []
    for seed in (0, 0, 1):
        model = ours(dropout=0.3)
        told = []
        heads = CaftHeads(model, heads=2)
        train_caft(
            model,
            heads,
            text(),
            CAFT(beta=0.5),
            steps=3,
            lr=1e-3,
            seed=seed,
            progress=lambda step, _, told=told: told.append(step),
        )
        made.append(weights_of(model))
        assert told == [1, 2, 3]
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])
    assert not all(torch.equal(made[0][name], made[2][name]) for name in made[0])
    assert torch.equal(state, torch.get_rng_state())


# Saved


@each_model
def test_the_model_is_plain_at_inference(make, tmp_path):
    model = make()
    names, ids = list(model.state_dict()), rows()["input_ids"]
    heads = CaftHeads(model, heads=2)
    train_caft(model, heads, text(), CAFT(beta=0.5), steps=2, lr=1e-2)
    logits = logits_of(model, {"input_ids": ids})
    disturbed(heads)
    assert list(model.state_dict()) == names and torch.equal(logits_of(model, {"input_ids": ids}), logits)
    model.save_pretrained(tmp_path)
    options = {} if isinstance(model, Transformer) else {"dtype": torch.float64}
    again = type(model).from_pretrained(tmp_path, **options).double().eval()
    torch.testing.assert_close(logits_of(again, {"input_ids": ids}), logits, atol=1e-6, rtol=0)
    assert torch.equal(again.state_dict()[names[-1]], model.state_dict()[names[-1]]) or isinstance(model, Transformer)


@each_model
@pytest.mark.parametrize("kind, separate", [("layer", False), ("linear", True)])
def test_saved_heads_come_back(make, kind, separate, tmp_path):
    model = make()
    heads = disturbed(CaftHeads(model, heads=2, kind=kind, separate_unembedding=separate))
    heads.save_pretrained(tmp_path)
    again = CaftHeads.from_pretrained(tmp_path, model)
    batch = rows()
    assert again.config == heads.config and {path.name for path in tmp_path.iterdir()} == {
        "config.json", "model.safetensors", "tokenloom.json",
    }  # fmt: skip
    assert torch.equal(head_losses(model, again, batch), head_losses(model, heads, batch))


def test_heads_of_another_model_and_other_folders_are_refused(tmp_path):
    CaftHeads(llama(), heads=2).save_pretrained(tmp_path)
    with pytest.raises(StoreError, match="heads of another model"):
        CaftHeads.from_pretrained(tmp_path, ours())
    (tmp_path / "tokenloom.json").write_text(
        (tmp_path / "tokenloom.json").read_text(encoding="utf-8").replace("CaftHeads", "Hypernetwork"), encoding="utf-8"
    )
    with pytest.raises(StoreError, match="a Hypernetwork, not CaftHeads"):
        CaftHeads.from_pretrained(tmp_path, llama())


# Refusals


def other_model(kind):
    sizes = {"vocab_size": V, "bos_token_id": 0, "eos_token_id": 0}
    if kind == "bert":
        return BertForMaskedLM(
            BertConfig(vocab_size=V, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
        )
    if kind == "mistral":
        return MistralForCausalLM(
            MistralConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
                          num_key_value_heads=1, sliding_window=4, **sizes)
        )  # fmt: skip
    return GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=1, n_positions=16, **sizes))


@pytest.mark.parametrize("kind", ["gpt2", "mistral"])
def test_linear_heads_stand_on_other_architectures(kind):
    model = other_model(kind).eval()
    assert head_losses(model, CaftHeads(model, heads=2, kind="linear"), rows(2, 8)).shape == (3,)


@pytest.mark.parametrize(
    "make, options, words",
    [
        (llama, {"heads": -1}, "heads=-1"),
        (llama, {"kind": "mlp"}, "kind='mlp'"),
        (llama, {"start": 0}, "start=0; the model has 3 layers"),
        (llama, {"start": -4}, "-1 … -3"),
        (lambda: other_model("gpt2"), {}, "not those of Llama's type; use heads of kind 'linear'"),
        (lambda: other_model("mistral"), {}, "do not see everything before .sliding_window=4,"),
        (lambda: other_model("bert"), {"kind": "linear"}, "is not|are not|cannot be read"),
        (lambda: torch.nn.Linear(2, 2), {}, "a Linear has no output layer over ids"),
    ],
)
def test_heads_refuse(make, options, words):
    with pytest.raises(InvalidInput, match=words):
        CaftHeads(make(), **options)


def test_logits_that_are_changed_behind_the_output_layer_are_refused():
    model = llama()
    model.lm_head.register_forward_hook(lambda module, args, out: out)  # harmless
    CaftHeads(model)
    plain = model.forward
    model.forward = lambda **inputs: type("Out", (), {"logits": 3 * plain(**inputs).logits})()
    with pytest.raises(InvalidInput, match="not its output layer on its last hidden states alone"):
        CaftHeads(model)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: CAFT(alpha=-0.1), "alpha=-0.1"),
        (lambda: CAFT(beta=-1), "beta=-1"),
        (lambda: HeadPretraining(alpha=-0.1), "alpha=-0.1"),
        (lambda: CAFT(beta=math.nan), "beta=nan"),
        (lambda: SineUntil(0), "ratio=0"),
        (lambda: CAFT()(torch.ones(3), 1.2), "progress=1.2"),
        (lambda: evaluate_heads(llama(), None, []), "no batch"),
    ],
)
def test_settings_are_refused(make, words):
    with pytest.raises(InvalidInput, match=words):
        make()


def same(batch, **other):
    return {**batch, **other}


@pytest.mark.parametrize(
    "options, words",
    [
        ({"heads": 0, "stage": HeadPretraining()}, "no heads, but heads alone are to be trained"),
        ({"heads": None, "stage": HeadPretraining()}, "no heads, but heads alone are to be trained"),
        ({"batch": rows(2, 3)}, "rows of 3 ids, but 3 heads look further ahead; they need 4 or more"),
        ({"batch": same(rows(2, 8), labels=rows(2, 7)["labels"])}, "labels .2, 7. for input_ids .2, 8."),
        ({"batch": same(rows(2, 8), labels=torch.full((2, 8), IGNORED))}, "step 1: no label that is used"),
        ({"steps": 3}, "batches ended in step 3 of 3"),
        ({"steps": 0}, "steps=0"),
        ({"warmup": 2}, "warmup=2"),
        ({"accumulate": 0}, "accumulate=0"),
        ({"lr": 0.0}, "lr=0.0"),
        ({"lr": 1e-3, "min_lr": 1.0}, "min_lr=1.0"),
        ({"precision": "fp16"}, "precision='fp16'"),
        ({"frozen": True}, "nothing to train"),
    ],
)
def test_training_refuses(options, words):
    given = {"heads": 3, "stage": CAFT(), "batch": rows(2, 8), "steps": 2, "lr": 1e-3, "frozen": False, **options}
    model = llama().requires_grad_(not given.pop("frozen"))
    number, stage, batch = (given.pop(name) for name in ("heads", "stage", "batch"))
    heads = None if number is None else CaftHeads(model, heads=number)
    with pytest.raises(InvalidInput, match=words):
        train_caft(model, heads, [batch] * 2, stage, **given)


def test_a_loss_that_is_not_finite_is_told():
    model = llama().float()
    heads = CaftHeads(model, heads=1, separate_unembedding=True)
    with torch.no_grad():
        heads.unembeddings[0].weight[0] = math.inf
    before = weights_of(model)
    with pytest.raises(InvalidInput, match=r"the losses of step 1 are .*try a lower lr"):
        train_caft(model, heads, text(), CAFT(), steps=1, lr=1e-3)
    assert difference(before, model) == 0 and not model.training
    assert all(weight.requires_grad for weight in heads.parameters())


def test_packs_of_examples_are_learnt():
    rng = np.random.default_rng(0)
    pairs = [(rng.integers(0, V, 2), np.array([5, 6, 7, 8])) for _ in range(12)]
    model = ours()
    heads = CaftHeads(model, heads=2)
    batches = packs(pairs, length=18, batch=2, pad_id=0, rng=np.random.default_rng(0))
    taught = train_caft(model, heads, batches, HeadPretraining(), steps=30, lr=1e-2)
    tuned = train_caft(model, heads, batches, CAFT(beta=0.1), steps=30, lr=1e-2)
    assert (
        taught.losses[-1, 1:].max() < 1 < taught.losses[0, 1:].min() and tuned.losses[-1, 0] < 0.5 * tuned.losses[0, 0]
    )
