"""Tiny random models of the real classes, and inputs for them: what tests of reducers inside models run on."""

import torch
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    Dinov2Config,
    Dinov2Model,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    SiglipVisionConfig,
    SiglipVisionModel,
    ViTConfig,
    ViTModel,
)

FAMILIES = ("llava", "llava-next", "qwen2-vl", "qwen2.5-vl")
TOWERS = ("clip", "siglip", "vit", "dinov2")

_VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4}
_PICTURE = {"image_size": 56, "patch_size": 14}
_TEXT = {
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}
_ENDLESS = {"bos_token_id": 0, "eos_token_id": None, "pad_token_id": 1}
PLACEHOLDER = {"llava": 127, "llava-next": 127, "qwen2-vl": 155, "qwen2.5-vl": 155}


def tiny_vlm(family, implementation="sdpa", *, tower="clip", seed=0, **changes):
    """A random vision-language model of `family`, one of `FAMILIES`, without dropout and without an end token.

    LLaVA's pictures have 16 patches (and a class token, with the tower "clip"), Qwen's 2 x 2 patches a token. `changes` are
    those of the whole model's configuration.
    """
    torch.manual_seed(seed)
    if family.startswith("llava"):
        kind = {"clip": CLIPVisionConfig, "siglip": SiglipVisionConfig}[tower]
        next_one = family == "llava-next"
        settings = {
            "vision_config": kind(**_VISION, **_PICTURE),
            "text_config": LlamaConfig(vocab_size=128, **_TEXT, **_ENDLESS),
            "image_token_id": PLACEHOLDER[family],
            "vision_feature_layer": -2,
            "vision_feature_select_strategy": "default" if tower == "clip" else "full",
            **({"image_grid_pinpoints": [[56, 112], [112, 56], [112, 112]]} if next_one else {}),
        }
        config = (LlavaNextConfig if next_one else LlavaConfig)(**{**settings, **changes})
        model_class = LlavaNextForConditionalGeneration if next_one else LlavaForConditionalGeneration
    else:
        windows = family == "qwen2.5-vl"
        rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 2, 2]}
        vision = {"depth": 4, "num_heads": 4, "patch_size": 14, "spatial_merge_size": 2}
        if windows:
            vision |= {"hidden_size": 32, "intermediate_size": 64, "out_hidden_size": 48}
            vision |= {"window_size": 56, "fullatt_block_indexes": [1, 3]}
        else:
            vision |= {"embed_dim": 32, "hidden_size": 48, "mlp_ratio": 2}
        config = (Qwen2_5_VLConfig if windows else Qwen2VLConfig)(
            **{
                "vision_config": vision,
                "text_config": {"vocab_size": 160, "rope_parameters": rope, **_TEXT, **_ENDLESS},
                "image_token_id": PLACEHOLDER[family],
                "video_token_id": 156,
                "vision_start_token_id": 157,
                "vision_end_token_id": 158,
                **changes,
            }
        )
        model_class = Qwen2_5_VLForConditionalGeneration if windows else Qwen2VLForConditionalGeneration
    model = model_class._from_config(config, attn_implementation=implementation).eval()
    model.generation_config.pad_token_id = 1
    with torch.no_grad():  # the usual 0.02 makes attention so flat that mistakes in it hardly show
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(4)
    return model


def tiny_tower(kind, implementation="sdpa", *, seed=0):
    """A random vision transformer, one of `TOWERS`: 16 patches of 56 x 56 pixels, and a class token where the class has one."""
    torch.manual_seed(seed)
    config_class, model_class = {
        "clip": (CLIPVisionConfig, CLIPVisionModel),
        "siglip": (SiglipVisionConfig, SiglipVisionModel),
        "vit": (ViTConfig, ViTModel),
        "dinov2": (Dinov2Config, Dinov2Model),
    }[kind]
    sizes = {key: value for key, value in _VISION.items() if kind != "dinov2" or key != "intermediate_size"}
    config = config_class(**sizes, **_PICTURE, **({"mlp_ratio": 2} if kind == "dinov2" else {}))
    return model_class._from_config(config, attn_implementation=implementation).eval()


