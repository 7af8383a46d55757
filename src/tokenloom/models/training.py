"""A small training loop on one device: AdamW, warm-up and cosine, accumulation, a log, exact resume.

The loop shifts labels, as Hugging Face does: position t predicts `labels[:, t + 1]`, and -100 is not predicted. The
schedule ends at its minimum on the last step; the reference of StochasTok (arXiv 2506.01687) divides by all steps
after it has subtracted the warm-up, and ends above.
"""
# B batch, T positions, V ids

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor, nn

from ..core.errors import InvalidInput, StoreError, require
from ..core.ledger import Ledger
from ..core.store import atomic_write, read_json, sha256_file, write_json
from .batches import IGNORED, Batch

__all__ = ["TrainingResult", "learning_rate", "logits_of", "train"]

FORMAT = 1


@dataclass(frozen=True)
class TrainingResult:
    """What `train` gives; the model itself was trained in place.

    Args:
        losses: mean loss per predicted token of each step, in nats, float64 (steps,).
        ledger: what it cost; activated parameters count every parameter once per token.
    """

    losses: np.ndarray
    ledger: Ledger


def learning_rate(step: int, *, steps: int, lr: float, warmup: int, min_lr: float) -> float:
    """Rate of step 1 … `steps`: up linearly to `lr` at step `warmup`, down a half cosine to `min_lr` at `steps`.

    >>> [round(learning_rate(s, steps=6, lr=1.0, warmup=2, min_lr=0.1), 3) for s in range(1, 7)]
    [0.5, 1.0, 0.868, 0.55, 0.232, 0.1]
    """
    if step <= warmup:
        return lr * step / warmup
    return min_lr + (lr - min_lr) * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2


def logits_of(model: nn.Module, batch: Batch) -> Tensor:
    """Logits of a batch, (B, T, V), from either kind of causal language model.

    A model whose `config` has a `model_type` is a Hugging Face one: it gets `attention_mask` (ours made additive, as
    its eager and its fused attention both understand) and `position_ids`, and answers with `.logits`. Any other is
    called like `Transformer`: `model(ids, mask=, positions=)` gives the logits.

    Args:
        model: on the device of the batch.
        batch: `input_ids` int64 (B, T); perhaps `mask`, bool, broadcast to (B, 1, T, T), True where allowed; perhaps
            `positions`, int64 (B, T). Without them: causal, counted from 0.
    """
    ids, mask, positions = batch["input_ids"], batch.get("mask"), batch.get("positions")
    if not hasattr(getattr(model, "config", None), "model_type"):
        return model(ids, mask=mask, positions=positions)
    if mask is not None:
        mask = mask.expand(ids.shape[0], 1, ids.shape[1], ids.shape[1])
        dtype = next(model.parameters()).dtype
        mask = torch.zeros(mask.shape, dtype=dtype, device=ids.device).masked_fill(~mask, torch.finfo(dtype).min)
    return model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False).logits


