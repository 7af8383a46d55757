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
from tokenloom.core.cuts import O200K_WORDS
from tokenloom.core.errors import InvalidInput, VocabularyError
from tokenloom.core.vocabulary import Vocabulary
from tokenloom.data import sample
from tokenloom.hosts.train import train_bpe
from tokenloom.testing.segmenters import check_segmenter
from tokenloom.tokenize.text.bpe import BYTE_OF_UNIT
from tokenloom.tokenize.text.superbpe import SUPERWORDS

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


def train_slowly(texts, learnt, transition, max_words):
    """Recount all pairs after each merge, first in words, then in lines; tokens are bytes throughout."""
    order = {token: i for i, token in enumerate(BYTES)}
    merges = []

    def stage(pattern, limit, rule):
        table = Counter(piece for text in texts for piece in pieces(text, pattern))
        parts = [[bytes([byte]) for byte in piece.encode()] for piece in table]
        counts = list(table.values())
        for pair in merges:
            parts = [merged(part, pair) for part in parts]
        while len(order) < limit:
            pairs = Counter()
            for part, count in zip(parts, counts):
                for pair in pairwise(part):
                    pairs[pair] += count
            fit = [pair for pair in pairs if rule(pair[0] + pair[1])]
            if not fit:
                break
            best = min(fit, key=lambda pair: (-pairs[pair], order[pair[0]], order[pair[1]]))
            merges.append(best)
            order[best[0] + best[1]] = len(order)
            parts = [merged(part, best) for part in parts]

    def merged(part, pair):
        out, i = [], 0
        while i < len(part):
            joins = tuple(part[i : i + 2]) == tuple(pair)
            out.append(pair[0] + pair[1] if joins else part[i])
            i += 1 + joins
        return out

    stage(O200K_WORDS, transition, lambda token: True)
    stage(
        SUPERWORDS, learnt, lambda token: len(list(filter(None, token.split(b" ")))) <= max_words and b": " not in token
    )
    return merges


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
    lines = [line + "\n" for line in ["to be or not to be that is the question", "to be or to see", ""][:-1]]
    plain = tl.BPE(290, SUPERWORDS, special=())(lines)
    free = tl.SuperBPE(290, 256, max_words=99, special=())(lines)
    assert merges_in(free) == merges_in(plain)


TRAINED = tl.SuperBPE(2000, 1000)([ENGLISH])


def test_late_tokens_have_at_most_four_words_and_no_answer_after_a_colon():
    late = [TRAINED.vocab[i] for i in range(1000, 1999)]
    assert max(len(list(filter(None, token.split(b" ")))) for token in late) <= 4
    assert not any(b": " in token for token in late)
    assert sum(b" " in token.strip() for token in late) > 300
    assert not any(b" " in TRAINED.vocab[i].strip() for i in range(1000))


def test_no_token_goes_from_one_line_into_the_next():
    assert not any(b"\n" in token.rstrip(b"\r\n") for token in TRAINED.vocab)


def test_texts_are_cut_into_lines_whatever_pieces_they_come_in():
    lines = [line + "\n" for line in ENGLISH.split("\n")]
    assert tl.SuperBPE(600, 400)(lines).digest == tl.SuperBPE(600, 400)([ENGLISH + "\n"]).digest
    assert tl.SuperBPE(600, 400)([line.encode() for line in lines]).digest == tl.SuperBPE(600, 400)(lines).digest


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
        (lambda: tl.SuperBPE(500, 500), "transition=500; it lies from 256, the bytes, to below 499"),
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


class Named:
    """A vocabulary with a name, which is all that an extension asks for."""

    name = "base"

    def __init__(self, tokens, **kinds):
        self.vocab = Vocabulary(tokens, **kinds)


@pytest.mark.parametrize(
    ("tokens", "kinds", "words"),
    [
        (BYTES, {}, "base has 256 ids; it cannot bring 258"),
        ([b"<s>", *BYTES, b"ab"], {}, "the ids 0 to 255 of base are not the bytes"),
        ([*BYTES, b"ab", b"<s>", b"bc"], {"special": [257]}, "id 257 of base is not made by a merge; keep=257"),
        ([*BYTES, b"abc", b"ab"], {}, "is not the merge of two earlier ids"),
    ],
)
def test_vocabularies_that_cannot_be_extended_are_refused(tokens, kinds, words):
    with pytest.raises(VocabularyError, match=words):
        tl.SuperBPE(300, 258, special=()).extend(Named(tokens, **kinds), ["some text"])
