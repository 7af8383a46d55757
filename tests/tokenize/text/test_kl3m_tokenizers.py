"""KL3M: merges with a bound are the library's, custom and padding tokens are where they should be, texts come back."""

import json
import unicodedata
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from tokenloom.core.errors import InvalidInput
from tokenloom.core.vocabulary import Kind
from tokenloom.data import sample
from tokenloom.hosts import load_tokenizer
from tokenloom.tokenize.text.bpe import BPE
from tokenloom.tokenize.text.custom_tokens import citation_parts, custom_tokens
from tokenloom.tokenize.text.kl3m_tokenizers import KL3M, SPECIAL
from tokenloom.tokenize.text.random_splits import RandomChunkSplit, RandomWhitespaceSplit
from tokenloom.tokenize.text.stochastok import StochasTok

# 300 kB of prose, and characters that NFKC changes.
TEXTS = [
    sample("en-legal"),
    sample("en-technical"),
    sample("de-technical")[:10_000],
    "ﬁne ² № Ⅻ ①\u00a0x ｆｕｌｌ e\u0301 ",
]
# What patterns, normal forms and custom tokens treat by themselves.
TEXT = st.text(st.sampled_from("aeE1 \n\t().-ﬁ²Å\u0301\u00a0ΣςßİK世５#<"), max_size=40)


def described(tokenizer):
    return json.loads(tokenizer.spec["text"])


@pytest.fixture(scope="module")
def domain():
    return KL3M(8192, min_frequency=1, padded=True)(TEXTS)


# -- merges ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [3, 4, None])
def test_merges_with_a_bound_are_the_librarys_on_300_kb(bound):
    ours = described(KL3M(1500, custom=(), max_length=bound, min_frequency=2)(TEXTS))["model"]["merges"]
    theirs = Tokenizer(models.BPE())
    theirs.normalizer = normalizers.NFKC()
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=1500,
        min_frequency=2,
        special_tokens=list(SPECIAL),
        max_token_length=None if bound is None else bound + 1,  # theirs is strict
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    theirs.train_from_iterator(TEXTS, trainer)
    assert len(ours) == 1500 - 13 - 256
    assert ours == json.loads(theirs.to_str())["model"]["merges"]


def test_no_token_is_longer_than_the_bound_and_tokens_grow_fewer_with_it():
    counts = []
    for bound in (1, 2, 3, 4, None):
        tok = KL3M(1500, custom=(), max_length=bound, min_frequency=1)(TEXTS)
        lengths = tok.vocab.lengths[tok.vocab.kinds == Kind.NORMAL]
        assert bound is None or lengths.max() == bound
        counts.append(tok.encode(TEXTS[0]).ids.size)
    assert counts == sorted(counts, reverse=True) and len(set(counts)) == 5
    assert counts[0] == len(unicodedata.normalize("NFKC", TEXTS[0]).encode())


def test_bound_one_is_bytes_and_no_bound_is_plain_bpe():
    assert len(KL3M(900, custom=(), max_length=1, min_frequency=1)(TEXTS).vocab) == 13 + 256
    ours = KL3M(900, custom=(), form=None, min_frequency=3)(TEXTS)
    plain = BPE(900 - 13, special=(), min_frequency=3)(TEXTS)
    assert described(ours)["model"]["merges"] == described(plain)["model"]["merges"]
    assert np.array_equal(ours.encode(TEXTS[0]).ids - 13, plain.encode(TEXTS[0]).ids)


def test_a_pair_that_is_too_rare_is_not_merged():
    assert described(KL3M(300, custom=(), min_frequency=3)(["ab ab cd"]))["model"]["merges"] == []
    assert described(KL3M(300, custom=(), min_frequency=2)(["ab ab cd"]))["model"]["merges"] == [["a", "b"]]


# -- ids ---------------------------------------------------------------------------------------------------------------


def test_special_tokens_come_first_and_no_text_makes_them(domain):
    assert [domain.vocab[i].decode() for i in range(13)] == list(SPECIAL)
    assert (domain.vocab.special_ids == np.arange(13)).all()
    assert SPECIAL[2] == "<|pad|>" and described(domain)["padding"]["pad_id"] == 2
    assert described(domain)["padding"]["direction"] == "Left"
    assert domain.encode("<|start|>x").ids.min() >= 13


def test_ids_are_dense_different_and_a_power_of_two_when_padded(domain):
    vocab = domain.vocab
    assert len(vocab) == 8192
    assert (vocab.kinds[13:] == Kind.NORMAL).all()
    assert len({bytes(token) for token in vocab}) == 8192


