"""Pictures of two to four coloured shapes, and captions that name what is in them, from one template.

Each quarter of a picture holds at most one shape, at one of nine places. The caption counts them and names each with its colour and
its quarter, in raster order: most words follow from those before, and the others can only be seen. The task is ours.
"""
# B scenes, Q = 4 quarters, T ids of a prompt, A ids of the longest caption

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from ..core.errors import InvalidInput
from ..models.scene_captioner import COLOURS, PATCH, SCENE_WORDS, SHAPES, SIDE
from ..models.training import learning_rate

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration

__all__ = ["LONGEST", "Scenes", "caption_accuracy", "scenes", "train_captioner"]

_QUARTERS = ("top left", "top right", "bottom left", "bottom right")
_COUNTS = {2: "two", 3: "three", 4: "four"}
_RGB = np.array([[1, 0.1, 0.1], [0.1, 0.8, 0.1], [0.15, 0.25, 1], [1, 0.9, 0.1], [1, 1, 1], [0, 0, 0]])
_PAPER = 0.5

LONGEST = 39
"""Ids of the longest caption, its end included."""


def _masks() -> np.ndarray:
    """The shapes, bool (5, 8, 8): two patches high and wide."""
    y, x = np.mgrid[:8, :8] - 3.5
    far = np.hypot(x, y)
    triangle = np.abs(x) <= (y + 4.5) / 2
    return np.stack(
        [np.ones((8, 8), bool), far < 4, triangle, (np.abs(x) < 1.5) | (np.abs(y) < 1.5), (far < 4.2) & (far > 2.2)]
    )


_SHAPES = _masks()


@dataclass(frozen=True, eq=False)
class Scenes:
    """A batch of pictures with their captions.

    Args:
        pixels: float32 (B, 3, 32, 32), from -1 to 1.
        colours_BQ: int64, the place in `COLOURS` of what is in each quarter, in raster order; -1 for nothing.
        shapes_BQ: int64, the same in `SHAPES`.
        ids_BT: int64, `<bos>`, one `<image>` for each patch, `describe :`.
        captions_BA: int64, up to `<end>`, then `<pad>`.
    """

    pixels: Tensor
    colours_BQ: Tensor
    shapes_BQ: Tensor
    ids_BT: Tensor
    captions_BA: Tensor

    @property
    def inputs(self) -> dict[str, Tensor]:
        """Keyword arguments of the model."""
        return {"input_ids": self.ids_BT, "pixel_values": self.pixels, "attention_mask": torch.ones_like(self.ids_BT)}

    @property
    def lessons(self) -> dict[str, Any]:
        """The same with the captions behind the prompts, and labels that predict these alone."""
        ids = torch.cat([self.ids_BT, self.captions_BA], 1)
        labels = ids.masked_fill(ids == SCENE_WORDS["<pad>"], -100)
        labels[:, : self.ids_BT.shape[1]] = -100
        return {"input_ids": ids, "pixel_values": self.pixels, "attention_mask": torch.ones_like(ids), "labels": labels}

    def __len__(self) -> int:
        return len(self.ids_BT)

    def __getitem__(self, items: slice | Tensor) -> Scenes:
        """Some of the pictures."""
        return Scenes(**{name: value[items] for name, value in vars(self).items()})


