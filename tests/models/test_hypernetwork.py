"""The hypernetwork is its formula, reads what is valid only, and comes back from its folder."""

import pytest
import torch
import torch.nn.functional as F

from tokenloom.core.errors import InvalidInput, StoreError
from tokenloom.core.pretrained import save_files
from tokenloom.models.hypernetwork import Hypernetwork


def small(**settings):
    return Hypernetwork(**{"source": 6, "width": 8, "heads": 2, "layers": 2, "pieces": 4, **settings}).eval()


def rows(n=5, length=4, source=6, seed=0):
    return torch.randn(n, length, source, generator=torch.Generator().manual_seed(seed))


def block(part, x):
    return F.layer_norm(
        x + F.gelu(part.down(F.gelu(part.up(x)))), x.shape[-1:], part.norm.weight, part.norm.bias, part.norm.eps
    )


@torch.no_grad()
def test_a_prediction_is_the_formula():
    model, given = small(), rows(n=1)
    model.fit_input(rows(n=50, seed=1).flatten(0, 1))
    model.out_scale_E.copy_(torch.rand(6) + 0.5)
    model.out_shift_E.copy_(torch.rand(6))
    x = model.enter((given[0] - model.mean_E) * model.scale_E)
    x = block(model.enter_block, x) + model.positions
    for layer in model.encoder.layers:  # attention by hand: two heads of four values, then the feed-forward layer
        q, k, v = (x @ layer.self_attn.in_proj_weight.T + layer.self_attn.in_proj_bias).split(8, -1)
        heads = []
        for at in (0, 4):
            weights = (q[:, at : at + 4] @ k[:, at : at + 4].T / 2).softmax(-1)
            heads.append(weights @ v[:, at : at + 4])
        x = layer.norm1(x + layer.self_attn.out_proj(torch.cat(heads, -1)))
        x = layer.norm2(x + layer.linear2(F.gelu(layer.linear1(x))))
    wanted = model.leave(block(model.leave_block, x[0])) * model.out_scale_E + model.out_shift_E
    found = model(given, torch.ones(1, 4, dtype=torch.bool))
    assert torch.allclose(found.rows[0], wanted, atol=1e-5)
    assert found.bias is None


@torch.no_grad()
def test_what_is_not_valid_is_not_read():
    model, given = small(), rows()
    valid = torch.arange(4) < torch.tensor([1, 2, 3, 4, 2])[:, None]
    whole = model(given, valid).rows
    assert torch.allclose(whole, model(torch.where(valid[..., None], given, 9.0), valid).rows)
    for k, n in enumerate([1, 2, 3, 4, 2]):
        alone = model(given[k : k + 1, :n], torch.ones(1, n, dtype=torch.bool)).rows
        assert torch.allclose(whole[k : k + 1], alone, atol=1e-5)


@torch.no_grad()
def test_the_order_of_pieces_counts():
    model, given = small(), rows(n=1)
    valid = torch.ones(1, 4, dtype=torch.bool)
    assert not torch.allclose(model(given, valid).rows, model(given.flip(1), valid).rows, atol=1e-3)


@torch.no_grad()
def test_the_affine_maps_give_rows_their_mean_and_deviation():
    model, table = small(), 3 + 5 * torch.randn(200, 6, generator=torch.Generator().manual_seed(3))
    model.fit_input(table)
    read = (table - model.mean_E) * model.scale_E
    assert torch.allclose(read.mean(0), torch.zeros(6), atol=1e-6)
    assert torch.allclose(read.std(0), torch.full((6,), 0.02))
    valid = torch.ones(200, 1, dtype=torch.bool)
    for _ in range(2):  # fitting again changes nothing
        model.fit_output(model(table[:, None], valid).rows, table)
        made = model(table[:, None], valid).rows
        assert torch.allclose(made.mean(0), table.mean(0), atol=1e-4)
        assert torch.allclose(made.std(0), table.std(0), rtol=1e-4)


@torch.no_grad()
def test_languages_and_a_bias_are_there_where_asked_for():
    model, valid = small(languages=3, bias=True), torch.ones(5, 4, dtype=torch.bool)
    one, other = (model(rows(), valid, torch.full((5,), k)) for k in (0, 2))
    assert one.bias.shape == (5,) and not torch.equal(one.bias, other.bias)
    assert not torch.allclose(one.rows, other.rows)


def test_the_seed_makes_the_weights_and_leaves_torch_alone():
    before = torch.get_rng_state()
    one, same, other = (small(generator=torch.Generator().manual_seed(k)) for k in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.enter.weight, other.enter.weight)


@torch.no_grad()
def test_what_is_saved_predicts_the_same(tmp_path):
    model = small(languages=2, bias=True)
    model.fit_input(rows().flatten(0, 1))
    model.save_pretrained(tmp_path)
    again = Hypernetwork.from_pretrained(tmp_path).eval()
    valid, language = torch.ones(5, 4, dtype=torch.bool), torch.ones(5, dtype=torch.long)
    assert torch.equal(model(rows(), valid, language).rows, again(rows(), valid, language).rows)
    assert again.config == model.config


def test_another_kind_of_folder_is_refused(tmp_path):
    save_files(tmp_path, "Decompounder", {"config.json": b"{}"})
    with pytest.raises(StoreError, match="holds a Decompounder, not a Hypernetwork"):
        Hypernetwork.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: small(width=7), "width=7 is no multiple of heads=2"),
        (lambda: small(layers=0), "must be at least 1"),
        (lambda: small()(rows(length=5), torch.ones(5, 5, dtype=torch.bool)), "at most 4 pieces"),
        (lambda: small()(rows(source=5), torch.ones(5, 4, dtype=torch.bool)), "has 6 values"),
        (lambda: small()(rows(), torch.zeros(5, 4, dtype=torch.bool)), "token 0 has no piece"),
        (lambda: small(languages=2)(rows(), torch.ones(5, 4, dtype=torch.bool)), "knows 2 languages"),
        (lambda: small()(rows(), torch.ones(5, 4, dtype=torch.bool), torch.zeros(5)), "knows 0 languages"),
    ],
)
def test_what_does_not_fit_is_refused(call, words):
    with pytest.raises(InvalidInput, match=words):
        call()
