"""STViT: the published sizes, blocks restated, maps of each stage, seeds, folders, refusals."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tokenloom.core.errors import InvalidInput, StoreError
from tokenloom.models.stvit import STVIT_SIZES, STViT, STViTBlock

SMALL = {
    "widths": (8, 16),
    "depths": (2, 1),
    "heads": (1, 2),
    "cells": (4, 1),
    "layer_scales": (None, 0.5),
    "classes": 3,
}


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size, millions", [("S", 25), ("B", 52), ("L", 95)])
def test_the_published_sizes_have_the_published_parameters(size, millions):
    with torch.device("meta"):
        model = STViT(**STVIT_SIZES[size])
    assert abs(sum(p.numel() for p in model.parameters()) / 1e6 - millions) < 0.5


@pytest.mark.parametrize("scale", [None, 0.3])
def test_a_block_is_its_three_parts(scale):
    torch.manual_seed(0)
    block, x = STViTBlock(8, 2, (3, 3), layer_scale=scale).eval(), noise(2, 8, 7, 6)
    factor = 1 if scale is None else scale
    with torch.no_grad():
        found = block(x)
        y = x + F.conv2d(x, block.position.weight, block.position.bias, padding=1, groups=8)
        normed = F.layer_norm(y.movedim(1, 3), (8,), block.norm1.weight, block.norm1.bias, eps=1e-6).movedim(3, 1)
        y = y + factor * block.attention(normed)
        inner = F.conv2d(y / (1 + 1e-5) ** 0.5, block.enter.weight, block.enter.bias)  # the norm has seen nothing yet
        inner = 0.5 * inner * (1 + torch.erf(inner / 2**0.5))
        inner = inner + F.conv2d(inner, block.middle.weight, block.middle.bias, padding=1, groups=32)
        y = y + factor * F.conv2d(inner, block.leave.weight, block.leave.bias)
    np.testing.assert_allclose(found, y, atol=1e-5)


def test_stages_halve_the_map():
    model = STViT(**SMALL).eval()
    with torch.no_grad():
        maps, logits = model.features(noise(2, 3, 36, 44)), model(noise(2, 3, 36, 44))
    assert [tuple(m.shape) for m in maps] == [(2, 8, 9, 11), (2, 16, 5, 6)] and logits.shape == (2, 3)


def test_a_path_is_left_out_for_whole_samples_and_made_up_for():
    torch.manual_seed(0)
    block, x = STViTBlock(4, 1, (2, 2), drop_path=0.5), noise(400, 4, 2, 2)
    block.eval()
    with torch.no_grad():
        moved = block.attention(torch.zeros(1, 4, 2, 2)) + 1
    block.train()
    parts = block._part(0, moved.expand(400, -1, -1, -1).contiguous())
    ratio = (parts / moved).flatten(1)
    assert set(ratio.round().unique().tolist()) == {0.0, 2.0} and torch.allclose(
        ratio.std(1), torch.zeros(400), atol=1e-4
    )
    assert 150 < int((ratio[:, 0] > 1).sum()) < 250
    assert block(x).shape == x.shape


def test_drop_paths_rise_from_block_to_block():
    model = STViT(**{**SMALL, "drop_path": 0.4})
    np.testing.assert_allclose([b.drop_path for stage in model.stages for b in stage], [0, 0.2, 0.4], atol=1e-6)
    assert [b.scales is None for stage in model.stages for b in stage] == [True, True, False]


def test_one_seed_gives_the_same_weights():
    def weights(seed):
        return STViT(**SMALL, generator=torch.Generator().manual_seed(seed)).stem[0].weight

    assert torch.equal(weights(1), weights(1)) and not torch.equal(weights(1), weights(2))


def test_a_folder_gives_the_model_back(tmp_path):
    model, x = STViT(**{**SMALL, "mask_border": True}).eval(), noise(1, 3, 32, 32)
    model.save_pretrained(tmp_path)
    again = STViT.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert torch.equal(model(x), again(x)) and again.config == model.config
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(StoreError, match="SHA-256"):
        STViT.from_pretrained(tmp_path)


def test_every_matrix_has_a_gradient():
    """Biases before a norm over the batch have none."""
    model = STViT(**{**SMALL, "projection": 16})
    F.cross_entropy(model(noise(4, 3, 32, 32)), torch.tensor([0, 1, 2, 0])).backward()
    found = {
        name: float(p.grad.abs().max()) for name, p in model.named_parameters() if name.endswith(("weight", "scales"))
    }
    assert len(found) > 25 and min(found.values()) > 1e-9


@pytest.mark.parametrize(
    "changed, words",
    [
        ({"heads": (1,)}, r"heads=\(1,\)"),
        ({"heads": (3, 2)}, "width=8 is no multiple of heads=3"),
        ({"depths": (0, 1)}, "at least 1"),
        ({"drop_path": 1.0}, "drop_path=1.0"),
    ],
)
def test_stvit_refuses(changed, words):
    with pytest.raises(InvalidInput, match=words):
        STViT(**{**SMALL, **changed})
