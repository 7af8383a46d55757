"""SuperBPE: both stages against a trainer that recounts everything, and every property that the paper's rules promise."""

import json
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

import tokenloom as tl
from tokenloom.core.cuts import O200K_WORDS, cut_points
from tokenloom.core.errors import InvalidInput, VocabularyError
from tokenloom.core.vocabulary import Vocabulary
from tokenloom.data import sample
from tokenloom.hosts.train import train_bpe
from tokenloom.testing.segmenters import check_segmenter
from tokenloom.tokenize.text.bpe import BYTE_OF_UNIT, bpe_tokenizer, learn_merges
from tokenloom.tokenize.text.superbpe import SUPERWORDS, count_lines

ENGLISH = sample("en-technical")
BYTES = [bytes([byte]) for byte in BYTE_OF_UNIT.tolist()]


def merges_in(tokenizer):
    """The merges as pairs of bytes."""
    vocab = json.loads(tokenizer.spec["text"])["model"]["vocab"]
    tokens = {text: tokenizer.vocab[i] for text, i in vocab.items()}
    return [(tokens[a], tokens[b]) for a, b in json.loads(tokenizer.spec["text"])["model"]["merges"]]


def pieces(text, pattern):
    """Lines, then matches of the pattern and what lies between them, as lists of single bytes."""
    for line in regex.findall(r"[^\n]*\n|[^\n]+", text):
        at = 0
        for match in regex.finditer(pattern, line):
            yield from filter(None, (line[at : match.start()], match.group()))
            at = match.end()
        if at < len(line):
            yield line[at:]


def merged(part, pair):
    """All places of the pair joined, from left to right."""
    out, i = [], 0
    while i < len(part):
        joins = tuple(part[i : i + 2]) == tuple(pair)
        out.append(pair[0] + pair[1] if joins else part[i])
        i += 1 + joins
    return out


def ranked(parts, counts, order):
    """Pairs of neighbours, the next to be merged first: largest count, then smaller ids."""
    pairs = Counter()
    for part, count in zip(parts, counts):
        for pair in pairwise(part):
            pairs[pair] += count
    return sorted(pairs, key=lambda pair: (-pairs[pair], order[pair[0]], order[pair[1]]))


def split(texts, pattern, merges):
    """Different pieces with the merges made in them one by one, and how often each occurs."""
    table = Counter(piece for text in texts for piece in pieces(text, pattern))
    parts = [[bytes([byte]) for byte in piece.encode()] for piece in table]
    for pair in merges:
        parts = [merged(part, pair) for part in parts]
    return parts, list(table.values())


def may_cross(token, max_words):
    return len(list(filter(None, token.split(b" ")))) <= max_words and b": " not in token


def learn_slowly(texts, pattern, limit, merges, alphabet, rule):
    """Recount all pairs after each merge, up to `limit` ids; tokens are bytes throughout."""
    merges = list(merges)
    order = {token: i for i, token in enumerate([*alphabet, *(left + right for left, right in merges)])}
    parts, counts = split(texts, pattern, merges)
    while len(order) < limit:
        best = next((pair for pair in ranked(parts, counts, order) if rule(pair[0] + pair[1])), None)
        if best is None:
            break
        merges.append(best)
        order[best[0] + best[1]] = len(order)
        parts = [merged(part, best) for part in parts]
    return merges


def train_slowly(texts, learnt, transition, max_words):
    """First in words, then in lines under the rules."""
    first = learn_slowly(texts, O200K_WORDS, transition, [], BYTES, lambda token: True)
    return learn_slowly(texts, SUPERWORDS, learnt, first, BYTES, lambda token: may_cross(token, max_words))


TEXTS = st.lists(st.text(st.sampled_from("ab   :.1\n"), min_size=1, max_size=60), min_size=1, max_size=4)


@settings(max_examples=60)
@given(TEXTS, st.integers(0, 12), st.integers(1, 20), st.integers(1, 4))
def test_both_stages_equal_a_recount_after_each_merge(texts, first, more, max_words):
    tok = tl.SuperBPE(256 + first + more, 256 + first, max_words, special=())(texts)
    assert merges_in(tok) == train_slowly(texts, 256 + first + more, 256 + first, max_words)


def test_a_small_real_text_equals_the_recount_too():
    text = sample("en-literary")[:6000]
    assert merges_in(tl.SuperBPE(420, 330, special=())([text])) == train_slowly([text], 420, 330, 4)


