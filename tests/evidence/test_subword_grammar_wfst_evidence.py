"""The experiment runs from end to end on the embedded samples; what it finds at full size is in results/subword-grammar-wfst."""

import gzip
import json
import struct
from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenloom.core.errors import CorpusError, InvalidInput
from tokenloom.evidence import subword_grammar_wfst
from tokenloom.evidence.subword_grammar_wfst import sources
from tokenloom.evidence.subword_grammar_wfst.trial import _aligned, _bpe, _changed, _sized, _unigram
from tokenloom.tokenize.text.subword_grammar_wfst import mark


@pytest.mark.slow
def test_the_experiment_in_miniature_gives_a_result_and_a_picture(tmp_path):
    subword_grammar_wfst.run(tmp_path, quick=True, seeds=2, workers=1)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert "No audio" in result["sentence"]
    assert all(len(cell["values"]) == 2 for figure in result["figures"] for cell in figure["ours"].values())
    for trials in result["details"].values():
        for one in trials:
            assert one["unseen"]["closed word list"] == 1
            assert sum(one["steps"]["written by hand"].values()) == pytest.approx(1)
    assert (tmp_path / result["pictures"][0]["file"]).read_bytes().startswith(b"\x89PNG")


@given(st.lists(st.sampled_from("abc"), max_size=4), st.lists(st.sampled_from("abc"), max_size=4))
def test_word_errors_are_the_fewest_edits(said, found):
    distance, hits = _aligned(said, found)

    def fewest(i, j):
        if i == 0 or j == 0:
            return i + j
        same = said[i - 1] != found[j - 1]
        return min(fewest(i - 1, j - 1) + same, fewest(i - 1, j) + 1, fewest(i, j - 1) + 1)

    assert distance == fewest(len(said), len(found))
    assert len(hits) == len(said) and len(said) - sum(hits) <= distance


def test_a_changed_word_has_one_other_letter():
    rng = np.random.default_rng(0)
    for word in ("மரத்தில்", "ಮರದಲ್ಲಿ"):
        for _ in range(20):
            one, two = map(sources.letters, (word, _changed(word, rng)))
            assert len(one) == len(two) and sum(a != b for a, b in zip(one, two)) == 1


def test_catalogues_of_messages_are_read_without_their_head():
    strings = [(b"", b"Project-Id"), (b"one\0ones", "ஒன்று\0பல".encode())]
    place, table, data = 28 + 16 * len(strings), [b"", b""], b""
    for pair in strings:
        for side, text in enumerate(pair):
            table[side] += struct.pack("<2I", len(text), place + len(data))
            data += text + b"\0"
    head = struct.pack("<7I", 0x950412DE, 0, len(strings), 28, 28 + 8 * len(strings), 0, 0)
    assert sources.messages("x.mo", head + table[0] + table[1] + data) == ["ஒன்று", "பல"]
    with pytest.raises(CorpusError, match=r"x\.mo is no catalogue"):
        sources.messages("x.mo", b"none of it")


def test_stems_are_read_from_a_network_of_foma():
    # From state 0 "க" leads to 1 and "ல்" to 4; from 1 "ல்" to 2; from 2 "+noun", from 4 "+verb" to the end.
    net = """##foma-net 1.0##
##props##
x
##sigma##
0 @_EPSILON_SYMBOL_@
3 க
4 +noun
5 ல்
6 +verb
##states##
0 3 1 0
5 4
1 5 2 0
4 0 3
2 4 3 0
3 -1 -1 1
4 6 3 0
-1 -1 -1 -1
##end##"""
    found = sources.lexical_strings(gzip.compress(net.encode()), "+noun")
    assert found == {"கல்"}  # one of a single character is no stem


def test_nouns_and_verbs_are_sorted_by_their_ends():
    nouns = {
        "மரம்": "am",
        "வீடு": "du",
        "ஆறு": "u",
        "வரலாறு": "ru",
        "எழுத்து": "u",
        "மொழி": "i",
        "நிலா": "v",
        "கல்": "ll",
        "எண்": "nn",
        "கடல்": "c",
    }
    lists = sources.noun_lists(set(nouns))
    assert {noun: name for name, found in lists.items() for noun in found} == nouns
    verbs = {"verbs4": {"அடை", "வளர்", "விழு"}, "இன்": {"பேசு"}, "த்": {"செய்", "அழு"}}
    lists = sources.verb_lists(verbs)
    assert {name: found for name, found in lists.items() if found} == {
        "adai": {"அடை"}, "valar": {"வளர்"}, "vizhu": {"விழு"}, "vaangu": {"பேசு"}, "sey": {"செய்"}, "azhu": {"அழு"},
    }  # fmt: skip


def test_learners_are_sized_by_their_units():
    rng = np.random.default_rng(0)
    syllables = ["".join(two) for two in product("kmpt", "aiu")]
    counts = Counter("".join(rng.choice(syllables, 3)) for _ in range(400))
    for learn in (_bpe, _unigram):
        cut = _sized(learn, counts, list(counts), 90)
        assert all("".join(cut[word]) == word for word in counts)
        units = {unit for word in counts for unit in mark(cut[word])}
        assert 80 <= len(units) <= 100


def test_what_is_missing_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(InvalidInput, match="say where the packages' archives are"):
        subword_grammar_wfst.run(tmp_path)
    with pytest.raises(InvalidInput, match="seeds=0"):
        subword_grammar_wfst.run(tmp_path, quick=True, seeds=0)
    with pytest.raises(CorpusError, match="pip download --no-deps tamilmorph"):
        subword_grammar_wfst.run(tmp_path, archives=tmp_path)
    assert list(tmp_path.iterdir()) == []
