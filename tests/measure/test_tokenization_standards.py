"""Shares of words, roots and affixes: by hand, against a twin that looks at every token, and the paper's own table."""

import math
from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tokenloom as tl
from tokenloom.core.casing import lower
from tokenloom.core.errors import InvalidInput
from tokenloom.core.lexicon import WordList
from tokenloom.core.vocabulary import Kind, Vocabulary
from tokenloom.measure.tokenization_standards import (
    PUBLISHED,
    Amount,
    Share,
    integrity_of_counts,
    linguistic_integrity,
    score_correlations,
)

TURKISH = WordList(
    ["ev", "evler", "kedi", "git", "gidiyor", "ısı"],
    affixes=["ler", "im", "iyor"],
    roots={"evler": ["ev"], "gidiyor": ["git", "gid"]},
)
TOKENS = [
    *(token.encode() for token in ("ev", " ev", "ler", " ", "12", "evler", "xq", "gid", "ISI", ".", "é")),
    b"\xc3",
    b"\xa9",
    b"[UNK]",
]
VOCAB = Vocabulary(TOKENS, special=[13])
COUNTS = np.array([5, 3, 4, 9, 2, 1, 6, 2, 1, 7, 1, 2, 3, 8])


def test_every_number_is_what_a_hand_count_gives():
    found = integrity_of_counts(VOCAB, COUNTS, TURKISH, language="tr")
    # Judged: ev (5 + 3), ler 4, evler 1, xq 6, gid 2, ISI 1, é 1.
    judged = Amount(7, 23, 2 + 3 + 5 + 2 + 3 + 3 + 2)
    assert found.valid == Share(Amount(4, 14, 2 + 3 + 5 + 3), judged)  # ev, ler, evler, ISI
    assert found.pure_alone == Share(Amount(3, 13, 2 + 3 + 3), judged)  # ev, ler, ISI; gid is no word
    assert found.pure == Share(Amount(3, 13, 2 + 3 + 3), judged)  # no token has the root gid
    assert found.letterless == Amount(3, 18, 1 + 2)  # the space is nothing; 12, and the full stop
    assert found.fragments == Amount(3, 13, 1 + 1 + 5)
    assert (found.vocabulary, found.tokens, found.timing) == (14, 54, None)
    assert found.metrics() == {"vocabulary": 14, "tokens": 54, "%TR": 100 * 4 / 7, "%Pure": 100 * 3 / 7}


def test_a_root_of_another_token_makes_a_token_pure_in_the_paper_and_not_alone():
    vocab = Vocabulary([b"gid", b"gidiyor", b"xq"])
    found = integrity_of_counts(vocab, np.array([1, 1, 1]), TURKISH)
    assert (found.pure.part.unique, found.pure_alone.part.unique, found.valid.part.unique) == (1, 0, 1)
    without = integrity_of_counts(vocab, np.array([1, 0, 1]), TURKISH)
    assert (without.pure.part.unique, without.valid.part.unique) == (0, 0)
    both = integrity_of_counts(Vocabulary([b"gid", b"git", b"gidiyor"]), np.array([1, 1, 1]), TURKISH)
    assert both.pure.part.unique == both.valid.part.unique == 2


def test_pure_can_exceed_valid_as_in_the_paper():
    lexicon = WordList(["gidiyor"], roots={"gidiyor": ["git", "gid"]})
    found = integrity_of_counts(Vocabulary([b"gid", b"git", b"gidiyor"]), np.array([1, 1, 1]), lexicon)
    assert found.pure.unique > found.valid.unique


@pytest.mark.parametrize(("spaces", "unique", "valid"), [("merged", 3, 2), ("apart", 5, 4), ("kept", 5, 2)])
def test_white_space_around_tokens_counts_as_the_rule_says(spaces, unique, valid):
    vocab = Vocabulary([b"ev", b" ev", b"xq", b"ler", b" ler"])
    found = integrity_of_counts(vocab, np.ones(5, int), TURKISH, spaces=spaces)
    assert (found.valid.of.unique, found.valid.part.unique, found.valid.part.occurrences) == (
        unique,
        valid,
        4 if spaces != "kept" else 2,
    )


WORDS = st.text("evlrxı I1.", min_size=1, max_size=3)


