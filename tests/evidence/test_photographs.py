"""Photographs come out of the archives, and into a model, as they should."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from tokenloom.core.errors import CorpusError, InvalidInput
from tokenloom.evidence.photographs import SHOWN, photographs, pixel_values, square


def png(colour, size=(6, 5)):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "png")
    return file.getvalue()


def test_sixteen_pictures_are_read_from_the_wheels(tmp_path):
    from tokenloom.evidence.photographs import _FILES

    with zipfile.ZipFile(tmp_path / "scikit_image-0.26.0-any.whl", "w") as wheel:
        for name, kind in _FILES.items():
            wheel.writestr(f"skimage/data/{name}.{kind}", png((len(name), 0, 0)))
    with zipfile.ZipFile(tmp_path / "scikit_learn-1.9.1-any.whl", "w") as wheel:
        for name in ("china", "flower"):
            wheel.writestr(f"sklearn/datasets/images/{name}.jpg", png((0, len(name), 0)))
    found = photographs(tmp_path)
    assert len(found) == 16 and list(found) == sorted(found) and set(SHOWN) < set(found)
    assert found["chelsea"].shape == (5, 6, 3) and found["chelsea"][0, 0].tolist() == [7, 0, 0]
    assert found["china"][4, 5].tolist() == [0, 5, 0]


def test_missing_archives_name_the_command(tmp_path):
    with pytest.raises(CorpusError, match="pip download --no-deps scikit-image"):
        photographs(tmp_path)


def test_the_middle_is_cut_after_the_shorter_side_was_resized():
    picture = np.zeros((4, 12, 3), np.uint8)
    picture[:, 4:8] = 200  # the middle square
    assert np.array_equal(square(picture, 4), np.full((4, 4, 3), 200, np.uint8))
    assert square(picture.transpose(1, 0, 2), 2).shape == (2, 2, 3)


def test_pixels_have_the_mean_and_deviation_of_imagenet():
    grey = np.full((8, 9, 3), 255, np.uint8)
    values = pixel_values([grey, grey // 255 * 0], side=4)
    assert values.shape == (2, 3, 4, 4) and values.dtype.is_floating_point
    np.testing.assert_allclose(
        values[0, :, 0, 0], [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225], rtol=1e-6
    )
    np.testing.assert_allclose(values[1, 2, 3, 3], -0.406 / 0.225, rtol=1e-6)


def test_grey_pictures_are_refused():
    with pytest.raises(InvalidInput, match=r"uint8 of \(5, 5\)"):
        square(np.zeros((5, 5), np.uint8))
