from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from tokenloom.core.errors import InvalidInput, VocabularyError
from tokenloom.core.merges import merges_of
from tokenloom.core.seeds import stream_seeds
from tokenloom.core.segmentation import Ragged, Segmentation
from tokenloom.core.vocabulary import Kind, Vocabulary
from tokenloom.data import sample
from tokenloom.hosts import load_tokenizer
from tokenloom.testing import check_splitter
from tokenloom.tokenize.text.stochastok import ResplitCollator, StochasTok, split_table

BYTES = [bytes([i]) for i in range(256)]
TOY = Vocabulary([b"a", b"b", b"c", b"ab", b"bc", b"abc", b"abcab", b"x"], special=[b"<end>"])


def splits_by_definition(vocab):
    """Every binary split whose halves are ordinary tokens, j ascending."""
    ordinary = [i for i in range(len(vocab)) if vocab.kinds[i] <= Kind.BYTE]
    find = {}
    for i in sorted(ordinary, key=lambda i: (vocab.kinds[i], i), reverse=True):
        find[vocab[i]] = i
    table = {i: [] for i in range(len(vocab))}
    for i in ordinary:
        for j in range(1, len(vocab[i])):
            if vocab[i][:j] in find and vocab[i][j:] in find:
                table[i].append([find[vocab[i][:j]], find[vocab[i][j:]]])
    return table


def expand_by_definition(ids, table, attempts, rng):
    """The paper's algorithm on a plain list, one slice per split."""
    ids = list(ids)
    for _ in range(attempts):
        i = rng.integers(len(ids))
        if choices := table[ids[i]]:
            ids[i : i + 1] = choices[rng.integers(len(choices))]
    return ids


def law_by_enumeration(ids, table, attempts):
    """The exact distribution over sequences after so many attempts."""
    law = {tuple(ids): 1.0}
    for _ in range(attempts):
        after = Counter()
        for sequence, p in law.items():
            for i, token in enumerate(sequence):
                choices = table[token] or [[token]]
                for choice in choices:
                    after[(*sequence[:i], *choice, *sequence[i + 1 :])] += p / len(sequence) / len(choices)
        law = dict(after)
    return law


small_vocabularies = st.lists(st.binary(min_size=1, max_size=4), unique=True, min_size=1, max_size=30).map(
    lambda tokens: Vocabulary(tokens, special=[b"<end>", b"<pad>"])
)


@given(small_vocabularies)
def test_the_split_table_is_its_definition(vocab):
    table = split_table(vocab)
    for i, splits in splits_by_definition(vocab).items():
        assert table[i].tolist() == splits, vocab[i]
    assert (table.indptr.dtype, table.pairs.dtype) == (np.int32, np.int32)


def test_byte_fallback_ids_are_halves_only_where_no_normal_token_has_their_bytes():
    vocab = Vocabulary([*BYTES, b"A", b"B", b"AB", "é".encode()], kinds=[Kind.BYTE] * 256 + [Kind.NORMAL] * 4)
    table = split_table(vocab)
    assert table[258].tolist() == [[256, 257]]
    assert table[259].tolist() == [[0xC3, 0xA9]]


def test_wordpiece_tails_are_looked_up_in_their_tail_form():
    # b" the" is the word-initial token `the`, b"he" the tail `##he`, b" he" the word `he`.
    vocab = Vocabulary([b" the", b" t", b"he", b" he", b"the"], special=[b"[UNK]"])
    assert split_table(vocab)[0].tolist() == [[1, 2]]
    assert split_table(vocab)[4].tolist() == []


def assert_the_table_is_its_definition(vocab):
    table = split_table(vocab)
    expected = splits_by_definition(vocab)
    assert table.pairs.tolist() == [pair for i in range(len(vocab)) for pair in expected[i]]
    assert np.diff(table.indptr).tolist() == [len(expected[i]) for i in range(len(vocab))]


def assert_merges_are_among_the_splits(vocab):
    """Tokens made by BPE can be split into what they were merged from, so only single bytes have no split."""
    merges, table = merges_of(vocab), split_table(vocab)
    for token, merge in enumerate(merges.tolist()):
        assert merge in table[token].tolist() if merge[0] >= 0 else not len(table[token]), vocab[token]
    assert (merges[:, 0] < 0).sum() == 256 + vocab.special_ids.size


