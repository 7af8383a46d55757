import json
import math
from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the package 'torch'")
pytest.importorskip("accelerate", reason="needs the package 'accelerate'")

from tokenloom.core.errors import InvalidInput, StoreError  # noqa: E402
from tokenloom.core.ledger import Ledger  # noqa: E402
from tokenloom.models.batches import IGNORED, pack, packs, windows  # noqa: E402
from tokenloom.models.training import learning_rate, logits_of, train  # noqa: E402
from tokenloom.models.transformer import Transformer  # noqa: E402

IDS = np.random.default_rng(0).integers(0, 11, 400).astype(np.uint16)
EXAMPLES = [([1, 2, 3], [4]), ([5], [6, 7]), ([8, 9], [10]), ([2, 2, 2, 2], [3, 3])]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small(dropout=0.0, seed=0, **changes):
    shape = {"vocab_size": 11, "width": 16, "layers": 2, "heads": 2, "context": 16, "dropout": dropout} | changes
    return Transformer(**shape, generator=torch.Generator().manual_seed(seed))


def text(seed=0, batch=4):
    return windows(IDS, length=9, batch=batch, rng=np.random.default_rng(seed))


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same_weights(left, right):
    for name, value in left.items():
        assert torch.equal(value, right[name]), name


class Stopped(Exception):
    pass


def stop_at(last):
    def progress(step, loss):
        if step == last:
            raise Stopped

    return progress


# The schedule


def test_the_rate_ends_at_its_minimum_on_the_last_step_and_peaks_after_the_warm_up():
    rates = [learning_rate(s, steps=50, lr=1.0, warmup=10, min_lr=0.1) for s in range(1, 51)]
    assert rates[0] == 0.1 and rates[9] == 1.0 and rates[-1] == 0.1
    assert rates[29] == pytest.approx(0.55)  # half way down the cosine: the mean of both ends
    assert all(a > b for a, b in pairwise(rates[9:]))


# One step, worked out with plain torch


def test_a_step_is_adamw_on_the_clipped_gradient_of_the_mean_loss():
    model, twin = small(), small()
    batch = next(iter(text()))
    result = train(model, [batch], steps=1, warmup=0, lr=1e-2, min_lr=1e-2, clip=0.1)

    matrices = [p for p in twin.parameters() if p.dim() == 2]
    vectors = [p for p in twin.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        lr=1e-2,
        betas=(0.9, 0.95),
    )
    logits = twin(batch["input_ids"])[:, :-1].log_softmax(-1)
    loss = -logits.gather(-1, batch["labels"][:, 1:, None]).mean()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(twin.parameters(), 0.1)
    optimizer.step()

    assert result.losses == pytest.approx([loss.item()], abs=1e-6)
    for (name, mine), theirs in zip(model.named_parameters(), twin.parameters()):
        assert torch.allclose(mine, theirs, atol=1e-6), name


def test_vectors_are_not_decayed():
    model = small()
    train(model, text(), steps=1, warmup=0, lr=1e-9, min_lr=1e-9, weight_decay=1e8)
    assert torch.allclose(model.norm.weight, torch.ones(16), atol=1e-6)
    assert torch.allclose(model.embed.weight, 0.9 * small().embed.weight, atol=1e-6)  # 1 - 1e-9 * 1e8


def test_accumulation_equals_one_big_batch_whatever_each_part_predicts():
    batch = pack(EXAMPLES, length=6, pad_id=0)
    predicted = (batch["labels"] != IGNORED).sum(1).tolist()
    assert len(set(predicted)) > 1, predicted
    parts = [{name: value[i : i + 1] for name, value in batch.items()} for i in range(len(predicted))]
    whole, split = small(), small()
    one = train(whole, [batch] * 3, steps=3, warmup=1, lr=1e-2)
    many = train(split, parts * 3, steps=3, warmup=1, lr=1e-2, accumulate=len(parts))
    assert many.losses == pytest.approx(one.losses, abs=1e-6)
    for (name, mine), theirs in zip(whole.named_parameters(), split.parameters()):
        assert torch.allclose(mine, theirs, atol=1e-5), name


def test_training_learns_a_text_that_repeats_itself():
    ids = np.tile(np.arange(10), 40)
    source = windows(ids, length=9, batch=8, rng=np.random.default_rng(0))
    model = small()
    losses = train(model, source, steps=80, warmup=5, lr=1e-2).losses
    assert losses[-1] < 0.1 < 2 < losses[0]
    assert model.generate(torch.tensor([[3, 4, 5]]), new=4)[0].tolist() == [3, 4, 5, 6, 7, 8, 9]


