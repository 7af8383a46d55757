"""Ask a language model for numbers: the likeliest of given ones, or what it writes.

Uzan, Pinter 2025, arXiv 2508.02591, ask models that write, at temperature 0. A small model rarely answers with a number
alone; which number it finds likeliest can always be asked, in one forward pass.
"""
# B prompts of a batch, P ids that all prompts begin with, T ids of a batch after them, V ids

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...core.errors import InvalidInput
from ...core.segmentation import Segmentation
from ...core.tokenizer import Tokenizer
from ..scoring import batches_by_length, evaluating, vocabulary_size
from .items import Prompt

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["calibrated", "cut", "number_scores", "replies"]

Look = Callable[..., Segmentation]


def cut(
    prompts: Sequence[Prompt],
    tokenizer: Tokenizer,
    *,
    look: Look | None = None,
    rng: np.random.Generator | None = None,
) -> list[Segmentation]:
    """Cut prompts into tokens; with `look`, the tokens that hold some of the word are split further, and no others.

    Args:
        prompts: as `Items.prompts` makes them.
        tokenizer: of the model.
        look: such as `StochasTok`: called with a segmentation and `rng=`, gives a finer one.
        rng: for `look`.
    Returns: a segmentation of the text of each prompt.
    Raises: InvalidInput: `look` without `rng`; a segmentation of another text.
    """
    if look is not None and not isinstance(rng, np.random.Generator):
        raise InvalidInput("look= draws at random: give rng=numpy.random.default_rng(seed)")
    if not isinstance(tokenizer, Tokenizer):
        raise InvalidInput(
            f"a {type(tokenizer).__name__} gives no offsets; load it with load_tokenizer, which finds them"
        )
    segs = [tokenizer.encode(prompt.text) for prompt in prompts]
    if look is None:
        return segs
    return [_split_word(seg, prompt, look, rng) for seg, prompt in zip(segs, prompts)]


def _split_word(seg: Segmentation, prompt: Prompt, look: Look, rng: np.random.Generator | None) -> Segmentation:
    start = len(prompt.before.encode("utf-8", "surrogatepass"))
    end = start + len(prompt.word.encode("utf-8", "surrogatepass"))
    first = int(np.searchsorted(seg.offsets, start, side="right")) - 1
    last = int(np.searchsorted(seg.offsets, end, side="left"))
    new = look(seg[first:last], rng=rng)
    if new.data != seg[first:last].data:
        raise InvalidInput(f"look= made {new.data!r} of {seg[first:last].data!r}; it may only split tokens")
    return Segmentation(
        np.concatenate([seg.ids[:first], new.ids, seg.ids[last:]]),
        np.concatenate([seg.offsets[:first], new.offsets + seg.offsets[first], seg.offsets[last + 1 :]]),
        seg.data,
    )


def number_scores(
    model: nn.Module, prompts: Sequence[np.ndarray], ids: Sequence[int], *, batch: int = 32
) -> tuple[np.ndarray, int]:
    """How likely a model finds each of k numbers next after each prompt; each number is one id.

    What all prompts begin with is run once. A number of several ids cannot be compared with its own beginning in this way:
    use `score_options`, with an end after each.

    Args:
        model: a `Transformer` or a Hugging Face causal model.
        prompts: ids of each prompt, integers (n,).
        ids: the id of each candidate, such as those of the digits 0 to 9.
        batch: prompts of a forward pass.
    Returns: natural logarithms of probabilities, float64 (N, k), of which `argmax(1)` is the likeliest; and how many tokens
        were run, filling up included.
    Raises: InvalidInput: no prompt or an empty one, no candidates, an id that the model does not know.
    """
    import torch

    if not prompts or not len(ids):
        raise InvalidInput(f"{len(prompts)} prompts, {len(ids)} candidates; need some of each")
    sequences = [np.asarray(prompt, np.int64) for prompt in prompts]
    shared = _shared(sequences)
    for wrong in {int(i) for i in (*ids, *sequences[0][:shared]) if not 0 <= i < vocabulary_size(model)}:
        raise InvalidInput(f"the model knows ids 0 … {vocabulary_size(model) - 1}, not id {wrong}; whose is it?")
    scores = np.empty((len(sequences), len(ids)))
    spent = shared
    with evaluating(model):
        device = next(model.parameters()).device
        candidates = torch.tensor(list(ids), device=device)
        past = _run(model, torch.from_numpy(sequences[0][None, :shared]).to(device), None)[1] if shared else None
        rests = [sequence[shared:] for sequence in sequences]
        for places, ids_BT in batches_by_length(rests, batch=batch, model=model):
            spent += ids_BT.numel()
            logits_BTV, _ = _run(model, ids_BT, _repeated(past, len(places)))
            last = torch.tensor([len(rests[place]) - 1 for place in places], device=device)
            logits_BV = logits_BTV[torch.arange(len(places), device=device), last]
            scores[places] = logits_BV.float().log_softmax(-1)[:, candidates].double().cpu().numpy()
    return scores, spent