def test_every_token_of_a_trained_vocabulary_has_the_defined_splits_and_its_merge_among_them():
    vocab = load_tokenizer("tokenloom-en-16k").vocab
    assert_the_table_is_its_definition(vocab)
    assert_merges_are_among_the_splits(vocab)


@pytest.fixture(scope="module")
def gpt2(ranks):
    return load_tokenizer("gpt2", folder=ranks("r50k_base").parent, engine="tokenizers")


@pytest.mark.slow
def test_the_table_of_gpt2_has_the_published_counts(gpt2):
    counts = np.diff(split_table(gpt2.vocab).indptr)
    assert (counts.sum(), (counts > 0).sum(), (counts == 1).sum(), counts.max()) == (108_299, 50_000, 13_114, 15)
    assert [gpt2.vocab[i] for i in np.flatnonzero(counts == 0)] == [*gpt2.vocab[:256], b"<|endoftext|>"]
    assert sorted(gpt2.vocab[:256]) == BYTES
    assert_the_table_is_its_definition(gpt2.vocab)
    assert_merges_are_among_the_splits(gpt2.vocab)


@pytest.mark.slow
@pytest.mark.parametrize("name, proportion", [("en-technical", 0.1), ("en-technical", 1.0), ("code-python", 1.0)])
def test_real_text_grows_as_the_plain_algorithm_makes_it_grow(gpt2, name, proportion):
    ids, rng = gpt2.encode(sample(name)).ids[:2280], np.random.default_rng(0)
    table, attempts = splits_by_definition(gpt2.vocab), int(2280 * proportion)
    plain = [len(expand_by_definition(ids.tolist(), table, attempts, rng)) for _ in range(100)]
    ours = StochasTok(gpt2.vocab, proportion)(Ragged.of([ids] * 2000), rng=rng).lengths
    error = np.hypot(np.std(plain) / 100**0.5, np.std(ours) / 2000**0.5)
    assert abs(np.mean(plain) - np.mean(ours)) < 4 * error
    # Prose grows by 8.4 % and 70 %, code by half of that: attempts on single bytes are spent.
    growth = {("en-technical", 0.1): 0.084, ("en-technical", 1.0): 0.698, ("code-python", 1.0): 0.347}
    assert np.mean(ours) / 2280 - 1 == pytest.approx(growth[name, proportion], abs=0.002)


@st.composite
def vocabulary_and_segmentations(draw):
    words = draw(st.lists(st.binary(min_size=2, max_size=5), unique=True, max_size=12))
    vocab = Vocabulary([*BYTES, *words], special=[b"<end>"])
    ids = draw(st.lists(st.integers(0, len(vocab) - 1), max_size=20))
    widths = [0 if i == len(vocab) - 1 else len(vocab[i]) for i in ids]
    return vocab, Segmentation(ids, np.cumsum([0, *widths]), vocab.decode(ids))


@given(vocabulary_and_segmentations())
def test_splitting_keeps_bytes_and_refines_cuts_whatever_the_bytes(case):
    vocab, seg = case
    check_splitter(lambda p: StochasTok(vocab, p), vocab, [seg])


@given(st.lists(st.binary(min_size=2, max_size=5), unique=True, min_size=1, max_size=12))
def test_enough_attempts_reach_single_bytes(words):
    # With all beginnings known, as merging guarantees, every token can be split.
    vocab = Vocabulary([*BYTES, *sorted({word[:j] for word in words for j in range(2, len(word) + 1)})])
    seg = Segmentation([vocab.id_of(w) for w in words], np.cumsum([0, *map(len, words)]), b"".join(words))
    out = StochasTok(vocab, 2000.0)(seg, rng=np.random.default_rng(0))
    assert all(len(token) <= 1 for token in out.tokens()), out


@given(vocabulary_and_segmentations(), st.integers(0, 6))
def test_the_limit_counts_successful_splits(case, limit):
    vocab, seg = case
    out = StochasTok(vocab, 50.0, max_splits=limit)(seg, rng=np.random.default_rng(0))
    free = StochasTok(vocab, 50.0)(seg, rng=np.random.default_rng(0))
    assert len(out) - len(seg) == min(limit, len(free) - len(seg))