@st.composite
def cases(draw):
    tokens = draw(
        st.lists(
            st.one_of(WORDS.map(str.encode), st.sampled_from([b"\xc3", b"\xa9", b"a\xff"])), min_size=1, max_size=9
        )
    )
    kinds = draw(
        st.lists(st.sampled_from([Kind.NORMAL, Kind.NORMAL, Kind.SPECIAL]), min_size=len(tokens), max_size=len(tokens))
    )
    counts = draw(st.lists(st.integers(0, 4), min_size=len(tokens), max_size=len(tokens)).filter(any))
    some = st.sets(st.text("evlrxıi", min_size=1, max_size=3), max_size=9)
    words, affixes = draw(some), draw(some)
    lexicon = WordList(words | {"e"}, affixes, {word: draw(some) for word in sorted(words)})
    return Vocabulary(tokens, kinds=kinds), np.array(counts), lexicon


def slow(vocab, counts, lexicon, spaces):
    """One pass over every token of a text with these counts."""
    judged, letterless, fragments = Counter(), Counter(), Counter()
    for i, count in enumerate(counts):
        for _ in range(count):
            try:
                text = None if vocab.kinds[i] == Kind.SPECIAL else vocab[i].decode()
            except UnicodeDecodeError:
                text = None
            if text is None:
                fragments[vocab[i]] += 1
                continue
            if spaces == "merged":
                text = text.strip()
            if any(c.isalpha() for c in text):
                judged[text] += 1
            else:
                letterless[text] += 1

    def asked(text):
        return lower(text if spaces == "kept" else text.strip(), "tr")

    def amount(texts, counter):
        size = sum(len(t if isinstance(t, bytes) else t.encode()) for t in texts)
        return Amount(len(texts), sum(counter[t] for t in texts), size)

    credited = [root for text in judged for root in lexicon.roots(asked(text))]
    valid = [t for t in judged if lexicon.is_word(asked(t)) or lexicon.is_affix(asked(t))]
    pure = [t for t in judged if asked(t) in credited or lexicon.is_affix(asked(t))]
    alone = [t for t in judged if asked(t) in lexicon.roots(asked(t)) or lexicon.is_affix(asked(t))]
    parts = [amount(part, judged) for part in (valid, pure, alone, judged)]
    return *parts, amount(letterless, letterless), amount(fragments, fragments)


@given(cases(), st.sampled_from(["merged", "apart", "kept"]))
def test_counts_give_what_a_walk_over_all_tokens_gives(case, spaces):
    vocab, counts, lexicon = case
    found = integrity_of_counts(vocab, counts, lexicon, language="tr", spaces=spaces)
    valid, pure, alone, judged, letterless, fragments = slow(vocab, counts, lexicon, spaces)
    assert (found.valid.part, found.pure.part, found.pure_alone.part) == (valid, pure, alone)
    assert found.valid.of == found.pure.of == found.pure_alone.of == judged
    assert (found.letterless, found.fragments) == (letterless, fragments)
    assert judged.occurrences + letterless.occurrences + fragments.occurrences == found.tokens == counts.sum()


@given(cases(), st.text("evlrxı", min_size=1, max_size=3))
def test_one_more_entry_in_the_lexicon_never_lowers_what_is_valid(case, new):
    vocab, counts, lexicon = case
    before = integrity_of_counts(vocab, counts, lexicon, language="tr").valid
    after = integrity_of_counts(vocab, counts, WordList(lexicon.words | {new}, lexicon.affixes), language="tr").valid
    assert after.of == before.of
    for field in fields(Amount):
        assert getattr(after.part, field.name) >= getattr(before.part, field.name)


def test_a_tokenizer_of_words_alone_scores_all_and_one_of_bytes_by_the_letters_of_the_list():
    text = "ev kedi ev ev kedi kedi ev"
    tokenizer = tl.BPE(262)([text + " " + text])
    assert {token.strip() for token in tokenizer.encode(text).tokens()} <= {b"ev", b"kedi", b""}
    found = linguistic_integrity(tokenizer, [text], TURKISH, language="tr")
    assert all(
        getattr(share, by) == 100
        for share in (found.valid, found.pure, found.pure_alone)
        for by in ("unique", "occurrences", "bytes")
    )
    letters = WordList(["e", "i"])
    raw = linguistic_integrity(tl.load_tokenizer("bytes"), [text], letters, language="tr")
    judged = Counter(text.replace(" ", ""))
    assert raw.valid == Share(Amount(2, judged["e"] + judged["i"], 2), Amount(len(judged), judged.total(), len(judged)))


