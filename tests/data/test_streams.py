import gzip

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tokenloom.data import streams
from tokenloom.data.corpus import find_sources
from tokenloom.data.streams import Stream

in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
DATA = bytes(range(256)) * 9000  # 2.3 MB: longer than what is read at once


def zstd(data):
    return pytest.importorskip("zstandard", reason=".zst needs the package zstandard").ZstdCompressor().compress(data)


PACK = {"": bytes, ".gz": gzip.compress, ".zst": zstd}


def opened(path, content, start=0):
    path.write_bytes(content)
    return Stream(find_sources([path])[0], start)


@pytest.mark.parametrize("ending", sorted(PACK))
@pytest.mark.parametrize("start", [0, 1, 1 << 20, len(DATA) - 1, len(DATA)])
def test_a_stream_gives_the_unpacked_bytes_from_any_place_on(tmp_path, ending, start):
    stream = opened(tmp_path / f"a{ending}", PACK[ending](DATA), start)
    pieces = []
    while piece := stream.take(300_001):
        pieces.append(piece)
    assert b"".join(pieces) == DATA[start:]
    assert all(len(piece) == 300_001 for piece in pieces[:-1])
    assert stream.broken == ""
    assert stream.tell() == (tmp_path / f"a{ending}").stat().st_size


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_members_one_after_the_other_are_one_text(tmp_path, ending):
    pack = PACK[ending]
    stream = opened(tmp_path / f"a{ending}", pack(b"one ") + pack(b"") + pack(b"two"))
    assert (stream.take(100), stream.broken) == (b"one two", "")


def test_zeros_behind_a_gzip_member_are_padding(tmp_path):
    stream = opened(tmp_path / "a.gz", gzip.compress(b"one ") + bytes(512) + gzip.compress(b"two") + bytes(100_000))
    assert (stream.take(100), stream.broken) == (b"one two", "")


@in_one_folder
@given(cut=st.integers(1, 99), ending=st.sampled_from([".gz", ".zst"]))
def test_a_truncated_file_gives_what_was_there_and_says_that_it_broke(tmp_path, cut, ending):
    content = PACK[ending](DATA)
    stream = opened(tmp_path / f"a{ending}", content[: max(1, len(content) * cut // 100)])
    got = stream.take(len(DATA))
    assert DATA.startswith(got)
    assert "ends in the middle" in stream.broken
    assert stream.take(1) == b""


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_a_damaged_file_says_so(tmp_path, ending):
    stream = opened(tmp_path / f"a{ending}", b"not packed at all")
    assert (stream.take(10), bool(stream.broken)) == (b"", True)


def test_a_flipped_bit_in_gzip_is_found(tmp_path):
    content = bytearray(gzip.compress(DATA))
    content[-5] ^= 1  # in the checksum
    stream = opened(tmp_path / "a.gz", bytes(content))
    stream.take(len(DATA) + 1)
    assert "incorrect data check" in stream.broken


def test_a_bomb_comes_out_in_small_pieces(tmp_path):
    stream = opened(tmp_path / "a.gz", gzip.compress(bytes(40 << 20)))
    sizes = [len(piece) for piece in stream._pieces]
    assert sum(sizes) == 40 << 20
    assert max(sizes) <= streams._READ