@pytest.mark.parametrize("size", [3000, 6000, 12_000])
def test_every_custom_token_is_one_id_by_itself_learnt_or_added(size):
    tok = KL3M(size, min_frequency=1)([*TEXTS, sample("code-python"), sample("json-digits")])
    added = {token["content"] for token in described(tok)["added_tokens"]}
    assert 0 < len(added & set(custom_tokens())) < len(custom_tokens())  # some were learnt
    assert len(tok.vocab) <= size
    assert [token for token in custom_tokens() if tok.encode(token).tokens() != [token.encode()]] == []


def test_a_learnt_token_that_an_added_one_would_cut_is_added_and_what_builds_on_it_is_forgotten():
    # "**" and "**" make "****", and that with "+" the next; "***" is in no text.
    texts = ["****"] * 3 + ["****+"]
    tok = KL3M(290, custom=("**", "***", "****"), min_frequency=1)(texts)
    assert described(tok)["model"]["merges"] == [["*", "*"]]
    assert [token["content"] for token in described(tok)["added_tokens"][13:]] == ["***", "****"]
    assert tok.encode("****+").tokens() == [b"****", b"+"]
    plain = KL3M(290, custom=("**", "****"), min_frequency=1)(texts)
    assert described(plain)["model"]["merges"] == [["*", "*"], ["**", "**"], ["****", "+"]]


def test_added_tokens_are_found_in_the_normalised_text_whatever_stands_around_them():
    tok = KL3M(320, custom=("(ii)", "U.S.C."), min_frequency=1)(["nothing of the kind, nothing"])
    assert tok.encode("x(ii)y").tokens() == [b"x", b"(ii)", b"y"]
    assert tok.encode("x\uff08ii\uff09y").ids.tolist() == tok.encode("x(ii)y").ids.tolist()  # full-width marks
    assert KL3M(320, custom=("(ii)",), cased=False, min_frequency=1)(["a b"]).encode("X(II)").ids.size == 2


def test_a_custom_token_that_was_learnt_is_no_added_token():
    tok = KL3M(400, custom=(" the", "zz"), min_frequency=1)(["the the the the"])
    assert [token["content"] for token in described(tok)["added_tokens"][13:]] == ["zz"]
    assert len(tok.vocab) == 13 + 256 + described(tok)["model"]["merges"].__len__() + 1


def test_padding_is_runs_of_spaces_and_line_ends_in_turn_that_are_not_learnt():
    tok = KL3M.character(512, min_frequency=1)([sample("en-legal")])
    added = [token["content"] for token in described(tok)["added_tokens"][13:]]
    known = set(tok.vocab[:-13])
    expected = [sign * n for n in range(2, 30) for sign in " \n" if (sign * n).encode() not in known]
    assert added == expected[:13]
    assert len(tok.vocab) == 512
    assert tok.encode(f"a{added[-1]}b").tokens()[1] == added[-1].encode()


@pytest.mark.parametrize(("size", "bound"), [(4096, 3), (8192, 3), (16384, 4)])
def test_character_presets_learn_what_the_authors_learn_and_are_padded(size, bound):
    settings = KL3M.character(size, bound)
    assert (settings.vocab_size, settings.max_length, settings.custom) == (size - 13, bound, ())
    tok = KL3M.character(size, bound, min_frequency=1)(TEXTS)
    assert len(tok.vocab) & (len(tok.vocab) - 1) == 0  # these few texts have too few pairs for the largest


def test_a_size_that_is_a_power_of_two_already_is_not_padded():
    assert len(KL3M(512, custom=(), min_frequency=1, padded=True)(TEXTS).vocab) == 512


def test_nested_sizes_share_the_ids_of_special_tokens_bytes_and_merges():
    family = KL3M(900, custom=("(ii)", "U.S.C."), min_frequency=1).nested(TEXTS, [400, 650, 900])
    assert list(family) == [400, 650, 900] == [len(tok.vocab) for tok in family.values()]
    for small, large in pairwise(family.values()):
        merged = len(small.vocab) - 2
        assert small.vocab[:merged] == large.vocab[:merged]
        seg = large.encode(TEXTS[0][:2000])
        assert small.encode(TEXTS[0][:2000]).is_refinement_of(seg)
    assert family[650].digest == KL3M(650, custom=("(ii)", "U.S.C."), min_frequency=1)(TEXTS).digest


