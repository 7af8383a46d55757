"""A batch of prompts whose pictures are given by other numbers of tokens than before."""
# B prompts, T tokens of each, M rows of a picture

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ...core.errors import InvalidInput
from .pictures import Rows

__all__ = ["Span", "columns_left", "padding_id", "picked", "spans", "text_behind"]


class Span(NamedTuple):
    """Where a picture is: the prompt, and its first token and the one behind its last."""

    row: int
    start: int
    end: int


def spans(input_ids: Tensor, placeholder: int, lengths: Sequence[int]) -> list[Span]:
    """Where the pictures are that have so many tokens, in the order of the prompts.

    Raises: InvalidInput: the placeholders are not theirs, or a picture's do not follow each other.
    """
    rows, columns = (input_ids == placeholder).nonzero(as_tuple=True)
    if len(rows) != sum(lengths):
        raise InvalidInput(f"the prompts have {len(rows)} placeholders, but the pictures have {sum(lengths)} tokens")
    found = []
    for row, column in zip(rows.split(list(lengths)), columns.split(list(lengths))):
        span = Span(int(row[0]), int(column[0]), int(column[-1]) + 1)
        if int(row[-1]) != span.row or span.end - span.start != len(row):
            raise InvalidInput(
                f"the {len(row)} placeholders of a picture in prompt {span.row} do not follow each other"
            )
        found.append(span)
    return found


def text_behind(input_ids: Tensor, attention_mask: Tensor, span: Span, visual: Sequence[int]) -> Tensor:
    """Columns of the text behind a picture, int64 (Q,): neither padding nor placeholders, whose ids are `visual`."""
    ids = input_ids[span.row]
    text = (attention_mask[span.row] != 0) & ~torch.isin(ids, torch.tensor(list(visual), device=ids.device))
    text[: span.end] = False
    return text.nonzero()[:, 0]


def columns_left(attention_mask: Tensor, found: Sequence[Span], rows: Sequence[Rows]) -> Tensor:
    """For each token of the new prompts the one of the old that it stands for, int64 (B, T'); -1 for new padding.

    Prompts stay padded on the side where they are, which is the left if they are on none, and no more than they must be.
    """
    batch, width = attention_mask.shape
    device = attention_mask.device
    padded = attention_mask == 0
    on_right = bool(padded[:, -1].any()) and not bool(padded[:, 0].any())
    from_edge = padded.flip(1) if on_right else padded
    padding_B = from_edge.long().cumprod(1).sum(1).tolist()
    lines = []
    for b in range(batch):
        first, last = (0, width - padding_B[b]) if on_right else (padding_B[b], width)
        parts, at = [], first
        for span, row in zip(found, rows):
            if span.row == b:
                parts += [torch.arange(at, span.start, device=device), span.start + row.place_M.to(device)]
                at = span.end
        lines.append(torch.cat((*parts, torch.arange(at, last, device=device))))
    new_width = max(map(len, lines)) + min(padding_B)
    left = torch.full((batch, new_width), -1, device=device)
    for b, line in enumerate(lines):
        old = min(padding_B[b], new_width - len(line))  # padding that was there is padding again, with its ids
        if on_right:
            left[b, : len(line)] = line
            left[b, len(line) : len(line) + old] = torch.arange(width - old, width, device=device)
        else:
            left[b, new_width - len(line) :] = line
            start = new_width - len(line) - old
            left[b, start : start + old] = torch.arange(padding_B[b] - old, padding_B[b], device=device)
    return left


def picked(values: Tensor, columns_BT: Tensor, fill: int) -> Tensor:
    """`values` (…, B, T) at these columns, with `fill` for new padding."""
    columns = columns_BT.expand(*values.shape[:-1], -1)
    found = values.gather(-1, columns.clamp(min=0))
    return torch.where(columns < 0, torch.as_tensor(fill, dtype=values.dtype, device=values.device), found)


def padding_id(model: Any) -> int:
    """An id for padding, never that of a picture."""
    text = model.config.get_text_config()
    known = (getattr(text, "pad_token_id", None), model.generation_config.pad_token_id, 0, 1)
    return next(i for i in known if i is not None and i != model.config.image_token_id)
