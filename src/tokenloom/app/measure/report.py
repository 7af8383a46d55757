"""The page: what was measured, drawn and explained, so that somebody else can decide from it."""

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from math import isnan
from pathlib import Path

import tokenloom as tl

from ...core.drawing import Drawing
from ...core.vocabulary import Vocabulary
from ...measure.comparison import ENTROPY_RESAMPLES, LEXICON_RESAMPLES, RESAMPLES, Comparison, Word
from ...measure.metrics import METRICS
from ..page import table, write_page
from .charts import premium_chart, size_chart, zipf_chart
from .figures import cell, figures, named, number, record_of

__all__ = ["Sources", "verdicts", "write_report"]

PROBES = (
    ("a number", "1234567890"),
    ("sums", "12345 + 678 = 13023; 3.14159"),
    ("dates", "2026-11-27T09:05:00Z"),
    ("code", "def f(x):\n    if x:\n        return x ** 2\n"),
    ("tabs and blank lines", "\tone\n\n\n\t\ttwo   three"),
    ("an address", "https://example.org/a_b?c=1&d=%20"),
    ("capitals", "HTTPServer IMPORTANT iPhone"),
    ("signs", "naïve café — “don’t” … 50 €"),
    ("emoji", "👍🏽 👩‍👩‍👧 🇹🇷"),
)


@dataclass(frozen=True)
class Sources:
    """Where everything came from, in words.

    Args:
        command: as it was given.
        texts: what the text is.
        parallel: what the aligned text is, "" without.
        words: what the list of morphemes is, "" without.
        lexicon: what says which words exist, "" without.
    """

    command: str
    texts: str
    parallel: str = ""
    words: str = ""
    lexicon: str = ""


def write_report(path: Path, found: Comparison, sources: Sources) -> None:
    """Write the page.

    Raises: StoreError: it cannot be written. MissingExtra: matplotlib is not installed.
    """
    sections = [
        _opening(found, sources),
        _text(found),
        _words(found),
        _languages(found, sources) if found.parallel else "",
        _morphology(found, sources),
        _vocabulary(found),
        _probes(found),
        _speed(found),
        _explained(found),
        _footer(found, sources),
    ]
    title = "tokenloom measure: " + ", ".join(map(escape, found.tokenizers))
    write_page(path, title, (section for section in sections if section), look="figures")


def verdicts(found: Comparison) -> list[str]:
    """What a reader in a hurry should know, a sentence each, from the figures alone."""
    first, *others = found.tokenizers
    said = []
    for name in others:
        record = record_of(found, name, "relative tokens")
        change = f"{abs(record.value - 1):.1%} {'fewer' if record.value < 1 else 'more'} tokens than {first}"
        if isnan(record.low):
            said.append(f"{name} takes {change}.")
        elif record.low <= 1 <= record.high:
            said.append(
                f"{name} takes about as many tokens as {first} ({record.low - 1:+.1%} … {record.high - 1:+.1%})."
            )
        else:
            low, high = sorted((abs(record.low - 1), abs(record.high - 1)))
            said.append(f"{name} takes {change} ({low:.1%} … {high:.1%}).")
    for name in found.tokenizers:
        if (unknown := record_of(found, name, "unknown bytes").value) > 0:
            said.append(f"{name} has no token for {unknown:.2%} of the text, which is lost.")
        if (changed := record_of(found, name, "changed bytes").value) > 0:
            said.append(f"{name} changes or drops {changed:.2%} of the text, which cannot be told from its tokens.")
    if found.parallel:
        worst = {name: record_of(found, name, "worst premium") for name in found.tokenizers}
        best = min(worst, key=lambda name: worst[name].value)
        dearest = max(found.parallel.languages, key=lambda one: record_of(found, best, "premium", one).value)
        costs = f"{dearest}, costs {worst[best].value:.2f} times {found.base}."
        said.append(
            f"Fairest to languages: {best}, whose dearest, {costs}" if others else f"The dearest language, {costs}"
        )
    return said


# -- sections ----------------------------------------------------------------------------------------------------------


