"""Supertokens: chunks that follow their law, and merges that are those of `tokenizers` on the same chunks."""

import json
import random
import re
import unicodedata
from collections import Counter
from itertools import accumulate, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

import tokenloom as tl
from tokenloom.core.cuts import cut_points
from tokenloom.core.errors import InvalidInput
from tokenloom.core.merges import GPT2_PATTERN
from tokenloom.core.seeds import stream_seeds
from tokenloom.data import sample
from tokenloom.testing.segmenters import check_segmenter
from tokenloom.tokenize.text.bpe import BYTE_OF_UNIT
from tokenloom.tokenize.text.supertokens import GAUSSIAN, chunk_pieces, expected_pieces

ENGLISH = sample("en-technical")
WIDE = tl.ChunkLaw({"2-3": 0.25, "7-7": 0.5, "4-9": 0.25})


def rng(seed=0):
    return np.random.default_rng(seed)


def counted(pieces):
    data, starts = BYTE_OF_UNIT[pieces.units].tobytes(), pieces.starts.tolist()
    return {data[a:b].decode(): n for (a, b), n in zip(pairwise(starts), pieces.counts.tolist())}


def without_runs(chunk):
    """The pieces of a chunk around its runs of seven equal characters, by the published expression."""
    found, at = [], 0
    for match in re.finditer(r"(.)\1{6}", chunk):
        found.append(chunk[at : match.start()])
        at = match.end()
    return [piece for piece in (*found, chunk[at:]) if piece]


@given(st.integers(0, 300), st.integers(0, 2**64 - 1))
def test_chunks_tile_the_text_and_all_but_the_last_two_are_in_the_support(size, seed):
    points = WIDE.cut(size, np.uint64(seed))
    assert (points[0], points[-1]) == (0, size)
    lengths = np.diff(points)
    assert (lengths > 0).all()
    # Near the end a range is cut off at what is left, so the chunk before the last may be a short one of its range.
    assert all(WIDE.lengths[n] > 0 for n in lengths[:-2])


@pytest.mark.parametrize("cut", ["ours", "as published"])
@pytest.mark.parametrize("law", [tl.ChunkLaw(), WIDE])
def test_lengths_follow_the_law(law, cut):
    generator, seen = random.Random(0), Counter()
    longest = law.lengths.size - 1
    for seed in stream_seeds(1, np.arange(3000)):
        points = law.cut(500, seed) if cut == "ours" else law.cut_as_published(500, generator)
        # A chunk that begins this far from the end was drawn without regard to the end.
        seen.update(np.diff(points)[points[:-1] < 500 - longest].tolist())
    support = np.flatnonzero(law.lengths)
    # Chunks near the end are left out by where they begin, not by their length, so the counts are fair.
    observed = np.array([seen[n] for n in support.tolist()])
    assert sum(seen.values()) == observed.sum()
    assert chisquare(observed, law.lengths[support] * observed.sum()).pvalue > 1e-3


def test_the_published_draws_are_those_of_pythons_generator():
    def plain(size, ranges, generator):
        """A restatement with nothing in common but the calls to the generator."""
        keys, left, lengths = [tuple(map(int, key.split("-"))) for key in ranges], size, []
        while left >= min(keys)[0]:
            (low, high), *_ = generator.choices(keys, list(ranges.values()))
            lengths.append(generator.randint(min(low, left), min(high, left)))
            left -= lengths[-1]
        return list(accumulate([*lengths, *([left] if left else [])], initial=0))

    for seed in range(200):
        size = seed % 90
        for law in (tl.ChunkLaw(), WIDE):
            ours = law.cut_as_published(size, random.Random(seed)).tolist()
            assert ours == plain(size, law.ranges, random.Random(seed))


def test_the_default_is_the_published_law_divided_by_its_sum():
    assert sum(GAUSSIAN.values()) == pytest.approx(1)
    assert GAUSSIAN["12-13"] == pytest.approx(0.185 / 1.1)
    assert tl.ChunkLaw().mean == pytest.approx(12.6)


