"""A LLaVA that learns in a minute or two to say which coloured shapes are in a picture of 64 patches.

It is transformers' own `LlavaForConditionalGeneration`, as that of `digit_grid`, with a language model of four layers and width
128: small enough to be trained in an experiment, and what decodes or compresses for LLaVA works on it unchanged. The pictures and
captions are in `tokenloom.measure.scenes`. Design ours; the parts are those of LLaVA (Liu et al. 2023, arXiv 2304.08485).
"""
# D width

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..core.errors import InvalidInput, require

if TYPE_CHECKING:
    from transformers import LlavaForConditionalGeneration

__all__ = ["COLOURS", "PATCH", "SCENE_WORDS", "SHAPES", "SIDE", "captioner_model"]

SIDE = 8
"""Patches of a side of a picture."""

PATCH = 4
"""Pixels of a side of a patch."""

COLOURS = ("red", "green", "blue", "yellow", "white", "black")
SHAPES = ("square", "circle", "triangle", "cross", "ring")

SCENE_WORDS = {
    word: i
    for i, word in enumerate(
        (
            *("<pad>", "<bos>", "<image>", "<end>", "describe", ":", "the", "picture", "shows", "two", "three", "four"),
            *("things", "a", "at", "top", "bottom", "left", "right", ",", "and", ".", *COLOURS, *SHAPES),
        )
    )
}
"""Word → id."""


def captioner_model(
    *, width: int = 128, layers: int = 4, heads: int = 4, seed: int = 0
) -> LlavaForConditionalGeneration:
    """An untrained model; its visual features are the patches, each with its place.

    Args:
        width: D, of both parts, a multiple of 2 * heads.
        layers: of the language model.
        heads: of every attention.
        seed: of the initial weights.
    Raises: InvalidInput: numbers that do not fit together. MissingExtra: transformers is not installed.
    """
    if min(width, layers, heads) < 1:
        raise InvalidInput(f"{width=}, {layers=} and {heads=} must be at least 1")
    if width % (2 * heads):
        raise InvalidInput(f"{width=} is no multiple of twice {heads=}, as rotary positions need")
    transformers = require("transformers", "hf")
    sizes = {"hidden_size": width, "intermediate_size": 2 * width, "num_attention_heads": heads}
    vision = transformers.CLIPVisionConfig(
        **sizes, num_hidden_layers=1, image_size=SIDE * PATCH, patch_size=PATCH, projection_dim=width, initializer_range=0.1
    )  # fmt: skip
    text = transformers.LlamaConfig(
        **sizes,
        num_hidden_layers=layers,
        num_key_value_heads=heads,
        vocab_size=len(SCENE_WORDS),
        max_position_embeddings=2 * SIDE * SIDE,
        # 0.02 is for widths of thousands.
        initializer_range=width**-0.5,
        pad_token_id=SCENE_WORDS["<pad>"],
        bos_token_id=SCENE_WORDS["<bos>"],
        eos_token_id=SCENE_WORDS["<end>"],
    )
    config = transformers.LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=SCENE_WORDS["<image>"],
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        image_seq_length=SIDE * SIDE,
        projector_hidden_act="gelu",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = transformers.LlavaForConditionalGeneration._from_config(config, attn_implementation="sdpa").eval()
    model.generation_config.eos_token_id = SCENE_WORDS["<end>"]
    return model
