"""The page that the demo leaves behind: one file, nothing loaded from elsewhere, every number from the run."""

import mimetypes
import os
import platform
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

import tokenloom as tl

from ...core.store import read_json
from ...data.manifest import Manifest
from ...tokenize.text.stochastok import SplitTable
from ..page import table, write_page
from .charts import bits_chart, learning_chart
from .run import CONDITIONS, PIECES, TEXTS, Outcome, bytes_per_token

__all__ = ["LONGER_RUN", "SENTENCE", "longer_run", "summary_rows", "well_split_words", "write_report"]

SENTENCE = "The transaction was written before anybody could question it."
# In a checkout; an installed package has no results beside it.
LONGER_RUN = Path(__file__).parents[4] / "results" / "stochastok"
_RESPLIT = 0.5
_AT = f"p&nbsp;=&nbsp;{_RESPLIT}"


def write_report(path: Path, outcome: Outcome, evidence: Path = LONGER_RUN) -> None:
    """Write the page; `evidence` is the folder of a committed result, which need not be there."""
    sections = (
        _opening(outcome),
        _seeing(outcome),
        _splitting(outcome),
        _encoding(outcome),
        _training(outcome),
        _finding(outcome),
        longer_run(evidence),
        _own_corpus(),
        _limits(outcome),
        _footer(outcome),
    )
    write_page(path, "tokenloom: what is inside a token?", sections)


def well_split_words(vocab: tl.Vocabulary, table: SplitTable, count: int = 5) -> list[int]:
    """Ids of the tokens, a space and at least six letters, with the most splits, most first."""
    order = np.argsort(-np.diff(table.indptr), kind="stable")
    words = (int(i) for i in order if re.fullmatch(rb" [a-z]{6,}", vocab[int(i)]))
    return [word for word, _ in zip(words, range(count))]


def summary_rows(by_condition: Mapping[str, Manifest]) -> list[tuple[str, list[str]]]:
    """What the main job made, a row for each quantity with a value for each condition."""
    manifests = by_condition.values()
    split = [m.totals["split_tokens"] / (m.totals["plain_tokens"] * m.settings["epochs"]) for m in manifests]
    return [
        ("passes over the text", [f"{m.settings['epochs']}" for m in manifests]),
        ("documents", [f"{m.totals['documents']:,}" for m in manifests]),
        ("text", [f"{m.totals['bytes'] * m.settings['epochs'] / 1e6:.2f} MB" for m in manifests]),
        ("tokens", [f"{m.totals['tokens']:,}" for m in manifests]),
        ("bytes per token", [f"{bytes_per_token(m):.3f}" for m in manifests]),
        ("tokens split", [f"{share:.1%}" for share in split]),
        ("checked again", ["every byte" for _ in manifests]),
    ]


def longer_run(folder: Path) -> str:
    """The committed evidence as a section; empty where there is none."""
    if not (folder / "result.json").exists():
        return ""
    result = read_json(folder / "result.json")
    parts = [
        "<h2>The longer run</h2>",
        f'<p class="soft">Not from this run: the committed experiment over {len(result["seeds"])} seeds. '
        "<code>tokenloom evidence stochastok</code> does it again.</p>",
        f"<p>{escape(result['sentence'])}</p>",
    ]
    for conditions, alike in groupby(result["figures"], key=lambda figure: tuple(figure["ours"])):
        rows = []
        for figure in alike:
            unit = f" ({figure['unit']})" if figure.get("unit") else ""
            cells = [_spread(figure["ours"][name]) for name in conditions]
            rows.append([escape(figure["name"] + unit), *cells, escape(figure.get("paper", ""))])
        parts.append(table(["", *map(escape, conditions), "paper"], rows, numbers=len(conditions)))
    parts.append('<p class="soft">Mean ± standard deviation over the seeds.</p>' if len(result["seeds"]) > 1 else "")
    for picture in result.get("pictures", []):
        kind = mimetypes.guess_type(picture["file"])[0]
        data = b64encode((folder / picture["file"]).read_bytes()).decode()
        caption = escape(picture["caption"])
        parts.append(
            f'<figure><img src="data:{kind};base64,{data}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'
        )
    return "\n".join(parts)


# -- sections ----------------------------------------------------------------------------------------------------------


def _opening(outcome: Outcome) -> str:
    cards = (
        ("Bits per byte, unsplit text", {c: f"{bits[0.0]:.2f}" for c, bits in outcome.bits.items()}),
        ("Bits per byte, text cut otherwise", {c: f"{bits[_RESPLIT]:.2f}" for c, bits in outcome.bits.items()}),
        ("Same next token, last word cut in two", {c: f"{same[2]:.0%}" for c, same in outcome.same.items()}),
    )
    findings = "".join(
        f'<div class="card"><p class="soft">{title}</p><dl>'
        + "".join(f"<dt>{_named(c)}</dt><dd>{value}</dd>" for c, value in values.items())
        + "</dl></div>"
        for title, values in cards
    )
    return f"""<p class="kicker">tokenloom demo</p>
<h1>What is inside a token?</h1>
<p class="lede">A language model never sees letters. It sees numbers, one for each token, and what a token is made of it has to
guess. <a href="https://arxiv.org/abs/2506.01687">StochasTok</a> shows it: while training, tokens are split at random into
smaller ones. Here are two small models, trained and questioned in {_minutes(outcome)} on this computer: one read plain
tokens, the other split ones.</p>
<div class="findings">{findings}</div>
<p class="soft">Held-out text of {outcome.held_out / 1000:.0f} kB; {outcome.prompts} prompts; “cut otherwise” is split
at {_AT}. Bits per byte: less is better. One seed.</p>"""


