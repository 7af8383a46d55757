"""The demo in small: the page tells what was measured and stands alone, and the folder is the demo's own."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from io import StringIO

import numpy as np
import pytest
import torch
from rich.console import Console

from tokenloom.app.demo import run
from tokenloom.app.demo.__main__ import run_demo
from tokenloom.app.demo.report import longer_run
from tokenloom.app.demo.size import Size
from tokenloom.core.errors import StoreError
from tokenloom.data import verify_shards
from tokenloom.hosts import load_tokenizer
from tokenloom.models.transformer import Transformer

SMALL = Size(vocab_size=900, width=16, layers=1, context=32, batch=4, steps=20, prompts=20)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A small run: its folder, its outcome, its page, and what the terminal got."""
    folder = tmp_path_factory.mktemp("demo")
    terminal = StringIO()
    outcome = run_demo(folder, SMALL, Console(file=terminal, width=100))
    return folder, outcome, (folder / "report.html").read_text(encoding="utf-8"), terminal.getvalue()


class Page(HTMLParser):
    """What a page is made of; a tag that is not closed is an error."""

    def __init__(self, text):
        super().__init__()
        self.open, self.words, self.links, self.tags = [], [], [], set()
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.handle_startendtag(tag, attributes)
        if tag not in ("meta", "br", "hr", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.add(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "xlink:href", "srcset")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)


def words_of(html):
    return " ".join("".join(Page(html).words).split())


def test_the_page_loads_nothing_from_elsewhere(demo):
    page = Page(demo[2])
    assert not {"script", "link", "iframe", "object"} & page.tags
    links = {link for link in page.links if not link.startswith(("#", "data:"))}
    assert links == {"https://arxiv.org/abs/2506.01687"}
    assert not re.search(r"url\((?!#)|@import", demo[2])


def test_the_page_shows_what_was_measured(demo):
    _, outcome, page, _ = demo
    words = words_of(page)
    for condition in run.CONDITIONS:
        shown = [f"{bits:.2f}" for bits in outcome.bits[condition].values()]
        shown += [f"{outcome.same[condition][pieces]:.0%}" for pieces in run.PIECES[1:]]
        shown += [f"{outcome.moved[condition][pieces]:.2f}" for pieces in run.PIECES[1:]]
        shown += [f"{outcome.manifests[condition].totals['tokens']:,}"]
        shown += [" ".join(line.split()) for said in outcome.said[condition] for line in said]
        assert [text for text in shown if text not in words] == []


def test_charts_take_the_colours_of_the_page(demo):
    page = demo[2]
    assert page.count("<svg") == 2
    assert "#0102" not in page
    for colour in ("currentColor", "var(--series-0)", "var(--series-1)"):
        assert page.count(f"fill: {colour}") + page.count(f"stroke: {colour}") > 0


def test_the_last_line_on_the_terminal_is_the_path_of_the_page(demo):
    folder, _, _, terminal = demo
    assert terminal.splitlines()[-1] == str(folder / "report.html")


def test_vocabulary_shards_and_models_stay_in_the_folder_and_can_be_opened(demo):
    folder, outcome, _, _ = demo
    assert load_tokenizer(folder / "tokenizer.json").vocab == outcome.tokenizer.vocab
    for condition in run.CONDITIONS:
        assert verify_shards(folder / "tokens" / condition) == outcome.manifests[condition]
        assert Transformer.from_pretrained(folder / "models" / condition).config.width == SMALL.width


def test_held_out_paragraphs_are_not_in_the_corpus(tmp_path):
    held_out = run.write_corpus(tmp_path / "corpus")
    learn = {
        text for path in (tmp_path / "corpus").iterdir() for text in path.read_text(encoding="utf-8").split("\n\n")
    }
    assert set(held_out) == set(run.TEXTS)
    for paragraphs in held_out.values():
        assert paragraphs
        assert learn.isdisjoint(paragraphs)


def test_a_prompt_is_one_text_whose_last_word_is_cut_in_one_two_and_three(demo):
    _, outcome, _, _ = demo
    assert outcome.shown
    for prompt in outcome.shown:
        assert tuple(len(way) for way in prompt.ways) == run.PIECES
        assert all(outcome.tokenizer.decode(way.ids) == prompt.ways[0].data for way in prompt.ways)
        assert re.fullmatch(rb" [A-Za-z]{5,}", prompt.ways[0].data)


def test_a_continuation_stops_where_the_model_ends_the_text(demo):
    _, outcome, _, _ = demo
    model = Transformer(vocab_size=SMALL.vocab_size, width=16, layers=1, heads=4, context=SMALL.context)
    torch.nn.init.zeros_(model.embed.weight)  # all tokens are equally likely: the greedy one is id 0
    prompt = outcome.shown[0]
    zero = outcome.tokenizer.vocab[0].decode()
    assert run.continue_prompt(model, outcome.tokenizer, prompt, end=0) == [" ¶"] * 3
    assert run.continue_prompt(model, outcome.tokenizer, prompt, end=899) == [zero * 12] * 3