def test_bfloat16_trains_beside_float32_in_one_process_and_keeps_float32_weights():
    exact = train(small(), text(), steps=5, warmup=1)
    model = small()
    rough = train(model, text(), steps=5, warmup=1, precision="bf16")
    assert model.embed.weight.dtype == torch.float32
    assert not np.array_equal(exact.losses, rough.losses)
    assert rough.losses == pytest.approx(exact.losses, abs=0.05)


def test_training_leaves_torchs_generator_and_the_mode_of_the_model_alone():
    model = small(dropout=0.2).eval()
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    train(model, text(), steps=2, warmup=0)
    assert torch.equal(torch.rand(3), expected)
    assert not model.training


def test_the_ledger_counts_passes_tokens_and_parameters():
    model = small()
    ledger = train(model, text(), steps=3, warmup=0, accumulate=2).ledger
    tokens = 3 * 2 * 4 * 9
    size = sum(p.numel() for p in model.parameters())
    assert ledger == Ledger(forward_passes=6, tokens=tokens, activated_parameters=tokens * size)


# Resume


@pytest.mark.parametrize("stateful", [True, False], ids=["source with state", "plain generator"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_run_interrupted_twice_equals_the_uninterrupted_one_bit_for_bit(tmp_path, stateful, accumulate):
    def source():
        return text() if stateful else iter(text())

    settings = {"steps": 12, "warmup": 3, "accumulate": accumulate, "every": 2}
    straight = small(dropout=0.1)
    expected = train(straight, source(), log=tmp_path / "a.jsonl", **settings)

    resume = settings | {"checkpoint": tmp_path / "run", "log": tmp_path / "b.jsonl"}
    for seed, last in ((0, 5), (1, 9)):  # each stops a step behind a checkpoint; other initial weights change nothing
        with pytest.raises(Stopped):
            train(small(dropout=0.1, seed=seed), source(), progress=stop_at(last), **resume)
    model = small(dropout=0.1, seed=2)
    result = train(model, source(), **resume)

    assert np.array_equal(result.losses, expected.losses)
    assert result.ledger == expected.ledger
    assert_same_weights(weights(straight), weights(model))
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    assert [f.name for f in sorted((tmp_path / "run").iterdir())] == ["checkpoint.json", "state-12.safetensors"]


def test_a_finished_run_is_read_back_without_a_step(tmp_path):
    model, again = small(), small(seed=1)
    first = train(model, text(), steps=3, warmup=0, checkpoint=tmp_path)
    second = train(again, [], steps=3, warmup=0, checkpoint=tmp_path)
    assert np.array_equal(first.losses, second.losses)
    assert_same_weights(weights(model), weights(again))


def test_packs_resume_within_an_epoch():
    source = packs(EXAMPLES, length=6, batch=1, pad_id=0, rng=np.random.default_rng(1))
    batches = iter(source)
    for _ in range(3):
        next(batches)
    state = json.loads(json.dumps(source.state_dict()))
    expected = [next(batches)["input_ids"] for _ in range(7)]
    other = packs(EXAMPLES, length=6, batch=1, pad_id=0, rng=np.random.default_rng(2))
    other.load_state_dict(state)
    assert all(torch.equal(a, b["input_ids"]) for a, b in zip(expected, other))


@pytest.mark.parametrize("kind", [np.random.PCG64, np.random.Philox, np.random.SFC64, np.random.MT19937])
def test_windows_resume_with_any_bit_generator(kind):
    def source(seed):
        return windows(IDS, length=5, batch=3, rng=np.random.Generator(kind(seed)))

    one, other = source(1), source(2)
    batches = iter(one)
    next(batches)
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert torch.equal(next(batches)["input_ids"], next(iter(other))["input_ids"])


# The log


def test_the_log_has_a_line_of_json_per_step(tmp_path):
    result = train(small(), text(), steps=4, warmup=2, log=tmp_path / "deep" / "log.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "deep" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert [line["loss"] for line in lines] == result.losses.tolist()
    assert [line["tokens"] for line in lines] == [32, 64, 96, 128]  # 4 windows of 9, of which 8 are predicted
    assert lines[-1]["lr"] == 1e-4 and math.isfinite(lines[-1]["grad_norm"])


# Hugging Face models


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", ["Llama", "GPT2"])
def test_a_hugging_face_model_gives_packed_examples_the_logits_they_have_alone(family, attention):
    transformers = pytest.importorskip("transformers", reason="needs the package 'transformers'")
    sizes = {
        "Llama": {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2},
        "GPT2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 16},
    }[family]
    config = getattr(transformers, f"{family}Config")(vocab_size=11, attn_implementation=attention, **sizes)
    kind = transformers.LlamaForCausalLM if family == "Llama" else transformers.GPT2LMHeadModel
    torch.manual_seed(0)
    model = kind(config).eval()
    packed = pack(EXAMPLES[:2], length=9, pad_id=0)
    with torch.no_grad():
        together = logits_of(model, packed)[0]
        for (question, answer), start in zip(EXAMPLES, (0, 4)):
            alone = logits_of(model, {"input_ids": torch.tensor([question + answer])})[0]
            assert torch.allclose(together[start : start + alone.shape[0]], alone, atol=1e-5)


def test_a_hugging_face_model_with_tied_weights_trains_and_resumes(tmp_path):
    transformers = pytest.importorskip("transformers", reason="needs the package 'transformers'")

    def model():
        config = transformers.GPT2Config(
            vocab_size=11, n_embd=16, n_layer=1, n_head=2, n_positions=16, bos_token_id=0, eos_token_id=0
        )
        torch.manual_seed(0)
        return transformers.GPT2LMHeadModel(config)

    straight, stopped, resumed = model(), model(), model()
    settings = {"steps": 6, "warmup": 1, "every": 2}
    expected = train(straight, text(), **settings)
    with pytest.raises(Stopped):
        train(stopped, text(), checkpoint=tmp_path, progress=stop_at(5), **settings)
    result = train(resumed, text(), checkpoint=tmp_path, **settings)
    assert np.array_equal(result.losses, expected.losses)
    assert_same_weights(weights(straight), weights(resumed))


# Batches


def test_windows_are_pieces_of_the_text_and_reach_both_ends():
    ids = np.arange(12)
    source = iter(windows(ids, length=10, batch=50, rng=np.random.default_rng(0)))
    batch = next(source)
    assert batch["input_ids"].dtype == torch.int64
    starts = batch["input_ids"][:, 0]
    assert torch.equal(batch["input_ids"], starts[:, None] + torch.arange(10))
    assert sorted(set(starts.tolist())) == [0, 1, 2]


def test_packing_keeps_each_example_its_answer_its_positions_and_its_block():
    batch = pack(EXAMPLES, length=8, pad_id=0)
    assert batch["input_ids"].tolist() == [
        [1, 2, 3, 4, 5, 6, 7, 0],
        [8, 9, 10, 0, 0, 0, 0, 0],
        [2, 2, 2, 2, 3, 3, 0, 0],
    ]
    x = IGNORED
    assert batch["labels"].tolist() == [[x, x, x, 4, x, 6, 7, x], [x, x, 10, x, x, x, x, x], [x, x, x, x, 3, 3, x, x]]
    assert batch["positions"][0].tolist() == [0, 1, 2, 3, 0, 1, 2, 0]
    block = [0, 0, 0, 0, 1, 1, 1, 2]
    for i in range(8):
        for j in range(8):
            assert batch["mask"][0, 0, i, j] == (j <= i and block[i] == block[j])


def test_an_epoch_of_packs_holds_every_example_once():
    source = iter(packs(EXAMPLES, length=6, batch=2, pad_id=0, rng=np.random.default_rng(0)))
    seen = []
    while len(seen) < 3 * len(EXAMPLES):
        batch = next(source)
        assert batch["input_ids"].shape == (2, 6)
        for ids, labels, positions in zip(batch["input_ids"], batch["labels"], batch["positions"]):
            starts = [i for i in range(6) if positions[i] == 0 and i + 1 < 6 and positions[i + 1] == 1]
            for start in starts:
                seen.append(tuple(ids[start : start + 2].tolist()))
            assert (labels != IGNORED).any()
    first = sorted(tuple((question + answer)[:2]) for question, answer in EXAMPLES)
    for epoch in range(3):
        assert sorted(seen[4 * epoch : 4 * epoch + 4]) == first


# Refusals


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"steps": 0}, "steps=0"),
        ({"steps": 2, "warmup": 2}, "warmup=2"),
        ({"lr": 0.0}, "lr=0.0"),
        ({"min_lr": 1.0}, "min_lr=1.0"),
        ({"clip": 0.0}, "clip=0.0"),
        ({"accumulate": 0}, "accumulate=0"),
        ({"precision": "int8"}, "precision='int8'"),
        ({"every": 0}, "every=0"),
    ],
)
def test_train_refuses(changes, words, tmp_path):
    with pytest.raises(InvalidInput, match=words):
        train(small(), text(), **({"steps": 2, "warmup": 0, "log": tmp_path / "log"} | changes))
    assert not list(tmp_path.iterdir())


