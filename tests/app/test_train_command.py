"""`tokenloom train` as a user runs it: each algorithm on a few samples, its file in other software, and mistakes."""

import json
import sys

import numpy as np
import pytest
from tokenizers import Tokenizer

from tokenloom.app.cli import main
from tokenloom.app.training import _Sample
from tokenloom.core.catalogue import catalogue
from tokenloom.data import open_shards, sample, samples
from tokenloom.hosts import load_tokenizer
from tokenloom.tokenize.text.bpe import BPE
from tokenloom.tokenize.text.stochastok import StochasTok

NAMES = ("en-legal", "en-literary", "en-technical", "tr-speeches", "code-python")

# Algorithm → options, ids, and whether any bytes come back from their ids.
ALGORITHMS = {
    "bpe": (["--vocab-size", 1500], 1500, True),
    "bpe --pattern": (["--vocab-size", 1500, "--pattern", "o200k", "--max-length", 6, "--special", "<s>"], 1500, True),
    "superbpe": (["--vocab-size", 1500], 1500, True),
    "superbpe --extend": (["--vocab-size", 9000, "--extend", "tokenloom-en-16k", "--keep", 8500], 9000, True),
    "superbpe --dropout": (["--vocab-size", 1500, "--transition", 900, "--dropout", 0.5, "--seed", 3], 1500, True),
    "supertokens": (["--vocab-size", 1500, "--law", "4-8:0.5, 9-16:0.5", "--passes", 2], 1500, True),
    "kl3m": (["--vocab-size", 4000, "--form", "none"], None, True),
    "kl3m --max-chars": (["--vocab-size", 1024, "--max-chars", 3], 1024, False),
    "compoundpiece": (["--vocab-size", 1500], 1500, True),
    "lib": (["--vocab-size", 1500, "--steps", 60, "--article", 100], 1500, True),
    "lib --rule": (["--vocab-size", 1500, "--steps", 60, "--article", 100, "--rule", "longest"], 1500, True),
    "unigram": (["--vocab-size", 1500], 1500, True),
    "wordpiece": (["--vocab-size", 1500], 1500, False),
}
# What is saved as a folder of ours; `load_tokenizer` finds its class in the catalogue.
FOLDERS = {"lib": "LiB"}


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    for name in NAMES:
        (folder / f"{name}.txt").write_text(sample(name)[:25_000], encoding="utf-8")
    return folder


