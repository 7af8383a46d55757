"""Maps of all three forms against dense float64 matrices: the laws, composition, refusals, drawing, gradients."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput
from tokenloom.core.patches import draw_patches
from tokenloom.core.token_map import TokenMap
from tokenloom.testing import check_token_map

FORMS = ("keep", "merge", "dense")


def draw_map(draw, form, batch, n, size=None):
    """A map and, written in plain loops, its matrix as lists."""
    size = draw(st.integers(1, 5)) if size is None else size
    plain = [[[0.0] * n for _ in range(size)] for _ in range(batch)]
    if form == "keep":
        index = []
        for b in range(batch):
            kept = draw(st.permutations(range(n)))[: draw(st.integers(0, min(size, n)))]
            for row, token in enumerate(kept):
                plain[b][row][token] = 1.0
            index.append([*kept, *[-1] * (size - len(kept))])
        return TokenMap.keep(torch.tensor(index, dtype=torch.int64).view(batch, size), of=n), plain
    if form == "merge":
        k = draw(st.integers(1, 3))
        target = [[[draw(st.integers(-1, size - 1)) for _ in range(k)] for _ in range(n)] for _ in range(batch)]
        share = [[[draw(st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0])) for _ in range(k)] for _ in range(n)] for _ in range(batch)]  # fmt: skip
        mean = draw(st.booleans())
        for b in range(batch):
            for token in range(n):
                for row, weight in zip(target[b][token], share[b][token]):
                    if row >= 0 and mean:
                        plain[b][row][token] += 1 / sum(links.count(row) for links in target[b])
                    elif row >= 0:
                        plain[b][row][token] += weight
        return TokenMap.merge(torch.tensor(target), size, None if mean else torch.tensor(share)), plain
    values = st.sampled_from([0.0, 0.0, 0.5, 1.0, -1.0, 0.25])
    plain = [[[draw(values) for _ in range(n)] for _ in range(size)] for _ in range(batch)]
    return TokenMap.dense(torch.tensor(plain)), plain


@st.composite
def maps(draw, form):
    batch, n = draw(st.integers(1, 3)), draw(st.integers(1, 6))
    return draw_map(draw, form, batch, n)


@st.composite
def pairs(draw, first, second):
    batch = draw(st.integers(1, 3))
    one, _ = draw_map(draw, first, draw(st.sampled_from([1, batch])), draw(st.integers(1, 6)))
    two, _ = draw_map(draw, second, draw(st.sampled_from([1, batch])), one.shape[1])
    return one, two


@pytest.mark.parametrize("form", FORMS)
def test_a_map_is_its_matrix_and_obeys_the_laws(form):
    @given(maps(form))
    def check(drawn):
        found, plain = drawn
        assert found.form == form
        assert torch.allclose(found.matrix().double(), torch.tensor(plain, dtype=torch.float64), atol=1e-6)
        check_token_map(found)

    check()


@pytest.mark.parametrize("first", FORMS)
@pytest.mark.parametrize("second", FORMS)
def test_maps_of_all_forms_follow_each_other(first, second):
    @settings(max_examples=50)
    @given(pairs(first, second))
    def check(drawn):
        one, two = drawn
        check_token_map(one, then=[two])
        both = two @ one
        check_token_map(both)
        assert both.form == "keep" if first == second == "keep" else both.form in ("merge", "dense")
        for b in range(both.shape[0]):
            assert both.item(b).item(0).shape == both.item(b).shape

    check()


@given(st.data())
def test_three_maps_can_be_composed_either_way(data):
    one, _ = draw_map(data.draw, data.draw(st.sampled_from(FORMS)), 2, 4)
    two, _ = draw_map(data.draw, data.draw(st.sampled_from(FORMS)), 1, one.shape[1])
    three, _ = draw_map(data.draw, data.draw(st.sampled_from(FORMS)), 2, two.shape[1])
    left, right = (three @ two) @ one, three @ (two @ one)
    assert torch.allclose(left.matrix(), right.matrix(), atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_one_map_serves_any_number_of_items(form):
    @given(st.data())
    def check(data):
        found, _ = draw_map(data.draw, form, 1, 4)
        x_BND, y_BMD = torch.randn(3, 4, 2), torch.randn(3, found.shape[1], 2)
        for b in range(3):
            assert torch.allclose(found.apply(x_BND)[b], found.apply(x_BND[b : b + 1])[0], atol=1e-6)
            assert torch.allclose(found.lift(y_BMD)[b], found.lift(y_BMD[b : b + 1])[0], atol=1e-6)
        assert found.mass(torch.ones(3, 4)).shape == (3, found.shape[1])

    check()


def test_the_identity_changes_nothing():
    x = torch.randn(2, 5, 3)
    same = TokenMap.identity(2, 5)
    assert torch.equal(same.apply(x), x) and torch.equal(same.lift(x), x)
    assert same.kind == "one-to-one" and same.rows_sum_to_one
    check_token_map(same, then=[same])


def test_composition_may_leave_an_empty_row_between_others():
    first = TokenMap.keep(torch.tensor([[4, -1]]), of=5)
    both = TokenMap.keep(torch.tensor([[1, 0]]), of=2) @ first
    assert both.index_BM.tolist() == [[-1, 4]] and both.counts_B.tolist() == [1]
    assert both.item(0).index_BM.tolist() == [[4]]
    merged = TokenMap.merge(torch.tensor([[0, 2, 2]]), 3)
    assert merged.item(0).matrix().tolist() == [[[1, 0, 0], [0, 0.5, 0.5]]]


def test_what_stands_where_a_token_goes_nowhere_is_nothing():
    found = TokenMap.merge(torch.tensor([[-1, 0]]), 1, torch.tensor([[5.0, 1.0]]))
    assert found.lift(torch.tensor([[[3.0]]]))[0, :, 0].tolist() == [0, 3]
    assert (TokenMap.merge(torch.tensor([[0]]), 1, torch.tensor([[2.0]])) @ found).matrix().tolist() == [[[0, 2]]]


def test_weights_that_cancel_leave_nothing_to_copy_and_no_mass():
    for found in (
        TokenMap.merge(torch.tensor([[[0, 1]]]), 2, torch.tensor([[[1.0, -1.0]]])),
        TokenMap.dense(torch.tensor([[[1.0], [-1.0]]])),
    ):
        assert found.lift(torch.ones(1, 2, 1)).tolist() == [[[0]]]
        assert found.mass().tolist() == [[0, 0]]
        assert found.positions_BM.tolist() == [[0, 0]]
        check_token_map(found)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("form", FORMS)
def test_other_floats_enter_and_leave_and_sums_are_made_in_float32(form, dtype):
    n = 4096  # ones added one by one in bfloat16 would stop at 256
    found = {
        "keep": TokenMap.keep(torch.tensor([[7]]), of=n),
        "merge": TokenMap.merge(torch.zeros(1, n, dtype=torch.int64), 1),
        "dense": TokenMap.dense(torch.full((1, 1, n), 1 / n)),
    }[form]
    x = torch.ones(1, n, 2, dtype=dtype)
    assert found.apply(x).dtype == dtype == found.lift(found.apply(x)).dtype
    assert torch.allclose(found.apply(x).float(), torch.ones(1, 1, 2), atol=1e-3)


def test_gradients_flow_to_features_and_through_shares_and_weights():
    target = torch.tensor([[[0, 1], [1, -1], [1, 0]]])
    x = torch.randn(1, 3, 2, dtype=torch.float64, requires_grad=True)
    share = torch.rand(1, 3, 2, dtype=torch.float64, requires_grad=True)
    weight = torch.rand(1, 2, 3, dtype=torch.float64, requires_grad=True)
    y = torch.randn(1, 2, 2, dtype=torch.float64)
    after = TokenMap.merge(torch.tensor([[0, 0]]), 1)
    check = torch.autograd.gradcheck
    assert check(lambda x, s: TokenMap.merge(target, 2, s).apply(x), (x, share))
    assert check(lambda s: TokenMap.merge(target, 2, s).lift(y), (share,))
    assert check(lambda s: TokenMap.merge(target, 2, s).mass(), (share,))
    assert check(lambda x, w: TokenMap.dense(w).apply(x), (x, weight))
    assert check(lambda w: TokenMap.dense(w).lift(y), (weight,))
    assert check(lambda x, w: (after @ TokenMap.dense(w)).apply(x), (x, weight))
    assert check(lambda x, s: (after @ TokenMap.merge(target, 2, s)).apply(x), (x, share))
    assert check(lambda x: TokenMap.keep(torch.tensor([[2, 0, -1]]), of=3).apply(x), (x,))


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: TokenMap.keep(torch.tensor([[0, 0]]), of=2), "twice"),
        (lambda: TokenMap.keep(torch.tensor([[-1, 0]]), of=2), "behind a -1"),
        (lambda: TokenMap.keep(torch.tensor([[2]]), of=2), r"goes from 2 to 2; it must lie in \[-1, 2\)"),
        (lambda: TokenMap.keep(torch.tensor([[-2]]), of=2), "from -2"),
        (lambda: TokenMap.keep(torch.tensor([0]), of=2), "int64 of 1 axes"),
        (lambda: TokenMap.keep(torch.tensor([[0.0]]), of=2), "float32"),
        (lambda: TokenMap.keep(torch.tensor([[0]], dtype=torch.int32), of=2), "int32"),
        (lambda: TokenMap.merge(torch.tensor([[2]]), 2), "target goes from 2 to 2"),
        (lambda: TokenMap.merge(torch.tensor([0]), 2), "of 1 axes"),
        (lambda: TokenMap.merge(torch.tensor([[0]]), 2, torch.tensor([[1]])), "int64 of"),
        (lambda: TokenMap.merge(torch.tensor([[0]]), 2, torch.ones(1, 2)), r"floating point of \(1, 1\)"),
        (lambda: TokenMap.merge(torch.tensor([[0]]), 2, torch.tensor([[torch.nan]])), "not finite"),
        (lambda: TokenMap.dense(torch.ones(2, 2)), r"\(2, 2\)"),
        (lambda: TokenMap.dense(torch.ones(1, 2, 2, dtype=torch.int64)), "int64"),
        (lambda: TokenMap.dense(torch.full((1, 1, 1), torch.inf)), "not finite"),
        (lambda: TokenMap.identity(1, 2).apply(torch.ones(1, 3, 1)), "takes 2 tokens"),
        (lambda: TokenMap.identity(2, 2).apply(torch.ones(3, 2, 1)), r"shape \(3, 2, 1\)"),
        (lambda: TokenMap.identity(1, 2).apply(torch.ones(2, 1)), r"shape \(2, 1\)"),
        (lambda: TokenMap.keep(torch.tensor([[0]]), of=2).lift(torch.ones(1, 2, 1)), "y_BMD has shape"),
        (lambda: TokenMap.identity(1, 2) @ TokenMap.identity(1, 3), "do not follow"),
        (lambda: TokenMap.identity(2, 2) @ TokenMap.identity(3, 2), "do not follow"),
        (lambda: TokenMap.identity(1, 2).item(1), "item 1 of a map of 1"),
        (lambda: TokenMap.identity(1, 2).item(-1), "item -1"),
        (lambda: TokenMap.identity(1, 2).mass(torch.ones(2)), "mass_BN has shape"),
        (lambda: TokenMap.identity(1, 2).mass(torch.ones(1, 3)), "mass_BN has shape"),
        (lambda: TokenMap.identity(1, 4).draw(np.zeros((4, 4, 3), np.uint8), grid=(1, 3)), "1 x 3 for 4"),
        (lambda: TokenMap.identity(1, 4).draw(np.zeros((4, 4, 3), np.uint8), grid=(-2, -2)), "-2 x -2"),
    ],
)  # fmt: skip
def test_a_map_refuses(make, words):
    with pytest.raises(InvalidInput, match=words):
        make()


def test_a_map_moves_to_another_device_as_it_is():
    for found in (
        TokenMap.identity(1, 2),
        TokenMap.merge(torch.tensor([[0, 0]]), 1),
        TokenMap.dense(torch.ones(1, 1, 2)),
    ):
        moved = found.to("meta")
        assert (moved.shape, moved.form) == (found.shape, found.form)
        assert next(t for t in (moved.index_BM, moved.target_BNK, moved.weight_BMN) if t is not None).is_meta


PICTURE = np.full((28, 42, 3), (200, 30, 30), np.uint8)  # red; two rows of three patches of 14 pixels


def patch(picture, row, column):
    """The colour in the middle of a patch, away from lines between groups."""
    return tuple(np.asarray(picture)[14 * row + 7, 14 * column + 7].tolist())


def test_kept_merged_and_dropped_patches_look_different():
    pytest.importorskip("PIL")
    found = TokenMap.merge(torch.tensor([[0, 1, 1, -1, 2, 2]]), 3)
    picture = found.draw(PICTURE, grid=(2, 3))
    assert picture.size == (42, 28)
    kept, one, same, dropped, other, _ = (patch(picture, i // 3, i % 3) for i in range(6))
    assert kept == (200, 30, 30)
    assert one == same != other and one != kept != other
    assert len(set(dropped)) == 1 and dropped[0] > 150  # grey and pale
    array = np.asarray(picture)
    assert array[7, 14].tolist() == [40] * 3 and array[7, 28].tolist() != [40] * 3  # a line between groups, none within


def test_drawing_shows_selections_many_to_many_maps_and_maps_of_nothing():
    pytest.importorskip("PIL")
    kept = TokenMap.keep(torch.tensor([[5, 1]]), of=6).draw(PICTURE, grid=(2, 3))
    assert [patch(kept, i // 3, i % 3) == (200, 30, 30) for i in range(6)] == [i in (1, 5) for i in range(6)]
    weight_MN = np.zeros((2, 6))
    weight_MN[0, :4], weight_MN[1, 3:] = 1, (-2, 1, 1)  # patch 3 weighs most in the second
    mixed = draw_patches(PICTURE, (2, 3), weight_MN)
    assert patch(mixed, 1, 0) == patch(mixed, 1, 1) != patch(mixed, 0, 0)
    nothing = TokenMap.keep(torch.tensor([[-1]]), of=6).draw(PICTURE, grid=(2, 3))
    assert all(len(set(patch(nothing, i // 3, i % 3))) == 1 for i in range(6))


def test_the_laws_find_a_map_that_lies():
    class Liar(TokenMap):
        @property
        def counts_B(self):
            return super().counts_B + 1

    honest = TokenMap.keep(torch.tensor([[0, 1]]), of=3)
    with pytest.raises(AssertionError, match="counts_B"):
        check_token_map(Liar(honest.shape, index_BM=honest.index_BM))


def test_integers_can_be_kept_but_not_averaged():
    x = torch.tensor([[[1], [2]]])
    assert TokenMap.keep(torch.tensor([[1]]), of=2).apply(x).tolist() == [[[2]]]
    for some in (TokenMap.merge(torch.tensor([[0, 0]]), 1), TokenMap.dense(torch.ones(1, 1, 2))):
        with pytest.raises(InvalidInput, match="weighted sums are of floating point"):
            some.apply(x)