def calibrated(scores_NK: np.ndarray, groups_N: np.ndarray) -> np.ndarray:
    """Scores without what a model says to all questions of a kind alike: their mean over the items of each group is taken off.

    A small model gives one number to nearly all questions; this shows which questions make another likelier. No answer is
    needed. After Holtzman et al. 2021, arXiv 2104.08315, with the mean in the place of the prior of a text without the question.

    Args:
        scores_NK: of `number_scores`.
        groups_N: kind of each item, such as `items.tasks`.

    >>> calibrated(np.array([[-1.0, -2.0], [-1.0, -4.0]]), np.array([0, 0])).argmax(1).tolist()
    [1, 0]
    """
    result = scores_NK.copy()
    for group in np.unique(groups_N):
        result[groups_N == group] -= scores_NK[groups_N == group].mean(0)
    return result


def replies(model: nn.Module, prompts: Sequence[np.ndarray], *, new: int, stop: Sequence[int] = ()) -> list[np.ndarray]:
    """What a model writes after each prompt, greedily: at most `new` ids, up to the first of `stop`.

    Prompts of one length are continued together.

    Args:
        model: a `Transformer` or a Hugging Face causal model.
        prompts: ids of each prompt, integers (n,), not empty.
        new: ids to write, at least 1.
        stop: ids that end a reply and are not of it.
    Returns: ids for each prompt, int64 (at most `new`,).
    Raises: InvalidInput: an empty prompt, an id that the model does not know, `new` below 1.
    """
    import torch

    if new < 1:
        raise InvalidInput(f"new={new}; it must be at least 1")
    sequences = [np.asarray(prompt, np.int64) for prompt in prompts]
    written: list[np.ndarray] = [np.empty(0, np.int64)] * len(sequences)
    ends = np.array(list(stop), np.int64)
    for length in sorted({sequence.size for sequence in sequences}):
        places = [i for i, sequence in enumerate(sequences) if sequence.size == length]
        with evaluating(model):
            for rows, ids_BT in batches_by_length([sequences[i] for i in places], batch=32, model=model):
                steps, (logits_BTV, past) = [], _run(model, ids_BT, None)
                for _ in range(new):
                    steps.append(logits_BTV[:, -1].argmax(-1, keepdim=True))
                    if len(steps) < new:
                        logits_BTV, past = _run(model, steps[-1], past)
                for row, ids in zip(rows, torch.cat(steps, 1).cpu().numpy()):
                    found = np.flatnonzero(np.isin(ids, ends))
                    written[places[row]] = ids[: found[0]] if found.size else ids
    return written


def _shared(sequences: list[np.ndarray]) -> int:
    """How many ids all begin with; of each at least one remains, to predict from."""
    most = min(sequence.size for sequence in sequences) - 1
    if most < 0:
        raise InvalidInput("a prompt is empty")
    for sequence in sequences[1:]:
        different = np.flatnonzero(sequence[:most] != sequences[0][:most])
        most = int(different[0]) if different.size else most
    return most


def _run(model: nn.Module, ids_BT: Tensor, past: Any) -> tuple[Tensor, Any]:
    """Logits (B, T, V), and the cache of everything so far; `past` is used up."""
    if hasattr(model.config, "model_type"):
        # transformers renames the argument from version 5.24 on, and warns of the old name.
        name = "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"
        output = model(input_ids=ids_BT, use_cache=True, **{name: past})
        return output.logits, getattr(output, name)
    from ...models.transformer import Cache

    past = Cache([]) if past is None else past
    return model(ids_BT, cache=past), past


def _repeated(past: Any, rows: int) -> Any:
    """A copy of the cache of one row for each of `rows`."""
    if past is None:
        return None
    if hasattr(past, "batch_repeat_interleave"):
        past = copy.deepcopy(past)
        past.batch_repeat_interleave(rows)
        return past
    from ...models.transformer import Cache

    return Cache([(k.expand(rows, -1, -1, -1), v.expand(rows, -1, -1, -1)) for k, v in past.pairs])
