"""How a head of FLASH learns: from answers that the model itself wrote, and from the features that it had in writing them."""
# B batch, T positions, P = T - 1, S rows behind the picture, D width, K futures, V ids

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ....core.errors import InvalidInput
from ....core.ledger import Ledger
from ....hosts.vision_language.relevance import visual_span
from ....models.tables import embeddings, output_layer
from ....models.training import learning_rate
from ....models.transformer import Transformer
from .head import FlashHead

__all__ = ["FlashTraining", "OwnAnswers", "blocks", "flash_losses", "own_answers", "train_flash"]


@dataclass(frozen=True, eq=False)
class OwnAnswers:
    """Prompts of one length with a model's answers, and its features.

    Args:
        ids_BT: int64, prompts and answers.
        hidden_BPD: behind each token but the last, as the output layer reads it; P = T - 1.
        answer_BT: bool, which ids are of the answer: up to its end, that included.
        span: columns of the visual tokens; None for text alone.
    """

    ids_BT: Tensor
    hidden_BPD: Tensor
    answer_BT: Tensor
    span: range | None = None

    def __len__(self) -> int:
        return len(self.ids_BT)

    @property
    def behind(self) -> int:
        """The first column behind the picture; 0 for text alone."""
        return 0 if self.span is None else self.span.stop

    def __getitem__(self, items: Tensor) -> OwnAnswers:
        """Some of them."""
        return OwnAnswers(self.ids_BT[items], self.hidden_BPD[items], self.answer_BT[items], self.span)


@torch.no_grad()
def own_answers(
    model: nn.Module,
    inputs: Mapping[str, Any],
    *,
    new: int,
    end: int | Sequence[int] | None = None,
    image_token: int | None = None,
) -> OwnAnswers:
    """Have a model answer a batch of prompts, greedily, and keep its features.

    Args:
        model: a causal model of transformers, or a `Transformer`.
        inputs: `input_ids`, int64 (B, T) without padding, and what else the model takes, such as pictures.
        new: ids of the longest answer.
        end: ids at the first of which an answer ends; None for those of the model, () for none.
        image_token: the placeholder of visual tokens; None for text alone.
    Raises: InvalidInput: less than 1 id; padding; no causal language model; placeholders that are missing, have gaps or are in other columns in another prompt.
    """
    if new < 1:
        raise InvalidInput(f"{new=}; an answer has at least 1 id")
    output_layer(model)
    given = dict(inputs)
    prompt_BT, mask_BT = given.pop("input_ids"), given.pop("attention_mask", None)
    if mask_BT is not None and not bool(mask_BT.bool().all()):
        raise InvalidInput("prompts with padding; give prompts of one length at a time")
    span = None if image_token is None else visual_span(prompt_BT, image_token)
    ends = getattr(getattr(model, "generation_config", None), "eos_token_id", None) if end is None else end
    ends = [] if ends is None else [ends] if isinstance(ends, int) else list(ends)
    model.eval()
    if isinstance(model, Transformer):
        ids_BT = model.generate(prompt_BT, new=new)
        hidden_BPD = model.norm(model.run(ids_BT[:, :-1]).hidden[-1])
    else:
        hugging: Any = model
        found = hugging.generate(
            prompt_BT, attention_mask=torch.ones_like(prompt_BT), **given, do_sample=False, max_new_tokens=new,
            eos_token_id=ends or None, pad_token_id=0,
            return_dict_in_generate=True, output_hidden_states=True,
        )  # fmt: skip
        # Of each step the last layer; a second pass would take a placeholder in an answer for a picture.
        ids_BT, hidden_BPD = found.sequences, torch.cat([layers[-1] for layers in found.hidden_states], 1)
    answer_BT = torch.zeros_like(ids_BT, dtype=torch.bool)
    start = prompt_BT.shape[1]
    ended_BT = torch.isin(ids_BT[:, start:], torch.tensor(ends, dtype=torch.int64, device=ids_BT.device)).long()
    answer_BT[:, start:] = ended_BT.cumsum(1) == ended_BT
    return OwnAnswers(ids_BT, hidden_BPD, answer_BT, span)


def blocks(y_BSKD: Tensor) -> tuple[Tensor, Tensor]:
    """Predictions by what they are of: block i has at j what row j - i said of the i-th token ahead.

    Args:
        y_BSKD: of the head.
    Returns: (B, K, S, D), all of column j being of the same feature; and bool (K, S), where there is a prediction: j ≥ i.

    >>> y = torch.arange(6.0).view(1, 3, 2, 1)
    >>> made, there = blocks(y)
    >>> made[0, :, :, 0].masked_fill(~there, -1).tolist()
    [[0.0, 2.0, 4.0], [-1.0, 1.0, 3.0]]
    """
    _, size, futures, _ = y_BSKD.shape
    ahead_K1 = torch.arange(futures, device=y_BSKD.device)[:, None]
    from_KS = torch.arange(size, device=y_BSKD.device) - ahead_K1
    # What there is none of is masked explicitly: a filler could be taken for a prediction.
    return y_BSKD[:, from_KS.clamp(min=0), ahead_K1], from_KS >= 0


