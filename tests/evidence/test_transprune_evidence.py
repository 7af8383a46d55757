"""The experiment runs from end to end on generated digits; what it finds at full size is in results/transprune."""

import json

import numpy as np
import pytest
import torch

from tokenloom.core.errors import CorpusError, InvalidInput
from tokenloom.evidence import transprune


@pytest.mark.slow
def test_the_experiment_in_miniature_gives_a_result_and_a_picture(tmp_path):
    transprune.run(tmp_path, quick=True, seeds=2, workers=1)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    figures = {figure["name"]: figure["ours"] for figure in result["figures"]}
    for layer in (1, 2):
        for kept in (1, 2):
            where = f"{kept} of 4 after layer {layer}"
            survives = figures[f"asked cell kept, {where}"]
            assert set(survives) == set(transprune._methods(1, 4, 1, 0)) and "TransPrune" in survives
            assert all(len(cell["values"]) == 2 for cell in survives.values())
    shown = {*transprune._methods(1, 4, 1, 0), "transitions as in the paper", "all tokens"}
    assert set(figures["ink, 2 of 4 after layer 1, blank cells never seen"]) == shown
    assert (tmp_path / result["pictures"][0]["file"]).read_bytes().startswith(b"\x89PNG")


def test_half_blank_grids_are_asked_about_cells_with_ink():
    digits = transprune.read_digits(None)[0]
    grids = transprune._half_blank(digits, 200, 4, np.random.default_rng(0))
    asked = grids.digits_BN[grids.relevant_BN]
    assert (
        60 < len(grids) < 140 and bool((asked >= 0).all()) and 0.4 < float((grids.digits_BN < 0).float().mean()) < 0.55
    )


def test_random_tokens_are_drawn_anew_for_each_item_and_the_same_for_each_seed():
    x = torch.zeros(50, 8, 1)
    first, again = (transprune.Random(3, (1,), torch.Generator().manual_seed(4))(x, layer=1, total=8) for _ in range(2))
    assert torch.equal(first.index_BM, again.index_BM) and first.shape == (50, 3, 8)
    assert len({tuple(row) for row in first.index_BM.tolist()}) > 20


def test_all_methods_keep_as_many_tokens():
    for name, reducer in transprune._methods(2, 8, 1, 0).items():
        keeps = getattr(reducer, "keep", None) or [int(8 * ratio) for ratio in reducer.ratios]
        assert list(keeps if isinstance(keeps, tuple | list) else [keeps]) == [2], name


def test_what_is_missing_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(InvalidInput, match="say where the packages' archives are"):
        transprune.run(tmp_path)
    with pytest.raises(InvalidInput, match="workers=0"):
        transprune.run(tmp_path, quick=True, workers=0)
    with pytest.raises(CorpusError, match="pip download --no-deps scikit-learn"):
        transprune.run(tmp_path, archives=tmp_path)
    assert list(tmp_path.iterdir()) == []
