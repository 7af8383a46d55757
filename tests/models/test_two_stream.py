import json
from itertools import pairwise

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the package 'torch'")

import torch.nn.functional as F  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from tokenloom.core.errors import InvalidInput, StoreError  # noqa: E402
from tokenloom.core.schedule import Schedule  # noqa: E402
from tokenloom.models.transformer import Cache, Transformer  # noqa: E402
from tokenloom.models.two_stream import TwoStream  # noqa: E402

SHAPE = {"vocab_size": 9, "mask_id": 8, "width": 16, "layers": 3, "heads": 2, "context": 16}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small(**changes):
    """In float64, and with weights as large as a trained model's: with the initial ones attention hardly matters."""
    model = TwoStream(**(SHAPE | changes)).double()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 2:
                weight.mul_(10)
    return model.requires_grad_(False)


def ids(batch, length, seed=0):
    return torch.randint(0, 8, (batch, length), generator=torch.Generator().manual_seed(seed))


def steps(order, known):
    return torch.from_numpy(Schedule.any_subset(np.array(order), known=known).step_N)[None]


@st.composite
def orders(draw, length=7):
    return draw(st.permutations(range(length))), draw(st.integers(1, length - 1))


# What may be seen


@given(orders())
@settings(max_examples=25)
def test_a_prediction_depends_on_what_is_known_before_it_and_on_nothing_else(case):
    model, x, step = small(), ids(1, 7), steps(*case)
    before = model.predictions(x, step)
    for j in range(7):
        changed = x.clone()
        changed[0, j] = (x[0, j] + 1) % 8
        moved = (model.predictions(changed, step) - before)[0, :, :8].abs().amax(-1)
        for i in range(7):
            if step[0, i] and step[0, j] < step[0, i]:
                assert moved[i] > 1e-9, f"{case}: {i} does not see {j}"
            else:
                assert moved[i] == 0, f"{case}: {j} leaks into {i}"


@given(orders())
@settings(max_examples=25)
def test_the_gradient_reaches_what_is_known_before_and_nothing_else(case):
    model, x, step = small(), ids(1, 7), steps(*case)
    model.requires_grad_(True)
    read = []
    handle = model.embed.register_forward_hook(lambda module, given, out: read.append(out))
    logits = model.predictions(x, step)[0, :, :8]
    handle.remove()
    for i in range(7):
        if step[0, i]:
            weights = torch.arange(1.0, 9, dtype=torch.float64)
            (reached,) = torch.autograd.grad((logits[i] * weights).sum(), read[0], retain_graph=True)
            seen = reached[0].abs().sum(-1) > 0
            assert torch.equal(seen, step[0] < step[0, i]), (case, i)


def test_a_query_knows_its_place():
    model, x = small(), ids(1, 5)
    all_seen = torch.ones(5, 5, dtype=torch.bool)
    logits = model(x, torch.tensor([[5, 6, 7]]), content_mask=all_seen, query_mask=all_seen[:3])
    assert (logits[0, 0] - logits[0, 1])[:8].abs().max() > 1e-6
    assert (logits[0, 1] - logits[0, 2])[:8].abs().max() > 1e-6


def test_a_query_knows_how_far_a_single_token_is():
    model, seen = small(), torch.ones(1, 1, dtype=torch.bool)
    logits = [
        model(ids(1, 1), torch.tensor([[9]]), positions_BT=torch.tensor([[i]]), content_mask=seen, query_mask=seen)
        for i in range(4)
    ]
    assert all((a - b)[..., :8].abs().max() > 1e-6 for a, b in pairwise(logits))


def test_nothing_need_be_known():
    model, x = small(), ids(1, 5)
    step = torch.tensor([[2, 4, 1, 3, 5]])
    content, query = torch.ones(0, 0, dtype=torch.bool), torch.ones(1, 0, dtype=torch.bool)
    alone = model(x[:, :0], torch.tensor([[2]]), content_mask=content, query_mask=query)
    assert (alone[0, 0] - model.predictions(x, step)[0, 2])[:8].abs().max() < 1e-12


# The whole factorisation in one call


