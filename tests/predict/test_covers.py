"""Which token sequences encodings begin with: held against the encodings of all short texts."""

from functools import cache
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_tokenizers import BOS, WORDS, bpe, byte_level, sentencepiece

import tokenloom as tl
from tokenloom.core.covers import whole_characters
from tokenloom.core.errors import InvalidInput, TokenizerError
from tokenloom.core.vocabulary import Kind
from tokenloom.hosts.json_tokenizer import JsonTokenizer
from tokenloom.predict.decode.exact_byte_probabilities import ByteModel
from tokenloom.tokenize.text.covers import covers_of

MERGES = [(b"a", b"b"), (b" ", b"a"), (b" ", b" "), (b"1", b"1"), (b"'", b"s"), (b" ", b"'"), (b"a", b"a"), (b"aa", b"b"),
          (b"  ", b" "), (b"11", b"1"), (b"ab", b"b")]  # fmt: skip


def valid(tokenizer, letters, length, ahead):
    """Beginnings that spell at most `length` letters, of the encodings of all texts that go on by up to `ahead` characters."""
    found = set()
    behind = ["".join(text) for size in range(ahead + 1) for text in product(letters + "x2", repeat=size)]
    for text in ("".join(text) for size in range(length + 1) for text in product(letters, repeat=size)):
        ragged = tokenizer.encode_batch([text + more for more in behind])
        for k in range(len(behind)):
            ids = ragged[k].tolist()
            spelled = np.cumsum([0, *(len(tokenizer.vocab[i]) for i in ids)])
            found |= {tuple(ids[:end]) for end in range(len(ids) + 1) if spelled[end] <= len(text)}
    return found


def followed(covers, vocab, letters, length):
    """The same by asking what may follow what."""
    found, todo = set(), [((), covers.start, None)]
    while todo:
        ids, states, last = todo.pop()
        found.add(ids)
        room = length - sum(len(vocab[i]) for i in ids)
        for token in covers.tokens[covers.follow(states, last)].tolist():
            if len(vocab[token]) <= room and set(vocab[token]) <= set(letters.encode()):
                after = covers.advance(states, last, token)
                assert after, (ids, token)
                todo.append(((*ids, token), after, token))
    return found


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("letters", ["ab ", "a's", "1 \n"])
def test_sequences_are_valid_if_the_encoding_of_a_text_begins_with_them(words, letters):
    tokenizer = bpe(WORDS[words], MERGES)
    assert followed(covers_of(tokenizer), tokenizer.vocab, letters, 3) == valid(tokenizer, letters, 3, 3)


def test_sequences_of_characters_with_byte_fallback():
    tokenizer = sentencepiece("ab ", [("a", "b"), (" ", "a"), ("b", "b"), ("a", "bb"), (" ", " ")])
    assert followed(covers_of(tokenizer), tokenizer.vocab, "ab ", 3) == valid(tokenizer, "ab ", 3, 2)


texts = st.text("ab1' \né漢\U0001f600", max_size=12)


@cache
def known(words):
    tokenizer = bpe(WORDS[words], MERGES)
    return tokenizer, covers_of(tokenizer)


@settings(max_examples=60)
@given(texts, st.sampled_from(sorted(WORDS)))
def test_every_encoding_is_valid_and_settled_places_are_cut_in_all(text, words):
    tokenizer, covers = known(words)
    seg = tokenizer.encode(text)
    states, last = covers.start, None
    for token in seg.ids.tolist():
        states, last = covers.advance(states, last, token), token
        assert states, text
    at, states = covers.settled(seg.data)
    assert at in seg.offsets
    for behind in ("", "b", " ", "1", "\n", "'s", "  a"):
        other = tokenizer.encode(text + behind)
        count = int(np.searchsorted(seg.offsets, at))
        assert other.ids[:count].tolist() == seg.ids[:count].tolist()
        for token in other.ids[count:].tolist():
            assert covers.follow(states, None if not count else int(other.ids[count - 1]))[covers.tokens == token].any()
            break


