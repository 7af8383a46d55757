"""Scenes: captions against the pictures they are of, word by word; the captioner's accuracy by hand."""

import numpy as np
import pytest
import torch

from tokenloom.core.errors import InvalidInput
from tokenloom.measure.scenes import LONGEST, caption_accuracy, scenes, train_captioner
from tokenloom.models.scene_captioner import COLOURS, SCENE_WORDS, SHAPES, captioner_model

WORDS = list(SCENE_WORDS)
RGB = {"red": (1, 0.1, 0.1), "green": (0.1, 0.8, 0.1), "blue": (0.15, 0.25, 1), "yellow": (1, 0.9, 0.1), "white": (1, 1, 1), "black": (0, 0, 0)}  # fmt: skip


def test_captions_say_what_is_in_the_pictures():
    some = scenes(40, rng=np.random.default_rng(0))
    for b in range(40):
        words = [WORDS[i] for i in some.captions_BA[b].tolist() if i]
        assert words[-2:] == [".", "<end>"] and "<end>" not in words[:-1] and len(words) <= LONGEST
        text = " ".join(words)
        quarters = (some.pixels[b].permute(1, 2, 0).numpy() + 1) / 2
        count = 0
        for q, where in enumerate(("top left", "top right", "bottom left", "bottom right")):
            part = quarters[16 * (q // 2) : 16 * (q // 2) + 16, 16 * (q % 2) : 16 * (q % 2) + 16].reshape(-1, 3)
            inked = np.abs(part - 0.5).max(1) > 0.3
            if some.colours_BQ[b, q] < 0:
                assert where not in text and inked.sum() == 0 and some.shapes_BQ[b, q] < 0
                continue
            count += 1
            colour, shape = COLOURS[some.colours_BQ[b, q]], SHAPES[some.shapes_BQ[b, q]]
            assert f"a {colour} {shape} at the {where}" in text
            assert np.allclose(part[inked].mean(0), RGB[colour], atol=0.06)
            assert (shape == "square") == (inked.sum() == 64)
        assert words[3] == {2: "two", 3: "three", 4: "four"}[count]


def test_the_longest_caption_fits_and_shapes_are_all_different():
    some = scenes(300, rng=np.random.default_rng(1))
    assert int((some.captions_BA != 0).sum(1).max()) == LONGEST
    inks = {}
    for b in range(300):
        for q in (some.colours_BQ[b] >= 0).nonzero()[:, 0].tolist():
            y, x = 16 * (q // 2), 16 * (q % 2)
            part = some.pixels[b, :, y : y + 16, x : x + 16]
            inks.setdefault(SHAPES[some.shapes_BQ[b, q]], set()).add(int((part.abs().amax(0) > 0.5).sum()))
    assert set(inks) == set(SHAPES) and all(
        max(found) - min(found) < 3 for found in inks.values()
    )  # the paper has noise
    assert len({min(found) for found in inks.values()}) == len(SHAPES)


def test_the_same_generator_draws_the_same_and_parts_can_be_taken():
    a, b, c = (scenes(5, rng=np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert torch.equal(a.pixels, b.pixels) and torch.equal(a.captions_BA, b.captions_BA)
    assert not torch.equal(a.pixels, c.pixels)
    assert len(a[1:3]) == 2 and torch.equal(a[1:3].pixels, a.pixels[1:3])
    labels = a.lessons["labels"]
    assert (labels[:, :67] == -100).all() and ((labels >= 0).sum(1) == (a.captions_BA != 0).sum(1)).all()


def test_a_captioner_learns_and_its_accuracy_counts_ids_up_to_the_end():
    model = captioner_model(width=32, layers=1)
    losses = train_captioner(model, steps=25, rng=np.random.default_rng(0), batch=8, lr=5e-3)
    assert losses[-5:].mean() < 0.75 * losses[:3].mean() and not model.training
    some = scenes(4, rng=np.random.default_rng(5))
    with torch.no_grad():
        right = total = 0
        for b in range(4):
            ids = some.ids_BT[b : b + 1]
            for _ in range(LONGEST):
                nxt = model(input_ids=ids, pixel_values=some.pixels[b : b + 1]).logits[:, -1].argmax(-1, keepdim=True)
                ids = torch.cat([ids, nxt], 1)
                if int(nxt) == SCENE_WORDS["<end>"]:
                    break
            caption = [i for i in some.captions_BA[b].tolist() if i]
            made = [*ids[0, 67:].tolist(), *[SCENE_WORDS["<end>"]] * LONGEST]
            right += sum(x == y for x, y in zip(caption, made))
            total += len(caption)
    assert caption_accuracy(model, some) == pytest.approx(right / total)


@pytest.mark.parametrize(
    "work, words",
    [
        (lambda: scenes(0, rng=np.random.default_rng(0)), "batch=0"),
        (lambda: captioner_model(width=12), "no multiple of twice heads=4"),
        (lambda: captioner_model(layers=0), "layers=0"),
    ],
)
def test_what_there_is_no_scene_or_model_of_is_refused(work, words):
    with pytest.raises(InvalidInput, match=words):
        work()