def _opening(found: Comparison, sources: Sources) -> str:
    size, documents = int(found.text.sums["bytes"].sum()), found.text.documents
    cards = "".join(
        f'<div class="card"><p class="names">{named(found, name)}</p><dl>'
        f"<dt>bytes per token</dt><dd>{number(record_of(found, name, 'bytes per token'))}</dd>"
        f"<dt>tokens per word</dt><dd>{number(record_of(found, name, 'fertility'))}</dd>"
        f"<dt>vocabulary</dt><dd>{number(record_of(found, name, 'vocabulary'))}</dd></dl></div>"
        for name in found.tokenizers
    )
    sentences = "".join(f"<li>{escape(said)}</li>" for said in verdicts(found))
    return f"""<p class="kicker">tokenloom measure</p>
<h1>{len(found.tokenizers)} {"tokenizers" if len(found.tokenizers) > 1 else "tokenizer"}, {_bytes(size)} of text</h1>
<p class="lede">{escape(sources.texts)}: {documents:,} documents, {int(found.text.sums["words"].sum()):,} words, of which
{len(found.text.words):,} are different.</p>
<div class="findings">{cards}</div>
{f"<ul>{sentences}</ul>" if sentences else ""}
<p class="soft">In brackets and in small print: intervals of 95 %.{_interval_note(found)} Set off in bold: better than
all others by more than the intervals.</p>"""


def _interval_note(found: Comparison) -> str:
    if isnan(record_of(found, next(iter(found.tokenizers)), "bytes per token").low):
        return " The text is too short for intervals of its own."
    return ""


def _text(found: Comparison) -> str:
    metrics = ("tokens", "relative tokens", "bytes per token", "characters per token", "words per token")
    more = ("joining tokens", "white tokens", "fragments", "unknown bytes", "changed bytes")
    return f"""<h2>How much text a token holds</h2>
<p>What is billed and what fills a context window. Bytes per token compares tokenizers of any kind on the same text.</p>
<figure>{size_chart(found)}</figure>
{figures(found, [*metrics, *more])}"""


def _words(found: Comparison) -> str:
    blocks = []
    for name in found.tokenizers:
        costly, fine = found.costly_words(name, 6), found.finely_cut_words(name, 4)
        if costly:
            blocks.append(
                f"<h3>{named(found, name)}</h3>"
                + table(["cost most in all", "occurrences", "tokens", "cut"], _word_rows(costly), numbers=2)
                + (table(["cut finest", "occurrences", "tokens", "cut"], _word_rows(fine), numbers=2) if fine else "")
            )
    return f"""<h2>Words</h2>
<p>A word that is cut is read in pieces. Words are runs of letters and marks; in scripts without spaces each letter counts as
one.</p>
{figures(found, ["fertility", "continued words"])}
<p>The words that cost most beyond one token each, over the whole text, and those of four letters or more that are cut
finest:</p>
{"".join(blocks)}"""


def _word_rows(words: Sequence[Word]) -> list[list[str]]:
    return [
        [f"<code>{escape(w.text)}</code>", f"{w.occurrences:,}", f"{w.tokens:,}", Drawing(w.cut).html] for w in words
    ]


def _languages(found: Comparison, sources: Sources) -> str:
    assert found.parallel is not None

    def dearness(language: str) -> float:
        return sum(record_of(found, name, "premium", language).value for name in found.tokenizers)

    languages = sorted(found.parallel.languages, key=dearness)
    rows = [
        [
            escape(language),
            *(cell(record_of(found, name, "premium", language)) for name in found.tokenizers),
        ]
        for language in languages
    ]
    head = ["", *(named(found, name) for name in found.tokenizers)]
    return f"""<h2>Languages</h2>
<p>The same content in {len(languages)} languages: {escape(sources.parallel)}, {len(found.parallel.rows)} texts each. The premium
is what a language costs when {escape(found.base)} costs 1: in money, in time, and in context that is left.</p>
<figure>{premium_chart(found, languages)}</figure>
{table(head, rows, numbers=len(found.tokenizers))}
<p class="soft">A tokenizer that has no token for a script and writes one unknown token for a whole word looks cheap here; see
unknown text above.</p>"""


def _morphology(found: Comparison, sources: Sources) -> str:
    parts = []
    if found.listed:
        parts.append(
            f"<p>{found.listed:,} words with known morphemes: {escape(sources.words)}. A word is hard when a seam between two "
            "morphemes lies inside a token.</p>"
            + figures(
                found, ["boundary precision", "boundary recall", "boundary f1", "hard words", "tokens per listed word"]
            )
        )
    lexical = [metric for metric in METRICS if metric.startswith(("words of", "pure of"))]
    if sources.lexicon:
        parts.append(
            f"<p>Tokens that are words, roots or affixes (%TR) and those that are roots or affixes (%Pure), by {escape(sources.lexicon)}. "
            "The three ways to count may order tokenizers differently: distinct tokens favour small vocabularies, occurrences "
            "favour single letters. The number in small print is how many were judged.</p>"
            + table(
                ["", *(named(found, name) for name in found.tokenizers)],
                [
                    [escape(METRICS[m].title), *(cell(record_of(found, name, m), of=True) for name in found.tokenizers)]
                    for m in lexical
                ],
                numbers=len(found.tokenizers),
            )
        )
    return f"<h2>Morphology</h2>\n{''.join(parts)}" if parts else ""


