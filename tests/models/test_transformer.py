import json

import pytest

torch = pytest.importorskip("torch", reason="needs the package 'torch'")

from tokenloom.core.errors import InvalidInput, StoreError  # noqa: E402
from tokenloom.models.batches import pack  # noqa: E402
from tokenloom.models.transformer import Cache, Transformer  # noqa: E402

SHAPE = {"vocab_size": 13, "width": 16, "layers": 2, "heads": 4, "kv_heads": 2, "context": 24}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small(**changes):
    model = Transformer(**(SHAPE | changes)).eval()
    with torch.no_grad():  # weights as large as a trained model's: with the initial ones attention hardly matters
        for weight in model.parameters():
            if weight.dim() == 2:
                weight.mul_(8)
    return model.requires_grad_(False)


def ids(batch, length, seed=0):
    return torch.randint(0, 13, (batch, length), generator=torch.Generator().manual_seed(seed))


def assert_close(left, right):
    assert left.shape == right.shape
    assert (left - right).abs().max() < 1e-5, (left - right).abs().max()


# Attention


def test_a_later_token_changes_nothing_before_it():
    model, x = small(), ids(1, 9)
    before = model(x)
    for i in range(1, 9):
        changed = x.clone()
        changed[0, i] = (x[0, i] + 1) % 13
        after = model(changed)
        assert torch.equal(after[:, :i], before[:, :i]), i
        assert (after[:, i:] - before[:, i:]).abs().amax(-1).min() > 1e-5, f"token {i} is not seen by all later ones"


@pytest.mark.parametrize("cuts", [[7, 1, 12], [1] * 20, [20], [19, 1]], ids=str)
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_decoding_with_a_cache_equals_recomputation(cuts, kv_heads):
    model, x = small(kv_heads=kv_heads), ids(2, 20)
    cache, parts = Cache([]), []
    for part in x.split(cuts, 1):
        parts.append(model(part, cache=cache))
    assert cache.length == 20
    assert_close(torch.cat(parts, 1), model(x))


def test_packed_examples_get_the_logits_they_have_alone():
    model = small()
    examples = [([1, 2, 3], [4]), ([5], [6, 7]), ([8, 9, 10, 11], [12, 0])]
    batch = pack(examples, length=15, pad_id=0)
    together = model(batch["input_ids"], mask=batch["mask"], positions=batch["positions"])
    assert torch.isfinite(together).all()
    at = 0
    for question, answer in examples:
        alone = model(torch.tensor([question + answer]))
        assert_close(together[:, at : at + alone.shape[1]], alone)
        at += alone.shape[1]


def test_padding_on_the_left_changes_nothing_with_a_mask_and_positions():
    model, x = small(), ids(1, 6)
    padded = torch.cat([ids(1, 4, seed=1), x], 1)
    seen = torch.arange(10) >= 4
    mask = torch.ones(10, 10, dtype=torch.bool).tril() & seen[None, :] | torch.eye(10, dtype=torch.bool)
    positions = (torch.arange(10) - 4).clamp(min=0)
    assert_close(model(padded, mask=mask, positions=positions)[:, 4:], model(x))


def test_an_explicit_causal_mask_and_explicit_positions_are_the_default():
    model, x = small(), ids(2, 7)
    mask = torch.ones(7, 7, dtype=torch.bool).tril()
    for positions in (torch.arange(7), torch.arange(7).expand(2, 7)):
        assert_close(model(x, mask=mask, positions=positions), model(x))


def test_positions_matter_only_by_their_differences():
    model, x = small(), ids(1, 7)
    assert_close(model(x, positions=torch.arange(7) + 11), model(x))
    assert (model(x, positions=2 * torch.arange(7)) - model(x)).abs().max() > 1e-3


def test_grouped_heads_equal_repeated_heads():
    grouped, full = small(kv_heads=2), small(kv_heads=4)
    state = grouped.state_dict()
    for name in [name for name in state if name.endswith("qkv.weight")]:
        q, k, v = state[name].split([16, 8, 8])
        k, v = (part.view(2, 4, 16).repeat_interleave(2, 0).reshape(16, 16) for part in (k, v))
        state[name] = torch.cat([q, k, v])
    full.load_state_dict(state)
    x = ids(2, 9)
    assert_close(full(x), grouped(x))


def test_run_gives_the_residual_stream_from_the_embeddings_to_the_last_layer():
    model, x = small(), ids(2, 5)
    output = model.run(x)
    assert len(output.hidden) == 3
    assert torch.equal(output.hidden[0], model.embed(x))
    assert torch.equal(output.logits, model.head(model.norm(output.hidden[-1])))
    assert torch.equal(output.logits, model(x))


def test_dropout_acts_in_training_only():
    model, x = small(dropout=0.5), ids(1, 5)
    assert torch.equal(model(x), model(x))
    model.train()
    assert not torch.equal(model(x), model(x))