def test_next_tokens_are_compared_as_defined(demo, tmp_path):
    folder, outcome, _, _ = demo
    model = Transformer.from_pretrained(folder / "models" / "StochasTok")
    held_out = run.write_corpus(tmp_path / "corpus")
    prompts = run.choose(run.find_prompts(outcome.tokenizer, held_out, SMALL), SMALL.prompts)
    assert len(prompts) == outcome.prompts == SMALL.prompts

    def distribution(prompt, way):
        with torch.no_grad():
            return model(torch.from_numpy(prompt.ids(way).astype(np.int64))[None])[0, -1].softmax(-1)

    for way, pieces in enumerate(run.PIECES[1:], 1):
        pairs = [(distribution(prompt, 0), distribution(prompt, way)) for prompt in prompts]
        same = sum(int(p.argmax()) == int(q.argmax()) for p, q in pairs) / len(pairs)
        moved = sum(float((p - q).clamp(min=0).sum()) for p, q in pairs) / len(pairs)
        assert outcome.same["StochasTok"][pieces] == pytest.approx(same)
        assert outcome.moved["StochasTok"][pieces] == pytest.approx(moved, abs=1e-5)


def test_the_same_settings_give_the_same_models(demo, tmp_path):
    folder, outcome, _, _ = demo
    with run.one_thread():
        _, learnt = run.train(folder / "tokens" / "plain", SMALL, lambda step, bits: None)
    assert learnt.tolist() == outcome.learnt["plain"].tolist()


def test_torch_has_its_threads_again_afterwards():
    before = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt), run.one_thread():
        assert torch.get_num_threads() == 1
        raise KeyboardInterrupt
    assert torch.get_num_threads() == before


def test_the_folder_is_emptied_only_where_a_demo_made_it(tmp_path):
    out, other = tmp_path / "demo", tmp_path / "other"
    other.mkdir()
    (other / "mine").write_text("precious", encoding="utf-8")
    run.empty_folder(out)
    (out / "models").mkdir()
    (out / "models" / "old").write_text("old", encoding="utf-8")
    (out / "link").symlink_to(other)
    run.empty_folder(out)
    assert [path.name for path in out.iterdir()] == ["README.txt"]
    assert (other / "mine").read_text(encoding="utf-8") == "precious"


@pytest.mark.parametrize("name", ["mine", "README.txt"])
def test_a_folder_of_somebody_else_is_left_alone(tmp_path, name):
    (tmp_path / name).write_text("precious", encoding="utf-8")
    with pytest.raises(StoreError, match="no demo made it; move it away"):
        run.empty_folder(tmp_path)
    with pytest.raises(StoreError, match="no demo made it; move it away"):
        run.empty_folder(tmp_path / name)
    assert (tmp_path / name).read_text(encoding="utf-8") == "precious"


def test_the_longer_run_is_shown_where_it_is_and_absent_where_not(tmp_path):
    assert longer_run(tmp_path) == ""
    figures = [
        {"name": "addition <3>", "unit": "share", "paper": "1.0", "ours": {"p=0": {"mean": 0.5, "spread": 0.01}}},
        {"name": "bits", "unit": "", "paper": "", "ours": {"p=0": {"mean": 2.0, "spread": None}}},
        {"name": "letters", "ours": {"p=0": {"mean": 1, "spread": None}, "p=0.1": {"mean": 0.75, "spread": None}}},
    ]
    pictures = [{"file": "curve.svg", "caption": "A curve"}]
    result = {"sentence": "It helps & costs.", "seeds": [0, 1, 2], "figures": figures, "pictures": pictures}
    (tmp_path / "result.json").write_text(json.dumps(result), encoding="utf-8")
    (tmp_path / "curve.svg").write_text("<svg/>", encoding="utf-8")
    section = longer_run(tmp_path)
    words = words_of(section)
    for text in ("It helps & costs.", "3 seeds", "addition <3> (share)", "0.50 ± 0.01", "0.75", "A curve"):
        assert text in words
    assert section.count("<table") == 2, "figures with the same conditions share a table"
    assert 'src="data:image/svg+xml;base64,' in section


def test_help_is_quick_and_tells_where_everything_goes():
    code = (
        "import sys; from tokenloom.app.demo.__main__ import main; sys.argv = ['demo', '--help']\n"
        "try: main()\nfinally: print('torch' in sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"COLUMNS": "100"})
    assert (done.returncode, done.stderr.strip()) == (0, "False")
    assert "--out" in done.stdout