@given(orders(), st.integers(0, 99))
@settings(max_examples=25)
def test_one_call_scores_as_many_calls_do(case, seed):
    order, known = case
    model, x = small(), ids(1, 7, seed)
    scores = model.scores(x, steps(order, known))
    for rank in range(known, 7):
        seen, place = list(order[:rank]), order[rank]
        # The prompt sees all of itself, what was written afterwards only what came before it.
        when = np.maximum(np.arange(rank) - known + 1, 0)
        logits = model(
            x[:, seen],
            torch.tensor([[place]]),
            positions_BT=torch.tensor([seen]),
            content_mask=torch.from_numpy(when[None] <= when[:, None]),
            query_mask=torch.ones(1, rank, dtype=torch.bool),
        )
        alone = logits.log_softmax(-1)[0, 0, x[0, place]]
        assert abs(alone - scores[0, place]) < 1e-12, (case, rank)
    assert scores[0, list(order[:known])].abs().max() == 0


@pytest.mark.parametrize("given", [0, 1], ids=["nothing given", "one given"])
def test_scores_of_all_fillings_are_the_logarithms_of_a_distribution(given):
    model, step = small(vocab_size=4, mask_id=1), steps([2, 1, 3, 0], 1)
    step = step if given else step[:, [0, 1, 3]]  # 3, 1, 2
    fillings = torch.cartesian_prod(*[torch.tensor([0, 2, 3])] * 3)
    known = [torch.zeros(27, dtype=torch.long)] * given
    x = torch.stack([fillings[:, 2], fillings[:, 0], *known, fillings[:, 1]], 1)
    assert abs(model.scores(x, step.expand(27, -1)).sum(1).exp().sum() - 1) < 1e-12


def test_rows_with_fewer_blanks_score_as_they_do_alone():
    model, x = small(), ids(3, 6)
    step = torch.cat([steps([0, 1, 2, 3, 4, 5], 1), steps([5, 3, 2, 0, 4, 1], 5), steps([1, 0, 2, 3, 4, 5], 6)])
    together = model.scores(x, step)
    alone = torch.cat([model.scores(x[i : i + 1], step[i : i + 1]) for i in range(3)])
    assert (together - alone).abs().max() < 1e-12
    assert together[2].abs().max() == 0


def test_from_left_to_right_it_is_a_causal_language_model():
    """The content stream is that of a causal transformer with the same weights, and a query reads its past alone."""
    model = small()
    plain = Transformer(vocab_size=10, width=16, layers=3, heads=2, context=17).double()
    state = model.state_dict()
    for i in range(3):
        q, kv = state.pop(f"blocks.{i}.q.weight"), state.pop(f"blocks.{i}.kv.weight")
        state[f"blocks.{i}.qkv.weight"] = torch.cat([q, kv])
    del state["query"]
    embed = torch.cat([state["embed.weight"], state.pop("start")])  # the start is an id of its own
    plain.load_state_dict(state | {"embed.weight": embed, "head.weight": embed})
    x, step = ids(2, 8), steps(range(8), 1).expand(2, 8)
    mine, theirs = Cache([]), Cache([])
    model(x, torch.zeros(2, 0, dtype=torch.long), content_mask=step[:, None] <= step[:, :, None],
          query_mask=torch.ones(0, 8, dtype=torch.bool), cache=mine)  # fmt: skip
    plain(F.pad(x, (1, 0), value=9), cache=theirs)
    for pair, other in zip(mine.pairs, theirs.pairs):
        assert max((a - b).abs().max() for a, b in zip(pair, other)) < 1e-12
    scores = model.scores(x, step)
    for length in range(1, 8):
        prefix = model.scores(x[:, : length + 1], step[:, : length + 1])
        assert (prefix - scores[:, : length + 1]).abs().max() < 1e-12


# Definition


def plain_predictions(model, x, step):
    """One row, by loops: what each position sees, layer by layer."""

    def turn(vector, place):
        half = len(vector) // 2
        angles = place * 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
        a, b = vector[:half], vector[half:]
        return torch.cat([a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()])

    def norm(vector, weight):
        return vector / (vector.square().mean() + 1e-5).sqrt() * weight

    def beyond(vector, place, seen, keys, values, block):
        q = (block.q.weight @ norm(vector, block.attention_norm.weight)).view(2, 8)
        heads = []
        for head in range(2):
            weights = torch.stack([turn(q[head], place) @ turn(keys[j][head], j) / 8**0.5 for j in seen]).softmax(0)
            heads.append(sum(w * values[j][head] for w, j in zip(weights, seen)))
        vector = vector + block.out.weight @ torch.cat(heads)
        gate, up = (block.gate_up.weight @ norm(vector, block.mlp_norm.weight)).chunk(2)
        return vector + block.down.weight @ (gate * gate.sigmoid() * up)

    # The start is in place 0, at step -1, and is not asked about.
    places, when = range(len(x) + 1), [-1, *step.tolist()]
    content = [model.start[0], *(model.embed.weight[i] for i in x)]
    query = [model.query[0] for _ in places]
    for block in model.blocks:
        both = [(block.kv.weight @ norm(h, block.attention_norm.weight)).view(2, 2, 8) for h in content]
        keys, values = [pair[0] for pair in both], [pair[1] for pair in both]
        query = [
            beyond(g, i, [j for j in places if when[j] < when[i]], keys, values, block) if when[i] > 0 else g
            for i, g in enumerate(query)
        ]
        content = [
            beyond(h, i, [j for j in places if when[j] <= when[i]], keys, values, block) for i, h in enumerate(content)
        ]
    return torch.stack([model.embed.weight @ norm(g, model.norm.weight) for g in query[1:]])