@pytest.fixture
def tokenloom(monkeypatch, capsys):
    """Run a command in this process: arguments → (exit code, output, errors)."""

    def run_here(*arguments):
        monkeypatch.setattr(sys, "argv", ["tokenloom", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        return exit_.value.code, *capsys.readouterr()

    return run_here


@pytest.mark.parametrize("case", ALGORITHMS)
def test_each_algorithm_makes_a_tokenizer_that_everything_else_accepts(case, corpus, tmp_path, tokenloom):
    options, ids, lossless = ALGORITHMS[case]
    algorithm = case.split()[0]
    if (kind := FOLDERS.get(case)) and kind not in catalogue().public:
        pytest.skip(f"{kind} is not in the catalogue yet")
    out = tmp_path / (algorithm if case in FOLDERS else f"{algorithm}.json")
    code, output, errors = tokenloom("train", algorithm, corpus, "--out", out, *options)
    assert code == 0, errors
    assert "bytes per token" in output and f"--tokenizer {out} --out tokens" in output

    tokenizer = load_tokenizer(out)
    if ids is not None:
        assert len(tokenizer.vocab) == ids
    texts = [sample(name)[:3000] for name in samples()]
    ours = tokenizer.encode_batch(texts)
    if lossless:
        assert [tokenizer.decode(row).decode() for row in ours] == texts
        assert tokenizer.decode(tokenizer.encode(b"a\xff\xc3 \x00b").ids) == b"a\xff\xc3 \x00b"
    if out.is_file():
        theirs = Tokenizer.from_file(str(out))
        for row, text in zip(ours, texts, strict=True):
            assert row.tolist() == theirs.encode(text, add_special_tokens=False).ids
    split = StochasTok(tokenizer.vocab, 0.3)(ours[0], rng=np.random.default_rng(0))
    assert tokenizer.vocab.decode(split) == tokenizer.vocab.decode(ours[0])

    code, _, errors = tokenloom(
        "encode", corpus, "--tokenizer", out, "--out", tmp_path / "tokens", "--workers", 1, "--quiet"
    )
    assert code == 0, errors
    first = open_shards(tmp_path / "tokens")[0]
    expected = tokenizer.encode((corpus / f"{min(NAMES)}.txt").read_bytes()).ids
    assert first[: expected.size].tolist() == expected.tolist()


def test_the_command_makes_what_python_makes(corpus, tmp_path, tokenloom):
    texts = [path.read_text(encoding="utf-8") for path in sorted(corpus.iterdir())]
    out = tmp_path / "bpe.json"
    assert tokenloom("train", "bpe", corpus, "-n", 1200, "-o", out, "--quiet") == (0, "", "")
    assert load_tokenizer(out).digest == BPE(1200)(texts).digest


def test_documents_are_read_as_encode_reads_them(corpus, tmp_path, tokenloom):
    lines = [json.dumps({"content": sample("en-legal")[i : i + 500]}) for i in range(0, 20_000, 500)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    code, _, errors = tokenloom(
        "train", "bpe", tmp_path / "a.jsonl", "--field", "content", "-n", 600, "-o", tmp_path / "a.json"
    )
    assert code == 0, errors
    code, _, errors = tokenloom("train", "bpe", tmp_path / "a.jsonl", "-n", 600, "-o", tmp_path / "b.json")
    assert code == 1 and "a.jsonl, line 1: no field 'text'" in errors
    assert not (tmp_path / "b.json").exists()


def test_equal_seeds_make_equal_files_and_others_do_not(corpus, tmp_path, tokenloom):
    files = [tmp_path / f"{i}.json" for i in range(3)]
    for file, seed in zip(files, (0, 0, 1), strict=True):
        tokenloom("train", "supertokens", corpus, "-n", 800, "-o", file, "--seed", seed, "--quiet")
    one, same, other = (file.read_bytes() for file in files)
    assert one == same != other


def test_custom_tokens_come_from_a_file(corpus, tmp_path, tokenloom):
    (tmp_path / "custom.txt").write_text("U.S.C.\n§ 12\n", encoding="utf-8")
    out = tmp_path / "kl3m.json"
    assert (
        tokenloom("train", "kl3m-tokenizers", corpus, "-n", 600, "-o", out, "--custom", tmp_path / "custom.txt")[0] == 0
    )
    assert load_tokenizer(out).encode("x§ 12U.S.C.").tokens() == [b"x", "§ 12".encode(), b"U.S.C."]


def test_what_is_there_stays_unless_force_is_given(corpus, tmp_path, tokenloom):
    out = tmp_path / "mine.json"
    out.write_text("mine", encoding="utf-8")
    code, _, errors = tokenloom("train", "bpe", corpus, "-n", 500, "-o", out)
    assert code == 1 and errors == f"error: {out} is there already; --force writes over it\n"
    assert out.read_text(encoding="utf-8") == "mine"
    assert tokenloom("train", "bpe", corpus, "-n", 500, "-o", out, "--force", "-q")[0] == 0
    assert len(load_tokenizer(out).vocab) == 500


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bpe", "-n", 200], "vocab_size=200; 256 bytes and 1 special tokens need more"),
        (["bpe", "-n", 500, "--special", "<s>", "--special", "<s>"], "are empty or equal"),
        (["bpe", "-n", 500, "--pattern", "("], "pattern '(' is no regular expression"),
        (["unigram", "-n", 500, "--pattern", "("], "pattern '(' is no regular expression"),
        (["unigram", "-n", 200], "vocab_size=200; 256 bytes"),
        (["wordpiece", "-n", 5], "vocab_size=5; 1 character and 5 special tokens need more"),
        (["wordpiece", "-n", 20], "vocab_size=20; the characters of the texts and special tokens alone are"),
        (["superbpe", "-n", 500, "--transition", 500], "transition=500; it lies from 256, the bytes, to below 499"),
        (["superbpe", "-n", 500, "--extend", "gpt2"], "--extend and --keep belong together"),
        (["superbpe", "-n", 500, "--keep", 300], "--extend and --keep belong together"),
        (["superbpe", "-n", 500, "--keep", 300, "--extend", "bytes", "--transition", 300], "--keep 300 takes its place"),
        (["superbpe", "-n", 500, "--keep", 300, "--extend", "nothing.json"], "no file or folder 'nothing.json'"),
        (["superbpe", "-n", 500, "--keep", 300, "--extend", "bytes"], "bytes has 257 ids; it cannot bring 300"),
        (["supertokens", "-n", 500, "--law", "4-8"], "write lengths and probabilities as 4-8:0.5,9-16:0.5"),
        (["supertokens", "-n", 500, "--law", "4-8:0.7"], "the probabilities sum to 0.7, not to 1"),
        (["kl3m", "-n", 900], "custom tokens need"),
        (["kl3m", "-n", 900, "--max-chars", 3], "a power of two from 512 on"),
        (["kl3m", "-n", 1024, "--max-chars", 3, "--custom", "c.txt"], "exclude each other"),
        (["kl3m", "-n", 1024, "--custom", "nothing.txt"], "--custom nothing.txt cannot be read"),
        (["kl3m", "-n", 4000, "--form", "nfkc"], "form='nfkc'; it is one of NFC"),
        (["compoundpiece", "-n", 200], "vocab_size=200; 256 bytes and 1 special tokens need more"),
        (["compoundpiece", "-n", 500, "--decompounder", "nothing"], "nothing"),
        (["lib", "--rule", "shortest"], "a tokenizer.json cannot say --rule shortest"),
        (["lib", "-n", 100, "--rule", "longest"], "vocab_size=100"),
        (["bpe", "-n", 500, "--split", "word"], "split='word'"),
        (["best", "-n", 500], "No such command 'best'"),
    ],
)  # fmt: skip
def test_mistakes_are_told_before_anything_is_written(arguments, words, corpus, tmp_path, tokenloom):
    out = tmp_path / "out.json"
    code, output, errors = tokenloom("train", arguments[0], corpus, "--out", out, *arguments[1:])
    assert code in (1, 2)
    assert words in " ".join(errors.replace("│", " ").split())
    assert output == "" and not out.exists()


def test_places_that_cannot_be_written_are_told_before_the_work(corpus, tmp_path, tokenloom):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("dear", encoding="utf-8")
    (tmp_path / "file").write_text("dear", encoding="utf-8")
    for algorithm, out, words in [
        ("bpe", tmp_path / "none" / "out.json", "there is no folder"),
        ("bpe", tmp_path / "full", "is a folder; name a file, such as"),
        ("lib", tmp_path / "full", "is a folder with other things in it"),
        ("lib", tmp_path / "file", "is a file, but this tokenizer is saved as a folder"),
        ("lib", tmp_path / "out.json", "a tokenizer.json cannot say --rule two-path"),
    ]:
        code, _, errors = tokenloom("train", algorithm, corpus, "-n", 500, "--out", out, "--force")
        assert code == 1 and words in errors


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "no such file"), (b"", "the file is empty"), (b"\xff\xfe", "not UTF-8"), (b"\0" * 9, None)],
)
def test_inputs_that_cannot_be_read_are_told(content, words, tmp_path, tokenloom):
    if content is not None:
        (tmp_path / "a.txt").write_bytes(content)
    code, _, errors = tokenloom("train", "bpe", tmp_path / "a.txt", "-n", 500, "-o", tmp_path / "o.json")
    assert code == (0 if words is None else 1)
    assert words is None or words in errors
    assert (tmp_path / "o.json").exists() == (words is None)


def test_a_sample_is_spread_over_the_stream_and_bounded():
    held = _Sample()
    for number in range(1000):
        held.add(f"{number:05}" * 2000)
    assert 2_000_000 < sum(map(len, held.texts)) <= 4_000_000
    numbers = [int(text[:5]) for text in held.texts]
    assert set(np.diff(numbers)) == {4} and numbers[0] == 0
    held = _Sample()
    held.add("x" * 120_000)
    assert [len(text) for text in held.texts] == [50_000, 50_000, 20_000]