def test_train_refuses_float16_without_a_gpu():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(InvalidInput, match="needs a GPU"):
        train(small(), text(), steps=2, warmup=0, precision="fp16")


def test_train_says_when_batches_end_early():
    batch = next(iter(text()))
    with pytest.raises(InvalidInput, match="ended in step 3 of 4; 4 are needed"):
        train(small(), [batch, batch], steps=4, warmup=0)


def test_train_refuses_a_step_that_predicts_nothing():
    ids = torch.zeros(1, 4, dtype=torch.int64)
    with pytest.raises(InvalidInput, match="nothing is predicted"):
        train(small(), [{"input_ids": ids, "labels": torch.full_like(ids, IGNORED)}], steps=1, warmup=0)


def test_train_stops_when_the_loss_is_not_finite():
    model = small()
    with torch.no_grad():
        model.embed.weight.fill_(torch.inf)
    with pytest.raises(InvalidInput, match="loss of step 1 is nan"):
        train(model, text(), steps=2, warmup=0)


@pytest.mark.parametrize(
    "changes, words",
    [({"lr": 1e-2}, "begun with lr=0.001, not 0.01"), ({"steps": 9}, "begun with steps=3, not 9")],
)
def test_a_checkpoint_of_other_settings_is_refused(tmp_path, changes, words):
    settings = {"steps": 3, "warmup": 0, "min_lr": 0.0, "checkpoint": tmp_path}
    train(small(), text(), **settings)
    with pytest.raises(StoreError, match=words):
        train(small(), text(), **(settings | changes))


