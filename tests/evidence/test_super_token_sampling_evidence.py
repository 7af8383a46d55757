"""The experiment runs from end to end on generated data; what it finds at full size is in results/super-token-sampling."""

import json

import numpy as np
import pytest
import torch

from tokenloom.core.errors import CorpusError, InvalidInput
from tokenloom.evidence import super_token_sampling as evidence
from tokenloom.evidence import superpixels


@pytest.mark.slow
def test_the_experiment_in_miniature_gives_a_result_and_a_picture(tmp_path):
    evidence.run(tmp_path, quick=True, seeds=2, workers=1)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    digits, *groups, speed = result["figures"]
    assert {name: len(cell["values"]) for name, cell in digits["ours"].items()} == dict.fromkeys(evidence.ATTENTIONS, 2)
    assert len(groups) == 3 and len(speed["ours"]) == 2
    assert (tmp_path / result["pictures"][0]["file"]).read_bytes().startswith(b"\x89PNG")


def test_known_colours_have_their_published_coordinates():
    """sRGB red, white and black in L*a*b* under D65."""
    lab = superpixels.lab(np.array([[[255, 0, 0], [255, 255, 255], [0, 0, 0]]], np.uint8))[0]
    np.testing.assert_allclose(lab, [[53.24, 80.09, 67.20], [100, 0, 0], [0, 0, 0]], atol=0.02)


def test_edges_and_borders_of_two_halves_are_found():
    picture = np.zeros((28, 28, 3), np.uint8)
    picture[:, 14:] = 255
    edges = superpixels.strong_edges(picture)
    assert edges[:, 13:15].all() and edges.sum() == 56
    halves = (np.arange(28) >= 14)[None].repeat(28, 0).astype(int)
    score = superpixels.score(halves, edges, superpixels.lab(picture))
    assert score == {"recall": 1.0, "border": 3 / 28, "explained": pytest.approx(1)}
    rows = halves.T.copy()
    assert superpixels.score(rows, edges, superpixels.lab(picture))["explained"] == pytest.approx(0)


def test_slic_is_the_nearest_of_nine_means():
    x, near = torch.randn(12, 2), torch.full((12, 9), -1)
    near[:, 4] = torch.arange(12) // 6  # two cells of six, next to each other
    near[:6, 5], near[6:, 3] = 1, 0
    found = superpixels.slic(x, near, iterations=2)
    groups = near[:, 4].clone()
    for _ in range(2):
        means = torch.stack([x[groups == g].mean(0) for g in (0, 1)])
        groups = torch.cdist(x, means).argmin(1)
    assert torch.equal(found, groups)


def test_groups_of_two_halves_follow_the_border_that_the_grid_misses():
    picture = np.zeros((28, 28, 3), np.uint8)
    picture[:, 10:] = 255  # cells end at 14
    groups = evidence._groups(picture, 14)
    assert (groups["grid"][:, 10:14] == groups["grid"][:, :4]).all()
    for name in ("super tokens, 3", "super tokens, 5", "SLIC, 5"):
        assert (groups[name][:, 9] != groups[name][:, 10]).all(), name


def test_what_is_missing_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(InvalidInput, match="say where the packages' archives are"):
        evidence.run(tmp_path)
    with pytest.raises(InvalidInput, match="workers=0"):
        evidence.run(tmp_path, quick=True, workers=0)
    with pytest.raises(CorpusError, match="pip download --no-deps scikit-image"):
        evidence.run(tmp_path, archives=tmp_path)
    assert list(tmp_path.iterdir()) == []