def test_nested_sizes_stay_nested_where_an_added_token_would_cut_a_learnt_one():
    # Learnt are "**", "****", "***", "****+"; with two merges "***" is added, and then no size may have learnt "****".
    texts = ["****", "****", "****+", "***"]
    family = KL3M(275, custom=("***", "****"), min_frequency=1).nested(texts, [273, 275])
    small, large = (described(tok)["model"]["merges"] for tok in family.values())
    assert (small, large) == ([["*", "*"], ["**", "*"]], [["*", "*"], ["**", "*"]])
    for tok in family.values():
        assert [tok.encode(stars).ids.size for stars in ("***", "****")] == [1, 1]


def test_different_bounds_share_merges_until_the_first_that_is_too_long():
    short, free = (
        described(KL3M(900, custom=(), max_length=b, min_frequency=1)(TEXTS))["model"]["merges"] for b in (3, None)
    )
    first = next(i for i, (left, right) in enumerate(free) if len(left + right) > 3)
    assert short[:first] == free[:first] and short[first] != free[first]


# -- texts -------------------------------------------------------------------------------------------------------------


LOSSLESS = KL3M(2200, form=None, min_frequency=1)(TEXTS)
NORMAL = {
    (form, cased): KL3M(2000, form=form, cased=cased, min_frequency=1)(TEXTS)
    for form, cased in (("NFKC", True), ("NFKC", False), ("NFD", True), (None, False))
}


@given(st.binary(max_size=60) | TEXT.map(str.encode))
def test_any_bytes_come_back_where_nothing_is_normalised(data):
    seg = LOSSLESS.encode(data)
    assert (seg.data, LOSSLESS.decode(seg.ids), b"".join(seg.tokens())) == (data, data, data)


@given(TEXT, st.sampled_from(list(NORMAL)))
def test_decoding_gives_the_normalised_text_and_offsets_cover_the_given_one(text, key):
    form, cased = key
    normal = unicodedata.normalize(form, text) if form else text
    if not cased:
        normal = "".join(letter.lower() for letter in normal)
    seg = NORMAL[key].encode(text)
    assert NORMAL[key].decode(seg.ids).decode() == normal
    assert seg.data == text.encode()


@given(TEXT, st.sampled_from(list(NORMAL)))
def test_hugging_face_gives_the_same_ids(text, key):
    assert FOREIGN[key].encode(text).ids == NORMAL[key].encode(text).ids.tolist()


FOREIGN = {key: Tokenizer.from_str(tok.spec["text"]) for key, tok in NORMAL.items()}


def test_what_nfkc_and_lower_case_change():
    tok = NORMAL["NFKC", True]
    assert tok.decode(tok.encode("ﬁ ² Ⅻ\u00a0ｘ e\u0301").ids).decode() == "fi 2 XII x é"
    low = NORMAL["NFKC", False]
    assert low.decode(low.encode("The SENATE, ΟΔΟΣ").ids).decode() == "the senate, οδοσ"


def test_a_saved_tokenizer_is_the_same_again_also_for_hugging_face(domain, tmp_path):
    domain.save(tmp_path / "tokenizer.json")
    text = sample("code-python")[:20_000]
    assert load_tokenizer(tmp_path / "tokenizer.json").encode(text) == domain.encode(text)
    theirs = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert theirs.encode(text).ids == domain.encode(text).ids.tolist()
    batch = theirs.encode_batch(["a", "a longer text"])
    assert batch[0].ids[0] == 2 and len(batch[0].ids) == len(batch[1].ids)  # padded on the left


def test_stochastok_works_over_the_vocabulary(domain):
    seg = domain.encode("the parties hereto shall indemnify the licensor (ii)")
    assert StochasTok(domain.vocab, 1.0)(seg, rng=np.random.default_rng(0)).is_refinement_of(seg)


def test_progress_names_both_stages():
    told = []
    KL3M(300, custom=(), min_frequency=1)(["some words, some more words"], progress=lambda *step: told.append(step))
    assert told[0] == ("bytes read", 27, None)
    assert {(what, total) for what, _, total in told[1:]} == {("merges learnt", 31)}


# -- custom tokens -----------------------------------------------------------------------------------------------------