def test_the_first_stage_is_the_trainer_of_tokenizers_merge_for_merge():
    lines = [line + "\n" for line in ENGLISH.split("\n")]
    theirs = train_bpe(lines, 1601, pattern=O200K_WORDS)
    ours = tl.SuperBPE(1800, 1600, special=())(lines)
    assert merges_in(ours)[: 1600 - 256] == merges_in(theirs)


def test_no_curriculum_is_plain_bpe_in_lines_under_the_rules():
    text = ENGLISH.replace(": ", ":")  # nothing is left that the rule on colons could drop
    plain = tl.BPE(1200, SUPERWORDS, special=())(line + "\n" for line in text.split("\n"))
    free = tl.SuperBPE(1200, 256, max_words=99, special=())([text + "\n"])
    assert merges_in(free) == merges_in(plain)
    dropped = set(merges_in(plain)) - set(merges_in(tl.SuperBPE(1200, 256, max_words=1, special=())([text + "\n"])))
    assert any(len((left + right).split()) > 1 for left, right in dropped)


def test_merges_of_words_alone_cut_words_as_plain_bpe_does():
    merges = learn_merges(count_lines([ENGLISH])[0], 256, 1500)
    words, lines = (bpe_tokenizer(merges, pattern, name="some") for pattern in (O200K_WORDS, SUPERWORDS))
    text = " ".join(regex.findall("[a-z]+", ENGLISH))
    assert np.array_equal(lines.encode(text).ids, words.encode(text).ids)


def test_a_corpus_with_few_words_goes_on_across_them_before_the_transition():
    tok = tl.SuperBPE(300, 290, special=())(["to be or not to be"] * 2)
    assert merges_in(tok) == train_slowly(["to be or not to be"] * 2, 300, 290, 4)
    assert b"to be" in tok.vocab and len(tok.vocab) < 290


TRAINED = tl.SuperBPE(2000, 1000)([ENGLISH])


def test_late_tokens_have_at_most_four_words_and_no_answer_after_a_colon():
    late = [TRAINED.vocab[i] for i in range(1000, 1999)]
    assert max(len(list(filter(None, token.split(b" ")))) for token in late) <= 4
    assert not any(b": " in token for token in late)
    assert sum(b" " in token.strip() for token in late) > 300
    assert not any(b" " in TRAINED.vocab[i].strip() for i in range(1000))


def test_an_answer_never_joins_its_colon():
    texts = ["Answer: A\nAnswer:A\nAnswer A\n"] * 9
    tokens = tl.SuperBPE(290, 270, special=())(texts).vocab
    assert b"Answer:A\n" in tokens and b"Answer A\n" in tokens
    assert not any(b": " in token for token in tokens)


def test_the_second_stage_keeps_digits_signs_and_last_spaces_apart():
    text = "It cost 12345 (!!) or -- .5 now:  \n"
    assert list(pieces(text, SUPERWORDS)) == [
        "It cost ",
        "123",
        "45",
        " (!!)",
        " or",
        " --",
        " .",
        "5",
        " now:",
        "  ",
        "\n",
    ]
    cuts = cut_points(text, SUPERWORDS).tolist()
    assert [text[a:b] for a, b in pairwise(cuts)] == list(pieces(text, SUPERWORDS))


def test_no_token_goes_from_one_line_into_the_next():
    assert not any(b"\n" in token[:-1] for token in TRAINED.vocab)
    assert any(token.endswith(b"\n") and len(token) > 1 for token in TRAINED.vocab)


@given(
    st.lists(st.sampled_from(["the ", "  ", " of the", ".", "!!", "\n", "\n\n", "12", ": ", "é", "世"]), max_size=20)
)
def test_lines_are_cut_alike_together_and_one_by_one(parts):
    text = "".join(parts)
    alone = [TRAINED.encode(line).ids for line in text.splitlines(keepends=True)]
    assert TRAINED.encode(text).ids.tolist() == [i for ids in alone for i in ids.tolist()]


def test_signs_at_the_end_of_a_line_take_slashes_of_the_next():
    assert list(pieces("//a", SUPERWORDS)) == ["//", "a"]
    assert list(pieces("/a", SUPERWORDS)) == ["/a"]
    assert cut_points("!!\n/a", SUPERWORDS).tolist() == [0, 4, 5]


def test_the_pattern_takes_two_marks_on_a_letter_for_signs():
    # The published pattern knows letters and digits only, and the vowel signs of some scripts are neither.
    assert cut_points("\u0915\u094b\u0902", SUPERWORDS).tolist() == [0, 1, 3]
    assert cut_points("\u0915\u094b\u0902", O200K_WORDS).tolist() == [0, 3]