def flash_losses(
    y_BSKD: Tensor, hidden_BSD: Tensor, wanted_BS: Tensor, head: nn.Linear, *, feature: float = 1.0, token: float = 0.1
) -> Tensor:
    """The loss of each block: feature · smooth L1(y, f), the mean over D, + token · cross entropy(softmax(W f), softmax(W y)).

    Args:
        y_BSKD: predictions of S rows, `y[:, j, i]` being of the feature i rows below that which follows row j.
        hidden_BSD: the features that follow the rows.
        wanted_BS: bool, which of these count; each block takes the mean over those that it predicts.
        head: W.
    Returns: (K,); 0 for a block that predicts none.
    """
    made_BKSD, there_KS = blocks(y_BSKD)
    batch_M, block_M, column_M = (wanted_BS[:, None] & there_KS).nonzero().unbind(1)
    made_MD, true_MD = made_BKSD[batch_M, block_M, column_M], hidden_BSD[batch_M, column_M]
    apart_M = F.smooth_l1_loss(made_MD, true_MD, reduction="none").mean(1)
    surprise_M = F.cross_entropy(head(made_MD).float(), head(true_MD).float().softmax(1), reduction="none")
    total_K = apart_M.new_zeros(len(there_KS)).index_add(0, block_M, feature * apart_M + token * surprise_M)
    return total_K / torch.bincount(block_M, minlength=len(there_KS)).clamp(min=1)


@dataclass(frozen=True)
class FlashTraining:
    """What `train_flash` gives; the head was trained in place.

    Args:
        losses: of each block, float64 (steps, K).
        ledger: passes of the head, rows, and its parameters once a row.
    """

    losses: np.ndarray
    ledger: Ledger


def train_flash(
    head: FlashHead,
    model: nn.Module,
    answers: OwnAnswers | Sequence[OwnAnswers],
    *,
    steps: int,
    generator: torch.Generator,
    batch: int = 2,
    lr: float = 3e-5,
    warmup: int = 0,
    betas: tuple[float, float] = (0.9, 0.95),
    clip: float = 0.5,
    noise: float = 0.2,
    progress: Callable[[int, float], None] | None = None,
) -> FlashTraining:
    """Train a head in place, by AdamW on the mean of `flash_losses`; the model is only asked for its two tables, which stay.

    Features are read with noise, uniform within ± noise · 256 / T, as EAGLE does it: they will be the head's own in part.

    Args:
        head: for the model's width.
        answers: of the model; several where prompts are of different lengths. A batch is of one of them, which is drawn by its size.
        steps: of the optimizer.
        generator: draws batches and noise.
        batch: answers of a step, fewer where there are not as many.
        lr: highest learning rate, see `models.training.learning_rate`; it falls to 0.
        warmup: steps until it is reached, fewer than `steps`; 2000 in the paper.
        clip: largest value of a gradient.
    Raises: InvalidInput: settings out of range, no answers, a loss that is not finite.
    """
    groups = [answers] if isinstance(answers, OwnAnswers) else list(answers)
    # The first row reads a token and the one behind it, and predicts the third.
    if not groups or not all(bool(group.answer_BT[:, group.behind + 2 :].any()) for group in groups):
        raise InvalidInput("there are no answers to learn from")
    if head.config.latents is not None and any(group.span is None for group in groups):
        raise InvalidInput(
            f"{head.config.latents} latents, but no picture in the prompts; give a head without, or pictures"
        )
    if min(steps, batch) < 1 or not 0 <= warmup < steps:
        raise InvalidInput(f"{steps=} and {batch=} must be at least 1, and {warmup=} at least 0 and less than steps")
    if not (0 < lr < math.inf and clip > 0 and noise >= 0):
        raise InvalidInput(f"{lr=} and {clip=} must be above 0, and {noise=} at least 0")
    embed, unembed = embeddings(model), output_layer(model)
    weights = list(head.parameters())
    device, size = weights[0].device, sum(weight.numel() for weight in weights)
    adamw = torch.optim.AdamW(weights, lr=lr, betas=betas)
    sizes = torch.tensor([float(len(group)) for group in groups])
    losses, ledger = np.empty((steps, head.config.futures)), Ledger()
    head.train()
    for step in range(1, steps + 1):
        for group in adamw.param_groups:
            group["lr"] = learning_rate(step, steps=steps, lr=lr, warmup=warmup, min_lr=0.0)
        chosen = groups[int(torch.multinomial(sizes, 1, generator=generator))]
        some = chosen[torch.randperm(len(chosen), generator=generator)[:batch]]
        ids_BT, hidden_BPD = some.ids_BT.to(device), some.hidden_BPD.to(device)
        rows = ids_BT.shape[1] - 2  # the last feature is predicted only, and the last token not even read
        shake_BPD = torch.rand(hidden_BPD.shape, generator=generator).to(hidden_BPD) - 0.5
        noisy_BPD = hidden_BPD + shake_BPD * noise * 512 / ids_BT.shape[1]
        with torch.no_grad():
            next_BPD = embed(ids_BT[:, 1:-1])
        rows_BRD = head.rows(noisy_BPD[:, :-1], next_BPD, some.span)
        y_BSKD = head(rows_BRD, wanted=rows - some.behind)
        wanted_BS = some.answer_BT[:, some.behind + 2 :].to(device)
        losses_K = flash_losses(y_BSKD, hidden_BPD[:, some.behind + 1 :], wanted_BS, unembed)
        loss = losses_K.mean()
        if not bool(loss.isfinite()):
            raise InvalidInput(f"the loss of step {step} is {loss.item()}; try a lower lr than {lr}")
        # The tables are the model's: gradients go to the head alone.
        for weight, gradient in zip(weights, torch.autograd.grad(loss, weights)):
            weight.grad = gradient
        nn.utils.clip_grad_value_(weights, clip)
        adamw.step()
        losses[step - 1] = losses_K.detach().double().cpu().numpy()
        seen = rows_BRD.shape[0] * rows_BRD.shape[1]
        ledger += Ledger(1, seen, seen * size)
        if progress is not None:
            progress(step, loss.item())
    head.eval()
    return FlashTraining(losses, ledger)
