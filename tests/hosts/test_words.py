"""The engine that remembers words gives the ids of the engine that does not, and the probe tells engines apart."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_files import byte_level

from tokenloom.hosts.engines import TokenizersEngine
from tokenloom.hosts.probe import PROBE, same_ids
from tokenloom.hosts.words import WordsEngine, word_pattern

FILE = json.loads(byte_level())
PLAIN = TokenizersEngine(json.dumps(FILE))
# U+10FFFE stands between words when they are encoded together; U+0295 changed its class; U+1FAE8 is a young emoji.
ODD = [
    "\U0010fffe",
    "\u0295",
    "\U0001fae8",
    "\u180e",
    "é",
    "e\u0301",
    "中",
    "☕",
    "'s",
    "  ",
    "\n",
    "1",
    "the",
    " token",
]
texts = st.one_of(st.lists(st.sampled_from(ODD), max_size=15).map("".join), st.text(max_size=30))


def words():
    return WordsEngine(PLAIN, word_pattern(FILE))


REMEMBERING = words()


@given(st.lists(texts, max_size=5))
def test_remembered_words_have_the_ids_that_they_had(documents):
    (ids, starts), (expected, edges) = REMEMBERING.flat(documents), PLAIN.flat(documents)
    assert ids.tolist() == expected.tolist() and starts.tolist() == edges.tolist()


def test_a_full_memory_long_words_and_long_texts_change_nothing(monkeypatch):
    monkeypatch.setattr("tokenloom.hosts.words._MEMORY", 3)
    monkeypatch.setattr("tokenloom.hosts.words._LONGEST", 5)
    monkeypatch.setattr("tokenloom.hosts.words._STRETCH", 4)
    engine, documents = words(), ["the tokens lowest", "", "lowestlowest token the low\n", PROBE.replace("\u180e", "")]
    for _ in range(2):
        assert np.array_equal(engine.flat(documents)[0], PLAIN.flat(documents)[0])
    assert all(len(word) <= 5 for word in engine._memory)


def with_changes(**changes):
    return json.loads(json.dumps(FILE)) | changes


SPLIT, BYTE_LEVEL = FILE["pre_tokenizer"]["pretokenizers"]


@pytest.mark.parametrize(
    "file",
    [
        with_changes(normalizer={"type": "NFC"}),
        with_changes(pre_tokenizer=None),
        with_changes(pre_tokenizer={"type": "Sequence", "pretokenizers": [SPLIT, SPLIT, BYTE_LEVEL]}),
        with_changes(
            pre_tokenizer={"type": "Sequence", "pretokenizers": [SPLIT | {"behavior": "Removed"}, BYTE_LEVEL]}
        ),
        with_changes(
            pre_tokenizer={"type": "Sequence", "pretokenizers": [SPLIT | {"pattern": {"Regex": r"(\w)+"}}, BYTE_LEVEL]}
        ),
        with_changes(added_tokens=[{"id": 9999, "content": "<x>", "special": False}]),
        with_changes(model=FILE["model"] | {"vocab": {"a": 0}, "merges": []}),
        with_changes(model=FILE["model"] | {"type": "WordPiece"}),
    ],
)
def test_files_whose_words_depend_on_more_than_a_pattern_are_left_to_the_engine(file):
    assert word_pattern(FILE) is not None
    assert word_pattern(file) is None


def test_the_probe_tells_engines_apart_that_cut_one_number_otherwise():
    threes = TokenizersEngine(json.dumps(with_digits(r"\p{N}{1,3}|\P{N}+")))
    assert same_ids(threes, TokenizersEngine(json.dumps(with_digits(r"\p{N}{1,3}|[^\p{N}]+"))), FILE)
    assert not same_ids(threes, TokenizersEngine(json.dumps(with_digits(r"\p{N}{1,3}+|\P{N}+"))), FILE)


def with_digits(pattern):
    """A file with the merges of "19", "99" and "199", and another pattern: {1,3}+ cuts 1999 into 19 and 99."""
    split = SPLIT | {"pattern": {"Regex": pattern}}
    vocab, size = FILE["model"]["vocab"], len(FILE["model"]["vocab"])
    model = FILE["model"] | {"vocab": vocab | {"19": size, "99": size + 1, "199": size + 2}}
    model["merges"] = [["1", "9"], ["9", "9"], ["1", "99"], *FILE["model"]["merges"]]
    return with_changes(pre_tokenizer={"type": "Sequence", "pretokenizers": [split, BYTE_LEVEL]}, model=model)
