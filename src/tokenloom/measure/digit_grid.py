"""Questions on grids of digits of which one knows the cells that the answer depends on.

"Which digit is at row 2, column 0" needs one cell, "how many 7s are there" several, "which half has more ink" all of them, and
coarsely. "Is there a 7" asks as POPE does (Li et al. 2023, arXiv 2305.10355): half of the answers are yes. The task is ours.
"""
# B grids, G cells of a side, N = G * G cells, T ids of a prompt

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..core.errors import InvalidInput
from ..core.token_map import TokenMap
from ..hosts.vision_language.visual_tokens import run_with_tokens, visual_features
from ..models.digit_grid import PATCH, digit_grid_words
from .digits import Digits, generated_digits

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration

__all__ = [
    "KINDS",
    "DigitGridTask",
    "DigitGrids",
    "Digits",
    "Loss",
    "answers",
    "generated_digits",
    "plain_loss",
    "train_digit_grid",
]

KINDS = ("digit", "count", "any", "ink", "parity")


@dataclass(frozen=True, eq=False)
class DigitGrids:
    """A batch of pictures, one question on each, and what is right.

    Args:
        pixels: float32 (B, 1, 8 G, 8 G), from -1 (paper) to 1.
        digits_BN: int64, what is in each cell, in raster order; -1 for nothing.
        ids_BT: int64, `<bos>`, one `<image>` for each cell, and three words that ask.
        kinds_B: int64, the place in `KINDS` of each question.
        answers_B: int64, the word that answers it.
        relevant_BN: bool, the cells that the answer depends on: the asked one; those with the asked digit; or all.
    """

    pixels: Tensor
    digits_BN: Tensor
    ids_BT: Tensor
    kinds_B: Tensor
    answers_B: Tensor
    relevant_BN: Tensor

    @property
    def inputs(self) -> dict[str, Tensor]:
        """Keyword arguments of the model."""
        return {"input_ids": self.ids_BT, "pixel_values": self.pixels, "attention_mask": torch.ones_like(self.ids_BT)}

    @property
    def lessons(self) -> dict[str, Any]:
        """The same with the answer behind each prompt, and labels that predict it alone."""
        ids_BT = torch.cat([self.ids_BT, self.answers_B[:, None]], 1)
        labels_BT = ids_BT.clone()
        labels_BT[:, :-1] = -100
        mask_BT = torch.ones_like(ids_BT)
        return {"input_ids": ids_BT, "pixel_values": self.pixels, "attention_mask": mask_BT, "labels": labels_BT}

    def __len__(self) -> int:
        return len(self.ids_BT)

    def __getitem__(self, items: slice | Tensor) -> DigitGrids:
        """Some of the pictures."""
        return DigitGrids(**{name: value[items] for name, value in vars(self).items()})


