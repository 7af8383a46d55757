"""The comparison runs from end to end on generated digits; what it finds at full size is in results/."""

import json

import numpy as np
import pytest
import torch

from tokenloom.core.errors import CorpusError, InvalidInput
from tokenloom.core.token_map import TokenMap
from tokenloom.evidence import token_reduction_position as comparison
from tokenloom.evidence.token_reduction_position import panel, pictures, speed


@pytest.mark.slow
def test_the_comparison_in_miniature_gives_every_reducer_a_row(tmp_path):
    comparison.run(tmp_path, quick=True, seeds=2, workers=1)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    (figure,) = [
        f for f in result["figures"] if f["name"] == "questions on digits: accuracy, digit, 0.25 of the tokens"
    ]
    expected = {"nothing reduced", *panel.before(0.25, (4, 4), blocks=2), *panel.between(0.25, 16)}
    assert set(figure["ours"]) == expected
    assert all(len(cell["values"]) == 2 for figure in result["figures"] for cell in figure["ours"].values())
    (tokens,) = [f for f in result["figures"] if f["name"] == "questions on digits: tokens, 0.25 of the tokens"]
    # VisionZip leaves the class token too, which is no cell; SparseVLM recycles one.
    assert {n for n, c in tokens["ours"].items() if c["mean"] != 4} <= {"VisionZip", "SparseVLM"}
    names = [f["name"] for f in result["figures"]]
    assert len(set(names)) == len(names)
    assert (tmp_path / "axes.png").read_bytes().startswith(b"\x89PNG")


def test_shares_and_archives_are_looked_at_first(tmp_path):
    with pytest.raises(InvalidInput, match="above 0 and below 1"):
        comparison.measure(tmp_path / "out", keeps=(1.0,), quick=True)
    with pytest.raises(CorpusError):
        comparison.measure(tmp_path / "out", archives=tmp_path)
    assert not (tmp_path / "out").exists()


def test_a_picture_that_moved_by_a_patch_keeps_what_it_kept():
    rows, columns = pictures.GRID
    kept = np.array([columns + 1, 5 * columns + 7])
    moved = kept - columns - 1
    assert pictures._moved(kept, moved) == 1.0
    assert pictures._moved(kept, kept) == 0.0
    # What is at the border of one picture is outside the other.
    assert pictures._moved(np.append(kept, [0]), np.append(moved, [rows * columns - 1])) == 1.0


def test_the_class_token_is_no_patch():
    n = pictures.GRID[0] * pictures.GRID[1]
    with_class = TokenMap.keep(torch.tensor([[0, 3, 5]]), of=n + 1)
    assert pictures.patches_only(with_class, 0).positions_BM.tolist() == [[2, 4]]
    assert pictures.patches_only(TokenMap.keep(torch.tensor([[2]]), of=n), 0).positions_BM.tolist() == [[2]]


def test_operations_saved_grow_with_what_is_dropped_and_shrink_with_the_layer():
    assert speed.saved(0.25) > speed.saved(0.5) > speed.saved(0.5, layer=16) > 0
    assert speed.saved(1.0) == 0