def scenes(batch: int, *, rng: np.random.Generator) -> Scenes:
    """`batch` scenes: how many shapes, where, which, in what colour and on what noise are all drawn alike.

    >>> some = scenes(1, rng=np.random.default_rng(1))
    >>> " ".join(list(SCENE_WORDS)[i] for i in some.captions_BA[0].tolist() if i)
    'the picture shows two things : a yellow square at the top right and a black ring at the bottom right . <end>'
    >>> some.pixels.shape, some.ids_BT.shape
    (torch.Size([1, 3, 32, 32]), torch.Size([1, 67]))
    """
    if batch < 1:
        raise InvalidInput(f"{batch=}; it must be at least 1")
    colours_BQ, shapes_BQ = (rng.integers(0, len(names), (batch, 4)) for names in (COLOURS, SHAPES))
    count_B1 = rng.integers(2, 5, (batch, 1))
    there_BQ = rng.random((batch, 4)).argsort(1) < count_B1
    corner_BQ2 = PATCH * rng.integers(0, SIDE // 2 - 1, (batch, 4, 2)) + 16 * np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    picture = _PAPER + 0.05 * rng.standard_normal((batch, SIDE * PATCH, SIDE * PATCH, 3))
    for b, q in zip(*there_BQ.nonzero()):
        y, x = corner_BQ2[b, q]
        picture[b, y : y + 8, x : x + 8][_SHAPES[shapes_BQ[b, q]]] += _RGB[colours_BQ[b, q]] - _PAPER
    colours_BQ, shapes_BQ = np.where(there_BQ, colours_BQ, -1), np.where(there_BQ, shapes_BQ, -1)
    captions_BA = np.full((batch, LONGEST), SCENE_WORDS["<pad>"])
    for row, words in zip(captions_BA, map(_caption, colours_BQ, shapes_BQ)):
        row[: len(words)] = [SCENE_WORDS[word] for word in words]
    prompt = [SCENE_WORDS[word] for word in ("<bos>", *["<image>"] * SIDE**2, "describe", ":")]
    return Scenes(
        pixels=torch.from_numpy(picture * 2 - 1).float().permute(0, 3, 1, 2).contiguous(),
        colours_BQ=torch.from_numpy(colours_BQ),
        shapes_BQ=torch.from_numpy(shapes_BQ),
        ids_BT=torch.tensor([prompt] * batch),
        captions_BA=torch.from_numpy(captions_BA),
    )


def _caption(colours_Q: np.ndarray, shapes_Q: np.ndarray) -> list[str]:
    named = [
        f"a {COLOURS[c]} {SHAPES[s]} at the {where}" for c, s, where in zip(colours_Q, shapes_Q, _QUARTERS) if c >= 0
    ]
    listed = f"{' , '.join(named[:-1])} and {named[-1]}"
    return f"the picture shows {_COUNTS[len(named)]} things : {listed} . <end>".split()


def train_captioner(
    model: LlavaForConditionalGeneration,
    *,
    steps: int,
    rng: np.random.Generator,
    batch: int = 32,
    lr: float = 2e-3,
    progress: Callable[[int, float], None] | None = None,
) -> np.ndarray:
    """Train in place, by AdamW on new scenes in each step; the rate rises for a tenth of the steps and falls to nothing.

    Returns: losses, float64 (steps,).
    """
    adamw = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.98), fused=True)
    losses = np.empty(steps)
    model.train()
    for step in range(1, steps + 1):
        for group in adamw.param_groups:
            group["lr"] = learning_rate(step, steps=steps, lr=lr, warmup=steps // 10, min_lr=0.0)
        loss = model(**scenes(batch, rng=rng).lessons, use_cache=False).loss
        adamw.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        adamw.step()
        losses[step - 1] = loss.item()
        if progress is not None:
            progress(step, losses[step - 1])
    model.eval()
    return losses


@torch.no_grad()
def caption_accuracy(model: LlavaForConditionalGeneration, some: Scenes) -> float:
    """The share of ids of greedy captions that are right, place by place, up to the end of the right ones."""
    end = SCENE_WORDS["<end>"]
    made_BA = model.generate(**some.inputs, do_sample=False, max_new_tokens=LONGEST, eos_token_id=end, pad_token_id=end)
    made_BA = made_BA[:, some.ids_BT.shape[1] :]
    made_BA = torch.nn.functional.pad(made_BA, (0, LONGEST - made_BA.shape[1]), value=end)
    counts_BA = some.captions_BA != SCENE_WORDS["<pad>"]
    return float((made_BA == some.captions_BA)[counts_BA].float().mean())