def test_text_and_counts_give_the_same_and_only_text_gives_a_time():
    texts = [tl.data.sample("tr-technical")[:5000], "", "İstanbul’da"]
    tokenizer = tl.load_tokenizer("tokenloom-en-16k")
    ids = tokenizer.encode_batch(texts).ids
    lexicon = WordList(["ve", "bir", "da"], ["ler", "de"])
    found = linguistic_integrity(tokenizer, iter(texts), lexicon, language="tr")
    counts = np.bincount(ids, minlength=len(tokenizer.vocab))
    assert replace(found, timing=None) == integrity_of_counts(tokenizer.vocab, counts, lexicon, language="tr")
    size = sum(len(text.encode()) for text in texts)
    assert found.timing.seconds > size / found.timing.bytes_per_second > 0
    assert (
        list(found.metrics())
        == ["vocabulary", "tokens", "%TR", "%Pure", "seconds"]
        == list(PUBLISHED["gpt-4o"].metrics())
    )


def test_nothing_to_judge_gives_no_percentage():
    found = linguistic_integrity(tl.load_tokenizer("bytes"), ["12, 3"], TURKISH)
    assert math.isnan(found.valid.unique) and found.valid.of == Amount() and found.letterless.occurrences == 5


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: linguistic_integrity(tl.load_tokenizer("bytes"), ["", ""], TURKISH), "there is no text"),
        (
            lambda: linguistic_integrity(tl.load_tokenizer("bytes"), ["a"], TURKISH, spaces="strip"),
            "spaces='strip'; choose 'merged'",
        ),
        (lambda: integrity_of_counts(VOCAB, COUNTS, TURKISH, spaces="no"), "spaces='no'"),
        (lambda: integrity_of_counts(VOCAB, COUNTS[1:], TURKISH), "14 whole numbers, not all 0"),
        (lambda: integrity_of_counts(VOCAB, 0 * COUNTS, TURKISH), "not all 0"),
        (lambda: integrity_of_counts(VOCAB, -COUNTS, TURKISH), "not all 0"),
        (lambda: integrity_of_counts(VOCAB, COUNTS / 2, TURKISH), "dtype float64"),
        (lambda: WordList([]), "one word or affix at least"),
        (lambda: score_correlations([{"a": 1.0}], [1.0]), "two at least"),
        (lambda: score_correlations([{"a": 1.0}, {"a": 2.0}], [1.0]), "2 tokenizers and 1 scores"),
        (lambda: score_correlations([{"a": 1.0}, {"b": 2.0}], [1.0, 2.0]), "not all tokenizers have"),
    ],
)
def test_what_cannot_be_measured_is_refused(call, words):
    with pytest.raises(InvalidInput, match=words):
        call()


def test_the_published_percentages_are_those_of_whole_numbers_of_tokens():
    for name, row in PUBLISHED.items():
        for percent in (row.valid, row.pure):
            part = round(percent * row.unique / 100)
            assert round(100 * part / row.unique, 2) == percent, (name, percent)


def correlations_of(*names):
    rows = [PUBLISHED[name] for name in names]
    return score_correlations([row.metrics() for row in rows], [row.score for row in rows])


def test_the_published_correlation_is_that_of_four_rows_whose_interval_has_zero_in_it():
    four = correlations_of("gemma-2", "llama-3.1", "Qwen2.5", "aya-expanse")["%TR"]
    assert (round(four.r, 3), four.n, round(four.low, 2), round(four.high, 2)) == (0.900, 4, -0.45, 1.00)


def test_over_all_eight_published_rows_nothing_is_left_of_it():
    eight = correlations_of(*PUBLISHED)
    assert (round(eight["%TR"].r, 3), round(eight["%Pure"].r, 3), eight["%TR"].n) == (0.101, -0.510, 8)
    assert eight["%TR"].low < 0 < eight["%TR"].high