def _vocabulary(found: Comparison) -> str:
    rows = []
    for name, tokenizer in found.tokenizers.items():
        never = found.never_used(name)
        words = [i for i in never.tolist() if _is_word(tokenizer.vocab[i])]
        longest = _tokens(tokenizer.vocab, found.longest_used(name, 8))
        rows.append([named(found, name), longest, f"{never.size:,}", _tokens(tokenizer.vocab, words[:8])])
    return f"""<h2>Vocabulary</h2>
<p>Rows of the embedding that the text never touches are paid for and not trained. A steep curve means few tokens do most of the
work.</p>
<figure>{zipf_chart(found)}</figure>
{figures(found, ["vocabulary", "used", "entropy", "entropy per byte", "renyi efficiency"])}
{table(["", "longest that occur", "never occur", "the longest words of them"], rows)}"""


def _probes(found: Comparison) -> str:
    rows = []
    for title, text in PROBES:
        for name, tokenizer in found.tokenizers.items():
            try:
                seg = tokenizer.encode(text)
            except tl.TokenloomError:
                rows.append([title, named(found, name), "–", "cannot be encoded"])
            else:
                rows.append([title, named(found, name), f"{len(seg)}", seg.draw().html])
            title = ""
    numbers = figures(found, ["whole numbers", "tokens per number"]) if found.text.sums["numbers"].any() else ""
    return f"""<h2>Numbers, white space, signs</h2>
<p>Numbers are easier to add when all are cut alike; indentation should not cost a token a space.</p>
{numbers}
{table(["", "", "tokens", "cut"], rows)}"""


def _speed(found: Comparison) -> str:
    engines = ", ".join(f"{escape(n)}: {escape(getattr(t, 'engine', 'its own'))}" for n, t in found.tokenizers.items())
    return f"""<h2>Speed</h2>
<p>Of the engine that does the work here ({engines}), on {os.cpu_count()} cores, while this text was read.</p>
{figures(found, ["speed"])}"""


def _explained(found: Comparison) -> str:
    shown = dict.fromkeys(record.metric for record in found.records)
    rows = [
        [
            escape(METRICS[m].title),
            escape(METRICS[m].formula),
            escape(METRICS[m].unit or "–"),
            _source(METRICS[m].source),
        ]
        for m in METRICS
        if m in shown
    ]
    stretch = found.text.stretch
    return f"""<h2>What the figures are</h2>
{table(["", "how it comes about", "unit", "source"], rows)}
<p>Intervals: the basic bootstrap with {RESAMPLES:,} resamples ({ENTROPY_RESAMPLES} for entropies, {LEXICON_RESAMPLES} for %TR and
%Pure). Drawn again are stretches of {_bytes(stretch)} of the text, rows of the aligned text, and words of the list; of what
depends on how many kinds of tokens there are, such as entropies, the interval tells the spread, not what a longer text
would have. They say how far a figure would move on more text <em>of the same kind</em>, nothing about other text.</p>
<p>What this page does not say: how well a model does with a tokenizer. Fewer tokens are cheaper; whether they are better, only
training tells.</p>"""


def _footer(found: Comparison, sources: Sources) -> str:
    digests = "; ".join(f"{escape(name)} {tok.digest[:12]}" for name, tok in found.tokenizers.items())
    return f"""<footer><p>Again: <code>{escape(sources.command)}</code></p>
<p>tokenloom {tl.__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores.
Tokenizers by digest: {digests}.</p></footer>"""


# -- pieces ------------------------------------------------------------------------------------------------------------


def _tokens(vocab: Vocabulary, ids: Iterable[int]) -> str:
    return " ".join(Drawing([_short(vocab[int(i)])]).html for i in ids)


def _is_word(token: bytes) -> bool:
    return token.decode("utf-8", "replace").strip().isalpha()


def _short(token: bytes, most: int = 40) -> bytes:
    return token if len(token) <= most else token[:most] + f"… ({len(token)} bytes)".encode()


def _source(source: str) -> str:
    words, arxiv, number_ = source.partition(", arXiv ")
    return (
        f'{escape(words)}, <a href="https://arxiv.org/abs/{number_}">arXiv {number_}</a>' if arxiv else escape(source)
    )


def _bytes(size: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size} bytes"
