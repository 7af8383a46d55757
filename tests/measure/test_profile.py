"""Sums over stretches against a plain count over whole texts."""

import itertools
import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput, TokenizerError
from tokenloom.core.segmentation import Ragged, Segmentation
from tokenloom.data import sample
from tokenloom.hosts import load_tokenizer
from tokenloom.hosts.json_tokenizer import JsonTokenizer
from tokenloom.measure import profile as module
from tokenloom.measure.profile import profile
from tokenloom.measure.segmenting import segment, spelled
from tokenloom.measure.words import find_numbers, find_words, pieces

TOK = load_tokenizer("tokenloom-en-16k")


def plain(tok, texts):
    """Every sum, one token and one word at a time."""
    sums = Counter()
    for text in texts:
        seg, words, numbers = tok.encode(text), find_words(text), find_numbers(text)
        spans = list(zip(words.starts.tolist(), words.ends.tolist()))
        offsets = seg.offsets.tolist()
        sums["tokens"] += len(seg)
        for begin, end in itertools.pairwise(offsets):
            token = seg.data[begin:end]
            sums["white"] += bool(token) and not token.strip(b" \t\n\r\x0b\x0c")
            whole = token.decode("utf-8", "ignore").encode() == token
            sums["fragments"] += not whole
            sums["joining"] += sum(max(a, begin) < min(b, end) for a, b in spans) > 1
        for name, found in (("word", words), ("number", numbers)):
            cut = pieces(seg, found)
            sums[f"{name} pieces"] += int(cut.sum())
            sums["words cut" if name == "word" else "numbers whole"] += int(((cut > 1) == (name == "word")).sum())
    return {name: int(count) for name, count in sums.items()}


@settings(max_examples=40)
@given(st.lists(st.text("ab çe1 2\n\t天don't", max_size=30), min_size=1, max_size=6))
def test_sums_are_those_of_a_plain_count(texts):
    if not any(texts):
        return
    text, profiles = profile({"it": TOK}, texts)
    got = {name: int(sums.sum()) for name, sums in profiles["it"].sums.items()}
    assert got == {"unknown": 0, "unknown bytes": 0, "changed bytes": 0, **plain(TOK, texts)}, texts
    assert int(text.sums["characters"].sum()) == sum(map(len, texts))
    assert int(text.sums["bytes"].sum()) == sum(len(t.encode()) for t in texts)


def test_long_texts_have_the_same_sums_in_few_stretches(monkeypatch):
    texts = [sample(name) for name in ("en-literary", "tr-speeches", "zh-technical", "json-digits")]
    text, _profiles = profile({"it": TOK}, texts)
    monkeypatch.setattr(module, "_BATCH", 10_000)
    monkeypatch.setattr(module, "_MOST", 16)
    lines = [line for t in texts for line in t.splitlines(keepends=True)]
    fewer, other = profile({"it": TOK}, lines)
    assert 8 < fewer.sums["bytes"].size <= 16 < text.sums["bytes"].size <= 512
    for sums in (text.sums, fewer.sums):
        assert sums["bytes"].sum() == sum(len(t.encode()) for t in texts)
    assert dict(zip(text.words, text.occurrences.tolist())) == dict(zip(fewer.words, fewer.occurrences.tolist()))
    ids = np.concatenate([TOK.encode(line).ids for line in lines])
    own = other["it"]
    assert own.id_counts(len(TOK.vocab)).tolist() == np.bincount(ids, minlength=len(TOK.vocab)).tolist()
    assert np.bincount(own.stretches, own.counts).tolist() == own.sums["tokens"].tolist()
    assert (fewer.sums["bytes"][:-1] == fewer.stretch).all()