def test_a_string_survives_at_the_share_that_the_law_says():
    law, text = tl.ChunkLaw(), "x" * 200_000
    cuts = law.cut(len(text), np.uint64(5))
    inside = np.ones(len(text), bool)
    inside[cuts[:-1]] = False  # inside[i]: no cut before character i
    for length in (2, 7, 15, 23, 24):
        kept = np.convolve(inside[1:], np.ones(length - 1), "valid") == length - 1
        formula = sum(p * max(0, c - length + 1) for c, p in enumerate(law.lengths)) / law.mean
        assert kept.mean() == pytest.approx(formula, abs=0.01)


@given(st.lists(st.text(st.sampled_from("aab é\n"), max_size=40), max_size=4), st.integers(0, 99), st.integers(1, 3))
def test_pieces_are_the_chunks_without_runs_of_seven(texts, seed, passes):
    texts = [text + "a" * (seed % 20) for text in texts]
    expected = Counter()
    for number, text in enumerate(texts):
        for n in range(passes):
            for begin, end in pairwise(WIDE.cut(len(text), stream_seeds(seed, n, number)[0])):
                expected.update(without_runs(text[begin:end]))
    if expected:
        assert counted(chunk_pieces(texts, WIDE, seed, passes=passes)) == expected


@pytest.mark.parametrize("length", [7, 13, 14, 20])
def test_long_runs_shrink_to_what_sevens_leave(length):
    whole = tl.ChunkLaw({"99-99": 1.0})
    pieces = counted(chunk_pieces([f"x{'=' * length}y"], whole, 0))
    assert pieces == Counter(["x", "=" * (length % 7) + "y"])
    assert counted(chunk_pieces(["\n" * 20], whole, 0)) == {"\n" * 20: 1}


def test_expected_counts_are_every_stretch_by_its_probability():
    text = "abcabcaaaaaaaab"
    law, expected = tl.ChunkLaw({"2-3": 0.5, "9-9": 0.5}), Counter()
    for length in (2, 3, 9):
        for begin in range(len(text) - length + 1):
            for piece in without_runs(text[begin : begin + length]):
                expected[piece] += round(law.lengths[length] * 1000)
    assert counted(expected_pieces([text], law)) == expected


def test_ever_more_cuts_tend_to_the_expected_counts():
    text, law = sample("en-literary")[:4000], tl.ChunkLaw({"3-5": 1.0})
    limit = counted(expected_pieces([text], law))
    far = []
    for passes in (1, 10, 400):
        seen = counted(chunk_pieces([text], law, 0, passes=passes))
        n, m = sum(seen.values()), sum(limit.values())
        far.append(sum(abs(seen.get(key, 0) / n - limit.get(key, 0) / m) for key in seen.keys() | limit.keys()))
    assert far[0] > far[1] > far[2] and far[2] < 0.1 * far[0]


def learn(pieces, size=700, **settings):
    return tl.Supertokens(size, special=(), **settings).learn(pieces)


def merges_in(tokenizer):
    return json.loads(tokenizer.spec["text"])["model"]["merges"]


def test_merges_are_those_of_tokenizers_on_the_same_chunks():
    separator, text = "#$@&", sample("code-python")[:60_000] + "=" * 50 + sample("tr-technical")[:20_000]
    text = unicodedata.normalize("NFC", text)
    points = tl.ChunkLaw().cut(len(text), stream_seeds(3, 0, 0)[0])
    joined = separator.join(text[begin:end] for begin, end in pairwise(points.tolist()))
    theirs = Tokenizer(models.BPE())
    theirs.normalizer = normalizers.NFC()
    theirs.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(re.escape(separator) + r"|(.)\1{6}"), "removed"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=1500,
        min_frequency=2,
        max_token_length=30,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    theirs.train_from_iterator([joined], trainer)
    ours = learn(chunk_pieces([text], tl.ChunkLaw(), 3), 1500)
    assert merges_in(ours) == json.loads(theirs.to_str())["model"]["merges"]


def test_one_chunk_is_bpe_without_words_and_chunks_of_one_are_bytes():
    text = sample("en-literary")[:3000]
    whole = chunk_pieces([text], tl.ChunkLaw({"9999-9999": 1.0}), 0)
    plain = tl.BPE(700, None, special=(), min_frequency=2, max_length=29)([text])
    assert merges_in(learn(whole)) == merges_in(plain)
    assert merges_in(learn(chunk_pieces([text], tl.ChunkLaw({"1-1": 1.0}), 0))) == []


