"""Word vectors: those of fastText's n-grams, of tokens, in one space, and out of files."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenloom.core.errors import CorpusError, InvalidInput
from tokenloom.core.vocabulary import Vocabulary
from tokenloom.hosts.json_tokenizer import JsonTokenizer
from tokenloom.tokenize.text.bpe import BPE
from tokenloom.transfer.dictionaries import dictd_pairs, load_pairs
from tokenloom.transfer.vector_files import load_vectors, save_vectors
from tokenloom.transfer.word_vectors import CharGrams, WordVectors, procrustes, subword_vectors, token_words

TEXT = "the cat sat on the mat and the dog sat on the log; größer, 猫 unbelievable, believable, table "
RNG = np.random.default_rng(0)
WORDS = sorted(set(TEXT.split()), key=lambda word: (-TEXT.split().count(word), word))


def vectors(words=WORDS, width=4, grams=None, seed=0):
    rng = np.random.default_rng(seed)
    table = None if grams is None else CharGrams(rng.normal(size=(50, width)).astype(np.float32), *grams)
    return WordVectors(words, rng.normal(size=(len(words), width)), np.arange(len(words), 0, -1), table)


def grams_by_hand(word, shortest, longest, buckets):
    """Rows of the n-grams of "<word>", as the words of the fastText paper and code say."""
    text, rows = f"<{word}>", []
    for i in range(len(text)):
        for j in range(i + 1, len(text) + 1):
            if shortest <= j - i <= longest and not (j - i == 1 and (i == 0 or j == len(text))):
                h = 2166136261
                for byte in text[i:j].encode():
                    h = ((h ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * 16777619) % 2**32
                rows.append(h % buckets)
    return rows


@settings(max_examples=60)
@given(
    st.lists(st.one_of(st.sampled_from(WORDS), st.text("aßÀ猫𝄞d ", max_size=5)), max_size=6),
    st.integers(1, 3),
    st.integers(0, 3),
)
def test_the_vector_of_a_string_is_the_mean_of_its_word_and_its_n_grams(strings, shortest, more):
    known = vectors(grams=(shortest, shortest + more))
    made = known.of(strings)
    assert made.dtype == np.float32 and made.shape == (len(strings), 4)
    for string, vector in zip(strings, made):
        parts = [known.vectors[WORDS.index(string)]] if string in WORDS else []
        if string:
            parts += [known.grams.vectors[row] for row in grams_by_hand(string, shortest, shortest + more, 50)]
        assert np.allclose(vector, np.mean(parts, axis=0) if parts else 0, atol=1e-6), string


def test_without_n_grams_only_words_have_a_vector_and_whole_words_keep_theirs():
    known = vectors(grams=(2, 4))
    assert not vectors().of(["nothing", ""]).any()
    whole = known.whole()
    assert whole.grams is None and np.array_equal(whole.of(WORDS), known.of(WORDS))


def test_the_end_of_a_line_of_fasttext_has_no_n_grams():
    known = vectors(["</s>", "a"], grams=(2, 4))
    assert np.array_equal(known.of(["</s>"])[0], known.vectors[0])
    assert not np.array_equal(known.of(["a"])[0], known.vectors[1])


def test_narrower_vectors_keep_the_directions_of_most_variance():
    rng = np.random.default_rng(3)
    turned = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    table = rng.normal(size=(200, 5)) * [9, 0.01, 5, 0.01, 0.01] @ turned
    wide = WordVectors([str(i) for i in range(200)], table, np.ones(200))
    narrow = wide.reduced(2)
    assert narrow.width == 2
    assert np.allclose(narrow.vectors @ narrow.vectors.T, table @ table.T, atol=0.5)
    assert np.allclose(wide.reduced(5).vectors @ wide.reduced(5).vectors.T, table @ table.T, atol=1e-3)
    with pytest.raises(InvalidInput, match="width=6; it must be 1 … 5"):
        wide.reduced(6)


def test_tokens_are_words_by_their_text_without_space():
    vocab = Vocabulary([b" dog", b"dog\n", b"\xc3", "ß".encode(), b"\t"], special=[b"<s>"])
    assert token_words(vocab) == ["dog", "dog", "", "ß", "", ""]


@settings(max_examples=20)
@given(
    st.sampled_from([BPE(size, special=("☉",))([TEXT]) for size in (257, 270, 300)]),
    st.integers(1, 12),
    st.integers(0, 99),
)
def test_a_token_is_the_mean_of_the_words_it_is_used_in(tok, max_words, seed):
    known = vectors(seed=seed)
    made = subword_vectors(tok, known, max_words=max_words)
    some = list(zip(WORDS, known.vectors, known.counts))[:max_words]
    cuts = [(tok.encode(text).ids.tolist(), v, count) for word, v, count in some for text in (word, " " + word)]
    for i in range(len(tok.vocab)):
        total, summed = 0.0, np.zeros(4)
        for ids, vector, count in cuts:
            if i in ids:
                total += count
                summed += count * vector
        assert np.allclose(made[i], summed / total if total else 0, atol=1e-5), tok.vocab[i]
    assert not made[tok.vocab.id_of("☉".encode())].any()


def test_what_stands_for_unknown_words_has_no_vector():
    tok = JsonTokenizer({
        "version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None,
        "decoder": None, "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "the": 1}, "unk_token": "[UNK]"},
    }, "words")  # fmt: skip
    made = subword_vectors(tok, vectors(["the", "cat"]))
    assert tok.encode("cat").ids.tolist() == [0] and not made[0].any() and made[1].any()


def test_with_n_grams_a_token_is_its_text_as_a_word():
    tok, known = BPE(300)([TEXT]), vectors(grams=(1, 3))
    made = subword_vectors(tok, known)
    assert np.array_equal(made[tok.vocab.id_of(b" the")], known.of(["the"])[0])
    assert not made[tok.vocab.id_of(b"\xc3")].any() and not made[tok.vocab.id_of(b" ")].any()


def test_the_rotation_is_found_and_is_one():
    rng = np.random.default_rng(5)
    turned = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    old = vectors()
    new = WordVectors([word[::-1] + "x" for word in WORDS], old.vectors @ turned, old.counts)
    rotation = procrustes(old, new, [(word, word[::-1] + "x") for word in WORDS])
    assert np.allclose(rotation, turned, atol=1e-5)
    few = procrustes(old, new, [(WORDS[0], WORDS[0][::-1] + "x")])  # one pair does not determine it
    assert np.allclose(few.T @ few, np.eye(4), atol=1e-12)


def test_pairs_are_looked_up_in_three_cases_and_all_hits_count():
    old = vectors(["Dog", "dog", "cat"])
    new = vectors(["Hund", "HUND", "hund", "katze"], seed=1)
    a, b = [], []
    for one, two in [("Dog", "HUND"), ("cat", "Katze"), ("cow", "Kuh")]:
        for x in (one, one.lower(), one.title()):
            for y in (two, two.lower(), two.title()):
                if x in old.index and y in new.index:
                    a.append(old.of([x])[0])
                    b.append(new.of([y])[0])
    assert len(a) == 3 * 3 + 2  # "Dog" is found as it is, in lower and in title case, "cat" twice
    u, _, vt = np.linalg.svd(np.array(a, float).T @ np.array(b, float))
    found = procrustes(old, new, [("Dog", "HUND"), ("cat", "Katze"), ("cow", "Kuh")])
    assert np.allclose(found, u @ vt, atol=1e-9)


# -- files -------------------------------------------------------------------------------------------------------------


def test_text_files_are_read_with_and_without_a_head(tmp_path):
    lines = "New York 1 0.5\ndog 2 -1\ndog 3 3\n"
    (tmp_path / "a.vec").write_text("3 2\n" + lines, encoding="utf-8")
    with gzip.open(tmp_path / "b.txt.gz", "wt") as file:
        file.write("the 0 1\ndog 2 -1\n")
    one, two = load_vectors(tmp_path / "a.vec"), load_vectors(tmp_path / "b.txt.gz")
    assert one.words == ["New York", "dog"] and one.vectors.tolist() == [[1, 0.5], [2, -1]]
    assert two.words == ["the", "dog"] and two.counts.tolist() == [1, 0.5]  # Zipf's law
    assert load_vectors(tmp_path / "b.txt.gz", limit=1).words == ["the"]


@pytest.mark.parametrize("grams", [None, (2, 5)])
def test_what_is_saved_is_loaded(tmp_path, grams):
    known = vectors(grams=grams)
    save_vectors(known, tmp_path / "v.npz")
    again = load_vectors(tmp_path / "v.npz")
    assert again.words == WORDS and np.array_equal(again.counts, known.counts)
    assert np.array_equal(again.of([*WORDS, "tables"]), known.of([*WORDS, "tables"]))
    assert load_vectors(tmp_path / "v.npz", limit=3).words == WORDS[:3]
    np.savez(tmp_path / "w.npz", words=np.array(["a", "b"]), vectors=np.eye(2))
    assert load_vectors(tmp_path / "w.npz").counts.tolist() == [1, 0.5]


def fasttext_file(known, quantized=b"\0"):
    """A model file as fastText writes it."""
    grams = known.grams
    rows = [*known.vectors, *grams.vectors]
    entries = b"".join(
        word.encode() + b"\0" + struct.pack("<qb", int(count), 0) for word, count in zip(known.words, known.counts)
    )
    settings = (known.width, 5, 5, 1, 5, 1, 2, 1, len(grams.vectors), grams.shortest, grams.longest, 100, 1e-4)
    return (
        struct.pack("<2i", 793712314, 12)
        + struct.pack("<12id", *settings)
        + struct.pack("<3i2q", len(known.words), len(known.words), 0, 99, -1)
        + entries
        + quantized
        + struct.pack("<2q", len(rows), known.width)
        + np.array(rows, "<f4").tobytes()
    )


def test_a_model_of_fasttext_is_read_with_its_counts_and_n_grams(tmp_path):
    known = vectors(grams=(2, 4))
    (tmp_path / "m.bin").write_bytes(fasttext_file(known))
    read = load_vectors(tmp_path / "m.bin")
    assert read.words == WORDS and np.array_equal(read.counts, known.counts)
    assert np.array_equal(read.of([*WORDS, "tables"]), known.of([*WORDS, "tables"]))
    some = load_vectors(tmp_path / "m.bin", limit=2)
    assert np.array_equal(some.of(WORDS[:2]), known.of(WORDS[:2]))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_vectors_are_those_of_the_package_fasttext(tmp_path):
    fasttext = pytest.importorskip("fasttext", reason="needs PyPI: fasttext-wheel 0.9.2")
    (tmp_path / "text").write_text((TEXT + "\n") * 30, encoding="utf-8")
    model = fasttext.train_unsupervised(
        str(tmp_path / "text"), dim=12, bucket=500, minn=2, maxn=4, minCount=1, epoch=2, thread=1, verbose=0
    )
    model.save_model(str(tmp_path / "m.bin"))
    read = load_vectors(tmp_path / "m.bin")
    words, counts = model.get_words(include_freq=True)
    assert read.words == words and read.counts.tolist() == counts.tolist()
    for word in [*words, "tables", "größte", "猫猫", "q"]:
        assert np.allclose(read.of([word])[0], model.get_word_vector(word), atol=1e-6), word


def test_dictionaries_have_two_columns(tmp_path):
    (tmp_path / "d.txt").write_text("ice cream\tEis\n\ndog Hund\n", encoding="utf-8")
    assert load_pairs(tmp_path / "d.txt") == [("ice cream", "Eis"), ("dog", "Hund")]
    (tmp_path / "d.txt").write_text("dog Hund\nthree words here\n", encoding="utf-8")
    with pytest.raises(CorpusError, match="line 2 has 3 columns"):
        load_pairs(tmp_path / "d.txt")


def test_dictionaries_of_dictd_give_headwords_and_translations(tmp_path):
    first = 'go /ɡˈəʊ/ (went /wˈɛnt/ <>) <v>\ngehen <v, intr>\n      "Let\'s go!"  - Gehen wir!\n see: {going}\n'
    second = "court garden /kˈɔːt/\nHofgarten <masc> [arch.]; Garten (bei Hofe)\n\n"
    text = ("head\n" + first + second).encode()

    def number(value):
        digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        return (number(value // 64) if value >= 64 else "") + digits[value % 64]

    at = [0, 5, 5 + len(first.encode()), len(text)]
    names = ["00-database-info", "go", "court garden"]
    index = "".join(f"{n}\t{number(a)}\t{number(b - a)}\n" for n, a, b in zip(names, at, at[1:])).encode()
    right = [("go", "gehen"), ("court garden", "Hofgarten"), ("court garden", "Garten")]
    assert list(dictd_pairs(index, gzip.compress(text))) == right
    (tmp_path / "d.index").write_bytes(index)
    (tmp_path / "d.dict.dz").write_bytes(gzip.compress(text))
    assert load_pairs(tmp_path / "d.dict.dz") == right
    with pytest.raises(CorpusError, match="ends at"):
        list(dictd_pairs(index, gzip.compress(text[:-1])))
    with pytest.raises(CorpusError, match="no number"):
        list(dictd_pairs(b"go\tA\t?\n", gzip.compress(text)))


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: WordVectors([], np.zeros((0, 2)), []), "0 words"),
        (lambda: WordVectors(["a"], np.zeros((1, 0)), [1]), "width >= 1"),
        (lambda: WordVectors(["a"], np.zeros((2, 1)), [1]), "each word needs a vector"),
        (lambda: WordVectors(["a", "b"], np.array([[0.0], [np.nan]]), [1, 1]), "vector of 'b' is not finite"),
        (lambda: WordVectors(["a"], np.zeros((1, 1)), [0]), "positive"),
        (lambda: WordVectors(["a", "b", "a"], np.zeros((3, 1)), [1, 1, 1]), "'a' is there twice"),
        (lambda: WordVectors(["a"], np.zeros((1, 1)), [1], CharGrams(np.zeros((2, 3)), 1, 2)), "width 3, words 1"),
        (lambda: CharGrams(np.zeros((0, 3)), 1, 2), "one at least"),
        (lambda: CharGrams(np.zeros((2, 3)), 3, 2), "3 … 2 characters"),
        (lambda: procrustes(vectors(), vectors(width=3), [("the", "the")]), "widths 4 and 3"),
        (lambda: procrustes(vectors(), vectors(), [("the", "nothing")]), "no pair of the dictionary"),
        (lambda: procrustes(vectors(), vectors(), []), "no pair of the dictionary"),
        (lambda: subword_vectors(BPE(300)([TEXT]), vectors(), max_words=0), "max_words=0"),
    ],
)
def test_word_vectors_refuse(call, said):
    with pytest.raises(InvalidInput, match=said):
        call()


@pytest.mark.parametrize(
    "name, content, said",
    [
        ("none.vec", None, "cannot be read"),
        ("a.vec", b"", "no word vectors"),
        ("a.vec", b"2 2\na 1 2\nb 1\n", "line 3 has 1 values; 2 are expected"),
        ("a.vec", b"a 1 x\n", "cannot be read as word vectors"),
        ("a.bin", b"12345678", "no fastText model"),
        ("a.bin", b"1234", "cannot be read"),
        ("a.bin", fasttext_file(vectors(grams=(2, 4)))[:300], "cannot be read"),
        ("a.bin", fasttext_file(vectors(grams=(2, 4)), quantized=b"\1"), "quantized"),
        ("a.npz", b"PK", "cannot be read"),
    ],
)
def test_files_of_vectors_that_are_none_are_told(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=said):
        load_vectors(tmp_path / name)


def test_vectors_are_saved_under_their_ending(tmp_path):
    with pytest.raises(CorpusError, match=r"saved as \.npz"):
        save_vectors(vectors(), tmp_path / "v.txt")
