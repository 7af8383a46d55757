"""What the trainers of `tokenizers` make: all bytes in a Unigram, BERT's cuts in a WordPiece, and refusals."""

import json
from collections import Counter
from itertools import pairwise

import pytest

from tokenloom.core.errors import InvalidInput
from tokenloom.data import sample
from tokenloom.hosts.train import BERT_SPECIAL, train_bpe, train_unigram, train_wordpiece, unigram_of_counts
from tokenloom.testing import check_segmenter


def test_unigram_has_all_bytes_the_best_pieces_first_and_no_more_ids_than_asked_for():
    tokenizer = train_unigram([sample("en-legal")[:20_000]], 700, special=("<s>", "</s>"))
    assert len(tokenizer.vocab) == 700
    assert {bytes([byte]) for byte in range(256)} <= set(tokenizer.vocab[:698])
    assert tokenizer.vocab.special_ids.tolist() == [698, 699]
    assert tokenizer.unknown is None
    scores = [score for _, score in json.loads(tokenizer.spec["text"])["model"]["vocab"]]
    assert all(one >= next_ for one, next_ in pairwise(scores[:698]))
    check_segmenter(tokenizer)


def test_unigram_of_counts_has_all_bytes_and_comes_out_the_same_in_any_order():
    words = Counter(sample("ta-technical").split())
    tokenizer = unigram_of_counts(words, 350, special=("<s>",))
    assert len(tokenizer.vocab) == 350 and tokenizer.unknown is None
    assert {bytes([byte]) for byte in range(256)} <= set(tokenizer.vocab[:349])
    check_segmenter(tokenizer)
    again = unigram_of_counts(dict(reversed(words.items())), 350, special=("<s>",))
    assert again.digest == tokenizer.digest


def test_letters_of_several_bytes_make_pieces_as_long_as_others():
    word = "அஆஇஈஉஊ"  # 18 bytes
    tokenizer = unigram_of_counts({word: 90, word + "எ": 90, word + "ஏ": 90}, 300)
    assert tokenizer.encode(word).tokens() == [word.encode()]


def test_a_string_that_occurs_more_often_is_likelier_and_words_do_not_cross_its_pattern():
    scores = dict(
        json.loads(unigram_of_counts({"abc": 900, "xyz": 9, "abc xyz": 5}, 300).spec["text"])["model"]["vocab"]
    )
    assert scores["abc"] > scores["xyz"]
    assert not any("c\u0120" in piece for piece in scores)


def test_wordpiece_gives_every_byte_of_a_text_to_a_token():
    tokenizer = train_wordpiece(["low lower lowest"], 40)
    seg = tokenizer.encode(" low  \nlowx ☃")
    assert seg.offsets[0] == 0 and seg.offsets[-1] == len(seg.data)
    assert seg.tokens()[0] == b" low"
    assert seg.ids[-1] == seg.ids[-2] == tokenizer.unknown == BERT_SPECIAL.index("[UNK]")
    assert tokenizer.vocab.special_ids.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("train", "words"),
    [
        (lambda: train_bpe(["a"], 256), "256 bytes and 1 special tokens need more"),
        (lambda: train_unigram(["a"], 256), "256 bytes and 1 special tokens need more"),
        (lambda: train_unigram([], 300), "there is no text"),
        (lambda: unigram_of_counts({}, 300), "there is no text"),
        (lambda: unigram_of_counts({"a": 1}, 256), "256 bytes and 1 special tokens need more"),
        (lambda: train_unigram(["a"], 300, special=("", "b")), "are empty or equal"),
        (lambda: train_wordpiece(["a"], 5), "1 character and 5 special tokens need more"),
        (lambda: train_wordpiece(["abcdef"], 9), "the characters of the texts and special tokens alone are"),
        (lambda: train_wordpiece([b""], 300), "there is no text"),
        (lambda: train_wordpiece(["a"], 300, special=("[PAD]",)), "lack '\\[UNK\\]'"),
    ],
)
def test_refusals(train, words):
    with pytest.raises(InvalidInput, match=words):
        train()