@given(vocabulary_and_segmentations(), st.floats(0, 3))
def test_vocabulary_bytes_are_what_each_piece_owns(case, proportion):
    vocab, seg = case
    out = StochasTok(vocab, proportion)(seg, rng=np.random.default_rng(2))
    special = len(vocab) - 1
    for token, i in zip(out.tokens(), out.ids.tolist()):
        assert token == (b"" if i == special else vocab[i])


def test_a_word_mark_that_the_text_lacks_costs_the_first_piece_not_the_last():
    # SentencePiece cuts b"the cat" into `▁the` and `▁cat`, but the text has no space before "the".
    vocab = Vocabulary([b" the", b" t", b"he", b" cat", b" ", b"cat"])
    seg = Segmentation([0, 3], [0, 3, 7], b"the cat")
    out = StochasTok(vocab, 20.0)(seg, rng=np.random.default_rng(0))
    assert out.tokens() == [b"t", b"he", b" ", b"cat"]
    bare = StochasTok(Vocabulary([b" the", b" ", b"the"]), 9.0)(
        Segmentation([0], [0, 3], b"the"), rng=np.random.default_rng(0)
    )
    assert bare.tokens() == [b"", b"the"]


def samples_of(look, ids, count, seed):
    """Outcomes of `count` independent documents, each with its own seed."""
    batch = Ragged.of([ids] * count)
    return Counter(tuple(d.tolist()) for d in look(batch, rng=np.random.default_rng(seed)))


@pytest.mark.parametrize("ids, proportion", [([6, 5], 1.0), ([6], 3.0), ([5, 7, 3], 1.0), ([6, 6, 4, 0], 0.5)])
def test_the_law_of_expansion_is_the_enumerated_one(ids, proportion):
    count = 40_000
    law = law_by_enumeration(ids, splits_by_definition(TOY), int(len(ids) * proportion))
    assert sum(law.values()) == pytest.approx(1)
    seen = samples_of(StochasTok(TOY, proportion), ids, count, seed=5)
    assert set(seen) <= set(law)
    keys = sorted(law)
    observed, expected = np.array([seen[k] for k in keys]), np.array([law[k] for k in keys]) * count
    # Total variation of an exact sampler is about sqrt(outcomes / (2 pi count)): 0.011 for these outcomes.
    assert np.abs(observed - expected).sum() / 2 / count < 0.011 * max(1, (len(keys) / 25) ** 0.5)
    assert chisquare(observed, expected).pvalue > 1e-3


def test_the_law_tells_apart_the_wrong_law_that_chooses_only_original_positions():
    table = splits_by_definition(TOY)
    wrong = Counter()
    rng = np.random.default_rng(0)
    for _ in range(4000):
        pieces = [[6], [5]]
        for _ in range(2):
            i = rng.integers(2)
            k = rng.integers(len(pieces[i]))
            if choices := table[pieces[i][k]]:
                pieces[i][k : k + 1] = choices[rng.integers(len(choices))]
        wrong[tuple(i for piece in pieces for i in piece)] += 1
    law = law_by_enumeration([6, 5], table, 2)
    keys = sorted(law)
    assert chisquare([wrong[k] for k in keys], np.array([law[k] for k in keys]) * 4000).pvalue < 1e-6


def test_longer_documents_grow_as_the_plain_algorithm_makes_them_grow():
    rng = np.random.default_rng(3)
    table, ids = splits_by_definition(TOY), rng.integers(0, 8, 400)
    plain = [len(expand_by_definition(ids, table, 400, rng)) for _ in range(300)]
    ours = StochasTok(TOY, 1.0)(Ragged.of([ids] * 3000), rng=rng).lengths
    error = np.hypot(np.std(plain) / 300**0.5, np.std(ours) / 3000**0.5)
    assert abs(np.mean(plain) - np.mean(ours)) < 4 * error
    assert 0.8 < np.std(plain) / np.std(ours) < 1.25


