"""Records: every figure is the ratio that its metric says, with an interval where there is enough text."""

import json
import math

import numpy as np
import pytest

from tokenloom.data import sample
from tokenloom.hosts import load_tokenizer
from tokenloom.measure.comparison import compare
from tokenloom.measure.metrics import METRICS
from tokenloom.measure.morphology import read_segmentations
from tokenloom.measure.parity import read_parallel
from tokenloom.measure.words import continued_words, fertility

TOKENIZERS = {"bytes": load_tokenizer("bytes"), "english": load_tokenizer("tokenloom-en-16k")}
TEXT = sample("en-literary")[:40_000]


@pytest.fixture(scope="module")
def found():
    return compare(
        TOKENIZERS,
        [TEXT],
        rng=np.random.default_rng(0),
        parallel=read_parallel(sample("udhr-parallel-13")),
        words=read_segmentations(sample("morph-tr")),
    )


def test_figures_are_those_of_the_plain_functions(found):
    for name, tok in TOKENIZERS.items():
        seg = tok.encode(TEXT)
        value = {
            metric: found.get(name, metric).value for metric in ("fertility", "continued words", "bytes per token")
        }
        assert value["fertility"] == pytest.approx(fertility(seg))
        assert value["continued words"] == pytest.approx(continued_words(seg))
        assert value["bytes per token"] == pytest.approx(len(seg.data) / len(seg))
        assert found.get(name, "tokens").value == len(seg)


def test_every_estimate_lies_in_its_interval_and_names_its_cases(found):
    for record in found.records:
        assert record.metric in METRICS and record.n > 0, record
        if not math.isnan(record.low):
            assert record.low <= record.value <= record.high, record
    assert math.isnan(found.get("english", "tokens").low)


def test_half_of_all_intervals_of_half_confidence_would_not_do(found):
    # The interval of a mean over many stretches is about 2 * 1.96 standard errors wide.
    sums = found.profiles["english"].sums["tokens"]
    ratio = found.text.sums["bytes"].sum() / sums.sum()
    error = np.std(found.text.sums["bytes"] - ratio * sums) * np.sqrt(sums.size) / sums.sum()
    record = found.get("english", "bytes per token")
    assert record.high - record.low == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_the_first_tokenizer_is_the_measure_of_the_others(found):
    assert found.get("bytes", "relative tokens").value == 1.0
    assert found.get("english", "relative tokens").value == pytest.approx(
        1 / found.get("english", "bytes per token").value
    )


def test_the_same_seed_gives_the_same_records():
    def figures():
        made = compare(TOKENIZERS, [TEXT[:20_000]], rng=np.random.default_rng(5))
        return [record for record in made.as_dicts() if record["metric"] != "speed"]

    assert figures() == figures()


def test_rows_are_json_and_missing_values_are_none(found):
    rows = found.as_dicts()
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert {"tokenizer", "metric", "value", "low", "high", "n", "language", "title", "unit"} == set(rows[0])
    assert rows[0]["low"] is None


def test_short_texts_have_figures_without_intervals():
    short = compare(TOKENIZERS, ["A few words."], rng=np.random.default_rng(0))
    assert math.isnan(short.get("english", "fertility").low) and short.get("english", "fertility").value >= 1
    assert math.isnan(short.get("english", "tokens per number").value)
    assert short.get("english", "premium", "de") is None


def test_costly_words_are_those_with_most_tokens_beyond_one():
    found = compare(TOKENIZERS, ["ab abcdefgh ab ab ab ab ab ab ab ab"], rng=np.random.default_rng(0))
    first, second = found.costly_words("bytes")
    assert (first.text, first.occurrences, first.tokens) == ("ab", 9, 18)
    assert (second.text, second.tokens, second.cut[-1]) == ("abcdefgh", 8, b"h")


def test_words_in_one_token_cost_nothing():
    found = compare(TOKENIZERS, ["the the the"], rng=np.random.default_rng(0))
    assert found.costly_words("english") == []


def test_never_used_and_used_tokens_are_all_that_can_stand_for_text(found):
    vocab = TOKENIZERS["english"].vocab
    never, longest = found.never_used("english"), found.longest_used("english", 5)
    used = round(found.get("english", "used").value * found.get("english", "vocabulary").value)
    assert never.size + used == found.get("english", "vocabulary").value == len(vocab) - 1
    assert set(longest.tolist()).isdisjoint(never.tolist())
    assert (np.diff(vocab.lengths[longest]) <= 0).all()


def test_a_base_that_the_aligned_text_lacks_gives_way_to_its_first_language():
    made = compare(
        TOKENIZERS, ["x"], rng=np.random.default_rng(0), parallel=read_parallel("de\tfr\neins\tun"), base="en"
    )
    assert made.base == "de" and made.get("bytes", "premium", "fr").value == 0.5