def _seeing(outcome: Outcome) -> str:
    tok, seg = outcome.tokenizer, outcome.tokenizer.encode(SENTENCE)
    longest = max(range(len(seg)), key=lambda i: len(seg.tokens()[i]))
    word, number = seg.tokens()[longest].decode("utf-8", "replace").strip(), int(seg.ids[longest])
    size = outcome.manifests["plain"].totals["bytes"]
    return f"""<h2>What a model sees</h2>
<p>A vocabulary of {len(tok.vocab):,} tokens, learnt from {size / 1000:.0f} kB of English stories, documentation and licences,
cuts a sentence like this:</p>
<p class="tokens">{seg.draw().html}</p>
<p class="ids">{" ".join(map(str, seg.ids))}</p>
<p>The second line is all that reaches the model. To it, <code>{escape(word)}</code> is number {number}: nothing in the number
says how it is spelt.</p>"""


def _splitting(outcome: Outcome) -> str:
    tok = outcome.tokenizer
    seg = tok.encode(SENTENCE)
    look = tl.StochasTok(tok.vocab, _RESPLIT)
    draws = "".join(
        f'<p class="tokens">{look(seg, rng=np.random.default_rng(draw)).draw().html}</p>' for draw in range(3)
    )
    rows = []
    for word in well_split_words(tok.vocab, look.table):
        ways = [tl.Segmentation(pair, _offsets(tok.vocab, pair), tok.vocab[word]) for pair in look.table[word]]
        name = escape(tok.vocab[word].decode())
        rows.append([f"<code>{name}</code>", " ".join(way.draw().html for way in ways)])
    pairs, able = len(look.table.pairs), int((np.diff(look.table.indptr) > 0).sum())
    return f"""<h2>Split some, at random</h2>
<p>The same sentence three times, split at {_AT}: half an attempt for each token. The bytes are the same, the tokens are
others, and a model that reads many such lines learns that they mean the same.</p>
{draws}
<p>A token may be split wherever both halves are tokens too. Of this vocabulary, {able:,} tokens have a split, {pairs:,} in all. Of
the longer ones, these have the most:</p>
{table(["token", "its splits"], rows)}"""


def _encoding(outcome: Outcome) -> str:
    rows = [[name, *values] for name, values in summary_rows(outcome.manifests)]
    return f"""<h2>The corpus, encoded</h2>
<p>Shards in the format that pretraining stacks read, a manifest with a digest of each, every pass split anew:</p>
<pre><code>{_command(outcome)}</code></pre>
{table(["", *map(_named, CONDITIONS)], rows, numbers=2)}"""


def _training(outcome: Outcome) -> str:
    size = outcome.size
    seconds = ", ".join(f"{outcome.seconds[c]:.0f} s {_named(c)}" for c in CONDITIONS)
    return f"""<h2>Two models, one difference</h2>
<p>Each has {size.layers} layers of width {size.width}, {outcome.parameters / 1e6:.2f} million parameters, and the same first
weights; each takes {size.steps} steps of {size.batch} windows of {size.context} tokens ({seconds}). One reads the plain
shards, the other the split ones.</p>
<figure>{learning_chart(outcome.learnt)}<figcaption>Measured per byte of text, because split text has more and
easier tokens. The two do not read the same cuts, so this picture does not say which is better; the next one
does.</figcaption></figure>"""


def _finding(outcome: Outcome) -> str:
    rows = [
        [f"{title}, last word in {pieces} pieces", *(f"{values[c][pieces]:{form}}" for c in CONDITIONS)]
        for title, values, form in (
            ("same next token", outcome.same, ".0%"),
            ("probability moved", outcome.moved, ".2f"),
        )
        for pieces in PIECES[1:]
    ]
    bits = {c: (outcome.bits[c][0.0], outcome.bits[c][_RESPLIT]) for c in CONDITIONS}
    changes = " and ".join(
        f"{_named(c)} from {before:.2f} to {after:.2f} ({after - before:+.2f})" for c, (before, after) in bits.items()
    )
    cards = "\n".join(_continuations(outcome, k) for k in range(len(outcome.shown)))
    return f"""<h2>What is visible at this scale</h2>
<h3>The same text, cut otherwise</h3>
<p>Neither model has read the held-out paragraphs. When they are split at {_AT}, the cost of a byte goes, for
{changes}.</p>
<figure>{bits_chart(outcome.bits)}<figcaption>Lower is better. The StochasTok model was trained at
p&nbsp;=&nbsp;{CONDITIONS["StochasTok"]:g}.</figcaption></figure>
<h3>The same prompt, its last word cut otherwise</h3>
<p>A reader does not care how a word was cut. For {outcome.prompts} held-out prompts, this is how often the most likely
next token stays what it was after the whole word, and how much of the probability moves elsewhere (total variation: 0
nothing, 1 all).</p>
{table(["", *map(_named, CONDITIONS)], rows, numbers=2)}
<p>And this is what the models say, choosing the most likely token each time, after the first such prompt of each text. The
English is that of very small models; look at whether the three lines of one model agree (¶: there it ends the paragraph).</p>
{cards}"""


