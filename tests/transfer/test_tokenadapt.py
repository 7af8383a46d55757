"""TokenAdapt against a plain restatement of the paper's rule, its limits, and what it refuses."""

import math
import zlib
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_llama import generator, llama, logits

from tokenloom.core.errors import InvalidInput
from tokenloom.core.vocabulary import Vocabulary
from tokenloom.hosts import load_tokenizer
from tokenloom.tokenize.text.bpe import BPE
from tokenloom.transfer.composition import FVT, pieces_of, unshared
from tokenloom.transfer.rows import Origin, shared_ids
from tokenloom.transfer.tokenadapt import TokenAdapt
from tokenloom.transfer.transplanting import transplant

TEXT = "the cat sat on the mat and the dog sat on the log; größer, größte, Café; unbelievable, believable, table 年月日 年月 "
OLD, NEW = BPE(310)([TEXT * 20]), BPE(350)([TEXT[::-1] * 5 + TEXT * 20 + "hat bat rat " * 9])
PAIRS = shared_ids(OLD.vocab, NEW.vocab)


def letters(texts):
    """An encoder that knows letters and pairs of them; it ignores case and space, as many do."""
    found = np.zeros((len(texts), 48), np.float32)
    for row, text in zip(found, texts):
        text = f"^{text.strip().lower()}$"
        for part in [*text, *map("".join, pairwise(text))]:
            row[zlib.crc32(part.encode()) % 48] += 1
    return found


def distinct(texts):
    """The same with a little chance for each text, so that no two cosines are equal."""
    chance = [np.random.default_rng(zlib.crc32(text.encode())).normal(0, 0.2, 48) for text in texts]
    return letters(texts) + np.array(chance, np.float32).reshape(-1, 48)


def text_of(vocab, i):
    try:
        return vocab[i].decode() if vocab.kinds[i] < 2 else None
    except UnicodeDecodeError:
        return None


def cosine(a, b):
    a, b = np.float64(a), np.float64(b)
    norm = math.sqrt(a @ a) * math.sqrt(b @ b)
    return a @ b / norm if norm else 0.0


def softmax(values):
    powers = [math.exp(value - max(values)) for value in values]
    return [power / sum(powers) for power in powers]


def characters(token):
    return sum(byte & 0xC0 != 0x80 for byte in token)


def plainly(old, new, pairs, *, k, temperature, global_weight, threshold):
    """Weights of the rows, float (N, O), in loops; rows that nothing is known of are zeros."""
    weights = np.zeros((len(new.vocab), len(old.vocab)))
    weights[pairs[1], pairs[0]] = 1
    hot = temperature + 1e-5
    texts = {j: text_of(old.vocab, j) for j in range(len(old.vocab))}
    vectors = {j: distinct([text])[0] for j, text in texts.items() if text is not None}
    for i in unshared(new.vocab, pairs).tolist():
        text = text_of(new.vocab, i)
        own = np.zeros(48) if text is None else distinct([text])[0]
        pieces = pieces_of(old, [new.vocab[i]])[0].tolist()
        local, other = np.zeros(len(old.vocab)), np.zeros(len(old.vocab))
        if pieces:
            p = softmax([cosine(own, vectors.get(j, np.zeros(48))) for j in pieces])
            lengths = [characters(old.vocab[j]) / max(1, characters(new.vocab[i])) for j in pieces]
            for j, w in zip(pieces, softmax([(a + b) / 2 / hot for a, b in zip(p, lengths)])):
                local[j] += w
        if text is not None:
            near = sorted((-cosine(own, vector), j) for j, vector in vectors.items())[:k]
            for (s, j), w in zip(near, softmax([-s / hot for s, _ in near])):
                other[j] = w if -s >= threshold else 0
            if other.any():
                other /= other.sum()
        if local.any() and other.any():
            weights[i] = (1 - global_weight) * local + global_weight * other
        else:
            weights[i] = local if local.any() else other
    return weights


@settings(max_examples=12)
@given(
    st.integers(1, 6),
    st.floats(0.01, 3),
    st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1)),
    st.sampled_from([-1.0, 0.0, 0.3, 0.7, 0.95]),
)
def test_the_rows_are_those_of_the_rule(k, temperature, global_weight, threshold):
    chosen = {"k": k, "temperature": temperature, "global_weight": global_weight, "threshold": threshold}
    rows = TokenAdapt(distinct, **chosen)(OLD, NEW, PAIRS)
    right = plainly(OLD, NEW, PAIRS, **chosen)
    assert np.abs(rows.weights.toarray() - right).max() < 1e-9
    assert (rows.drawn == (right.sum(1) == 0)).all()