@given(orders(5), st.integers(0, 99))
@settings(max_examples=10)
def test_predictions_are_those_of_plain_loops(case, seed):
    model, x, step = small(), ids(1, 5, seed), steps(*case)
    blank = step[0] > 0
    # The angles of the model are rounded to 32 bits.
    difference = model.predictions(x, step)[0] - plain_predictions(model, x[0], step[0])
    assert difference[blank][:, :8].abs().max() < 1e-4
    assert torch.equal(model.predictions(x, step)[0, blank, 8], torch.full((int(blank.sum()),), -torch.inf).double())


@pytest.mark.parametrize("cuts", [[6, 0], [2, 4], [2, 1, 1, 2], [0, 2, 4]], ids=str)
def test_a_cache_changes_nothing(cuts):
    model, x, order = small(), ids(2, 8), [4, 1, 7, 0, 3, 6, 2, 5]
    step = steps(order, 2)
    by_rank = torch.tensor(order)
    asked = by_rank[6:].expand(2, 2)
    ranked = step[0, by_rank]
    content, queries = ranked[None] <= ranked[:, None], ranked[None] < ranked[:, None]
    cache, at = Cache([]), 0
    for size in cuts:
        chosen = by_rank[at : at + size].expand(2, size)
        logits = model(
            x.gather(1, chosen), asked, positions_BT=chosen, cache=cache,
            content_mask=content[at : at + size, : at + size], query_mask=queries[6:, : at + size],
        )  # fmt: skip
        at += size
    chosen = by_rank[:6].expand(2, 6)
    whole = model(x[:, order[:6]], asked, positions_BT=chosen, content_mask=content[:6, :6], query_mask=queries[6:, :6])
    assert cache.length == 7  # and the start
    assert (logits - whole)[..., :8].abs().max() < 1e-12


# Weights and folders


def test_the_same_generator_gives_the_same_weights_and_torchs_own_is_left_alone():
    before = torch.get_rng_state()
    one, same, other = (TwoStream(**SHAPE, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters()))
    assert not torch.equal(one.query, other.query)


def test_what_was_saved_is_loaded(tmp_path):
    model = TwoStream(**SHAPE, generator=torch.Generator().manual_seed(3))
    model.save_pretrained(tmp_path)
    loaded = TwoStream.from_pretrained(tmp_path)
    assert loaded.config == model.config
    assert torch.equal(loaded.scores(ids(1, 5), steps(range(5), 2)), model.scores(ids(1, 5), steps(range(5), 2)))
    assert json.loads((tmp_path / "tokenloom.json").read_text(encoding="utf-8"))["kind"] == "TwoStream"


def test_another_file_is_refused(tmp_path):
    TwoStream(**SHAPE).save_pretrained(tmp_path)
    with (tmp_path / "model.safetensors").open("ab") as file:
        file.write(b" ")
    with pytest.raises(StoreError, match="SHA-256 differs"):
        TwoStream.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"width": 10}, "width=10 is no multiple of twice heads=2"),
        ({"mask_id": 9}, "mask_id=9; it must be an id, from 0 to 8"),
        ({"layers": 0}, "at least 1"),
        ({"vocab_size": 1, "mask_id": 0}, "at least 2"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(changes, words):
    with pytest.raises(InvalidInput, match=words):
        TwoStream(**(SHAPE | changes))


def test_other_shapes_and_long_rows_are_refused():
    model = small()
    with pytest.raises(InvalidInput, match=r"steps of \(1, 3\) for ids of \(1, 4\)"):
        model.scores(ids(1, 4), torch.tensor([[0, 1, 2]]))
    with pytest.raises(InvalidInput, match="positions up to 16, but the context holds 16"):
        model.scores(ids(1, 17), steps(range(17), 1))