def test_all_generated_families_are_there():
    tokens = custom_tokens()
    assert list(tokens) == sorted(set(tokens)) and min(map(len, tokens)) == 2
    runs = [sign * n for sign in " \t\r\n.-=_*~" for n in (2, 8)]
    expected = {
        *runs, "\r\n", "\t ", "##", "######", "**", "~~", "```", "![", "http://", "mailto:", "<div", "<DIV", "</textarea>",
        " href=", " HREF=", '{"', '","', "null", "<![CDATA[", "]]>", "1776", "2049", "(a)", "(Z)", "(1)", "(99)", "(ii)", "(IX)",
        "10", "999",
    }  # fmt: skip
    assert expected <= set(tokens)
    assert not {"2050", "1775", "#######", "(100)", "(0)", "9", "\n" * 9, "</DIV>", "(x10)", "1000"} & set(tokens)
    # By family: runs, CRLF and tab; headings, fence, image, links; tags, attributes; JSON; XML; letters, numbers, Roman
    # numbers of more than one letter; two and three digits; years.
    assert len(tokens) == 70 + 2 + 5 + 2 + 7 + 3 * 37 + 2 * 6 + 10 + 7 + 52 + 99 + 2 * 6 + 990 + 274 + 2
    low = custom_tokens(cased=False)
    assert all(token == token.lower() for token in low) and set(low) == {token.lower() for token in tokens}


@pytest.fixture
def reporters(tmp_path):
    files = {
        "laws.json": {"U.S.C.": [], "Ala. Code": []},
        "reporters.json": {"F. Supp.": [{"variations": {"F.Supp.": "F. Supp.", "Fed. Supp.": "F. Supp."}}, {"variations": {}}]},
        "journals.json": {"A.B.A. J.": []},
        "case_name_abbreviations.json": {"Ass'n": ["Association"], "&": ["and"]},
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    return tmp_path


def test_parts_of_citations_are_read_from_the_files_of_the_reporters_database(reporters):
    parts = citation_parts(reporters)
    assert parts == ("A.B.A.", "Ala.", "Ass'n", "Code", "F.", "F.Supp.", "Fed.", "J.", "Supp.", "U.S.C.")
    assert citation_parts(reporters, cased=False)[0] == "a.b.a."
    tok = KL3M(3000, custom=sorted({*custom_tokens(), *parts}), min_frequency=1)(["an action under 42 U.S.C. 1983"])
    assert tok.encode("12 F.Supp. 3").tokens() == [b"12", b" ", b"F.Supp.", b" ", b"3"]


@pytest.mark.slow
def test_the_package_of_the_reporters_database_can_be_read(find):
    parts = citation_parts(find("reporters_db/data/laws.json", "PyPI: reporters-db 3.2.67").parent)
    assert len(parts) > 2000 and {"F.", "U.S.C.", "Supp."} <= set(parts)
    KL3M(8192, custom=sorted({*custom_tokens(), *parts}))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "laws.json").unlink(), "laws.json cannot be read; it comes with the package reporters-db"),
        (lambda folder: (folder / "journals.json").write_text("{"), "journals.json is not JSON"),
        (lambda folder: (folder / "journals.json").write_text("[]"), "should hold citations by their names, not a list"),
    ],
)  # fmt: skip
def test_files_that_are_no_reporters_database_are_refused(reporters, spoil, words):
    spoil(reporters)
    with pytest.raises(InvalidInput, match=words):
        citation_parts(reporters)


# -- random cuts -------------------------------------------------------------------------------------------------------


@given(TEXT, st.floats(0, 1), st.integers(0, 9))
def test_random_cuts_at_white_space_are_what_a_plain_loop_draws(text, probability, seed):
    rng = np.random.default_rng(seed)
    expected = [i + 1 for i, letter in enumerate(text) if letter.isspace() and rng.random() < probability]
    assert RandomWhitespaceSplit(probability)(text, rng=np.random.default_rng(seed)).tolist() == expected


@given(st.integers(0, 60), st.integers(1, 5), st.integers(0, 5), st.integers(0, 9))
def test_random_chunks_have_lengths_in_their_range_and_cover_the_text(size, least, more, seed):
    points = RandomChunkSplit(least, least + more)("x" * size, rng=np.random.default_rng(seed))
    lengths = np.diff([0, *points.tolist(), size])
    assert (lengths[:-1] >= least).all() and (lengths <= least + more).all()
    assert size == 0 or lengths[-1] >= 1


def test_lengths_of_random_chunks_are_uniform():
    points = RandomChunkSplit(2, 5)("x" * 70_000, rng=np.random.default_rng(0))
    shares = np.bincount(np.diff(points), minlength=6)[2:] / (points.size - 1)
    assert np.abs(shares - 0.25).max() < 0.015  # four standard deviations of 20,000 draws