def test_what_the_rule_is_tried_on_has_all_cases():
    found = TokenAdapt(letters).estimates(OLD, NEW, PAIRS)
    texts = [text_of(NEW.vocab, i) for i in found.ids.tolist()]
    assert found.ids.size > 30 and None in texts
    sizes = np.diff(found.local.indptr)
    assert sizes.max() >= 4 and sizes.min() >= 2  # one piece would be the token itself
    halves = [i for i in range(len(NEW.vocab)) if text_of(NEW.vocab, i) and not NEW.vocab[i].isascii()]
    assert any(text_of(OLD.vocab, j) is None for j in np.concatenate(pieces_of(OLD, [NEW.vocab[i] for i in halves])))
    assert (np.diff(found.neighbours.indptr)[[text is None for text in texts]] == 0).all()


@pytest.mark.parametrize("tied", [True, False])
def test_the_same_tokenizer_changes_no_logit_and_needs_no_encoder(tied):
    model, ids = llama(len(OLD.vocab), tied), OLD.encode(TEXT).ids
    before = logits(model, ids)
    done = transplant(model, OLD, old=OLD, method=TokenAdapt(lambda texts: 1 / 0), generator=generator())
    assert torch.equal(logits(done.model, ids), before)
    assert done.rows.counts()["copied"] == len(OLD.vocab)


def test_without_the_global_half_a_hot_mixture_is_fvt_and_a_cold_one_the_best_piece():
    fvt = FVT()(OLD, NEW, PAIRS).weights.toarray()
    hot = TokenAdapt(letters, temperature=1e9, global_weight=0)(OLD, NEW, PAIRS)
    assert np.allclose(hot.weights.toarray(), fvt, atol=1e-8)
    warm = TokenAdapt(letters, temperature=1.0, global_weight=0)(OLD, NEW, PAIRS).weights
    # At 1e-9 the authors' 1e-5 is the temperature.
    cold = TokenAdapt(letters, temperature=1e-9, global_weight=0)(OLD, NEW, PAIRS).weights
    checked = 0
    for i in unshared(NEW.vocab, PAIRS).tolist():
        pieces = pieces_of(OLD, [NEW.vocab[i]])[0].tolist()
        ranked = np.sort(warm[[i]].data)[::-1]
        if len(set(pieces)) == len(pieces) and ranked[0] - ranked[1] > 1e-3:
            assert cold[[i]].toarray().argmax() == warm[[i]].toarray().argmax() and cold[[i]].max() > 1 - 1e-9
            checked += 1
    assert checked > 10


def test_the_weight_goes_from_one_half_to_the_other():
    found = TokenAdapt(letters).estimates(OLD, NEW, PAIRS)
    both = (np.diff(found.local.indptr) > 0) & (np.diff(found.neighbours.indptr) > 0)
    for weight, half in ((0.0, found.local), (1.0, found.neighbours)):
        rows = TokenAdapt(letters, global_weight=weight)(OLD, NEW, PAIRS)
        assert np.array_equal(rows.weights[found.ids[both]].toarray(), half[both].toarray())
        assert (rows.origin[found.ids[both]] == (Origin.NEIGHBOURS if weight else Origin.COMPOSED)).all()


def test_where_one_half_is_missing_the_other_takes_its_place():
    rows = TokenAdapt(letters, threshold=1.0, global_weight=1)(OLD, NEW, PAIRS)
    local = TokenAdapt(letters, global_weight=0)(OLD, NEW, PAIRS)
    ids = unshared(NEW.vocab, PAIRS)
    none = [i for i in ids.tolist() if text_of(NEW.vocab, i) is None]
    assert none and np.array_equal(rows.weights[none].toarray(), local.weights[none].toarray())
    assert rows.counts()["neighbours"] + rows.counts()["composed"] == ids.size


class Fixed:
    """A tokenizer of a vocabulary that reads each text as the ids it was told."""

    name, digest, unknown = "fixed", "", None

    def __init__(self, vocab, told=None):
        self.vocab, self.told = vocab, told or {}

    def encode(self, text):
        from tokenloom.core.segmentation import Segmentation

        ids = self.told.get(text, [0])
        data = self.vocab.decode(ids)
        return Segmentation(ids, np.cumsum([0, *(len(self.vocab[i]) for i in ids)]), data)

    def encode_batch(self, texts, threads=None):
        from tokenloom.core.segmentation import Ragged

        return Ragged.of([self.told.get(text, []) for text in texts])

    def decode(self, ids):
        return self.vocab.decode(ids)


