"""Tokens per character and per term, and lengths of tokens, by hand."""

import pytest

from tokenloom.core.errors import InvalidInput
from tokenloom.core.vocabulary import Kind, Vocabulary
from tokenloom.hosts import load_tokenizer
from tokenloom.measure.efficiency import term_table, token_lengths, tokens_per_character
from tokenloom.tokenize.text.bpe import BPE

BYTES = load_tokenizer("bytes")


def test_tokens_are_counted_by_characters_not_bytes_over_all_texts_together():
    assert tokens_per_character(BYTES, ["世界", "abcd"]) == 10 / 6
    assert tokens_per_character(BPE(258, special=())(["ab ab"]), iter(["ab"])) == 0.5


def test_terms_stand_inside_a_text():
    tok = BPE(280, special=())(["a tort, a tort, a tort"])
    assert term_table({"bpe": tok, "bytes": BYTES}, ["tort", "a tort"]) == {"bpe": [1, 2], "bytes": [5, 7]}


def test_lengths_leave_out_special_and_unused_ids_and_count_characters():
    kinds = [Kind.NORMAL, Kind.BYTE, Kind.SPECIAL, Kind.UNUSED, Kind.NORMAL, Kind.NORMAL]
    vocab = Vocabulary([b" the", b"\xa9", b"<s>", b"", "世界".encode(), "é".encode() + b"\xc3"], kinds=kinds)
    # " the" has four, a continuation byte none, 世界 two, é with the beginning of another two.
    assert token_lengths(vocab).tolist() == [1, 0, 2, 0, 1]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tokens_per_character(BYTES, []), "there is no text"),
        (lambda: tokens_per_character(BYTES, ["", ""]), "there is no text"),
        (lambda: term_table({"bytes": BYTES}, []), "there are no terms"),
        (lambda: term_table({"bytes": BYTES}, ["tort", ""]), "term '' is empty"),
        (lambda: term_table({"bytes": BYTES}, [" tort"]), "term ' tort' is empty or has spaces around it"),
    ],
)
def test_what_cannot_be_measured_is_refused(make, words):
    with pytest.raises(InvalidInput, match=words):
        make()
