"""The samples that travel with the package are what their tables say."""

import hashlib
import re
from pathlib import Path

import pytest

import tokenloom.data.embedded
from tokenloom.core.errors import InvalidInput
from tokenloom.data import sample, samples

FOLDER = Path(tokenloom.data.embedded.__file__).parent / "samples"
SOURCES = (FOLDER / "SOURCES.md").read_text(encoding="utf-8")
LISTED = dict(re.findall(r"^\| `([\w.-]+)` \| ([\d,]+) \|", SOURCES, re.MULTILINE))


def test_every_sample_is_in_the_table_of_sources_with_its_size():
    files = {path.name: f"{path.stat().st_size:,}" for path in FOLDER.iterdir() if path.suffix in (".txt", ".tsv")}
    assert files == LISTED
    assert samples() == tuple(sorted(name.rsplit(".", 1)[0] for name in files))


def test_an_unknown_sample_is_refused():
    with pytest.raises(InvalidInput, match=r"no sample 'common_words'; there are .*common-words"):
        sample("common_words")


def test_the_common_words_are_a_thousand_different_words_of_letters():
    words = sample("common-words").split("\n")
    assert words.pop() == ""
    assert len(words) == len({*words}) == 1000
    assert all(re.fullmatch("[a-z]+", word) for word in words)
    assert words[:5] == ["the", "of", "and", "to", "a"]
    assert [word for word in words if len(word) == 1] == ["a", "i"]


def test_the_common_words_are_as_their_page_says():
    page = (FOLDER / "WORDS.md").read_text(encoding="utf-8").replace("\n  ", " ")
    words = sample("common-words").split()
    at_most = {n: sum(len(word) <= n for word in words) for n in (3, 4, 5, 6)}
    assert (
        f"{at_most[3]} have at most three letters, {at_most[4]} at most four, "
        f"{1000 - at_most[5]} at least six, {1000 - at_most[6]} at least seven."
    ) in page
    never = [c for c in "abcdefghijklmnopqrstuvwxyz" if not any(word.count(c) >= 2 for word in words)]
    assert f"No word has {', '.join(never[:-1])} or {never[-1]} twice." in page
    data = (FOLDER / "common-words.txt").read_bytes()
    assert f"{len(data):,} bytes" in page and hashlib.sha256(data).hexdigest() in page