def test_texts_are_cut_into_lines_whatever_pieces_they_come_in():
    lines = [line + "\n" for line in ENGLISH.split("\n")]
    assert tl.SuperBPE(600, 400)(lines).digest == tl.SuperBPE(600, 400)([ENGLISH + "\n"]).digest
    assert tl.SuperBPE(600, 400)([(ENGLISH + "\n").encode()]).digest == tl.SuperBPE(600, 400)(lines).digest


@given(st.binary(max_size=80) | st.text(max_size=40).map(str.encode))
def test_all_bytes_come_back(data):
    assert TRAINED.decode(TRAINED.encode(data).ids) == data


def test_it_obeys_the_laws_of_segmenters():
    check_segmenter(TRAINED)


def test_subwords_form_before_superwords():
    seg = TRAINED.encode("one of the other")
    assert b" of the" in seg.tokens()
    small = tl.SuperBPE(1000 + 1, 999)([ENGLISH])
    words = [token for token in TRAINED.encode("understanding").tokens() if b" " not in token]
    assert words == small.encode("understanding").tokens()


def test_hugging_face_reads_the_saved_file_to_the_same_ids(tmp_path):
    TRAINED.save(tmp_path / "tokenizer.json")
    theirs = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    for name in ("en-literary", "code-python", "zh-technical", "json-digits"):
        text = sample(name)[:20_000]
        assert theirs.encode(text).ids == TRAINED.encode(text).ids.tolist()
    assert tl.load_tokenizer(tmp_path / "tokenizer.json").digest == TRAINED.digest


def test_extension_keeps_the_ids_and_learns_across_words():
    base = tl.load_tokenizer("tokenloom-en-16k")
    tok = tl.SuperBPE(17_000, 16_000).extend(base, [ENGLISH])
    assert tok.vocab[:16_000] == base.vocab[:16_000]
    assert len(tok.vocab) == 17_000
    late = tok.vocab[16_000:16_999]
    assert sum(b" " in token.strip() for token in late) > 500
    assert len(tok.encode(ENGLISH)) < 0.8 * len(base.encode(ENGLISH))


def test_extension_is_what_training_on_would_have_been():
    whole = tl.SuperBPE(700, 500, special=())([ENGLISH])
    first = tl.BPE(500, O200K_WORDS, special=())(line + "\n" for line in ENGLISH.split("\n"))
    assert merges_in(tl.SuperBPE(700, 500, special=()).extend(first, [ENGLISH])) == merges_in(whole)


class Named:
    """A vocabulary with a name, which is all that an extension asks for."""

    name = "base"

    def __init__(self, tokens, **kinds):
        self.vocab = Vocabulary(tokens, **kinds)


@settings(max_examples=40)
@given(TEXTS, st.integers(1, 15))
def test_extension_takes_the_bytes_and_merges_in_the_order_they_have(texts, more):
    bytes_first = [bytes([byte]) for byte in range(255, -1, -1)]
    merges = [(b"a", b"b"), (b" ", b"ab"), (b"x", b"y"), (b"ab", b" ")]
    base = Named([*bytes_first, *(left + right for left, right in merges)])
    tok = tl.SuperBPE(260 + more, 260, 2, special=()).extend(base, texts)
    rule = lambda token: may_cross(token, 2)  # noqa: E731
    assert tok.vocab[:260] == base.vocab[:260]
    assert merges_in(tok) == learn_slowly(texts, SUPERWORDS, 260 + more, merges, bytes_first, rule)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "keep", "size"), [("r50k_base", 50_000, 51_000), ("cl100k_base", 100_000, 101_000)])
def test_published_vocabularies_are_extended(ranks, name, keep, size):
    base = tl.load_tokenizer(ranks(name))
    tok = tl.SuperBPE(size, keep).extend(base, [ENGLISH])
    assert tok.vocab[:keep] == base.vocab[:keep] and len(tok.vocab) == size
    text = sample("en-literary")
    assert len(tok.encode(text)) < len(base.encode(text))
    assert tok.decode(tok.encode(text).ids) == text.encode()