def test_chunks_that_are_words_give_word_bpe():
    text = sample("en-literary")[:20_000].replace("-------", "")
    words = tl.BPE(700, GPT2_PATTERN, special=(), min_frequency=2, max_length=29)([text])
    chunks = [text[begin:end] for begin, end in pairwise(cut_points(text, GPT2_PATTERN).tolist())]
    assert merges_in(learn(chunk_pieces(chunks, tl.ChunkLaw({"9999-9999": 1.0}), 0))) == merges_in(words)


TRAINED = tl.Supertokens(1500)([ENGLISH], rng=rng())


def test_the_same_seed_gives_the_same_tokenizer_and_another_seed_another():
    paragraphs = ENGLISH.split("\n\n")
    made = tl.Supertokens(600)(paragraphs, rng=rng())
    assert made.digest == tl.Supertokens(600)(iter(paragraphs), rng=rng()).digest
    assert made.digest != tl.Supertokens(600)(paragraphs, rng=rng(1)).digest


def test_tokens_cross_spaces_and_none_is_longer_than_the_bound():
    merged = [token for token in TRAINED.vocab if len(token) > 1][:-1]
    assert max(map(len, merged)) <= 29
    assert sum(b" " in token.strip() for token in merged) > 20
    assert max(len(t) for t in tl.Supertokens(600, max_length=3)([ENGLISH], rng=rng()).vocab[:-1]) == 3


@given(st.binary(max_size=60) | st.text(max_size=30))
def test_all_bytes_come_back_in_nfc(data):
    seg = TRAINED.encode(data)
    text = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    assert seg.data == text
    # What is not UTF-8 stays; each run of text between is in normal form.
    loose = re.split("([\udc80-\udcff]+)", text.decode("utf-8", "surrogateescape"))
    normal = "".join(part if i % 2 else unicodedata.normalize("NFC", part) for i, part in enumerate(loose))
    assert TRAINED.decode(seg.ids) == normal.encode("utf-8", "surrogateescape")


def test_it_obeys_the_laws_of_segmenters():
    check_segmenter(TRAINED, lossless=False)


def test_hugging_face_reads_the_saved_file_to_the_same_ids(tmp_path):
    TRAINED.save(tmp_path / "tokenizer.json")
    theirs = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for text in (sample("en-literary")[:20_000], sample("zh-classical")[:3000], "A\u030a \u212b ﬁ é"):
        assert theirs.encode(text).ids == TRAINED.encode(text).ids.tolist()


def test_stochastok_splits_supertokens():
    seg = TRAINED.encode("one of the other things that can be")
    split = tl.StochasTok(TRAINED.vocab, 5.0)(seg, rng=rng())
    assert split.is_refinement_of(seg) and len(split) > len(seg)


PUBLISHED = {key: round(value * 1.1, 3) for key, value in GAUSSIAN.items()}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tl.ChunkLaw(PUBLISHED), "the probabilities sum to 1.1, not to 1"),
        (lambda: tl.ChunkLaw({"0-3": 1.0}), "'0-3': lengths are at least 1"),
        (lambda: tl.ChunkLaw({"5-4": 1.0}), "the first is not above the second"),
        (lambda: tl.ChunkLaw({"4": 1.0}), "'4' is no range of lengths"),
        (lambda: tl.ChunkLaw({"4-x": 1.0}), "'4-x' is no range"),
        (lambda: tl.ChunkLaw({"4-5": -0.5, "6-7": 1.5}), "it must be from 0 to 1"),
        (lambda: tl.ChunkLaw({}), "without ranges"),
        (lambda: tl.Supertokens(256), "256 bytes and 1 special tokens need more"),
        (lambda: tl.Supertokens(300, passes=0), "passes=0"),
        (lambda: tl.Supertokens(300, min_frequency=0), "min_frequency=0"),
        (lambda: tl.Supertokens(300, max_length=0), "max_length=0"),
        (lambda: tl.Supertokens(300, special=("<a>", "<a>")), "empty or equal"),
        (lambda: tl.Supertokens(300)(["text"], rng=3), "rng is 3"),
        (lambda: tl.Supertokens(300)([], rng=rng()), "no text to train on"),
    ],
)
def test_bad_settings_are_refused(make, words):
    with pytest.raises(InvalidInput, match=re.escape(words)):
        make()
