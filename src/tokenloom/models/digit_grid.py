"""A LLaVA that trains in a minute: its pictures are grids of small digits, one patch each, and it answers questions on them.

It is transformers' own `LlavaForConditionalGeneration` of 140 thousand weights, so that whatever works on LLaVA works on it
unchanged; and as one knows which patches an answer depends on, one can see what a way to drop tokens gets wrong. The pictures
and questions are in `tokenloom.measure.digit_grid`. Design ours; the words are those of LLaVA (Liu et al. 2023, arXiv 2304.08485):
a vision encoder of CLIP, a projector linear-GELU-linear, a Llama.
"""
# D width

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..core.errors import InvalidInput, require

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration

__all__ = ["PATCH", "digit_grid_model", "digit_grid_words"]

PATCH = 8
"""Pixels of a side of a digit, which is one patch."""

_WORDS = (
    *("<pad>", "<bos>", "<image>", "digit", "count", "any", "ink", "parity"),
    *(".", "blank", "no", "yes", "left", "right", "even", "odd"),
)


def digit_grid_words(side: int) -> dict[str, int]:
    """The ids of all words: those of questions and answers, then places, then numbers up to the cells of a grid.

    Args:
        side: G, cells of a side.

    >>> words = digit_grid_words(2)
    >>> words["<image>"], words["row 0"], words["column 1"], words["9"], len(words)
    (2, 16, 19, 29, 30)
    """
    places = [f"{axis} {i}" for axis in ("row", "column") for i in range(side)]
    numbers = [str(n) for n in range(max(9, side * side) + 1)]
    return {word: i for i, word in enumerate((*_WORDS, *places, *numbers))}


def digit_grid_model(
    *, side: int = 4, width: int = 64, layers: int = 3, heads: int = 4, blocks: int = 0, seed: int = 0
) -> LlavaForConditionalGeneration:
    """An untrained model.

    Its features are those before the last block of the vision encoder, as LLaVA's are. With `blocks=0` they are the patches
    themselves, each with its place, and no token knows of another before the language model: what an answer depends on is known.

    Args:
        side: G, cells of a side; pictures have one channel and 8 G pixels a side, and G * G visual tokens.
        width: D, of both parts, a multiple of 2 * heads.
        layers: of the language model.
        heads: of every attention.
        blocks: of the vision encoder before the features; one more, which is never used, stands behind them.
        seed: of the initial weights.
    Raises: InvalidInput: numbers that do not fit together. MissingExtra: transformers is not installed.
    """
    if min(side, width, layers, heads) < 1 or blocks < 0:
        raise InvalidInput("side, width, layers and heads must be at least 1, blocks at least 0")
    if width % (2 * heads):
        raise InvalidInput(f"width={width} is no multiple of twice heads={heads}, as rotary positions need")
    transformers = require("transformers", "hf")
    words = digit_grid_words(side)
    sizes = {"hidden_size": width, "intermediate_size": 2 * width, "num_attention_heads": heads}
    vision = transformers.CLIPVisionConfig(
        **sizes,
        num_hidden_layers=blocks + 1,
        num_channels=1,
        image_size=PATCH * side,
        patch_size=PATCH,
        projection_dim=width,
        initializer_range=0.1,
    )
    text = transformers.LlamaConfig(
        **sizes,
        num_hidden_layers=layers,
        num_key_value_heads=heads,
        vocab_size=len(words),
        max_position_embeddings=side * side + 16,
        # 0.02 is for widths of thousands; here it would take a third of the training until places can be told apart.
        initializer_range=width**-0.5,
        pad_token_id=words["<pad>"],
        bos_token_id=words["<bos>"],
        eos_token_id=None,
    )
    config = transformers.LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=words["<image>"],
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_seq_length=side * side,
        projector_hidden_act="gelu",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return transformers.LlavaForConditionalGeneration._from_config(config, attn_implementation="sdpa").eval()
