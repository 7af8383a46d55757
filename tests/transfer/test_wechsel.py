"""WECHSEL's rows are those of a plain restatement, keep the laws of transplants, and equal those of the authors' package."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_llama import generator, llama

from tokenloom.core.errors import InvalidInput
from tokenloom.core.vocabulary import Kind, Vocabulary
from tokenloom.tokenize.text.bpe import BPE
from tokenloom.transfer.rows import Origin, shared_ids
from tokenloom.transfer.transplanting import transplant
from tokenloom.transfer.wechsel import WECHSEL
from tokenloom.transfer.word_vectors import CharGrams, WordVectors, subword_vectors, token_words

TEXT = "the cat sat on the mat and the dog sat on the log; unbelievable, believable, table "
OTHER = "das tier sass auf der matte und der hund sass auf dem log; unglaublich, glaublich, tisch "
OLD, NEW = BPE(320)([TEXT * 3]), BPE(330)([OTHER * 3])
PAIRS = [
    ("cat", "tier"),
    ("the", "der"),
    ("sat", "sass"),
    ("on", "auf"),
    ("mat", "matte"),
    ("dog", "hund"),
    ("and", "und"),
]


def vectors(text, grams=None, width=6, seed=0):
    words = list(dict.fromkeys(text.split()))
    rng = np.random.default_rng(seed)
    table = None if grams is None else CharGrams(rng.normal(size=(60, width)).astype(np.float32), *grams)
    return WordVectors(words, rng.normal(size=(len(words), width)), np.arange(len(words), 0, -1), table)


def method(grams=(2, 3), **more):
    return WECHSEL(vectors(TEXT, grams), vectors(OTHER, grams, seed=1), PAIRS, **more)


def rows(method, old=OLD, new=NEW):
    return method(old, new, shared_ids(old.vocab, new.vocab))


@settings(max_examples=15)
@given(st.integers(1, 30), st.floats(0.03, 3), st.sampled_from([None, (1, 3), (3, 4)]), st.booleans())
def test_rows_are_those_of_the_definition(k, temperature, grams, copy_shared):
    made = rows(method(grams, neighbours=k, temperature=temperature, copy_shared=copy_shared))
    old_vectors, new_vectors = vectors(TEXT, grams), vectors(OTHER, grams, seed=1)
    a = [old_vectors.of([x])[0] for x, y in PAIRS for x in (x, x.lower(), x.title()) if x in old_vectors.index
         for y in (y, y.lower(), y.title()) if y in new_vectors.index]  # fmt: skip
    b = [new_vectors.of([y])[0] for x, y in PAIRS for x in (x, x.lower(), x.title()) if x in old_vectors.index
         for y in (y, y.lower(), y.title()) if y in new_vectors.index]  # fmt: skip
    left, _, right = np.linalg.svd(np.array(a, float).T @ np.array(b, float))
    of_old = subword_vectors(OLD, old_vectors).astype(float) @ left @ right
    of_new = subword_vectors(NEW, new_vectors).astype(float)
    of_old, of_new = (u / (np.linalg.norm(u, axis=1, keepdims=True) + 1e-8) for u in (of_old, of_new))
    copies = dict(zip(*reversed(shared_ids(OLD.vocab, NEW.vocab))))
    for i in range(len(NEW.vocab)):
        right = np.zeros(len(OLD.vocab))
        if i in copies and (copy_shared or NEW.vocab.kinds[i] == Kind.SPECIAL):
            right[copies[i]] = 1
        elif of_new[i].any():
            cosines = of_old @ of_new[i]
            nearest = sorted(range(len(cosines)), key=lambda j: (-np.round(cosines[j], 6), j))[:k]
            weights = np.exp(cosines[nearest] / temperature)
            right[nearest] = weights / weights.sum()
        else:
            assert made.origin[i] == Origin.DRAWN
        assert np.allclose(made.weights[[i]].toarray()[0], right, atol=1e-5), NEW.vocab[i]


def test_what_is_drawn_is_what_has_no_vector():
    made = rows(method())
    drawn = {NEW.vocab[i] for i in np.flatnonzero(made.drawn).tolist()}
    assert {b" ", b"\n", b"\xc3"} <= drawn and not drawn & {b" der", b"hund", b"a"}
    table = torch.randn(len(OLD.vocab), 400, generator=generator()) * torch.linspace(1, 5, 400) + 3
    got = made.apply(table, generator=generator())[torch.from_numpy(made.drawn)]
    assert torch.allclose(got.mean(0), table.mean(0), atol=2) and torch.allclose(got.std(0), table.std(0), rtol=0.4)


def test_the_same_tokenizer_and_space_and_one_neighbour_give_the_old_table():
    known = vectors(TEXT, (1, 2), width=40)
    same = rows(WECHSEL(known, known, None, neighbours=1), OLD, OLD)
    table = torch.randn(len(OLD.vocab), 8, generator=generator())
    made = same.apply(table, generator=generator())
    of_old = subword_vectors(OLD, known)
    first = {tuple(row): i for i, row in reversed(list(enumerate(of_old.tolist())))}
    alone = [i for i, row in enumerate(of_old.tolist()) if any(row) and first[tuple(row)] == i]
    assert len(alone) > 90  # " the" and "the" are one word, of which the first stands for both
    assert torch.equal(made[alone], table[alone])


def test_extremes_are_the_nearest_and_the_mean_of_all():
    cold, one = rows(method(temperature=1e-7)), rows(method(neighbours=1))
    # Tokens with the same vector share the weight; by vectors instead of ids there is one.
    merged = np.unique(subword_vectors(OLD, vectors(TEXT, (2, 3))), axis=0, return_inverse=True)[1].ravel()
    same = np.zeros((len(OLD.vocab), merged.max() + 1))
    same[np.arange(len(OLD.vocab)), merged] = 1
    assert np.allclose(cold.weights @ same, one.weights @ same, atol=1e-6)
    warm = rows(method(neighbours=len(OLD.vocab), temperature=1e9))
    near = warm.origin == Origin.NEIGHBOURS
    assert near.sum() > 50 and np.allclose(warm.weights[near].toarray(), 1 / len(OLD.vocab), atol=1e-8)


@pytest.mark.parametrize("grams", [None, (2, 3)])
def test_a_turn_of_the_old_space_and_the_length_of_vectors_change_nothing(grams):
    first = rows(method(grams, temperature=0.5))
    turn = np.linalg.qr(np.random.default_rng(9).normal(size=(6, 6)))[0] * 3

    def turned(known):
        table = None if grams is None else CharGrams((known.grams.vectors @ turn).astype(np.float32), *grams)
        return WordVectors(known.words, known.vectors @ turn, known.counts, table)

    new = vectors(OTHER, grams, seed=1)
    longer = WordVectors(new.words, new.vectors * 2, new.counts, grams and CharGrams(new.grams.vectors * 2, *grams))
    second = rows(WECHSEL(turned(vectors(TEXT, grams)), longer, PAIRS, temperature=0.5))
    # Of tokens with equal vectors others may come k-th; what they weigh is the same.
    assert np.allclose(np.sort(first.weights.toarray()), np.sort(second.weights.toarray()), atol=1e-5)


def test_a_permuted_vocabulary_permutes_rows_or_columns():
    def permuted(tokenizer, order):
        class Permuted:
            vocab = Vocabulary([tokenizer.vocab[i] for i in order.tolist()], kinds=tokenizer.vocab.kinds[order])

        return Permuted()

    rng = np.random.default_rng(0)
    new_order, old_order = rng.permutation(len(NEW.vocab)), rng.permutation(len(OLD.vocab))
    every = method(neighbours=len(OLD.vocab))  # no k-th place at which ids decide between equal vectors
    first, second = rows(every), rows(every, permuted(OLD, old_order), permuted(NEW, new_order))
    assert np.array_equal(second.weights.toarray(), first.weights.toarray()[new_order][:, old_order])
    assert np.array_equal(second.origin, first.origin[new_order])


def test_the_wider_vectors_become_narrower():
    wide = WECHSEL(vectors(TEXT, width=9), vectors(OTHER, seed=1), PAIRS)
    narrow = WECHSEL(vectors(TEXT, width=9).reduced(6), vectors(OTHER, seed=1), PAIRS)
    assert np.array_equal(rows(wide).weights.toarray(), rows(narrow).weights.toarray())
    other = WECHSEL(vectors(TEXT), vectors(OTHER, width=9, seed=1), PAIRS)
    assert np.isfinite(rows(other).weights.data).all()


# -- in a model --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("copy_shared", [True, False])
def test_rows_that_are_kept_are_so_bit_for_bit_and_both_tables_get_the_same_weights(tied, copy_shared):
    model = llama(len(OLD.vocab), tied)
    tables = model.get_input_embeddings().weight.detach().clone(), model.get_output_embeddings().weight.detach().clone()
    done = transplant(model, NEW, old=OLD, method=method(copy_shared=copy_shared), generator=generator())
    after = done.model.get_input_embeddings().weight, done.model.get_output_embeddings().weight
    old_ids, new_ids = shared_ids(OLD.vocab, NEW.vocab)
    if not copy_shared:
        special = NEW.vocab.kinds[new_ids] == Kind.SPECIAL
        old_ids, new_ids = old_ids[special], new_ids[special]
    assert (done.rows.origin == Origin.COPIED).sum() == new_ids.size > 0
    near = np.flatnonzero(done.rows.origin == Origin.NEIGHBOURS)
    for old_table, new_table in zip(tables, after):
        assert torch.equal(new_table[new_ids], old_table[old_ids])
        assert np.allclose(new_table[near].detach(), done.rows.weights[near] @ old_table.numpy(), atol=1e-6)


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: method(neighbours=0), "neighbours=0"),
        (lambda: method(temperature=0.0), "temperature=0.0"),
        (lambda: method(temperature=-1.0), "temperature=-1.0"),
        (lambda: method(temperature=float("nan")), "temperature=nan"),
        (lambda: method(max_words=0), "max_words=0"),
        (lambda: rows(method(neighbours=9999)), "k=9999, but there are"),
        (lambda: rows(WECHSEL(vectors(TEXT), vectors(OTHER), [("tier", "cat")])), "columns swapped"),
        (lambda: rows(method()).apply(torch.zeros(7, 3), generator=generator()), "the table has 7 rows"),
    ],
)
def test_wechsel_refuses(call, said):
    with pytest.raises(InvalidInput, match=said):
        call()


# -- beside the authors' package ---------------------------------------------------------------------------------------


def theirs(tokenizer, path):
    """The same tokenizer in transformers; its special token is too short to have an n-gram."""
    from transformers import PreTrainedTokenizerFast

    tokenizer.save(path)
    return PreTrainedTokenizerFast(tokenizer_file=str(path), eos_token="☉")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("grams", [True, False], ids=["n-grams", "words"])
def test_rows_are_those_of_the_authors_package(tmp_path, grams):
    package = pytest.importorskip("wechsel", reason="needs PyPI: wechsel 0.0.4, and what it imports")
    from tokenloom.data import sample
    from tokenloom.transfer.vector_files import load_vectors

    rng = np.random.default_rng(0)
    known, ours, hf = [], [], []
    for name, size in (("en-literary", 900), ("de-technical", 700)):
        text = sample(name)
        (tmp_path / name).write_text(text, encoding="utf-8")
        model = package.fasttext.train_unsupervised(
            str(tmp_path / name), dim=12, bucket=5000, minn=4, maxn=5, minCount=2, epoch=1, thread=1, verbose=0
        )
        # So little text teaches next to nothing, and equal directions leave the rotation open: random ones do not.
        model.set_matrices(rng.normal(size=model.get_input_matrix().shape), model.get_output_matrix())
        model.save_model(str(tmp_path / f"{name}.bin"))
        known.append((model, load_vectors(tmp_path / f"{name}.bin")))
        ours.append(BPE(size, special=("☉",))([text]))
        hf.append(theirs(ours[-1], tmp_path / f"{name}.json"))
    pairs = [pair for pair in zip(*(model.get_words()[1:80] for model, _ in known)) if "".join(pair).isalpha()]
    (tmp_path / "pairs").write_text("".join(f"{a}\t{b}\n" for a, b in pairs), encoding="utf-8")
    table = rng.normal(size=(len(ours[0].vocab), 16))
    there = package.WECHSEL(known[0][0], known[1][0], bilingual_dictionary=str(tmp_path / "pairs"))
    right, info = there.apply(*hf, table, use_subword_info=grams, max_n_word_vectors=None if grams else 800)
    vectors = [one[1] if grams else one[1].whole() for one in known]
    made = rows(WECHSEL(*vectors, pairs, max_words=None if grams else 800), *ours)
    # What is no text alone has the vector of "�" there, and of the specials "☉" is the only one.
    text = [bool(token_words(Vocabulary([token]))[0]) or token.isspace() for token in ours[1].vocab]
    drawn = {hf[1].convert_ids_to_tokens(i) for i in np.flatnonzero(made.drawn).tolist() if text[i]}
    assert drawn == {*info.not_found} & {hf[1].convert_ids_to_tokens(i) for i in np.flatnonzero(text).tolist()} - {"☉"}
    # Tokens with equal vectors may stand on both sides of the k-th place; there the package takes either.
    close = 0
    for i in np.flatnonzero(made.origin == Origin.NEIGHBOURS).tolist():
        tokens, weights, _ = info.sources[hf[1].convert_ids_to_tokens(i)]
        row = made.weights[[i]]
        assert np.allclose(np.sort(row.data), np.sort(weights), atol=1e-5)
        if {*tokens} == {*hf[0].convert_ids_to_tokens(row.indices.tolist())}:
            close += 1
            assert np.allclose(row @ table, right[i], atol=1e-5)
    assert close > 0.7 * (made.origin == Origin.NEIGHBOURS).sum()
    end = [one.vocab.id_of("☉".encode()) for one in ours]
    assert made.origin[end[1]] == Origin.COPIED and np.array_equal(right[end[1]], table[end[0]])