@dataclass(frozen=True)
class DigitGridTask:
    """How grids and questions are drawn.

    Args:
        side: G, cells of a side.
        mix: kind of question → its share; `digit` (at a row and a column), `count` (how many of a digit), `any` (is there one:
            yes half of the time, where that can be), `ink` (left or right half; left if equal), `parity` (whether more
            digits are odd; even if equal).
        blank: probability of a cell with nothing in it.
        pale: each half is written in ink of its own strength, uniform between this and 1; at 1 the halves of most grids hardly
            differ in ink, and no model learns to tell them apart.
    Raises: InvalidInput: unknown kinds, shares that do not add up to 1, a probability or a strength that is none.

    >>> task = DigitGridTask(side=2, mix={"any": 1.0})
    >>> grids = task.draw(generated_digits(2, rng=np.random.default_rng(0)), 2, rng=np.random.default_rng(0))
    >>> grids.digits_BN.tolist(), [task.words[i] for i in grids.ids_BT[0].tolist()]
    ([[8, 6, 5, 2], [3, 0, 0, 0]], ['<bos>', '<image>', '<image>', '<image>', '<image>', 'any', '.', '7'])
    """

    side: int = 4
    mix: Mapping[str, float] | None = None
    blank: float = 0.0
    pale: float = 0.4

    def __post_init__(self) -> None:
        if self.side < 2:
            raise InvalidInput(f"side={self.side}; a grid has at least 2 cells a side")
        if unknown := [kind for kind in self.shares if kind not in KINDS]:
            raise InvalidInput(f"no question {unknown[0]!r}; there are {', '.join(KINDS)}")
        if min(self.shares.values()) < 0 or abs(sum(self.shares.values()) - 1) > 1e-9:
            raise InvalidInput(f"shares of questions are {dict(self.shares)}; they must add up to 1")
        if not 0 <= self.blank < 1:
            raise InvalidInput(f"blank={self.blank}; it must be in [0, 1)")
        if not 0 < self.pale <= 1:
            raise InvalidInput(f"pale={self.pale}; it must be in (0, 1]")

    @property
    def shares(self) -> Mapping[str, float]:
        """Of questions; those on one digit alone where none were given."""
        return {"digit": 1.0} if self.mix is None else self.mix

    @property
    def words(self) -> list[str]:
        """All words, by id."""
        return list(digit_grid_words(self.side))

    def draw(self, digits: Digits, batch: int, *, rng: np.random.Generator) -> DigitGrids:
        """`batch` grids of samples of `digits`, each digit equally likely."""
        g, n = self.side, self.side**2
        values_BN = rng.integers(0, 10, (batch, n))
        # A sample of each digit: the samples in the order of their labels, and a place in the run of the right ones.
        order = digits.labels_S.argsort(kind="stable")
        starts = np.searchsorted(digits.labels_S[order], np.arange(11))
        sizes = np.diff(starts)[values_BN]
        samples_BN = order[starts[values_BN] + (rng.random((batch, n)) * sizes).astype(np.int64)]
        blank_BN = rng.random((batch, n)) < self.blank
        values_BN = np.where(blank_BN, -1, values_BN)
        columns = np.arange(n) % g
        left_right_B2 = rng.uniform(self.pale, 1, (batch, 2))
        # A column in the middle of an odd grid is of both halves, and of none in the question.
        strength_BN = (
            left_right_B2 @ np.stack([columns < g - g // 2, columns >= g // 2]) / (1 + ((2 * columns + 1) == g))
        )
        ink_BNHW = np.where(blank_BN, 0, strength_BN)[..., None, None] * digits.ink_SHW[samples_BN]
        pixels = ink_BNHW.reshape(batch, g, g, PATCH, PATCH).swapaxes(2, 3).reshape(batch, 1, g * PATCH, g * PATCH)
        shares = np.array([self.shares.get(kind, 0.0) for kind in KINDS])
        kinds_B = np.searchsorted(shares.cumsum()[:-1], rng.random(batch), side="right")
        question, answers_B, relevant_BN = self._ask(values_BN, ink_BNHW, kinds_B, rng)
        words = digit_grid_words(g)
        prompt = np.broadcast_to(np.array([words["<bos>"], *[words["<image>"]] * n]), (batch, n + 1))
        return DigitGrids(
            pixels=torch.from_numpy(pixels * 2 - 1).float(),
            digits_BN=torch.from_numpy(values_BN),
            ids_BT=torch.from_numpy(np.concatenate([prompt, question], 1)),
            kinds_B=torch.from_numpy(kinds_B),
            answers_B=torch.from_numpy(answers_B),
            relevant_BN=torch.from_numpy(relevant_BN),
        )

    def _ask(
        self, values_BN: np.ndarray, ink_BNHW: np.ndarray, kinds_B: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Three words for each grid, the answers, the relevant cells; all five questions are asked, and one is taken."""
        words, g = digit_grid_words(self.side), self.side
        batch, n = values_BN.shape
        all_B, zero, dot_B = np.arange(batch), words["0"], np.full(batch, words["."])
        cell_B, counted_B = (rng.integers(0, high, (batch,)) for high in (n, 10))
        counts = np.count_nonzero(values_BN[..., None] == np.arange(10), axis=1)  # of each digit
        # One that is there or one that is not, as a coin falls, if there is any such.
        wanted = np.equal(counts > 0, rng.random((batch, 1)) < 0.5)
        sought_B = (wanted + rng.random((batch, 10))).argmax(1)
        columns = np.arange(n) % g
        inks_BN = ink_BNHW.sum((2, 3), dtype=np.float64)
        more_right_B = inks_BN[:, columns >= g - g // 2].sum(1) > inks_BN[:, columns < g // 2].sum(1)
        more_odd_B = counts[:, 1::2].sum(1) > counts[:, ::2].sum(1)
        shown_B = values_BN[all_B, cell_B]
        everywhere = np.ones_like(values_BN, bool)
        by_kind = (
            (
                words["row 0"] + cell_B // g,
                words["column 0"] + cell_B % g,
                np.where(shown_B < 0, words["blank"], zero + shown_B),
                np.arange(n) == cell_B[:, None],
            ),
            (dot_B, zero + counted_B, zero + counts[all_B, counted_B], values_BN == counted_B[:, None]),
            (
                dot_B,
                zero + sought_B,
                np.where(counts[all_B, sought_B] > 0, words["yes"], words["no"]),
                values_BN == sought_B[:, None],
            ),
            (dot_B, dot_B, np.where(more_right_B, words["right"], words["left"]), everywhere),
            (dot_B, dot_B, np.where(more_odd_B, words["odd"], words["even"]), everywhere),
        )
        first_B, second_B, answers_B, relevant_BN = (np.stack(values)[kinds_B, all_B] for values in zip(*by_kind))
        return np.stack([words[KINDS[0]] + kinds_B, first_B, second_B], 1), answers_B, relevant_BN


Loss = Callable[["LlavaForConditionalGeneration", DigitGrids, np.random.Generator], Tensor]


def plain_loss(model: LlavaForConditionalGeneration, grids: DigitGrids, rng: np.random.Generator) -> Tensor:
    """-log p of the answers, from all visual tokens."""
    return model(**grids.lessons, use_cache=False).loss


def train_digit_grid(
    model: LlavaForConditionalGeneration,
    digits: Digits,
    task: DigitGridTask,
    *,
    steps: int,
    rng: np.random.Generator,
    batch: int = 64,
    lr: float = 3e-3,
    loss: Loss = plain_loss,
    progress: Callable[[int, float], None] | None = None,
) -> np.ndarray:
    """Train in place, by AdamW at a rate that rises for a third of the steps and falls to nothing.

    Args:
        steps: of `batch` new grids each.
        rng: draws the grids, and whatever else `loss` draws.
        loss: of a batch; it decides which visual tokens the model sees.
        progress: called with the number of the step and its loss.
    Returns: losses, float64 (steps,).
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    adamw = torch.optim.AdamW(weights, lr=lr, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adamw, lr, total_steps=steps)
    losses = np.empty(steps)
    model.train()
    for step in range(steps):
        value = loss(model, task.draw(digits, batch, rng=rng), rng)
        adamw.zero_grad()
        value.backward()
        adamw.step()
        schedule.step()
        losses[step] = value.item()
        if progress is not None:
            progress(step + 1, losses[step])
    model.eval()
    return losses


@torch.no_grad()
def answers(
    model: LlavaForConditionalGeneration,
    grids: DigitGrids,
    reduction: TokenMap | None = None,
    *,
    positions: Literal["kept", "compact"] = "kept",
    block: int = 256,
) -> Tensor:
    """The word that the model says next to each prompt, int64 (B,); compare with `grids.answers_B`.

    A reducer that is attached to the model acts, of course.

    Args:
        reduction: visual tokens to give in place of the model's own, as a map from these; of one item or of B.
        positions: of the remaining tokens: those of the patches that they stand for, or counted anew.
        block: grids at a time.
    """
    tokens_BMD = positions_BM = None
    if reduction is not None:
        tokens_BMD = reduction.apply(visual_features(model, grids.pixels))
        positions_BM = reduction.positions_BM.expand(len(grids), -1) if positions == "kept" else None
    said, options = [], dict[str, Any](logits_to_keep=1, use_cache=False)
    for start in range(0, len(grids), block):
        some = slice(start, start + block)
        if tokens_BMD is None:
            output = model(**grids[some].inputs, **options)
        else:
            places = None if positions_BM is None else positions_BM[some]
            output = run_with_tokens(model, grids.ids_BT[some], tokens_BMD[some], positions_BM=places, **options)
        said.append(output.logits[:, -1].argmax(-1))
    return torch.cat(said)