def test_the_same_generator_gives_the_same_weights_and_another_others():
    one, same, other = (Transformer(**SHAPE, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(one.embed.weight, same.embed.weight)
    assert not torch.equal(one.embed.weight, other.embed.weight)


def test_a_new_model_leaves_torchs_own_generator_alone():
    before = torch.get_rng_state()
    small()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kv_heads", [2, 4])
def test_it_is_llama(tied, kv_heads):
    transformers = pytest.importorskip("transformers", reason="needs the package 'transformers'")
    model = small(tied=tied, hidden=24, kv_heads=kv_heads, rope_base=500.0, norm_eps=1e-4)
    config = transformers.LlamaConfig(
        vocab_size=13,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=kv_heads,
        tie_word_embeddings=tied,
        rms_norm_eps=1e-4,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
        bos_token_id=None,
        eos_token_id=None,
    )
    llama = transformers.LlamaForCausalLM(config).eval()
    with torch.no_grad():
        llama.model.embed_tokens.weight.copy_(model.embed.weight)
        llama.lm_head.weight.copy_(model.head.weight)
        llama.model.norm.weight.copy_(model.norm.weight)
        for ours, theirs in zip(model.blocks, llama.model.layers):
            projections = (theirs.self_attn.q_proj, theirs.self_attn.k_proj, theirs.self_attn.v_proj)
            for part, projection in zip(ours.qkv.weight.split([16, 4 * kv_heads, 4 * kv_heads]), projections):
                projection.weight.copy_(part)
            for part, projection in zip(ours.gate_up.weight.chunk(2), (theirs.mlp.gate_proj, theirs.mlp.up_proj)):
                projection.weight.copy_(part)
            theirs.self_attn.o_proj.weight.copy_(ours.out.weight)
            theirs.mlp.down_proj.weight.copy_(ours.down.weight)
        x = ids(2, 20)
        assert_close(model(x), llama(x).logits)


# Generation


def test_greedy_generation_is_the_most_likely_id_again_and_again():
    model, x = small(), ids(2, 4)
    expected = x
    for _ in range(8):
        expected = torch.cat([expected, model(expected)[:, -1].argmax(-1, keepdim=True)], 1)
    assert torch.equal(model.generate(x, new=8), expected)


def test_sampling_repeats_itself_with_the_same_generator_and_follows_the_distribution():
    model, x = small(), ids(1, 4)

    def sample(seed):
        return model.generate(x.expand(4000, 4), new=1, temperature=2.0, generator=torch.Generator().manual_seed(seed))

    assert torch.equal(sample(0), sample(0))
    assert not torch.equal(sample(0), sample(1))
    shares = torch.bincount(sample(0)[:, -1], minlength=13) / 4000
    expected = (model(x)[0, -1] / 2).softmax(-1)
    assert (shares - expected).abs().max() < 4 * 0.5 / 4000**0.5  # four standard errors at most


def test_generation_leaves_the_mode_of_the_model():
    model = small().train()
    model.generate(ids(1, 2), new=2)
    assert model.training


# Files


@pytest.mark.parametrize("tied", [True, False])
def test_a_saved_model_comes_back_bit_for_bit(tmp_path, tied):
    model = small(tied=tied, rope_base=77.0)
    model.save_pretrained(tmp_path / "model")
    again = Transformer.from_pretrained(tmp_path / "model").eval()
    assert again.config == model.config
    assert (again.head.weight is again.embed.weight) is tied
    assert torch.equal(again(ids(1, 5)), model(ids(1, 5)))
    assert sorted(f.name for f in (tmp_path / "model").iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenloom.json",
    ]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_file_that_was_changed_is_refused(tmp_path, name):
    small().save_pretrained(tmp_path)
    content = bytearray((tmp_path / name).read_bytes())
    content[-3] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StoreError, match=rf"{name} is not the file that was written"):
        Transformer.from_pretrained(tmp_path)


@pytest.mark.parametrize("changes, words", [({"kind": "quantizer"}, "'quantizer'"), ({"format": 2}, "format 2")])
def test_another_kind_or_format_is_refused(tmp_path, changes, words):
    small().save_pretrained(tmp_path)
    record = json.loads((tmp_path / "tokenloom.json").read_text())
    (tmp_path / "tokenloom.json").write_text(json.dumps(record | changes))
    with pytest.raises(StoreError, match=words):
        Transformer.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "record", [[], {"format": 1, "kind": "transformer"}, {"format": 1, "kind": "transformer", "sha256": {}}], ids=str
)
def test_a_record_that_is_not_one_is_refused(tmp_path, record):
    small().save_pretrained(tmp_path)
    (tmp_path / "tokenloom.json").write_text(json.dumps(record))
    with pytest.raises(StoreError, match=r"tokenloom\.json"):
        Transformer.from_pretrained(tmp_path)


# Refusals


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"vocab_size": 0}, "at least 1"),
        ({"layers": 0}, "at least 1"),
        ({"width": 12}, "width=12 is no multiple of twice heads=4"),
        ({"kv_heads": 3}, "kv_heads=3 does not divide heads=4"),
        ({"dropout": 1.0}, r"dropout=1\.0"),
    ],
)
def test_transformer_refuses(changes, words):
    with pytest.raises(InvalidInput, match=words):
        Transformer(**(SHAPE | changes))


def test_more_positions_than_the_context_holds_are_refused():
    model = small()
    with pytest.raises(InvalidInput, match="25 positions, but the context holds 24"):
        model(ids(1, 25))
    cache = Cache([])
    model(ids(1, 24), cache=cache)
    with pytest.raises(InvalidInput, match="25 positions"):
        model(ids(1, 1), cache=cache)
    with pytest.raises(InvalidInput, match=r"20 \+ 5 positions"):
        model.generate(ids(1, 20), new=5)


def test_sampling_without_a_generator_is_refused():
    with pytest.raises(InvalidInput, match=r"needs a torch\.Generator"):
        small().generate(ids(1, 2), new=1, temperature=1.0)
