"""The trainer of byte-level BPE: merge for merge the trainer of `tokenizers`, on text of many kinds and languages."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from tokenloom.core.cuts import CL100K_PATTERN, O200K_WORDS, cut_points
from tokenloom.core.errors import InvalidInput, TokenizerError, VocabularyError
from tokenloom.core.merges import GPT2_PATTERN, merges_of
from tokenloom.data import sample, samples
from tokenloom.hosts import load_tokenizer
from tokenloom.hosts.train import train_bpe
from tokenloom.tokenize.text import bpe
from tokenloom.tokenize.text.bpe import (
    BPE,
    BYTE_OF_UNIT,
    UNIT_OF_BYTE,
    Pieces,
    bpe_tokenizer,
    count_all,
    count_pieces,
    learn_merges,
)
from tokenloom.tokenize.text.stochastok import StochasTok

# Byte pairs that occur often, so that a small vocabulary has real merges, and characters that patterns treat by themselves.
TEXTS = st.lists(st.text(st.sampled_from("aab  \n.1'sé世\u00a0"), max_size=40), min_size=1, max_size=6)


def described(tokenizer):
    return json.loads(tokenizer.spec["text"])["model"]


def counted(pieces):
    data, starts = BYTE_OF_UNIT[pieces.units].tobytes(), pieces.starts.tolist()
    return {data[a:b]: n for a, b, n in zip(starts, starts[1:], pieces.counts.tolist())}


@pytest.mark.parametrize(
    "names", [("en-literary",), ("code-python",), ("zh-classical", "zh-technical"), ("ta-kural",), ("tr-speeches", "de-technical"), ("ar-vandyke", "json-digits")]
)  # fmt: skip
@pytest.mark.parametrize("pattern", [GPT2_PATTERN, CL100K_PATTERN])
def test_merges_are_those_of_tokenizers(names, pattern):
    texts = [sample(name) for name in names]
    ours, theirs = BPE(1500, pattern)(texts), train_bpe(texts, 1500, pattern=pattern)
    assert described(ours)["merges"] == described(theirs)["merges"]
    assert ours.vocab == theirs.vocab
    assert ours.digest == theirs.digest


@settings(max_examples=30)
@given(TEXTS, st.integers(0, 40))
def test_merges_are_those_of_tokenizers_with_ties_everywhere(texts, merges):
    if not any(texts):
        return
    ours, theirs = BPE(257 + merges)(texts), train_bpe(texts, 257 + merges)
    assert described(ours)["merges"] == described(theirs)["merges"]


@given(TEXTS, st.sampled_from([GPT2_PATTERN, O200K_WORDS, r"\d|é", None]))
def test_pieces_are_counted_as_a_plain_loop_counts_them(texts, pattern):
    expected = {}
    for text in texts:
        cuts = cut_points(text, pattern).tolist()
        for begin, end in pairwise(cuts):
            piece = text[begin:end].encode()
            expected[piece] = expected.get(piece, 0) + 1
    if expected:
        assert counted(count_pieces(texts, pattern)) == expected


def test_counting_in_bounded_memory_changes_nothing(monkeypatch):
    texts = [line + "\n" for line in sample("en-technical").splitlines()]
    whole = counted(count_pieces(texts, GPT2_PATTERN))
    monkeypatch.setattr(bpe, "_BATCH", 1 << 10)
    monkeypatch.setattr(bpe, "_DISTINCT", 1 << 12)
    told = []
    assert counted(count_pieces(texts, GPT2_PATTERN, progress=told.append)) == whole
    assert told == sorted(told) and told[-1] == sum(len(text.encode()) for text in texts)


def test_several_cuts_are_counted_in_one_reading():
    words, whole = count_all(iter(["a b a", "a b a"]), [GPT2_PATTERN, None])
    assert counted(words) == {b"a": 2, b" b": 2, b" a": 2}
    assert counted(whole) == {b"a b a": 2}


def test_any_function_may_say_where_pieces_end():
    assert counted(count_pieces(["abcab", "é世"], lambda text: np.array([2]))) == {
        b"ab": 1,
        b"cab": 1,
        "é世".encode(): 1,
    }


def test_bytes_that_are_not_text_are_left_out():
    assert counted(count_pieces([b"ab\xffab", "c\ud800"], GPT2_PATTERN)) == {b"ab": 2, b"c": 1}


def test_units_are_bytes_in_the_order_of_the_alphabet():
    assert np.array_equal(BYTE_OF_UNIT[UNIT_OF_BYTE], np.arange(256))
    assert BYTE_OF_UNIT[:2].tobytes() == b'!"'
    assert BYTE_OF_UNIT[-1] == 0xAD  # the last that GPT-2 had to find a character for


def test_a_bound_on_length_holds_and_is_that_of_tokenizers():
    from tokenizers import models, pre_tokenizers, trainers

    text = sample("en-legal")
    for bound in (1, 2, 3, 5):
        tokenizer = BPE(700, max_length=bound)([text])
        lengths = tokenizer.vocab.lengths[:-1]
        assert lengths.max() == bound
        if bound > 1:
            # Their bound is strict, and the first pairs are not held to it.
            theirs = Tokenizer(models.BPE())
            theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
            trainer = trainers.BpeTrainer(
                vocab_size=699,
                min_frequency=1,
                max_token_length=bound + 1,
                initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                show_progress=False,
            )
            theirs.train_from_iterator([text], trainer)
            assert described(tokenizer)["merges"] == json.loads(theirs.to_str())["model"]["merges"]


def test_a_pair_that_is_too_rare_is_not_merged():
    assert described(BPE(400, min_frequency=3)(["ab ab cd"]))["merges"] == []
    assert described(BPE(400, min_frequency=2)(["ab ab cd"]))["merges"] == [["a", "b"]]


def test_inherited_merges_come_first_and_training_goes_on_from_them():
    pieces = count_pieces([sample("en-literary")], GPT2_PATTERN)
    whole = learn_merges(pieces, 256, 300)
    assert np.array_equal(learn_merges(pieces, 256, 300, inherited=whole[:120]), whole)
    # Of merges that nobody learnt, some cannot be reached; they stay where they are.
    e, t, h = (int(UNIT_OF_BYTE[ord(c)]) for c in "eth")
    odd = [[t, h], [h, e], [t, 257], [256, e]]
    assert learn_merges(pieces, 256, 50, inherited=odd)[:4].tolist() == odd


def test_other_alphabets_than_bytes_are_learnt_from_too():
    pieces = Pieces(np.array([7, 900, 7, 900, 3], np.int32), np.array([0, 2, 5]), np.array([1, 2]))
    assert learn_merges(pieces, 901, 9).tolist() == [[7, 900], [901, 3]]


def test_engines_agree_on_text_of_all_kinds_with_words_and_without():
    merges = merges_of(BPE(3000)([sample(name) for name in samples()]).vocab)[256:-1]
    texts = [sample(name)[:4000] for name in samples()] + ["", " ", "a\u0301\u212b ﬁ", "\u180e x", "😀" * 50]
    for pattern in (GPT2_PATTERN, r"\p{N}{1,3}| +(?!\S)", None):
        for normalizer in (None, {"type": "NFC"}, {"type": "NFKC"}):
            file = bpe_tokenizer(merges, pattern, normalizer=normalizer, name="x").spec["text"]
            want = [encoding.ids for encoding in Tokenizer.from_str(file).encode_batch(texts)]
            ours = load_from(file, "tokenloom").encode_batch(texts)
            assert [ids.tolist() for ids in ours] == want


def load_from(file, engine):
    from tokenloom.hosts.json_tokenizer import JsonTokenizer

    return JsonTokenizer(file, "x", engine=engine)


@given(st.binary(max_size=60))
def test_any_bytes_come_back(data):
    seg = TINY.encode(data)
    assert (seg.data, TINY.decode(seg.ids), b"".join(seg.tokens())) == (data, data, data)


TINY = BPE(400)(["any text at all, whatever it is\n" * 5])


def test_special_tokens_stand_first_or_last_and_added_ones_are_found_in_the_text():
    merges = np.array([[64, 65]])
    last = bpe_tokenizer(merges, GPT2_PATTERN, ["<s>", "</s>"], added=["(ii)"], name="x")
    assert [last.vocab.id_of(t) for t in (b"ab", b"(ii)", b"<s>", b"</s>")] == [256, 257, 258, 259]
    assert last.encode("x(ii)ab").tokens() == [b"x", b"(ii)", b"ab"]
    assert last.vocab.special_ids.tolist() == [258, 259]
    first = bpe_tokenizer(merges, GPT2_PATTERN, ["<s>", "</s>"], special_first=True, name="x")
    assert [first.vocab.id_of(t) for t in (b"<s>", b"!", b"ab")] == [0, 2, 258]


def test_a_saved_tokenizer_is_the_same_again_also_for_hugging_face(tmp_path):
    tok = BPE(600)([sample("fi-kalevala")])
    tok.save(tmp_path / "tokenizer.json")
    text = sample("fi-technical")[:5000]
    assert load_tokenizer(tmp_path / "tokenizer.json").encode(text) == tok.encode(text)
    assert Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode(text).ids == tok.encode(text).ids.tolist()


def test_the_order_of_texts_does_not_matter_and_stochastok_works_on_the_result():
    texts = sample("en-literary").splitlines()
    tok = BPE(500)(texts)
    assert BPE(500)(reversed(texts)).digest == tok.digest
    seg = tok.encode("the way of the world")
    assert StochasTok(tok.vocab, 2.0)(seg, rng=np.random.default_rng(0)).is_refinement_of(seg)


def test_progress_names_both_stages():
    told = []
    BPE(300)(["some words, some more words"], progress=lambda *step: told.append(step))
    assert told[0] == ("bytes read", 27, None)
    assert [(what, total) for what, _, total in told[1:]] == [("merges learnt", 43)]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: BPE(256), "vocab_size=256; 256 bytes and 1 special tokens need more"),
        (lambda: BPE(300, special=("<a>", "<a>")), "empty or equal"),
        (lambda: BPE(300, special=("",)), "empty or equal"),
        (lambda: BPE(300, "(a"), "no regular expression"),
        (lambda: BPE(300, min_frequency=0), "min_frequency=0"),
        (lambda: BPE(300, max_length=0), "max_length=0"),
        (lambda: BPE(300)([]), "no text to train on"),
        (lambda: BPE(300)(["", b"\xff"]), "no text to train on"),
        (lambda: learn_merges(Pieces(np.array([5]), np.array([0, 1]), np.array([1])), 5, 1), "the alphabet has 5"),
        (lambda: learn_merges(TWO, 2, 0, inherited=[[0, 1]]), "limit=0 is less than the 1 inherited"),
        (lambda: learn_merges(TWO, 0, 1), "an alphabet of 0 units"),
        (lambda: learn_merges(TWO, 2, 1, min_frequency=0), "min_frequency=0"),
        (lambda: learn_merges(TWO, 2, 1, veto=bpe.Veto(max_words=0)), "max_words=0"),
        (lambda: learn_merges(TWO, 2, 1, veto=bpe.Veto(dropout=1.5)), "dropout=1.5"),
    ],
)
def test_bad_settings_are_refused(make, words):
    with pytest.raises(InvalidInput, match=words):
        make()


TWO = Pieces(np.array([0, 1], np.int32), np.array([0, 2]), np.array([1]))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: learn_merges(TWO, 2, 9, inherited=[[0, 2]]), "only ids 0 to 1 exist by then"),
        (lambda: learn_merges(TWO, 2, 9, inherited=[[0, 1], [0, 1]]), "a second time"),
        (lambda: bpe_tokenizer(np.array([[0, 1], [1, 0], [256, 0], [0, 257]]), None, name="x"), "two merges make"),
        (lambda: bpe_tokenizer(np.array([[0, 1]]), None, ["<s>"], added=["<s>"], name="x"), "'<s>' is empty or given"),
    ],
)
def test_merges_and_tokens_that_do_not_fit_are_refused(make, words):
    with pytest.raises(VocabularyError, match=words):
        make()


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (
            {
                "model": {
                    "type": "WordPiece",
                    "vocab": {"a": 0},
                    "unk_token": "a",
                    "continuing_subword_prefix": "##",
                    "max_input_chars_per_word": 9,
                }
            },
            "not plain BPE",
        ),
        ({"normalizer": {"type": "Lowercase"}}, "Lowercase is not a Unicode normal form"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "not cut by one pattern"),
    ],
)
def test_our_engine_says_what_it_cannot_read(file, words):
    parsed = json.loads(TINY.spec["text"]) | file
    with pytest.raises(TokenizerError, match=words):
        load_from(json.dumps(parsed), "tokenloom")