def train(
    model: nn.Module,
    batches: Iterable[Batch],
    *,
    steps: int,
    lr: float = 1e-3,
    warmup: int = 100,
    min_lr: float | None = None,
    weight_decay: float = 0.1,
    betas: tuple[float, float] = (0.9, 0.95),
    clip: float = 1.0,
    accumulate: int = 1,
    precision: Literal["no", "bf16", "fp16"] = "no",
    seed: int = 0,
    log: Path | None = None,
    checkpoint: Path | None = None,
    every: int = 1000,
    progress: Callable[[int, float], None] | None = None,
) -> TrainingResult:
    """Train a causal language model in place, on the device that accelerate finds.

    With `checkpoint` a run that was stopped goes on where it was, bit for bit: the weights, AdamW's moments, the
    random state of dropout and the state of `batches` are kept; a source without `state_dict` is read again and the
    batches already used are dropped.

    Args:
        model: a `Transformer` or a Hugging Face causal model; see `logits_of`.
        batches: of `input_ids` and `labels`, both int64 (B, T), labels -100 where nothing is predicted; perhaps `mask`
            and `positions`. At least `steps * accumulate` of them.
        steps: of the optimizer.
        lr: highest learning rate; see `learning_rate`.
        warmup: steps until it is reached, less than `steps`.
        min_lr: the rate of the last step; None for a tenth of `lr`.
        weight_decay: of matrices; vectors (norms, biases) are never decayed.
        betas: of AdamW.
        clip: largest norm of the gradient.
        accumulate: batches per step; each predicted token weighs the same, as in one large batch.
        precision: of the forward pass; weights stay as they are. "fp16" needs a GPU.
        seed: of dropout; torch's global generator is left as it was.
        log: JSON lines of step, loss, lr, grad_norm (None where float16 overflowed) and predicted tokens so far.
        checkpoint: folder of checkpoint.json and the weights it names; written after every `every` steps and the last.
        every: steps between checkpoints.
        progress: called after each step with its number and loss.
    Raises: InvalidInput: settings out of range, batches that end early or predict nothing, a loss that is not finite.
        StoreError: a checkpoint of other settings or another model, or a damaged one.
    """
    min_lr = lr / 10 if min_lr is None else min_lr
    if min(steps, accumulate, every) < 1:
        raise InvalidInput(f"{steps=}, {accumulate=} and {every=} must be at least 1")
    if not 0 <= warmup < steps:
        raise InvalidInput(f"{warmup=} must be at least 0 and less than {steps=}")
    if not (math.isfinite(lr) and 0 <= min_lr <= lr and lr > 0 and clip > 0 and weight_decay >= 0):
        raise InvalidInput(f"{lr=}, {min_lr=}, {clip=}, {weight_decay=}; need 0 <= min_lr <= lr, lr > 0, clip > 0")
    if precision not in ("no", "bf16", "fp16"):
        raise InvalidInput(f"{precision=}; it must be 'no', 'bf16' or 'fp16'")
    settings = {
        "steps": steps, "lr": lr, "warmup": warmup, "min_lr": min_lr, "weight_decay": weight_decay,
        "betas": list(betas), "clip": clip, "accumulate": accumulate, "precision": precision, "seed": seed,
    }  # fmt: skip
    place = require("accelerate", "torch").PartialState()
    device = place.device
    if place.num_processes > 1:
        raise InvalidInput(f"{place.num_processes} processes; this loop trains on one device")
    if precision == "fp16" and device.type != "cuda":
        raise InvalidInput(f"precision='fp16' needs a GPU, but the device is {device}; use 'bf16' or 'no'")
    # Not through accelerate: its precision is one for the whole process, and a second run may want another.
    autocast = torch.autocast(device.type, torch.float16 if precision == "fp16" else torch.bfloat16, precision != "no")
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
    model.to(device)
    names = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    groups = [
        {"params": [p for _, p in names if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for _, p in names if p.dim() < 2], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(groups, lr=lr, betas=betas, fused=device.type in ("cpu", "cuda"))
    parameters = sum(p.numel() for p in model.parameters())

    was_training = model.training
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        state = _State(model, adamw, scaler, settings)
        if checkpoint is not None and (checkpoint / "checkpoint.json").exists():
            state.load(checkpoint, batches, device)
        if log is not None:
            _cut_log(log, state.step)
        skip = 0 if hasattr(batches, "load_state_dict") else state.step * accumulate
        source = islice(iter(batches), skip, None) if state.step < steps else iter(())
        model.train()
        for step in range(state.step + 1, steps + 1):
            rate = learning_rate(step, steps=steps, lr=lr, warmup=warmup, min_lr=min_lr)
            for group in adamw.param_groups:
                group["lr"] = rate
            chosen = [{k: v.to(device, non_blocking=True) for k, v in b.items()} for b in islice(source, accumulate)]
            if len(chosen) < accumulate:
                raise InvalidInput(f"batches ended in step {step} of {steps}; {steps * accumulate} are needed")
            # On a step's total, not batch by batch: a batch with few labels must not weigh as much as a full one.
            predicted = sum(int((b["labels"][:, 1:] != IGNORED).sum()) for b in chosen)
            if not predicted:
                raise InvalidInput(f"step {step}: no label but -100, so nothing is predicted")
            loss = 0.0
            for batch in chosen:
                with autocast:
                    logits_BTV = logits_of(model, batch)[:, :-1]
                part = F.cross_entropy(
                    logits_BTV.flatten(0, 1).float(),
                    batch["labels"][:, 1:].flatten(),
                    ignore_index=IGNORED,
                    reduction="sum",
                )
                scaler.scale(part / predicted).backward()
                loss += part.item() / predicted
            if not math.isfinite(loss):
                raise InvalidInput(f"the loss of step {step} is {loss}; try a lower lr than {lr} or a longer warmup")
            scaler.unscale_(adamw)
            norm = float(nn.utils.clip_grad_norm_(model.parameters(), clip))
            scaler.step(adamw)
            scaler.update()
            adamw.zero_grad()

            seen = sum(b["input_ids"].numel() for b in chosen)
            state.ledger += Ledger(forward_passes=accumulate, tokens=seen, activated_parameters=seen * parameters)
            state.predicted += predicted
            state.losses.append(loss)
            if log is not None:
                finite = norm if math.isfinite(norm) else None
                line = {"step": step, "loss": loss, "lr": rate, "grad_norm": finite, "tokens": state.predicted}
                with log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
            if checkpoint is not None and (step % every == 0 or step == steps):
                state.save(checkpoint, batches, device)
            if progress is not None:
                progress(step, loss)
    model.train(was_training)
    return TrainingResult(np.array(state.losses), state.ledger)


class _State:
    """Everything that a checkpoint holds: the tensors in safetensors, the rest in JSON, the JSON last."""

    def __init__(
        self, model: nn.Module, adamw: torch.optim.AdamW, scaler: torch.amp.GradScaler, settings: dict[str, Any]
    ) -> None:
        self.model, self.adamw, self.scaler, self.settings = model, adamw, scaler, settings
        self.losses: list[float] = []
        self.ledger = Ledger()
        self.predicted = 0

    @property
    def step(self) -> int:
        return len(self.losses)

    def _tensors(self) -> dict[str, Tensor]:
        """Weights and buffers by name; weights that are tied appear once, as safetensors demands."""
        tied = {name for name, _ in self.model.named_parameters(remove_duplicate=False)}
        kept = dict(self.model.named_parameters())
        kept |= {name: value for name, value in self.model.state_dict().items() if name not in tied}
        return {f"model/{name}": value for name, value in kept.items()}

    def save(self, folder: Path, batches: Iterable[Batch], device: torch.device) -> None:
        tensors = self._tensors()
        for name, weight in self.model.named_parameters():
            tensors |= {f"{key}/{name}": value for key, value in self.adamw.state.get(weight, {}).items()}
        tensors["losses"] = torch.tensor(self.losses, dtype=torch.float64)
        tensors["random/cpu"] = torch.get_rng_state()
        if device.type == "cuda":
            tensors["random/cuda"] = torch.cuda.get_rng_state(device)
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"state-{self.step}.safetensors"
        with atomic_write(target) as file:
            file.write(safetensors.save({name: value.detach().contiguous() for name, value in tensors.items()}))
        record = {
            "format": FORMAT,
            "kind": "training",
            "settings": self.settings,
            "ledger": self.ledger.as_dict(),
            "predicted": self.predicted,
            "scaler": self.scaler.state_dict(),
            "batches": batches.state_dict() if hasattr(batches, "state_dict") else None,
            "file": target.name,
            "sha256": sha256_file(target),
        }
        try:
            write_json(folder / "checkpoint.json", record)
        except (TypeError, ValueError) as error:
            raise StoreError(f"the state of the batches is not JSON: {error}") from error
        for old in folder.glob("state-*.safetensors"):
            if old != target:
                old.unlink()

    def load(self, folder: Path, batches: Iterable[Batch], device: torch.device) -> None:
        record = read_json(folder / "checkpoint.json")
        written = {"format", "kind", "settings", "ledger", "predicted", "scaler", "batches", "file", "sha256"}
        if not isinstance(record, dict) or set(record) != written or record["format"] != FORMAT:
            raise StoreError(f"{folder / 'checkpoint.json'} is no checkpoint of a training in format {FORMAT}")
        for name, value in self.settings.items():
            if record["settings"].get(name) != value:
                raise StoreError(f"{folder} was begun with {name}={record['settings'].get(name)}, not {value}")
        file = folder / Path(record["file"]).name
        if sha256_file(file) != record["sha256"]:
            raise StoreError(f"{file} is not the file that was written; its SHA-256 differs")
        try:
            tensors = safetensors.load_file(file)
        except SafetensorError as error:
            raise StoreError(f"{file}: {error}") from error
        mine = self._tensors()
        shapes = {name: tuple(value.shape) for name, value in mine.items()}
        theirs = {name: tuple(value.shape) for name, value in tensors.items() if name.startswith("model/")}
        if shapes != theirs:
            name = min(name for name in shapes | theirs if shapes.get(name) != theirs.get(name))
            raise StoreError(
                f"{folder} is of another model: {name} is {theirs.get(name)} there and {shapes.get(name)} here"
            )
        with torch.no_grad():
            for name, value in mine.items():
                value.copy_(tensors[name])
        for name, weight in self.model.named_parameters():
            moments = {key: f"{key}/{name}" for key in ("step", "exp_avg", "exp_avg_sq")}
            if moments["step"] in tensors:
                self.adamw.state[weight] = {key: tensors[stored].to(device) for key, stored in moments.items()}
        torch.set_rng_state(tensors["random/cpu"])
        if device.type == "cuda" and "random/cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random/cuda"], device)
        self.scaler.load_state_dict(record["scaler"])
        if hasattr(batches, "load_state_dict"):
            if record["batches"] is None:
                raise StoreError(f"{folder} was begun with batches that keep no state, but these do")
            batches.load_state_dict(record["batches"])
        self.losses = tensors["losses"].tolist()
        self.ledger, self.predicted = Ledger(**record["ledger"]), record["predicted"]


def _cut_log(log: Path, step: int) -> None:
    """Keep the lines up to the checkpoint that is resumed: the later ones are written again."""
    lines = log.read_bytes().splitlines(keepends=True)[:step] if step and log.exists() else []
    log.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(log) as file:
        file.writelines(lines)