def test_a_checkpoint_of_another_model_is_refused_before_anything_changes(tmp_path):
    train(small(), text(), steps=3, warmup=0, checkpoint=tmp_path)
    other = small(layers=3)
    before = weights(other)
    with pytest.raises(StoreError, match=r"another model: model/blocks\.2"):
        train(other, text(), steps=3, warmup=0, checkpoint=tmp_path)
    assert_same_weights(before, weights(other))


def test_a_damaged_checkpoint_is_refused(tmp_path):
    train(small(), text(), steps=3, warmup=0, checkpoint=tmp_path)
    file = tmp_path / "state-3.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    with pytest.raises(StoreError, match="SHA-256 differs"):
        train(small(), text(), steps=3, warmup=0, checkpoint=tmp_path)


@pytest.mark.parametrize("record", [[], {}, {"format": 1, "kind": "transformer", "sha256": {}}], ids=str)
def test_a_record_that_is_no_checkpoint_is_refused(tmp_path, record):
    (tmp_path / "checkpoint.json").write_text(json.dumps(record))
    with pytest.raises(StoreError, match="no checkpoint of a training"):
        train(small(), text(), steps=3, warmup=0, checkpoint=tmp_path)


def test_batches_with_a_state_do_not_go_on_where_ones_without_began(tmp_path):
    with pytest.raises(Stopped):
        train(small(), iter(text()), steps=3, warmup=0, every=1, checkpoint=tmp_path, progress=stop_at(2))
    with pytest.raises(StoreError, match="keep no state"):
        train(small(), text(), steps=3, warmup=0, every=1, checkpoint=tmp_path)


@pytest.mark.parametrize(
    "examples, words",
    [
        ([], "no example"),
        ([([1], [2]), ([], [3])], "example 1 has an empty"),
        ([([1], [])], "example 0 has an empty"),
        ([([1, 2, 3], [4, 5])], "5 ids, but a row holds 4"),
    ],
)
def test_pack_refuses(examples, words):
    with pytest.raises(InvalidInput, match=words):
        pack(examples, length=4, pad_id=0)
    with pytest.raises(InvalidInput, match=words):
        packs(examples, length=4, batch=1, pad_id=0, rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    "length, batch, words", [(401, 1, "length=401"), (1, 1, "length=1"), (5, 0, "batch=0")], ids=str
)
def test_windows_refuse(length, batch, words):
    with pytest.raises(InvalidInput, match=words):
        windows(IDS, length=length, batch=batch, rng=np.random.default_rng(0))
