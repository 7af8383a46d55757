"""The law of the encoder: whatever the chunk, a document becomes what the tokenizer and the perturbation make of it alone."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tokenloom as tl
from tokenloom.core.errors import InvalidInput, TokenizerError
from tokenloom.core.seeds import stream_seeds
from tokenloom.core.segmentation import Ragged
from tokenloom.data.encoder import Chunk, Encoder, chunks
from tokenloom.data.segments import Fault, Segment

TOK = tl.load_tokenizer("tokenloom-en-16k")
LOOK = tl.StochasTok(TOK.vocab, 0.7)
END = 16383

LINES = st.lists(st.sampled_from(["some words", "Understanding", "", "naïve café", "x", "  ", "1234567"]), max_size=12)


def line_segments(files):
    for number, lines in enumerate(files):
        item = start = 0
        for k in range(0, len(lines), 3):
            data = "".join(line + "\n" for line in lines[k : k + 3]).encode()
            yield Segment(number, item, start, "line", data)
            item, start = item + len(lines[k : k + 3]), start + len(data)


@given(
    files=st.lists(LINES, max_size=4),
    seed=st.integers(0, 2**64 - 1),
    cut=st.integers(1, 4),
    threads=st.sampled_from([1, None]),
)
def test_a_document_becomes_what_it_becomes_alone(files, seed, cut, threads):
    segments = list(line_segments(files))
    encoder = Encoder(TOK, LOOK, 2, seed, END, "", threads)
    parts = [encoder(Chunk(segments[i : i + cut])) for i in range(0, len(segments), cut)]
    expected: list[list[list[int]]] = [[], []]
    places, size, plain, split = [], 0, 0, 0
    for number, lines in enumerate(files):
        for item, line in enumerate(lines):
            if not line.strip():
                continue
            places.append(number)
            ids = TOK.encode(line).ids
            size, plain = size + len(line.encode()), plain + ids.size
            for epoch in range(2):
                alone = LOOK.expand_batch(Ragged.of([ids]), stream_seeds(seed, epoch, number, item))[0]
                expected[epoch].append([*alone.tolist(), END])
                split += alone.size - ids.size
    for epoch in range(2):
        assert [ids.tolist() for part in parts for ids in part.epochs[epoch]] == expected[epoch]
    assert [file for part in parts for file in part.files.tolist()] == places
    assert sum(part.bytes for part in parts) == size
    assert sum(part.plain for part in parts) == plain
    assert sum(part.split for part in parts) == split


def test_pieces_of_a_long_text_end_once():
    pieces = [Segment(0, 0, 0, "file", b"one\n", whole=False), Segment(0, 1, 4, "file", b"two")]
    (batch,) = Encoder(TOK, None, 1, 0, END, "")(Chunk(pieces)).epochs
    assert [ids.tolist()[-1] == END for ids in batch] == [False, True]
    assert TOK.decode(batch.ids) == b"one\ntwo"


def test_without_an_end_of_text_there_is_none():
    (batch,) = Encoder(TOK, None, 1, 0, None, "")(Chunk([Segment(0, 0, 0, "line", b"a\nb")])).epochs
    assert END not in batch.ids


class Picky:
    """Cuts what has no "q"."""

    def encode_batch(self, texts, threads=None):
        if any("q" in text for text in texts):
            raise TokenizerError("no token for 'q'")
        return TOK.encode_batch(texts, threads)


def test_a_document_that_cannot_be_cut_is_a_fault_and_the_others_are_not():
    faults = (Fault(0, 3, "line 4", "torn"),)
    chunk = Chunk([Segment(0, 0, 0, "line", b"one\nquite\n\n"), Segment(0, 4, 11, "line", b"q\ntwo", faults=faults)])
    encoded = Encoder(Picky(), None, 1, 0, None, "")(chunk)
    assert [TOK.decode(ids) for ids in encoded.epochs[0]] == [b"one", b"two"]
    assert [(fault.place, fault.reason) for fault in encoded.faults] == [
        ("line 2", "no token for 'q'"),
        ("line 4", "torn"),
        ("line 5", "no token for 'q'"),
    ]


class Lossy:
    def expand_batch(self, batch, seeds):
        return batch[:-1]


def test_a_perturbation_that_loses_a_document_is_refused():
    with pytest.raises(InvalidInput, match="made 1 documents of 2"):
        Encoder(TOK, Lossy(), 1, 0, None, "")(Chunk([Segment(0, 0, 0, "line", b"a\nb")]))


@example(sizes=[400_000] * 12, shard_bytes=1_900_000)
@given(sizes=st.lists(st.integers(0, 400_000), max_size=40), shard_bytes=st.integers(1, 2_000_000))
def test_shards_end_by_the_input_alone(sizes, shard_bytes):
    stretches = [Segment(0, i, i, "line", bytes(size)) for i, size in enumerate(sizes)]
    made = list(chunks(stretches, shard_bytes))
    assert [segment for chunk in made for segment in chunk.segments] == stretches
    filled, ends = 0, []
    for i, size in enumerate(sizes):
        filled += size
        if filled >= shard_bytes:
            ends.append(i)
            filled = 0
    assert [chunk.segments[-1].item for chunk in made if chunk.full] == ends
    assert all(sum(len(s.data) for s in chunk.segments[:-1]) < 1 << 20 for chunk in made)
    for end in ends:  # the same from any end on
        rest = chunks(stretches[end + 1 :], shard_bytes)
        assert [chunk.segments[-1].item for chunk in rest if chunk.full] == [e for e in ends if e > end]


def test_ids_come_back_as_int32():
    (batch,) = Encoder(TOK, LOOK, 1, 0, END, "")(Chunk([Segment(0, 0, 0, "line", b"a\nb")])).epochs
    assert (batch.ids.dtype, batch.starts.dtype) == (np.int32, np.int64)
