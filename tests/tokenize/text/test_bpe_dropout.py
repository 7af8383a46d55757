from collections import Counter

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from tokenizers import decoders, models, pre_tokenizers, trainers

from tokenloom.core.errors import InvalidInput, VocabularyError
from tokenloom.core.merges import merges_of
from tokenloom.core.seeds import stream_seeds
from tokenloom.core.vocabulary import Vocabulary
from tokenloom.data import sample
from tokenloom.tokenize.text.bpe_dropout import BPEDropout

BYTES = [bytes([i]) for i in range(256)]
TEXT = sample("en-literary")[:60_000]


def byte_of_character():
    """The byte that each character of the byte-level alphabet stands for, by its definition."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


@pytest.fixture(scope="module")
def engine():
    engine = tokenizers.Tokenizer(models.BPE())
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    engine.train_from_iterator(
        [TEXT], trainers.BpeTrainer(vocab_size=900, initial_alphabet=alphabet, show_progress=False)
    )
    return engine


@pytest.fixture(scope="module")
def vocab(engine):
    byte = byte_of_character()
    return Vocabulary([bytes(byte[c] for c in engine.id_to_token(i)) for i in range(engine.get_vocab_size())])


def test_merges_are_recovered_from_the_vocabulary(engine, vocab):
    import json

    byte = byte_of_character()
    merges = merges_of(vocab)
    told = json.loads(engine.to_str())["model"]["merges"]
    for left, right in told:
        left, right = (bytes(byte[c] for c in half) for half in (left, right))
        assert merges[vocab.id_of(left + right)].tolist() == [vocab.id_of(left), vocab.id_of(right)]
    assert (merges[:, 0] >= 0).sum() == len(told)


@pytest.mark.parametrize("name", ["en-literary", "tr-speeches", "zh-technical", "code-python", "json-digits"])
def test_without_dropout_it_is_the_engine(engine, vocab, name):
    text = sample(name)[:8000]
    seg = BPEDropout(vocab, 0.0)(text, rng=np.random.default_rng(0))
    assert seg.ids.tolist() == engine.encode(text).ids
    assert seg.data == text.encode()


def test_with_full_dropout_it_gives_bytes(vocab):
    seg = BPEDropout(vocab, 1.0)("hello world", rng=np.random.default_rng(0))
    assert [len(t) for t in seg.tokens()] == [1] * 11


@given(st.binary(max_size=40), st.floats(0, 1))
def test_no_byte_is_lost_and_ids_mean_their_bytes(data, dropout):
    vocab = Vocabulary([*BYTES, b"ab", b" a", b"\xc3\xa9", b"abab", b"\xff\xfe"])
    seg = BPEDropout(vocab, dropout)(data, rng=np.random.default_rng(0))
    assert seg.data == data and vocab.decode(seg.ids) == data
    assert seg.tokens() == [vocab[i] for i in seg.ids]


def test_the_law_on_one_word_is_the_enumerated_one():
    vocab = Vocabulary([*BYTES, b"ab", b"bc", b"abc"])
    # b"abc" with dropout p: first step has ab (256) and bc (257); `abc` merges ab + c only.
    p, count = 0.3, 20_000
    law = {
        (258,): (1 - p) * (1 - p),
        (256, 99): (1 - p) * p,
        (97, 257): p * (1 - p),
        (97, 98, 99): p * p,
    }
    batch = BPEDropout(vocab, p).encode_batch(["abc"] * count, stream_seeds(0, np.arange(count)))
    seen = Counter(tuple(d.tolist()) for d in batch)
    assert set(seen) <= set(law)
    assert chisquare([seen[k] for k in law], [law[k] * count for k in law]).pvalue > 1e-3


@pytest.mark.parametrize(
    "act, error, words",
    [
        (lambda: BPEDropout(Vocabulary(BYTES), 1.5), InvalidInput, "dropout=1.5"),
        (lambda: BPEDropout(Vocabulary(BYTES), 0.1, "("), InvalidInput, "no regular expression"),
        (lambda: BPEDropout(Vocabulary([b"a", b"b", b"ab"])), VocabularyError, "byte 0x00 is no token"),
        (lambda: BPEDropout(Vocabulary([*BYTES, b"abc"])), VocabularyError, "id 256 .* not the merge"),
        (lambda: BPEDropout(Vocabulary(BYTES)).encode_batch(["a"], np.zeros(2, np.uint64)), InvalidInput, "1 texts"),
    ],
)
def test_bpe_dropout_refuses(act, error, words):
    with pytest.raises(error, match=words):
        act()
