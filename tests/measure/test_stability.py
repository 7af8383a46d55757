"""Alignments are as short as edit distances, and stability counts what a plain loop counts."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput
from tokenloom.core.segmentation import Segmentation
from tokenloom.core.vocabulary import Vocabulary
from tokenloom.hosts import load_tokenizer
from tokenloom.measure.ocr_noise import LOOK_ALIKES, OCRNoise
from tokenloom.measure.stability import Stability, align_characters, boundary_stability
from tokenloom.tokenize.text.kl3m_tokenizers import KL3M

TEXT = st.text(st.sampled_from("ab 世é"), max_size=12)


class Words:
    """Cuts before each space."""

    name, digest = "words", ""
    vocab = Vocabulary([b"x"])

    def encode(self, text):
        data = text.encode()
        cuts = [i for i in range(len(data)) if i == 0 or data[i : i + 1] == b" "] + [len(data)]
        ids = [sum(data[a:b]) for a, b in pairwise(cuts)]
        return Segmentation(ids, cuts, data)


def distance(one, other):
    if not one or not other:
        return len(one) + len(other)
    return min(
        distance(one[:-1], other[:-1]) + (one[-1] != other[-1]),
        distance(one[:-1], other) + 1,
        distance(one, other[:-1]) + 1,
    )


@given(TEXT.map(lambda t: t[:5]), TEXT.map(lambda t: t[:5]))
def test_edits_are_the_edit_distance(one, other):
    assert align_characters(one, other).edits == distance(one, other)


@given(TEXT, TEXT)
def test_an_alignment_is_a_way_from_one_text_to_the_other_with_so_many_edits(one, other):
    found = align_characters(one, other)
    spent = place = 0
    for i in range(len(one) + 1):
        assert found.begins[i] >= found.ends[i] == place
        spent += found.begins[i] - found.ends[i]  # inserted before character i
        place = found.begins[i]
        if i < len(one):
            width = found.ends[i + 1] - place
            assert width in (0, 1)
            same = bool(width) and one[i] == other[place]
            assert found.same[i] == same
            spent += not same
            place += width
    assert place == len(other) and spent == found.edits


@given(TEXT, TEXT)
def test_stability_is_what_a_plain_loop_counts(correct, noisy):
    for tok in (load_tokenizer("bytes"), Words()):
        aligned = align_characters(correct, noisy)
        one, other = tok.encode(correct), tok.encode(noisy)
        images, ends = {}, {}  # of byte positions
        for i in range(len(correct) + 1):
            at = len(correct[:i].encode())
            images[at] = len(noisy[: aligned.begins[i]].encode())
            ends[at] = len(noisy[: aligned.ends[i]].encode())
            if i < len(correct) and aligned.same[i]:
                for k in range(1, len(correct[i].encode())):
                    images[at + k] = ends[at + k] = images[at] + k
        inner, other_inner = one.offsets[1:-1].tolist(), other.offsets[1:-1].tolist()
        tokens = {(a, b, i) for a, b, i in zip(other.offsets.tolist(), other.offsets[1:].tolist(), other.ids.tolist())}
        lost = [
            b - a
            for a, b, i in zip(one.offsets.tolist(), one.offsets[1:].tolist(), one.ids.tolist())
            if (images.get(a), ends.get(b), i) not in tokens
        ]
        expected = Stability(
            cuts=len(inner),
            noisy_cuts=len(other_inner),
            shared=len({images.get(cut) for cut in inner} & set(other_inner)),
            tokens=len(one),
            changed=len(lost),
            changed_bytes=sum(lost),
            edits=aligned.edits,
        )
        assert boundary_stability(tok, [(correct, noisy)]) == expected


@given(TEXT)
def test_equal_texts_are_cut_alike(text):
    found = boundary_stability(Words(), [(text, text)])
    assert (found.f1, found.changed, found.edits, found.changed_per_edit) == (1.0, 0, 0, 0.0)


def test_what_an_inserted_space_and_a_lost_one_do_to_words():
    # " States" is cut in two: one cut more, and its own token is gone.
    found = boundary_stability(Words(), [("the States of", "the S tates of")])
    assert found == Stability(cuts=2, noisy_cuts=3, shared=2, tokens=3, changed=1, changed_bytes=7, edits=1)
    assert found.f1 == 0.8
    # "the" and " States" become one: the cut between them is gone, and both tokens.
    found = boundary_stability(Words(), [("the States of", "theStates of")])
    assert found == Stability(cuts=2, noisy_cuts=1, shared=1, tokens=3, changed=2, changed_bytes=10, edits=1)
    assert found.changed_bytes_per_edit == 10.0


def test_a_word_behind_an_insertion_is_kept():
    found = boundary_stability(Words(), [("the States", "the x States")])
    assert (found.shared, found.changed) == (1, 0)
    # What is inserted before a cut stands before it in the noisy text too.
    found = boundary_stability(Words(), [("the States", "thex States")])
    assert (found.cuts, found.noisy_cuts, found.shared, found.changed) == (1, 1, 1, 1)


def test_pairs_add_up():
    pairs = [("the States of", "the S tates of"), ("the States of", "theStates of")]
    assert boundary_stability(Words(), pairs) == sum(
        (boundary_stability(Words(), [pair]) for pair in pairs), Stability()
    )
    assert boundary_stability(Words(), []).f1 == 1.0


def test_texts_too_long_to_align_are_refused():
    with pytest.raises(InvalidInput, match="too long to align; give lines"):
        align_characters("a" * 20_000, "a" * 20_000)


def test_a_cut_inside_a_character_is_a_place_of_its_own():
    tok = KL3M(269, custom=(), form=None)(["x"])
    assert boundary_stability(tok, [("né", "ne")]).shared == 1
    assert boundary_stability(tok, [("né", "xé")]).shared == 2


# -- noise -------------------------------------------------------------------------------------------------------------


def test_noise_changes_as_many_characters_as_it_should_and_in_the_stated_ways():
    text = "m" * 100_000
    noisy = OCRNoise(0.1)(text, rng=np.random.default_rng(0))
    taken = sum(noisy.count(other) for other in ("rn", "nn", "in"))
    gaps = noisy.count(" ")
    lost = len(text) - noisy.count("m") - taken
    # Four standard deviations of each count.
    assert abs(taken - 7000) < 4 * 81 and abs(gaps - 1000) < 4 * 32 and abs(lost - 2000) < 4 * 45


def test_every_look_alike_occurs_and_no_other_sign():
    text = "".join(LOOK_ALIKES) * 200
    noisy = OCRNoise(1.0)(text, rng=np.random.default_rng(0))
    allowed = {letter for others in LOOK_ALIKES.values() for other in others for letter in other}
    assert allowed <= set(noisy) <= allowed | set(LOOK_ALIKES) | {" "}
    assert all(character not in others for character, others in LOOK_ALIKES.items())


@given(st.text(max_size=40), st.integers(0, 9))
def test_noise_repeats_itself_leaves_line_ends_and_does_nothing_at_rate_zero(text, seed):
    noisy = OCRNoise(0.5)(text, rng=np.random.default_rng(seed))
    assert noisy == OCRNoise(0.5)(text, rng=np.random.default_rng(seed))
    assert noisy.count("\n") == text.count("\n")
    assert OCRNoise(0.0)(text, rng=np.random.default_rng(seed)) == text


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_rates_that_are_no_probability_are_refused(rate):
    with pytest.raises(InvalidInput, match="it is a probability"):
        OCRNoise(rate)
