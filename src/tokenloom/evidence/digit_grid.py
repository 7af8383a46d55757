"""The digits and the trained models that several experiments share.

pip download --no-deps scikit-learn==1.9.1      # its wheel holds 1,797 digits of handwriting, 8 x 8
"""

import gzip
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..core.errors import require
from ..core.store import read_json, write_json
from ..measure.digit_grid import DigitGridTask, Digits, Loss, generated_digits, plain_loss, train_digit_grid
from ..models.digit_grid import digit_grid_model
from .packages import Package

__all__ = ["DIGITS", "LEARNING", "read_digits", "trained_digit_grid"]

DIGITS = Package("pypi", "scikit-learn", "1.9.1")
TAUGHT = 1400  # the rest was written by other people
LEARNING: Mapping[str, Any] = {"mix": {"digit": 0.5, "any": 0.25, "count": 0.1, "ink": 0.15}, "steps": 2400}
"""What models learn where an experiment does not say otherwise."""


def read_digits(archives: Path | None) -> tuple[Digits, Digits]:
    """Digits to learn from and digits to ask about; generated ones without `archives`.

    Raises: CorpusError: the package is not there.
    """
    if archives is None:
        rng = np.random.default_rng(0)
        return generated_digits(40, rng=rng), generated_digits(20, rng=rng)
    ((_, content),) = DIGITS.read(archives, "sklearn/datasets/data/digits.csv.gz")
    table = np.loadtxt(io.BytesIO(gzip.decompress(content)), delimiter=",")
    digits = Digits((table[:, :64] / 16).reshape(-1, 8, 8).astype(np.float32), table[:, 64].astype(np.int64))
    return digits[:TAUGHT], digits[TAUGHT:]


def trained_digit_grid(
    archives: Path | None,
    cache: Path,
    seed: int,
    *,
    name: str = "plain",
    loss: Loss = plain_loss,
    prepare: Callable[[Any], None] | None = None,
    mix: Mapping[str, float] = LEARNING["mix"],
    steps: int = LEARNING["steps"],
    side: int = 4,
    blocks: int = 0,
) -> Any:
    """A trained `LlavaForConditionalGeneration`, from `cache` where it was trained before; some two minutes on one thread.

    Args:
        archives: folder with the package; None for generated digits.
        cache: folder of trained models, one folder each.
        seed: of weights, grids and questions.
        name: of the kind of training; with the other arguments it names the model in the cache.
        loss: what is learnt from; see `train_digit_grid`.
        prepare: changes the new model before it is trained, or before its weights are read.
        mix: shares of the questions.
        steps: of training.
        side: cells of a side.
        blocks: of the vision encoder before the features.
    """
    safetensors = require("safetensors.torch", "torch")
    model = digit_grid_model(side=side, blocks=blocks, seed=seed)
    if prepare is not None:
        prepare(model)
    folder = cache / f"{name}-side-{side}-blocks-{blocks}-seed-{seed}"
    key = {"name": name, "mix": dict(mix), "steps": steps, "side": side, "blocks": blocks, "seed": seed,
           "digits": "generated" if archives is None else f"{DIGITS.name} {DIGITS.version}"}  # fmt: skip
    record = folder / "training.json"
    if record.exists() and read_json(record)["key"] == key:
        safetensors.load_model(model, str(folder / "model.safetensors"))
        return model
    taught, _ = read_digits(archives)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        task = DigitGridTask(side=side, mix=mix)
        losses = train_digit_grid(model, taught, task, steps=steps, rng=np.random.default_rng(seed), loss=loss)
    finally:
        torch.set_num_threads(threads)
    folder.mkdir(parents=True, exist_ok=True)
    safetensors.save_model(model, str(folder / "model.safetensors"))
    write_json(record, {"key": key, "losses": [float(part.mean()) for part in np.array_split(losses, min(steps, 50))]})
    return model