def test_permuted_vocabularies_permute_the_rows():
    rng = np.random.default_rng(0)
    words = [b"cat", b"hat", b"mat", b"dog", b"dot", b"s", b"t", b"ca"]
    order = rng.permutation(len(words))
    told = {b"cats": [0, 5], b"hats": [1, 5]}
    old, moved = Vocabulary(words), Vocabulary([words[i] for i in order])
    place = np.argsort(order)
    new = Vocabulary([b"hats", b"dog", b"cats"])
    first = TokenAdapt(letters)(Fixed(old, told), Fixed(new), shared_ids(old, new)).weights.toarray()
    again = {text: place[ids].tolist() for text, ids in told.items()}
    second = TokenAdapt(letters)(Fixed(moved, again), Fixed(new), shared_ids(moved, new)).weights.toarray()
    assert np.allclose(second, first[:, order], atol=1e-12)
    back = Vocabulary([b"cats", b"dog", b"hats"])
    third = TokenAdapt(letters)(Fixed(old, told), Fixed(back), shared_ids(old, back)).weights.toarray()
    assert np.allclose(third, first[::-1], atol=1e-12)


def test_a_token_of_one_piece_gets_its_row_and_one_of_none_its_neighbours():
    old, new = Vocabulary([b"cat", b"dog"]), Vocabulary([b"cats", b"dogs"])
    method = TokenAdapt(letters, global_weight=0, k=1)
    rows = method(Fixed(old, {b"cats": [1]}), Fixed(new), shared_ids(old, new))
    assert rows.weights.toarray().tolist() == [[0, 1], [0, 1]]
    assert rows.origin.tolist() == [Origin.COMPOSED, Origin.NEIGHBOURS]


def test_lengths_are_worked_by_hand():
    # p of equal cosines is 1/2 each; l is 1/4 and 3/4: weights softmax((1/2 + l) / 2 / 0.5) at temperature 0.5.
    old, new = Vocabulary([b"x", "yéz".encode()]), Vocabulary(["xyéz".encode()])
    method = TokenAdapt(lambda texts: np.ones((len(texts), 2)), temperature=0.5 - 1e-5, global_weight=0)
    rows = method(Fixed(old, {"xyéz".encode(): [0, 1]}), Fixed(new), shared_ids(old, new))
    first = math.exp(0.75) / (math.exp(0.75) + math.exp(1.25))
    assert np.allclose(rows.weights.toarray(), [[first, 1 - first]], atol=1e-12)


def test_twins_are_neighbours_that_the_encoder_cannot_tell_apart():
    old, new = Vocabulary([b" the", b"The", b"the", b"then", b" Then"]), Vocabulary([b"THE", b"thenx", b"\xff"])
    found = TokenAdapt(letters).estimates(Fixed(old), Fixed(new), shared_ids(old, new))
    assert found.twins.tolist() == [3, 1, 0]
    assert sorted(found.neighbours[[0]].indices.tolist()) == [0, 1, 2]


def test_a_text_of_which_the_encoder_says_nothing_has_no_neighbours_and_is_none():
    old, new = Vocabulary([b"cat", b"dog"]), Vocabulary([b"cats", b"birds"])

    def quiet(texts):
        return np.array([[0.0, 0.0] if text in ("dog", "birds") else [1.0, 0.5] for text in texts])

    rows = TokenAdapt(quiet)(Fixed(old), Fixed(new), shared_ids(old, new))
    assert rows.weights.toarray().tolist() == [[1, 0], [0, 0]]
    assert rows.origin.tolist() == [Origin.NEIGHBOURS, Origin.DRAWN]
    silent = TokenAdapt(lambda texts: np.zeros((len(texts), 2)))(Fixed(old), Fixed(new), shared_ids(old, new))
    assert silent.drawn.all() and not silent.per_dimension


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: TokenAdapt(letters, k=0), "k=0"),
        (lambda: TokenAdapt(letters, temperature=0), "temperature=0"),
        (lambda: TokenAdapt(letters, temperature=math.nan), "temperature=nan"),
        (lambda: TokenAdapt(letters, global_weight=1.5), "global_weight=1.5"),
        (lambda: TokenAdapt(letters, global_weight=-0.1), "global_weight=-0.1"),
        (lambda: TokenAdapt(letters, threshold=2), "threshold=2"),
        (lambda: TokenAdapt(lambda texts: np.full((len(texts), 3), np.nan))(OLD, NEW, PAIRS), "not finite of"),
        (lambda: TokenAdapt(lambda texts: np.ones((3, 3)))(OLD, NEW, PAIRS), "must give a vector for each"),
        (lambda: TokenAdapt(lambda texts: np.ones(len(texts)))(OLD, NEW, PAIRS), "must give a vector for each"),
    ],
)
def test_tokenadapt_refuses(call, said):
    with pytest.raises(InvalidInput, match=said):
        call()


def test_more_neighbours_than_old_tokens_are_all_of_them():
    bytes_only = load_tokenizer("bytes")
    rows = TokenAdapt(letters, k=10**6, threshold=-1)(bytes_only, NEW, shared_ids(bytes_only.vocab, NEW.vocab))
    assert np.allclose(rows.weights.sum(axis=1), 1)