def _continuations(outcome: Outcome, k: int) -> str:
    prompt = outcome.shown[k]
    parts = []
    for condition in CONDITIONS:
        lines = "".join(
            f"<dt>{way.draw().html}</dt><dd>{escape(' '.join(said.split()))}</dd>"
            for way, said in zip(prompt.ways, outcome.said[condition][k])
        )
        parts.append(f"<p>{_named(condition)}</p><dl>{lines}</dl>")
    head = escape(" ".join(prompt.head.data.decode("utf-8", "replace").split()))
    return f'<div class="card said"><p><b>{head} …</b></p>{"<hr>".join(parts)}</div>'


def _own_corpus() -> str:
    return """<h2>On your own text</h2>
<p>Files or folders of plain text, JSON lines or Parquet, compressed or not; any tokenizer you have. What was interrupted goes on
when the same command is given again.</p>
<pre><code>tokenloom encode corpus/ --tokenizer gpt2 --out tokens --stochastok 0.1
tokenloom verify tokens</code></pre>
<p>Megatron reads the shards as they are. In Python, or where a training loop of yours tokenizes by itself:</p>
<pre><code>import numpy as np
import tokenloom as tl

shards = tl.data.open_shards("tokens")
batches = tl.data.Windows(shards, 1024, batch=8)  # for torch

tok = tl.load_tokenizer("tokenizer.json")
look = tl.StochasTok(tok.vocab, proportion=0.1)
ids = look(tok.encode("Any text.").ids, rng=np.random.default_rng(0))</code></pre>
<p>Nothing else changes: same vocabulary, same model, same loss. After training, the plain tokenizer is used.</p>"""


def _limits(outcome: Outcome) -> str:
    less = 1 - bytes_per_token(outcome.manifests["StochasTok"]) / bytes_per_token(outcome.manifests["plain"])
    return f"""<h2>What this does not show</h2>
<ul>
<li>One seed, and text of a few hundred kilobytes. Small differences mean nothing; another seed moves them.</li>
<li>Neither model is asked to spell, to count letters or to add. Whether splitting helps with that is what the paper is about, and
<code>tokenloom evidence stochastok</code>.</li>
<li>Both took the same number of steps. Split text is longer, so the StochasTok model saw {less:.1%} less of it.</li>
<li>The split model has seen split words and the plain one has not: that it copes better with them is what is meant to happen,
and no proof that it knows their letters.</li>
</ul>"""


def _footer(outcome: Outcome) -> str:
    import torch

    return f"""<footer><p>tokenloom {tl.__version__}, Python {platform.python_version()}, torch {torch.__version__},
{platform.system()} {platform.machine()}, {os.cpu_count()} cores; {outcome.seconds["all"]:.0f} s in all. Texts: {", ".join(TEXTS)},
embedded in the package. Again: <code>make demo</code> or <code>python -m tokenloom.app.demo</code>; beside this page lie the
vocabulary, the shards and both models.</p>
<p>Method: Sims, Foster, Kaleb, Nguyen, Lee, Foerster, Teh, Lu 2025, <a href="https://arxiv.org/abs/2506.01687">StochasTok: Improving
Fine-Grained Subword Understanding in LLMs</a>.</p></footer>"""


# -- pieces ------------------------------------------------------------------------------------------------------------


def _named(condition: str) -> str:
    return f'<span class="{condition.lower()}">{condition}</span>'


def _spread(cell: Mapping[str, Any]) -> str:
    spread = f" ± {cell['spread']:.2f}" if cell.get("spread") is not None else ""
    return f"{cell['mean']:.2f}{spread}"


def _minutes(outcome: Outcome) -> str:
    minutes = outcome.seconds["all"] / 60
    return f"{minutes:.1f} minutes" if minutes >= 1.5 else f"{outcome.seconds['all']:.0f} seconds"


def _offsets(vocab: tl.Vocabulary, ids: Sequence[int]) -> list[int]:
    return [0, *np.cumsum(vocab.lengths[ids]).tolist()]


def _command(outcome: Outcome) -> str:
    passes = outcome.manifests["StochasTok"].settings["epochs"]
    folder = escape(outcome.folder.as_posix())
    return (
        f"tokenloom encode {folder}/corpus --tokenizer {folder}/tokenizer.json \\\n"
        f"    --split paragraph --out tokens --stochastok {CONDITIONS['StochasTok']:g} --epochs {passes}"
    )