def word_pieces():
    """An uncased WordPiece tokenizer: it has an unknown token, and it lower-cases."""
    vocab = {"[UNK]": 0, "plain": 1, "##er": 2}
    return JsonTokenizer(
        json.dumps(
            {
                "model": {"type": "WordPiece", "vocab": vocab, "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                          "max_input_chars_per_word": 100},
                "normalizer": {"type": "Lowercase"},
                "pre_tokenizer": {"type": "Whitespace"},
            }
        ),
        "small",
    )  # fmt: skip


def test_what_is_unknown_or_changed_is_counted_with_its_bytes():
    _, profiles = profile({"it": word_pieces()}, ["plain Plainer ಕನ್ನಡ plain"])
    sums = {name: int(values.sum()) for name, values in profiles["it"].sums.items()}
    assert (sums["tokens"], sums["unknown"]) == (5, 1)
    # A space before a word belongs to the token behind it.
    assert (sums["unknown bytes"], sums["changed bytes"]) == (1 + len("ಕನ್ನಡ".encode()), len(" Plain"))


@given(st.text("aB ñ", max_size=20))
def test_spelled_is_whether_the_bytes_are_the_same(text):
    tok = word_pieces()
    seg = tok.encode(text)
    plain = [owned == tok.vocab[i] or b" " + owned == tok.vocab[i] for owned, i in zip(seg.tokens(), seg.ids.tolist())]
    assert spelled(tok.vocab, seg).tolist() == plain


def test_pieces_of_words_are_sums_over_their_occurrences():
    text, profiles = profile({"bytes": load_tokenizer("bytes")}, ["é ab é", "é"])
    assert text.words == ["é", "ab"] and text.occurrences.tolist() == [3, 1]
    assert profiles["bytes"].pieces.tolist() == [6, 2]


def test_segmenting_many_is_segmenting_each():
    texts = ["", "two words", "né", "\n"]
    joined = segment(TOK, texts)
    each = [TOK.encode(text) for text in texts]
    assert joined == Segmentation(
        np.concatenate([seg.ids for seg in each]),
        np.cumsum([0, *(n for seg in each for n in np.diff(seg.offsets))]),
        "".join(texts).encode(),
    )


def test_progress_tells_bytes():
    told = []
    profile({"bytes": load_tokenizer("bytes")}, ["né"], progress=told.append)
    assert told == [3]


def test_nothing_to_measure_is_refused():
    with pytest.raises(InvalidInput, match="text is empty"):
        profile({"bytes": load_tokenizer("bytes")}, ["", ""])
    with pytest.raises(InvalidInput, match="no tokenizer"):
        profile({}, ["a"])


def test_a_tokenizer_that_cannot_encode_a_byte_says_which():
    small = '{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}}'
    with pytest.raises(TokenizerError, match=r"small has neither a token for b'.xc3.xa9' nor an unknown"):
        profile({"small": JsonTokenizer(small, "small")}, ["ab", "ab é"])


def test_an_id_of_several_forms_changes_no_text():
    from tokenloom.tokenize.text.hybrid_morphological import HybridTokenizer, Morph
    from tokenloom.tokenize.text.hybrid_morphological.turkish import TURKISH

    tok = HybridTokenizer(TURKISH.lexicon([Morph("root", ("kitap", "kitab"), "voicing"), Morph("root", ("ev",))]))
    text = "Kitabım evlerde, kitaplar."
    _, profiles = profile({"it": tok}, [text, text])
    assert profiles["it"].sums["changed bytes"].sum() == 0
    assert profiles["it"].sums["tokens"].sum() == 2 * len(tok.encode(text))
    assert segment(tok, [text]) == tok.encode(text)


class Ended:
    """A tokenizer of bytes that ends each text with a token without bytes, as third parties may."""

    name, digest, unknown = "ended", "0", None
    plain = load_tokenizer("bytes")
    vocab = plain.vocab

    def encode(self, text):
        seg = self.plain.encode(text)
        return Segmentation([*seg.ids, self.vocab.special_ids[0]], [*seg.offsets, len(seg.data)], seg.data)

    def encode_batch(self, texts, threads=None):
        return Ragged.of([self.encode(text).ids for text in texts])

    def decode(self, ids):
        return self.plain.decode(ids)


def test_a_token_behind_the_last_byte_belongs_to_the_last_stretch():
    text, profiles = profile({"it": Ended()}, ["x" * 1024])
    assert text.sums["bytes"].tolist() == [1024] and profiles["it"].sums["tokens"].tolist() == [1025]
