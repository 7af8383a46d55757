"""The experiment runs from end to end on models that have hardly been trained; what it finds is in results/flash-speculative."""

import json

import numpy as np
import pytest
import torch

from tokenloom.core.draft_tree import DraftTree
from tokenloom.core.errors import InvalidInput
from tokenloom.evidence import flash_speculative
from tokenloom.models.transformer import Transformer
from tokenloom.predict.decode.flash_speculative import FLASH, FlashHead
from tokenloom.predict.decode.generating import generate


def test_the_experiment_in_miniature_gives_a_result_and_a_picture(tmp_path):
    flash_speculative.run(tmp_path, quick=True, seeds=1)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert result["system"] == "flash-speculative"
    figures = {figure["name"]: figure["ours"] for figure in result["figures"]}
    assert set(figures["seconds in all"]) == {"alone", *flash_speculative.WAYS}
    assert all(len(cell["values"]) == 1 for figure in figures.values() for cell in figure.values())
    assert all(cell["values"] == [1] for cell in figures["captions that are those of the captioner alone"].values())
    operations = {way: cell["mean"] for way, cell in figures["drafter's arithmetic for each drafted token"].items()}
    single, whole, pooled = operations.values()
    assert single > whole > pooled
    assert (tmp_path / "flash.png").read_bytes().startswith(b"\x89PNG")
    assert result["ledger"]["forward_passes"] > 0


def test_operations_are_counted_as_worked_by_hand():
    """Of a chain of two behind a prompt of four: three rows in the first pass, then one in each."""
    width, heads, groups, futures, vocab = 8, 2, 4, 2, 11
    model = Transformer(vocab_size=vocab, width=width, layers=1, heads=2)
    head = FlashHead(width=width, heads=heads, groups=groups, futures=futures, latents=None)
    with torch.no_grad():
        head.down.weight.zero_()  # drafts id 0 always
        model.embed.weight[0] = 0  # whose logit is 0 and never the largest, so that nothing stays
    watched = flash_speculative.Watched(FLASH(head, DraftTree.chain(2)), count=True)
    found = generate(model, [1, 2, 3, 4], watched, max_new_tokens=3)
    rows, seen = np.array([3, 1, 1]), np.array([3, 4, 5])
    assert found.steps == [1, 1, 1] and 0 not in found.ids
    size = width // heads
    fuse = np.array([3, 1, 1, 1]) * 2 * width * width  # what is learnt from the last pass is fused, too
    keys = rows * width * 2 * groups * size
    once = 2 * width * width + width * 4 * width + 4 * width * futures * width + futures * width * vocab
    attention = seen * heads * groups * size * 2
    assert watched.flops == 2 * (fuse.sum() + keys.sum() + 3 * once + attention.sum()) and watched.drafts == 3


def test_the_tree_of_four_levels_is_the_published_one_without_its_fifth():
    assert [len(nodes) for nodes in flash_speculative._four_levels().levels] == [1, 4, 8, 8, 3]


def test_what_cannot_run_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(InvalidInput, match="seeds=0"):
        flash_speculative.run(tmp_path, seeds=0)
    assert list(tmp_path.iterdir()) == []
