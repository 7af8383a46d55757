import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenloom.core.errors import SegmentationError
from tokenloom.core.segmentation import Ragged, Segmentation, align


@st.composite
def segmentations(draw, data=None):
    data = draw(st.binary(max_size=24)) if data is None else data
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
    offsets = [0, *cuts, len(data)]
    ids = draw(st.lists(st.integers(0, 2**31 - 1), min_size=len(offsets) - 1, max_size=len(offsets) - 1))
    return Segmentation(ids, offsets, data)


@st.composite
def cuts_of_same_bytes(draw):
    data = draw(st.binary(max_size=24))
    return draw(segmentations(data)), draw(segmentations(data))


@given(segmentations())
def test_tokens_join_to_the_data(seg):
    assert b"".join(seg.tokens()) == seg.data
    assert [len(t) for t in seg.tokens()] == np.diff(seg.offsets).tolist()


@given(segmentations())
def test_boundaries_are_the_distinct_cuts(seg):
    assert seg.boundaries().tolist() == sorted(set(seg.offsets.tolist()))


@given(cuts_of_same_bytes())
def test_refinement_is_inclusion_of_cuts(pair):
    a, b = pair
    assert a.is_refinement_of(b) == (set(b.boundaries().tolist()) <= set(a.boundaries().tolist()))
    assert a.is_refinement_of(a)


@given(cuts_of_same_bytes())
def test_aligned_blocks_cover_the_same_bytes(pair):
    left, right = pair
    for block in align(left, right):
        assert left[block.left].data == right[block.right].data


@given(cuts_of_same_bytes())
def test_alignment_has_exactly_the_common_cuts_and_every_token_once(pair):
    left, right = pair
    blocks = align(left, right)
    common = sorted(set(left.boundaries().tolist()) & set(right.boundaries().tolist()))
    if left.data:
        assert blocks.cuts.tolist() == common
    for side, seg in (("left", left), ("right", right)):
        covered = [i for b in blocks for i in range(getattr(b, side).start, getattr(b, side).stop)]
        assert covered == list(range(len(seg)))
    # Each block is as small as it can be: no cut strictly inside is shared.
    for low, high in pairwise(blocks.cuts.tolist()):
        assert not [c for c in common if low < c < high]


@given(segmentations(), st.data())
def test_coarsening_keeps_the_chosen_cuts(seg, data):
    starts = sorted({0, *data.draw(st.lists(st.integers(0, len(seg) - 1)))}) if len(seg) else []
    coarse = seg.coarsen(starts, list(range(len(starts))))
    assert seg.is_refinement_of(coarse)
    assert coarse.offsets.tolist() == [*seg.offsets[starts].tolist(), len(seg.data)]


@given(segmentations(), st.integers(-30, 30), st.integers(-30, 30))
def test_a_slice_has_the_tokens_of_the_list_slice(seg, i, j):
    assert seg[i:j].tokens() == seg.tokens()[i:j]
    assert seg[i:j].ids.tolist() == seg.ids.tolist()[i:j]


@given(segmentations())
def test_equal_content_means_equal_hash_and_survives_transport(seg):
    twin = Segmentation(seg.ids.copy(), seg.offsets.copy(), bytes(bytearray(seg.data)))
    assert twin == seg and hash(twin) == hash(seg)
    assert pickle.loads(pickle.dumps(seg)) == seg


def test_it_cannot_be_changed_and_keeps_no_link_to_what_it_was_made_of():
    ids, offsets = np.array([1, 2], np.int32), np.array([0, 1, 2])
    seg = Segmentation(ids, offsets, b"ab")
    ids[0] = 9
    assert seg.ids.tolist() == [1, 2]
    with pytest.raises(ValueError, match="read-only"):
        seg.ids[0] = 3
    with pytest.raises(AttributeError, match="does not change"):
        seg.data = b"xy"
    assert (seg.ids.dtype, seg.offsets.dtype) == (np.int32, np.int64)


@pytest.mark.parametrize(
    "ids, offsets, data, words",
    [
        ([1], [0, 2], b"abc", "offsets end at 2, but the text has 3 bytes"),
        ([1], [1, 3], b"abc", "begin at 1"),
        ([1, 2], [0, 3], b"abc", "2 ids need 3 offsets, got 2"),
        ([1, 2, 3], [0, 2, 1, 3], b"abc", "fall from 2 to 1 at position 2"),
        ([-1], [0, 3], b"abc", "id -1 at position 0"),
        ([2**31], [0, 3], b"abc", "int32 cannot hold"),
        ([1.5], [0, 3], b"abc", "whole numbers"),
        ([[1]], [0, 3], b"abc", "2 dimensions"),
        ([1], [0, 3], "abc", "must be bytes"),
        ([], [], b"", "0 ids need 1 offsets, got 0"),
    ],
)
def test_a_segmentation_refuses(ids, offsets, data, words):
    with pytest.raises(SegmentationError, match=words):
        Segmentation(ids, offsets, data)


def test_alignment_refuses_different_texts():
    with pytest.raises(SegmentationError, match="2 and 1 bytes"):
        align(Segmentation([1], [0, 2], b"ab"), Segmentation([1], [0, 1], b"a"))


@pytest.mark.parametrize("starts, ids", [([1], [0]), ([0, 0], [1, 2]), ([0, 2], [1, 2]), ([0, 1], [1])])
def test_coarsening_refuses_groups_that_do_not_partition(starts, ids):
    with pytest.raises(SegmentationError, match="groups"):
        Segmentation([1, 2], [0, 1, 2], b"ab").coarsen(starts, ids)


def test_a_drawing_shows_every_byte_and_escapes_markup():
    seg = Segmentation([0, 1, 2, 3], [0, 3, 4, 6, 6], b"<a>\xe4\x1bz")
    drawing = seg.draw()
    assert drawing.plain == "<a>|⟨e4⟩|⟨1b⟩z|⟨⟩"
    assert "&lt;a&gt;" in drawing.html and "<a>" not in drawing.html
    assert "\x1bz" not in str(drawing) and str(drawing).count("\x1b[0m") == 4


@given(st.lists(st.lists(st.integers(0, 99), max_size=5), max_size=6))
def test_a_ragged_batch_is_its_list_of_documents(documents):
    batch = Ragged.of(documents)
    assert [d.tolist() for d in batch] == documents and len(batch) == len(documents)
    assert [d.tolist() for d in batch[1:4]] == documents[1:4]
    assert batch.lengths.tolist() == [len(d) for d in documents]
    assert Ragged.of(documents) == batch and hash(Ragged.of(documents)) == hash(batch)


@pytest.mark.parametrize("starts", [[0, 2], [1, 3], [0, 2, 1, 3], []])
def test_a_ragged_batch_refuses_starts_that_do_not_divide(starts):
    with pytest.raises(SegmentationError, match="starts must go from 0 to the 3 ids"):
        Ragged([1, 2, 3], starts)
