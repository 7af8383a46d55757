"""Digits and trained models that experiments share."""

import json

import numpy as np
import pytest
import torch

from tokenloom.core.errors import CorpusError
from tokenloom.evidence.digit_grid import read_digits, trained_digit_grid


@pytest.mark.slow
def test_a_model_is_trained_once_for_each_setting(tmp_path):
    few = {"side": 2, "steps": 3, "mix": {"digit": 1.0}}
    model = trained_digit_grid(None, tmp_path, 0, **few)
    record = next(tmp_path.glob("*/training.json"))
    written = record.stat().st_mtime_ns
    again = trained_digit_grid(None, tmp_path, 0, **few)
    assert record.stat().st_mtime_ns == written
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    assert len(json.loads(record.read_text(encoding="utf-8"))["losses"]) == 3
    other = trained_digit_grid(None, tmp_path, 0, **few | {"steps": 4})
    assert not torch.equal(other.lm_head.weight, model.lm_head.weight)
    assert len(list(tmp_path.iterdir())) == 1


def test_generated_digits_are_divided_into_different_ones():
    taught, held_out = read_digits(None)
    shared = {ink.tobytes() for ink in taught.ink_SHW} & {ink.tobytes() for ink in held_out.ink_SHW}
    assert not shared
    assert np.bincount(held_out.labels_S).tolist() == [20] * 10


def test_a_missing_package_is_named(tmp_path):
    with pytest.raises(CorpusError, match=r"pip download --no-deps scikit-learn==1\.9\.1"):
        read_digits(tmp_path)


@pytest.mark.slow
def test_the_packaged_digits_are_those_of_its_description(find):
    wheel = find("sklearn/datasets/data/digits.csv.gz", "PyPI: scikit-learn 1.9.1")
    import gzip
    import io

    table = np.loadtxt(io.BytesIO(gzip.decompress(wheel.read_bytes())), delimiter=",")
    assert table.shape == (1797, 65)
    assert (table[:, :64].min(), table[:, :64].max()) == (0, 16)