@settings(max_examples=30)
@given(st.lists(st.lists(st.integers(0, 7), max_size=30), max_size=8), st.data())
def test_a_document_does_not_depend_on_its_batch(documents, data):
    look, seeds = StochasTok(TOY, 0.7), stream_seeds(1, 0, np.arange(len(documents)))
    whole = look.expand_batch(Ragged.of(documents), seeds)
    cut = data.draw(st.integers(0, len(documents)))
    parts = [*look.expand_batch(Ragged.of(documents[:cut]), seeds[:cut])]
    parts += [*look.expand_batch(Ragged.of(documents[cut:]), seeds[cut:])]
    assert [d.tolist() for d in whole] == [d.tolist() for d in parts]


def test_a_vocabulary_without_splits_is_left_alone():
    look = StochasTok(Vocabulary(BYTES), 5.0)
    assert look(np.arange(256), rng=np.random.default_rng(0)).tolist() == list(range(256))
    assert look(Ragged.of([[1, 2], []]), rng=np.random.default_rng(0)) == Ragged.of([[1, 2], []])


def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    "act, error, words",
    [
        (lambda: StochasTok(TOY, -0.1), InvalidInput, "proportion=-0.1"),
        (lambda: StochasTok(TOY, float("nan")), InvalidInput, "proportion=nan"),
        (lambda: StochasTok(TOY, float("inf")), InvalidInput, "proportion=inf"),
        (lambda: StochasTok(TOY, 0.1, max_splits=-1), InvalidInput, "max_splits=-1"),
        (lambda: StochasTok(Vocabulary([b"a", b"b", b"a"])), VocabularyError, "ids 0 and 2 both stand for b'a'"),
        (lambda: StochasTok(TOY)(np.array([0, 9]), rng=rng()), InvalidInput, "id 9 at position 1"),
        (lambda: StochasTok(TOY)(np.array([-1]), rng=rng()), InvalidInput, "id -1"),
        (lambda: StochasTok(TOY)(np.array([0.5]), rng=rng()), InvalidInput, "whole numbers"),
        (lambda: StochasTok(TOY)(np.zeros((2, 2), int), rng=rng()), InvalidInput, r"shape \(2, 2\)"),
        (lambda: StochasTok(TOY)(Ragged.of([[12]]), rng=rng()), InvalidInput, "id 12"),
        (lambda: StochasTok(TOY)(np.array([0]), rng=7), InvalidInput, "numpy.random.default_rng"),
        (lambda: StochasTok(TOY).expand_batch(Ragged.of([[1]]), np.zeros(2, np.uint64)), InvalidInput, "uint64 seeds"),
    ],
)
def test_stochastok_refuses(act, error, words):
    with pytest.raises(error, match=words):
        act()


def test_the_collator_splits_anew_each_epoch_and_the_same_on_any_number_of_workers():
    from torch.utils.data import DataLoader

    data = [{"input_ids": np.array(ids)} for ids in product([5, 6, 3], repeat=4)]

    def epochs(workers, batch_size):
        collate = ResplitCollator(StochasTok(TOY, 1.0), pad_id=8, seed=4)
        loader = DataLoader(
            data, batch_size, collate_fn=collate, num_workers=workers, persistent_workers=workers > 0,
            multiprocessing_context="fork" if workers else None,
        )  # fmt: skip
        out = []
        for epoch in range(2):
            collate.set_epoch(epoch)
            rows = []
            for batch in loader:
                for ids, mask in zip(batch["input_ids"], batch["attention_mask"]):
                    rows.append(ids[mask.bool()].tolist())
            out.append(rows)
        return out

    plain = epochs(0, 8)
    assert plain[0] != plain[1]
    assert epochs(2, 8) == plain == epochs(0, 81)
    for row, example in zip(plain[0], data):
        assert TOY.decode(row) == TOY.decode(example["input_ids"])


def test_the_collator_pads_cuts_and_never_predicts_what_was_not_to_be_predicted():
    collate = ResplitCollator(StochasTok(TOY, 20.0), pad_id=8, length=6)
    labels = [-100, 6]
    batch = collate([{"input_ids": [6, 6], "labels": labels}, {"input_ids": [0]}])
    assert batch["input_ids"].shape == (2, 6)
    # b"abcab" falls into five bytes: five are ignored, one of the second token is left after the cut.
    assert batch["labels"][0].tolist() == [-100] * 5 + [0]
    assert batch["labels"][1].tolist() == [0] + [-100] * 5
    assert batch["attention_mask"].sum(1).tolist() == [6, 1]
