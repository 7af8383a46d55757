"""Rows by themselves: what is shared, what is drawn, and that a copy is one to the last bit."""

import numpy as np
import pytest
import torch
from small_llama import NEW, OLD, PAIRS, generator

from tokenloom.core.vocabulary import Kind, Vocabulary
from tokenloom.hosts import load_tokenizer
from tokenloom.hosts.json_tokenizer import JsonTokenizer
from tokenloom.transfer.composition import FVT, Mean, Random, pieces_of
from tokenloom.transfer.rows import Origin, Rows, shared_ids


def test_a_byte_is_the_same_byte_before_it_is_the_same_text_and_what_is_unused_is_nothing():
    text, byte, unused = Kind.NORMAL, Kind.BYTE, Kind.UNUSED
    old = Vocabulary([b"a", b"b", b"a", b"c"], kinds=[text, text, byte, unused])
    new = Vocabulary([b"a", b"a", b"b", b"b", b"c"], kinds=[byte, text, byte, unused, text])
    assert [ids.tolist() for ids in shared_ids(old, new)] == [[2, 0, 1], [0, 1, 2]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_copies_are_the_same_to_the_last_bit(dtype):
    table = torch.randn(len(OLD.vocab), 3, generator=generator()).to(dtype)
    table[::2, 0] = -0.0  # as a sum it would be 0.0
    made = FVT()(OLD, NEW, PAIRS).apply(table, generator=generator())
    assert made.dtype == dtype
    assert torch.equal(made[PAIRS[1]].view(torch.int8), table[PAIRS[0]].view(torch.int8))


def test_rows_beyond_the_old_vocabulary_count_for_nothing():
    table = torch.randn(len(OLD.vocab), 3, generator=generator())
    padded = torch.cat([table, torch.full((9, 3), 1e6)])
    for method in (FVT(), Mean(), Random()):
        rows = method(OLD, NEW, PAIRS)
        assert torch.equal(rows.apply(padded, generator=generator()), rows.apply(table, generator=generator()))


@pytest.mark.parametrize(
    ("rows", "mean", "deviation"),
    [
        (Random()(OLD, NEW, PAIRS), lambda t: t.mean(), lambda t: ((t - t.mean()) ** 2).mean().sqrt()),
        (Mean()(OLD, NEW, PAIRS), lambda t: t.mean(0), lambda t: 0),
        (Rows.copied(OLD.vocab, NEW.vocab, PAIRS), lambda t: t.mean(0), lambda t: ((t - t.mean(0)) ** 2).mean(0).sqrt()),
    ],
    ids=["Random", "Mean", "WECHSEL"],
)  # fmt: skip
def test_drawn_rows_have_the_mean_and_deviation_of_all_values_or_of_each_dimension(rows, mean, deviation):
    table = torch.randn(len(OLD.vocab), 3, generator=generator(), dtype=torch.float64) * torch.tensor([1, 5, 9]) + 2
    noise = torch.randn(int(rows.drawn.sum()), 3, generator=generator(), dtype=torch.float64)
    found = rows.apply(table, generator=generator())[torch.from_numpy(rows.drawn)]
    assert torch.allclose(found, mean(table) + deviation(table) * noise, rtol=1e-12)


def test_an_unknown_piece_is_none():
    words = JsonTokenizer({
        "version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None,
        "decoder": None, "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "the": 1, "cat": 2}, "unk_token": "[UNK]"},
    }, "words")  # fmt: skip
    assert words.encode("mat").ids.tolist() == [0]
    assert [ids.tolist() for ids in pieces_of(words, [b"the", b"mat", b"the mat"])] == [[1], [], [1]]


def test_a_row_that_is_made_again_holds_no_trace_of_the_first():
    rows = FVT()(OLD, NEW, PAIRS)
    ids = np.flatnonzero(rows.origin == Origin.COMPOSED)
    again = rows.with_rows(ids, rows.weights[ids[::-1]], Origin.NEIGHBOURS)
    assert (again.weights.data > 0).all()
    assert np.array_equal(again.weights[ids].toarray(), rows.weights[ids[::-1]].toarray())
    assert again.counts()["neighbours"] == ids.size


def test_bytes_alone_are_all_found_again():
    tok = load_tokenizer("bytes")
    old_ids, new_ids = shared_ids(OLD.vocab, tok.vocab)
    assert new_ids.size == 257 and [OLD.vocab[i] for i in old_ids.tolist()] == [tok.vocab[i] for i in new_ids.tolist()]
