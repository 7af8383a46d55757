"""Grids, questions and their answers, against a plain reading of the picture; training and answering."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput
from tokenloom.core.token_map import TokenMap
from tokenloom.measure.digit_grid import (
    KINDS,
    DigitGridTask,
    Digits,
    answers,
    generated_digits,
    train_digit_grid,
)
from tokenloom.models.digit_grid import digit_grid_model

EVEN = dict.fromkeys(KINDS, 0.2)


def small_model(side=2, **sizes):
    return digit_grid_model(side=side, width=16, layers=1, heads=2, **sizes)


@pytest.fixture(scope="module")
def digits():
    return generated_digits(3, rng=np.random.default_rng(0))


def plain_answer(digits, cells, question):
    """What a person would answer, cell by cell."""
    side = len(cells)
    kind, first, second = question
    flat = [d for row in cells for d in row]
    if kind == "digit":
        d = cells[int(first.split()[1])][int(second.split()[1])]
        return "blank" if d < 0 else str(d)
    if kind == "count":
        return str(flat.count(int(second)))
    if kind == "any":
        return "yes" if int(second) in flat else "no"
    if kind == "parity":
        odd = sum(d % 2 for d in flat if d >= 0)
        return "odd" if odd > sum(d >= 0 for d in flat) - odd else "even"
    raise AssertionError(f"{kind} of {side}")


@given(seed=st.integers(0, 1000), side=st.integers(2, 4), blank=st.sampled_from([0.0, 0.5]))
def test_answers_and_relevant_cells_are_those_of_a_plain_reading(digits, seed, side, blank):
    task = DigitGridTask(side=side, mix=EVEN, blank=blank)
    grids = task.draw(digits, 20, rng=np.random.default_rng(seed))
    n = side * side
    for b in range(20):
        words = [task.words[i] for i in grids.ids_BT[b].tolist()]
        assert words[: n + 1] == ["<bos>", *["<image>"] * n]
        kind, first, second = question = words[n + 1 :]
        assert kind == KINDS[int(grids.kinds_B[b])]
        cells = grids.digits_BN[b].view(side, side).tolist()
        said = task.words[int(grids.answers_B[b])]
        relevant = grids.relevant_BN[b].view(side, side).tolist()
        if kind == "ink":
            ink = (grids.pixels[b, 0].double() + 1) / 2
            half = side // 2 * 8
            left, right = float(ink[:, :half].sum()), float(ink[:, -half:].sum())
            assert said == ("right" if right > left else "left") or abs(left - right) < 1e-5
        else:
            assert said == plain_answer(digits, cells, question)
        if kind == "digit":
            expected = [[f"row {r}" == first and f"column {c}" == second for c in range(side)] for r in range(side)]
        elif kind in ("count", "any"):
            expected = [[d == int(second) for d in row] for row in cells]
        else:
            expected = [[True] * side] * side
        assert relevant == expected


def test_each_cell_shows_a_sample_of_its_digit(digits):
    grids = DigitGridTask(side=3, blank=0.3, pale=1.0).draw(digits, 8, rng=np.random.default_rng(0))
    assert grids.pixels.shape == (8, 1, 24, 24)
    for b in range(8):
        for cell, digit in enumerate(grids.digits_BN[b].tolist()):
            r, c = divmod(cell, 3)
            shown = (grids.pixels[b, 0, 8 * r : 8 * r + 8, 8 * c : 8 * c + 8].numpy() + 1) / 2
            samples = digits.ink_SHW[digits.labels_S == digit] if digit >= 0 else np.zeros((1, 8, 8))
            assert np.abs(samples - shown).max((1, 2)).min() < 1e-6


def test_each_half_has_ink_of_one_strength_and_a_middle_column_the_mean_of_both(digits):
    for side in (2, 3, 4):
        pale, full = (
            DigitGridTask(side=side, pale=p).draw(digits, 6, rng=np.random.default_rng(0)) for p in (0.2, 1.0)
        )
        ratio = ((pale.pixels + 1) / (full.pixels + 1).clamp(min=1e-3)).view(6, 8 * side, side, 8)
        inked = (full.pixels > -0.5).view(6, 8 * side, side, 8)
        for b in range(6):
            strengths = [ratio[b, :, c][inked[b, :, c]] for c in range(side)]
            assert all(float(column.max() - column.min()) < 1e-4 for column in strengths)
            means = [float(column.mean()) for column in strengths]
            half = side // 2
            assert np.ptp(means[:half]) < 1e-4 and np.ptp(means[-half:]) < 1e-4
            assert min(means) >= 0.2
            assert max(means) <= 1.0001
            if side == 3:
                assert means[1] == pytest.approx((means[0] + means[2]) / 2, abs=1e-4)
        assert abs(means[0] - means[-1]) > 1e-3


def test_half_of_the_answers_to_any_are_yes_and_kinds_come_as_often_as_asked(digits):
    grids = DigitGridTask(mix={"any": 0.5, "ink": 0.3, "count": 0.2}).draw(digits, 4000, rng=np.random.default_rng(0))
    task_words = DigitGridTask().words
    shares = np.bincount(grids.kinds_B.numpy(), minlength=5) / 4000
    assert np.abs(shares - [0, 0.2, 0.5, 0.3, 0]).max() < 4 * (0.25 / 4000) ** 0.5
    yes = [task_words[i] == "yes" for i in grids.answers_B[grids.kinds_B == 2].tolist()]
    assert abs(np.mean(yes) - 0.5) < 4 * (0.25 / len(yes)) ** 0.5


def test_the_same_generator_draws_the_same_grids(digits):
    task = DigitGridTask(mix=EVEN, blank=0.1)
    one, same, other = (task.draw(digits, 5, rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(value, getattr(same, name)) for name, value in vars(one).items())
    assert not torch.equal(one.pixels, other.pixels)


def test_generated_digits_can_be_told_apart(digits):
    assert digits.labels_S.tolist() == np.repeat(range(10), 3).tolist()
    # Moved to the top left, samples of a digit have dots at the same places, and other digits have not.
    shapes = set()
    for ink, label in zip(digits.ink_SHW > 0.3, digits.labels_S.tolist()):
        rows, columns = ink.any(1).nonzero()[0], ink.any(0).nonzero()[0]
        shapes.add((label, ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].tobytes(), len(columns)))
    assert len(shapes) == 10


def test_training_learns_and_a_seed_repeats_it(digits):
    task = DigitGridTask(side=2, mix={"ink": 1.0})
    losses = []
    for seed in (0, 0, 1):
        model = small_model()
        losses.append(
            train_digit_grid(model, digits, task, steps=40, rng=np.random.default_rng(seed), batch=16, lr=1e-2)
        )
    assert np.array_equal(losses[0], losses[1])
    assert not np.array_equal(losses[0], losses[2])
    assert losses[0][-10:].mean() < losses[0][:10].mean() / 2
    assert not model.training


def test_answers_are_those_of_generate_and_do_not_depend_on_blocks(digits):
    grids = DigitGridTask(side=2, mix=EVEN).draw(digits, 7, rng=np.random.default_rng(0))
    model = small_model()
    said = answers(model, grids)
    assert torch.equal(answers(model, grids, block=3), said)
    generated = model.generate(**grids.inputs, max_new_tokens=1, do_sample=False)
    assert torch.equal(generated[:, -1], said)


def test_given_all_tokens_the_model_answers_as_with_its_own(digits):
    grids = DigitGridTask(side=2, mix=EVEN).draw(digits, 6, rng=np.random.default_rng(0))
    model = small_model()
    for positions in ("kept", "compact"):
        assert torch.equal(answers(model, grids, TokenMap.identity(1, 4), positions=positions), answers(model, grids))


def test_a_batch_of_maps_equals_each_by_itself(digits):
    grids = DigitGridTask(side=2, mix=EVEN).draw(digits, 6, rng=np.random.default_rng(0))
    model = small_model(seed=3)
    picks = TokenMap.keep(torch.tensor([[0, 1], [1, 3], [2, 3], [0, 3], [1, 2], [0, 2]]), of=4)
    together = answers(model, grids, picks, block=4)
    alone = [answers(model, grids[b : b + 1], picks.item(b)) for b in range(6)]
    assert torch.equal(together, torch.cat(alone))


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"side": 1}, "side=1"),
        ({"mix": {"colour": 1.0}}, "no question 'colour'"),
        ({"mix": {"digit": 0.5}}, "add up to 1"),
        ({"mix": {"digit": 1.5, "any": -0.5}}, "add up to 1"),
        ({"blank": 1.0}, "blank=1.0"),
        ({"pale": 0.0}, "pale=0.0"),
    ],
)
def test_impossible_tasks_are_refused(settings, words):
    with pytest.raises(InvalidInput, match=words):
        DigitGridTask(**settings)


def test_impossible_digits_are_refused(digits):
    with pytest.raises(InvalidInput, match="from 0 to 1"):
        Digits(digits.ink_SHW * 16, digits.labels_S)
    with pytest.raises(InvalidInput, match="each digit"):
        digits[:9]
    with pytest.raises(InvalidInput, match="30 labels"):
        Digits(digits.ink_SHW[:, :7], digits.labels_S)