def test_dropout_drops_words_on_the_right_and_repeats_itself():
    def train(dropout, seed=0):
        return tl.SuperBPE(700, 500, dropout=dropout)([ENGLISH], rng=np.random.default_rng(seed))

    assert train(0.5).digest == train(0.5).digest != train(0.5, 1).digest
    assert train(0.0).digest == tl.SuperBPE(700, 500)([ENGLISH]).digest
    late = merges_in(train(1.0))[500 - 256 :]
    assert late and not any(right.startswith(b" ") for _, right in late)
    assert any(right.startswith(b" ") for _, right in merges_in(train(0.0))[500 - 256 :])


def test_dropped_merges_are_those_of_words_at_their_turn_and_never_come_back():
    rng, chance = np.random.default_rng(0), 0.3
    text = " ".join(rng.choice(list("abcdefghijkl"), 3000)) + " abcab" * 9
    tok = tl.SuperBPE(520, 270, dropout=chance, special=())([text], rng=rng)
    first, late = merges_in(tok)[: 270 - 256], merges_in(tok)[270 - 256 :]
    order = {token: i for i, token in enumerate([*BYTES, *(left + right for left, right in first)])}
    parts, counts = split([text], SUPERWORDS, first)
    dropped, kept = set(), 0
    for pair in late:
        fit = [p for p in ranked(parts, counts, order) if may_cross(p[0] + p[1], 4) and p not in dropped]
        better = fit[: fit.index(pair)]
        assert all(right.startswith(b" ") for _, right in better)
        dropped.update(better)
        kept += pair[1].startswith(b" ")
        order[pair[0] + pair[1]] = len(order)
        parts = [merged(part, pair) for part in parts]
    asked = len(dropped) + kept
    assert asked > 300 and abs(len(dropped) - chance * asked) < 3 * (asked * chance * (1 - chance)) ** 0.5


def test_stochastok_splits_superwords():
    seg = TRAINED.encode("one of the other things that can be")
    split = tl.StochasTok(TRAINED.vocab, 5.0)(seg, rng=np.random.default_rng(0))
    assert split.is_refinement_of(seg) and len(split) > len(seg)


def test_without_a_transition_nine_tenths_are_words():
    assert tl.SuperBPE(1001).transition == 900


def test_progress_names_the_stages():
    told = []
    tl.SuperBPE(300, 270)(["a b a b c d"], progress=lambda *step: told.append(step))
    assert list(dict.fromkeys(what for what, _, _ in told)) == [
        "bytes read",
        "merges inside words",
        "merges across words",
    ]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tl.SuperBPE(257), "vocab_size=257; 256 bytes, 1 special tokens and a merge need more"),
        (lambda: tl.SuperBPE(500, 499), "transition=499; it lies from 256, the bytes, to below 499"),
        (lambda: tl.SuperBPE(500, 255), "transition=255"),
        (lambda: tl.SuperBPE(500, max_words=0), "max_words=0"),
        (lambda: tl.SuperBPE(500, min_frequency=0), "min_frequency=0"),
        (lambda: tl.SuperBPE(500, dropout=2.0), "dropout=2.0"),
        (lambda: tl.SuperBPE(500, dropout=0.1)(["a b"]), "needs rng"),
        (lambda: tl.SuperBPE(500, special=("<a>", "<a>")), "empty or equal"),
        (lambda: tl.SuperBPE(500)([]), "no text to train on"),
    ],
)
def test_bad_settings_are_refused(make, words):
    with pytest.raises(InvalidInput, match=words):
        make()


@pytest.mark.parametrize(
    ("tokens", "kinds", "words"),
    [
        (BYTES, {}, "base has 256 ids; it cannot bring 258"),
        ([b"<s>", *BYTES, b"ab"], {}, "the ids 0 to 255 of base are not the bytes"),
        (
            [*BYTES[:255], BYTES[0], b"ab", b"bc"],
            {"kinds": [0] * 255 + [1, 0, 0]},
            "the ids 0 to 255 of base are not the bytes",
        ),
        ([*BYTES, b"ab", b"ab"], {}, "ids 256 and 257 both stand for b'ab'"),
        (
            [*BYTES, b"ab", b"<s>", b"bc"],
            {"special": [257]},
            "id 257 of base is not made by a merge; at most 257 ids can be kept",
        ),
        ([*BYTES, b"abc", b"ab"], {}, "is not the merge of two earlier ids"),
    ],
)
def test_vocabularies_that_cannot_be_extended_are_refused(tokens, kinds, words):
    with pytest.raises(VocabularyError, match=words):
        tl.SuperBPE(300, 258, special=()).extend(Named(tokens, **kinds), ["some text"])