@pytest.mark.slow
@pytest.mark.parametrize("prompt", ["The history of the Engl", "it didn", "a  b\n", "12 34", "un caf\u00e9 noi"])
def test_covers_of_a_real_vocabulary_are_those_that_encoding_finds(prompt):
    """Each token that may end the text, behind each place where it may begin, kept if the encoding of some longer text has it."""
    tokenizer = tl.load_tokenizer("tokenloom-en-16k")
    data, vocab = prompt.encode(), tokenizer.vocab
    (end,) = vocab.special_ids.tolist()
    model = ByteModel(lambda ids: np.full(len(vocab), -np.log(len(vocab))), tokenizer, before=[end])
    found = {cover.ids[1:] for cover in model.start(prompt).covers}
    behind = ["", "a", "s", " a", " ", "  ", "\n", "1", ".", "'s", "\u00e9", " 1", "\n\n"]
    right = set()
    for at in range(len(data)):
        rest = data[at:]
        try:
            data[:at].decode()
        except UnicodeDecodeError:
            continue
        long = [i for i in np.flatnonzero(vocab.kinds <= Kind.BYTE).tolist() if vocab[i].startswith(rest)]
        texts = [data[:at] + vocab[i] + more.encode() for i in long for more in behind]
        for i, ids in zip(np.repeat(long, len(behind)).tolist(), tokenizer.encode_batch(texts)):
            ends = np.cumsum([len(vocab[k]) for k in ids.tolist()])
            count = int(np.searchsorted(ends, at + len(vocab[i]))) + 1
            cover = tuple(ids[:count].tolist())
            if cover[-1] == i and ends[count - 1] == at + len(vocab[i]):
                right.add(cover)
    assert right and found == right


def test_rows_are_sorted_and_found_by_what_they_begin_with():
    covers = covers_of(bpe(WORDS["no words"], MERGES))
    assert covers.bytes == sorted(covers.bytes)
    for prefix in (b"", b"a", b"aa", b" ", b"\xff", b"zz"):
        low, high = covers.rows_of(prefix)
        assert covers.bytes[low:high] == [token for token in covers.bytes if token.startswith(prefix)]
        first, following = covers.rows_after(low, high, len(prefix))
        assert bytes(following) == bytes(t[len(prefix)] for t in covers.bytes[first:high])
        assert all(len(token) == len(prefix) for token in covers.bytes[low:first])


@pytest.mark.parametrize("data", ["aé漢\U0001f600".encode()[:end] for end in range(11)])
def test_a_text_may_end_inside_a_character(data):
    text, tail = whole_characters(data)
    assert text.encode() + tail == data
    assert len(tail) < 4


@pytest.mark.parametrize(
    "data", [b"\xff", b"a\x80", b"\xc3a", b"\xed\xa0", b"\xf4\x90", b"\xc0", b"\xe0\x80", b"\xe2\x82\xac\xac"]
)
def test_what_no_text_begins_with_is_refused(data):
    with pytest.raises(InvalidInput, match=r"no (text|character) begins with"):
        whole_characters(data)


def changed(**parts):
    plain = bpe([byte_level()], [])
    file = {**plain._json, **{key: value for key, value in parts.items() if key != "model"}}
    file["model"] = {**file["model"], **parts.get("model", {})}
    return JsonTokenizer(file, "odd", engine="tokenizers")


@pytest.mark.parametrize(
    "parts, words",
    [
        ({"model": {"dropout": 0.1}}, "draws its encodings at random"),
        ({"normalizer": {"type": "Lowercase"}}, "changes texts before it encodes them"),
        ({"normalizer": {"type": "NFKC"}}, "changes texts"),
        ({"pre_tokenizer": {**byte_level(), "add_prefix_space": True}}, "puts a space before every text"),
        ({"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}, byte_level()]}}, "cuts texts by Whitespace"),
        ({"added_tokens": [{"id": 300, "content": "ab", "special": False, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False}]}, "reads added tokens"),
    ],
)  # fmt: skip
def test_tokenizers_whose_covers_are_not_known_are_refused(parts, words):
    with pytest.raises(TokenizerError, match=words):
        covers_of(changed(**parts))


def test_other_models_are_refused():
    unigram = tl.CompoundPiece(300, special=(BOS,)).learn({"abc": 4, "abd": 4}, None)
    with pytest.raises(TokenizerError, match="covers of Unigram are not known"):
        covers_of(unigram)
