"""Batch merging is its definition, told here without any data structure, under every boundary and budget."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput, VocabularyError
from tokenloom.core.merges import GPT2_PATTERN
from tokenloom.core.segmentation import Ragged
from tokenloom.core.vocabulary import Vocabulary
from tokenloom.data import sample
from tokenloom.hosts import load_tokenizer
from tokenloom.hosts.pretokens import pretokenizer_of
from tokenloom.tokenize.text.batch_merging import BatchMerging, LengthCurve, length_curve, read_alphabet
from tokenloom.tokenize.text.bpe import BPE

TOKENS = [
    b"a",
    b"b",
    b"ab",
    b" a",
    b" ",
    b"\n",
    b"-",
    b".",
    b".5",
    b"\xc3",
    b"\xa9",
    "é".encode(),
    b"\t",
    b"abab",
    b"1",
]
VOCAB = Vocabulary([*TOKENS, b"a"], special=[b"<s>"])  # two ids spell b"a"
BOUNDARIES = ("sentence", "pretokens", "word", "word_hyphen")
SPECIAL = len(TOKENS) + 1

batches = st.lists(st.lists(st.integers(0, SPECIAL), max_size=14), max_size=4)


def valid(left, right, boundary):
    """The rules as they are told, for what two tokens of text spell."""
    spaces = (b"\t", b"\n", b" ")
    both = left + right
    letters = [both[k : k + 1] for k in range(len(both))]
    inside = any(letter in spaces for letter in letters[1:])
    if inside and (both == b"\n\n" or any(letter not in spaces for letter in letters)):
        return False
    if boundary == "sentence":
        return True
    try:
        text = both.decode()
    except UnicodeDecodeError:
        return True
    if boundary == "pretokens":
        return load_pieces(text) == 1
    if len(text.split()) != 1:
        return False

    def sign(token):
        known = token in TOKENS
        return known and any(c in ".,!?;:()-\"'" for c in token.decode()) and not any(map(str.isdigit, token.decode()))

    try:
        joined = boundary == "word_hyphen" and not sign(left) and sign(right)
    except UnicodeDecodeError:
        joined = False
    return right == b"-" if joined else True


def load_pieces(text):
    import regex

    return len(regex.findall(GPT2_PATTERN, text))


def merge_slowly(batch, merges, boundary):
    """Count everything again for each merge. A token is (bytes or None, place, id or None)."""
    rows = [[(VOCAB[i] if i != SPECIAL else None, place, i) for place, i in enumerate(sequence)] for sequence in batch]
    made = 0
    while merges is None or made < merges:
        counts = {}
        for row in rows:
            for (left, *_), (right, *_) in pairwise(row):
                if left is not None and right is not None and valid(left, right, boundary):
                    counts[left, right] = counts.get((left, right), 0) + 1
        if not counts:
            break
        left, right = max(counts, key=counts.get)  # of equals the first that was entered
        for row in rows:
            k = 0
            while k + 1 < len(row):
                if (row[k][0], row[k + 1][0]) == (left, right):
                    row[k : k + 2] = [(left + right, row[k][1], None)]
                k += 1
        made += 1
    return rows, made


@settings(max_examples=300)
@given(batches, st.sampled_from(BOUNDARIES), st.one_of(st.none(), st.integers(0, 8)))
def test_merging_is_its_definition(batch, boundary, merges):
    slow, made = merge_slowly(batch, merges, boundary)
    merged = BatchMerging(VOCAB, boundary)(Ragged.of(batch), merges)
    assert merged.merges == made
    for ids, firsts, row in zip(merged.ids, merged.firsts, slow, strict=True):
        assert firsts.tolist() == [place for _, place, _ in row]
        for i, (token, _, given_id) in zip(ids.tolist(), row, strict=True):
            if given_id is not None:
                assert i == given_id, "what is not merged keeps its id"
            elif token in VOCAB:
                assert i == VOCAB.id_of(token)
            else:
                assert merged.new[i - len(VOCAB)] == token
    assert sorted(set(merged.new)) == sorted({t for row in slow for t, _, i in row if i is None and t not in VOCAB})


@settings(max_examples=60)
@given(batches, st.sampled_from(BOUNDARIES))
def test_lengths_never_grow_and_what_is_spelled_stays(batch, boundary):
    merging, given_batch = BatchMerging(VOCAB, boundary), Ragged.of(batch)
    whole = merging(given_batch)
    for merges in range(whole.merges + 2):
        merged = merging(given_batch, merges)
        assert merged.ids.ids.size == merged.totals[-1] == whole.totals[min(merges, whole.merges)]
        spelled = Vocabulary([*VOCAB[:SPECIAL], b"<s>", *merged.new], special=[SPECIAL])
        assert [spelled.decode(ids) for ids in merged.ids] == [VOCAB.decode(ids) for ids in given_batch]
    assert (np.diff(whole.totals) < 0).all()


@given(batches, st.sampled_from(BOUNDARIES))
def test_no_merge_is_the_given_batch(batch, boundary):
    merged = BatchMerging(VOCAB, boundary)(Ragged.of(batch), 0)
    assert merged.ids == Ragged.of(batch) and merged.new == ()


@settings(max_examples=60)
@given(batches, st.integers(0, 4))
def test_a_sequence_by_itself_is_a_batch_of_one(batch, merges):
    together = BatchMerging(VOCAB, "word", per_sequence=True)(Ragged.of(batch), merges)
    alone = [BatchMerging(VOCAB, "word")(Ragged.of([sequence]), merges) for sequence in batch]
    spelled = [*VOCAB[:], *together.new]
    for k, one in enumerate(alone):
        assert [spelled[i] for i in together.ids[k].tolist()] == [[*VOCAB[:], *one.new][i] for i in one.ids[0].tolist()]
        assert together.firsts[k].tolist() == one.firsts[0].tolist()
    assert together.totals[-1] == sum(one.totals[-1] for one in alone)


def test_merging_the_bytes_of_one_text_is_bpe_on_this_text():
    # From single bytes, with no pair equally frequent at any step, the order of learning has nothing to choose.
    text = "aaaa" + " abc" * 16 + " ab" * 8
    learnt = BPE(256 + 5, special=())([text])
    vocab = load_tokenizer("bytes").vocab
    merged = BatchMerging(vocab)(Ragged.of([np.frombuffer(text.encode(), np.uint8)]), 5)
    assert [[*vocab[:], *merged.new][i] for i in merged.ids[0].tolist()] == learnt.encode(text).tokens()


def test_all_merges_leave_one_token_for_each_word():
    tok = load_tokenizer("tokenloom-en-16k")
    text = "unbelievably antidisestablishmentarian words, 1234567 of them; and punctuation?!"
    words = [word.encode() for word in pretokenizer_of(tok)(text)]
    merged = BatchMerging(tok.vocab, pretokens=pretokenizer_of(tok))(Ragged.of([tok.encode(text).ids]))
    spelled = [*tok.vocab[:], *merged.new]
    # The alphabet writes a space as another letter, and this text has no other such byte.
    assert [spelled[i].replace(b" ", "Ġ".encode()) for i in merged.ids[0].tolist()] == words


def test_the_published_example_goes_from_37_tokens_to_20():
    """README of the authors' code: two sentences, ten merges, the tokenizer of Mistral, special tokens at both ends.

    It says 36 tokens, because it counts before the ends are there, but with padding.
    """
    batch = [
        "<s> ĠR ib on uc le op rote in Ġparticles Ġreg ulate Ġm R NA Ġstability . </s>",
        "<s> Ġm R NA Ġstability Ġis Ġmod ulated Ġby Ġrib on uc le op rote in Ġfactors . </s>",
    ]
    vocab, ids = read_alphabet(map(str.split, batch), special=["<s>", "</s>"])
    merged = BatchMerging(vocab)(ids, 10)
    spelled = [token.decode() for token in (*vocab[:], *merged.new)]
    assert [" ".join(spelled[i].replace(" ", "Ġ") for i in one) for one in merged.ids] == [
        "<s> ĠRibonucleoprotein Ġparticles Ġregulate ĠmRNA Ġstability . </s>",
        "<s> ĠmRNA Ġstability Ġis Ġmod ulated Ġby Ġrib onucleoprotein Ġfactors . </s>",
    ]
    assert (merged.totals[0], merged.totals[-1], merged.merges) == (37, 20, 10)


@pytest.mark.parametrize(
    ("left", "right", "boundaries"),
    [
        (b"a", b"b", "sentence pretokens word word_hyphen"),
        (b"a", b" a", ""),
        (b" ", b" ", "sentence pretokens"),
        (b"\n", b"\n", ""),
        (b"\n", b" ", "sentence pretokens"),
        (b"\t", b"a", "sentence word word_hyphen"),
        (b" ", b"a", "sentence pretokens word word_hyphen"),
        (b"a", b".", "sentence word"),
        (b"a", b"-", "sentence word word_hyphen"),
        (b".", b"a", "sentence word word_hyphen"),
        (b".", b".", "sentence pretokens word word_hyphen"),
        (b"a", b".5", "sentence word word_hyphen"),
        (b"a", b"\xc3", "sentence pretokens word word_hyphen"),
        (b"\xc3", b"\xa9", "sentence pretokens word word_hyphen"),
        (b"\xc3", b" ", ""),
        (b"a", "\u00a0b".encode(), "sentence"),
    ],
)
def test_what_may_be_merged(left, right, boundaries):
    found = [
        boundary
        for boundary in BOUNDARIES
        if BatchMerging(Vocabulary(list(dict.fromkeys([left, right, *TOKENS]))), boundary)._may_merge(left, right)
    ]
    assert found == boundaries.split(), (left, right)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_special_tokens_stay_alone_also_before_broken_characters(boundary):
    ids = [SPECIAL, TOKENS.index(b"\xc3"), SPECIAL, TOKENS.index(b"a")]
    assert BatchMerging(VOCAB, boundary)(Ragged.of([ids, ids])).ids == Ragged.of([ids, ids])


def test_the_curve_says_how_many_merges_go_how_far():
    curve = LengthCurve(np.array([40.0, 36.0, 33.0, 31.0, 30.0]))
    assert [curve.merges_for(share) for share in (0, 0.1, 0.4, 0.5, 0.7, 0.95, 1)] == [0, 1, 1, 2, 2, 4, 4]
    assert curve.reduction(2) == pytest.approx(7 / 40)
    assert curve.reduction(9) == pytest.approx(0.25)


def test_the_curve_of_a_sample_is_the_mean_of_its_batches():
    tok = load_tokenizer("tokenloom-en-16k")
    lines = [line for line in sample("tr-technical").splitlines() if line][:32]
    merging, batch = BatchMerging(tok.vocab), [tok.encode_batch(lines[:16]), tok.encode_batch(lines[16:])]
    curve = length_curve(merging, batch)
    for merges in (0, 3, curve.lengths.size - 1):
        assert curve.lengths[merges] == sum(merging(one, merges).ids.ids.size for one in batch) / 32


def test_a_merging_travels_to_another_process():
    merging = BatchMerging(VOCAB, "word", per_sequence=True)
    again = pickle.loads(pickle.dumps(merging))
    assert again == merging
    assert again(Ragged.of([[0, 1]])).ids == merging(Ragged.of([[0, 1]])).ids


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: BatchMerging(VOCAB)(Ragged.of([[0]]), -1), "merges=-1"),
        (lambda: BatchMerging(VOCAB, "line"), "boundary='line'.*sentence, pretokens, word, word_hyphen"),
        (lambda: BatchMerging(VOCAB, pretokens="("), "no regular expression"),
        (lambda: BatchMerging(VOCAB)(Ragged.of([[0, 99]])), "id 99 at position 1"),
        (lambda: LengthCurve(np.ones(1)).merges_for(1.5), "share=1.5"),
        (lambda: length_curve(BatchMerging(VOCAB), []), "no sequence"),
    ],
)
def test_what_cannot_be_merged_is_refused(call, words):
    with pytest.raises(InvalidInput, match=words):
        call()


def test_token_strings_outside_the_alphabet_are_refused_unless_special():
    with pytest.raises(VocabularyError, match="'▁a' has a character outside the byte alphabet"):
        read_alphabet([["▁a"]], special=["<s>"])
    assert read_alphabet([["▁a"]], special=["▁a"])[0].special_ids.tolist() == [0]