def pixels(pictures=1, *, seed=0):
    """Random pixels for `tiny_tower` and LLaVA, (pictures, 3, 56, 56)."""
    return torch.randn(pictures, 3, 56, 56, generator=torch.Generator().manual_seed(seed))


def tiny_inputs(family, rows=((3, "p", 4),), *, seed=0, grids=((8, 12),), sizes=((90, 120),)):
    """Inputs of a batch: each row is numbers of random text tokens and "p" for a picture; shorter rows are padded on the left.

    Args:
        grids: rows and columns of the patches of Qwen's pictures, in turn; both even.
        sizes: height and width of LLaVA-NeXT's pictures, in turn.
    """
    generator = torch.Generator().manual_seed(seed)
    count = sum(part == "p" for row in rows for part in row)
    inputs = {}
    if not count:
        lengths = []
    elif family == "llava":
        lengths = [16] * count
        inputs["pixel_values"] = torch.randn(count, 3, 56, 56, generator=generator)
    elif family == "llava-next":
        chosen = [sizes[i % len(sizes)] for i in range(count)]
        crops = [next_crops(*size) for size in chosen]
        lengths = [next_tokens(*size) for size in chosen]
        inputs["pixel_values"] = torch.randn(count, 1 + max(r * c for r, c in crops), 3, 56, 56, generator=generator)
        inputs["image_sizes"] = torch.tensor(chosen)
    else:
        chosen = [grids[i % len(grids)] for i in range(count)]
        lengths = [h * w // 4 for h, w in chosen]
        patches = sum(h * w for h, w in chosen)
        inputs["pixel_values"] = torch.randn(patches, 3 * 2 * 14 * 14, generator=generator)
        inputs["image_grid_thw"] = torch.tensor([[1, h, w] for h, w in chosen])
    slot, left = PLACEHOLDER[family], iter(lengths)
    lines = []
    for row in rows:
        line = []
        for part in row:
            if part == "p":
                block = [slot] * next(left)
                line += block if family.startswith("llava") else [157, *block, 158]
            else:
                line += torch.randint(2, 120, (part,), generator=generator).tolist()
        lines.append(line)
    longest = max(map(len, lines))
    inputs["input_ids"] = torch.tensor([[1] * (longest - len(line)) + line for line in lines])
    inputs["attention_mask"] = torch.tensor([[0] * (longest - len(line)) + [1] * len(line) for line in lines])
    if family.startswith("qwen") and count:
        inputs["mm_token_type_ids"] = (inputs["input_ids"] == slot).long()
    return inputs


def one_row(family, inputs, row, rows):
    """The inputs of one row of `tiny_inputs(family, rows)`, alone and without padding."""
    first = sum(part == "p" for line in rows[:row] for part in line)
    count = sum(part == "p" for part in rows[row])
    valid = inputs["attention_mask"][row].bool()
    names = ("input_ids", "attention_mask", "mm_token_type_ids")
    alone = {name: inputs[name][row : row + 1, valid] for name in names if name in inputs}
    if not count:
        alone.pop("mm_token_type_ids", None)
        return alone
    if "image_grid_thw" in inputs:
        grids = inputs["image_grid_thw"]
        start, size = (int(grids[a:b].prod(1).sum()) for a, b in ((0, first), (first, first + count)))
        return alone | {
            "image_grid_thw": grids[first : first + count],
            "pixel_values": inputs["pixel_values"][start : start + size],
        }
    return alone | {
        name: inputs[name][first : first + count] for name in ("pixel_values", "image_sizes") if name in inputs
    }


def next_crops(height, width):
    """Rows and columns of the crops that the tiny LLaVA-NeXT makes of a picture of this size."""
    from transformers.image_processing_utils import select_best_resolution

    best = select_best_resolution((height, width), [[56, 112], [112, 56], [112, 112]])
    return best[0] // 56, best[1] // 56


def next_tokens(height, width):
    """How many tokens the tiny LLaVA-NeXT makes of a picture of this size."""
    rows, columns = (4 * n for n in next_crops(height, width))
    if width / height > columns / rows:
        rows -= 2 * ((rows - int(round(height * columns / width, 7))) // 2)
    else:
        columns -= 2 * ((columns - int(round(width * rows / height, 7))) // 2)
    return 16 + rows * (columns + 1)