@pytest.mark.parametrize("split", [RandomWhitespaceSplit(0.4), RandomChunkSplit(4, 12)])
def test_random_cuts_learn_tokens_of_several_words_and_the_tokenizer_cuts_nothing_before(split):
    train = KL3M(1500, custom=("(ii)",), form=None, min_frequency=2, split=split)
    tok = train([sample("en-legal")], rng=np.random.default_rng(1))
    assert tok.digest == train([sample("en-legal")], rng=np.random.default_rng(1)).digest
    assert tok.digest != train([sample("en-legal")], rng=np.random.default_rng(2)).digest
    steps = described(tok)["pre_tokenizer"]
    assert steps["type"] == "ByteLevel" and not steps["use_regex"]
    assert any(b" " in token.strip() for token in tok.vocab[13:])
    text = sample("en-technical")[:3000]
    assert tok.decode(tok.encode(text).ids) == text.encode()
    assert Tokenizer.from_str(tok.spec["text"]).encode(text).ids == tok.encode(text).ids.tolist()


def test_cuts_at_every_space_are_words_with_the_space_behind():
    tok = KL3M(400, custom=(), min_frequency=1, split=RandomWhitespaceSplit(1.0))(
        ["the Code of the Code"], rng=np.random.default_rng(0)
    )
    assert tok.encode("the Code").tokens() == [b"the ", b"Code"]


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: KL3M(268, custom=()), "vocab_size=268; 13 special tokens, 256 bytes and 0 custom tokens need 269"),
        (lambda: KL3M(1900), "vocab_size=1900; 13 special tokens, 256 bytes and 16.. custom tokens need 19"),
        (lambda: KL3M(300, custom=("ab", "cd", "ab")), "custom token 'ab' is given twice"),
        (lambda: KL3M(300, custom=("<|pad|>",)), "custom token '<|pad|>' is given twice, or special".replace("|", r"\|")),
        (lambda: KL3M(300, custom=("a",)), "custom token 'a'; it needs two characters"),
        (lambda: KL3M(300, custom=("",)), "custom token ''; it needs two characters"),
        (lambda: KL3M(300, custom=("oﬃce",)), "custom token 'oﬃce' becomes 'office'"),
        (lambda: KL3M(300, custom=("U.S.",), cased=False), "custom token 'U.S.' becomes 'u.s.'"),
        (lambda: KL3M(300, custom=("ΟΔΟΣ",), cased=False), "custom token 'ΟΔΟΣ' becomes 'οδοσ'"),
        (lambda: KL3M(300, custom=(), max_length=0), "max_length=0"),
        (lambda: KL3M(300, custom=(), min_frequency=0), "min_frequency=0"),
        (lambda: KL3M(300, custom=(), form="NFX"), "form='NFX'; it is one of NFC, NFD, NFKC, NFKD"),
        (lambda: KL3M.character(4000), "vocab_size=4000; it is a power of two from 512 on"),
        (lambda: KL3M.character(256), "vocab_size=256; it is a power of two"),
        (lambda: KL3M.character(512, 0), "max_length=0"),
        (lambda: KL3M(300, custom=())([]), "no text to train on"),
        (lambda: KL3M(300, custom=()).nested(["a"], []), "no sizes"),
        (lambda: KL3M(300, custom=()).nested(["a"], [300, 200]), "vocab_size=200"),
        (lambda: KL3M(300, custom=(), split=RandomChunkSplit())(["a b"]), "random cuts need rng="),
        (lambda: KL3M(32768, custom=[f"x{i}" for i in range(17_000)], padded=True)(["a"]), "15499 runs of spaces"),
        (lambda: RandomWhitespaceSplit(1.1), "probability=1.1"),
        (lambda: RandomChunkSplit(0, 3), "1 <= least <= most"),
        (lambda: RandomChunkSplit(4, 3), "least=4 and most=3"),
    ],
)  # fmt: skip
def test_bad_settings_are_refused(make, words):
    with pytest.raises(InvalidInput, match=words):
        make()


def test_without_the_package_the_reporters_database_is_asked_for(monkeypatch):
    monkeypatch.setattr("tokenloom.tokenize.text.custom_tokens.find_spec", lambda name: None)
    with pytest.raises(InvalidInput, match="pip install reporters-db, or give its folder"):
        citation_parts()
