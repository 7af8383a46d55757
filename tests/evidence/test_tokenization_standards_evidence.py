"""The experiment runs from end to end on the embedded samples; what it finds at full size is in results/tokenization-standards."""

import json

import numpy as np
import pytest
from scipy.stats import kendalltau

from tokenloom.core.errors import CorpusError, InvalidInput
from tokenloom.core.lexicon import WordList
from tokenloom.evidence import tokenization_standards
from tokenloom.evidence.tokenization_standards import sources, trials


@pytest.mark.slow
def test_the_experiment_in_miniature_gives_a_result_and_a_picture(tmp_path):
    tokenization_standards.run(tmp_path, quick=True, seeds=2, workers=1)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    shares = result["figures"][0]["ours"]
    assert {name: len(cell["values"]) for name, cell in shares.items()} == {
        "bytes": 1,
        "tokenloom-en-16k": 1,
        "BPE": 2,
        "Unigram": 2,
    }
    assert all(0 <= value <= 100 for cell in shares.values() for value in cell["values"])
    published = result["details"]["published"]
    assert published["four rows"]["%TR"] == "r = 0.900 (-0.45 … 1.00, n = 4)"
    assert published["eight rows"]["%Pure"].startswith("r = -0.510")
    assert (tmp_path / result["pictures"][0]["file"]).read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_trial_repeats_itself_but_for_the_time():
    settings = {"archives": None, "language": "fi", "seed": None, "size": 1000, "resamples": 3}
    one, other = trials.trial(**settings), trials.trial(**settings)
    for found in (*one.values(), *other.values()):
        assert found["numbers"].pop("seconds") > 0 < found["numbers"].pop("megabytes per second")
    assert one == other
    assert one["bytes"]["by length of text"][-1] == [1.0, one["bytes"]["shares"]["Voikko"]["%TR"][0]]


@pytest.mark.parametrize("n", [3, 9])
def test_the_agreement_of_orders_is_kendalls(n):
    rng = np.random.default_rng(n)
    x, y = rng.permutation(n), rng.permutation(n)
    assert trials._tau(x, y) == pytest.approx(kendalltau(x, y).statistic)
    assert trials._tau(x, x) == 1 == -trials._tau(x, -x)


def test_orders_that_turn_round_are_told():
    def cell(unique, often):
        return {
            "resampled": [[unique, often, unique]] * 4,
            "shares": {"a": {"%TR": [unique, often, unique]}, "b": {"%TR": [often, often, 0]}},
        }

    found = trials.rankings({"x": cell(1, 3), "y": cell(2, 2), "z": cell(3, 1)})
    assert found["unique and occurrences"] == [-1, -1, -1]
    assert found["unique and bytes"] == [1, 1, 1]
    assert (found["a and b, unique"], found["a and b, occurrences"]) == ([-1], [1])


def test_a_lexicon_without_letters_knows_the_rest():
    known = sources._NoLetters(WordList(["a", "ev"], ["i", "ler"], {"ev": ["ev", "e"]}))
    assert [known.is_word(text) for text in ("a", "ev", "xx")] == [False, True, False]
    assert (known.roots("ev"), known.is_affix("i"), known.is_affix("ler")) == ({"ev"}, False, True)


def test_what_is_missing_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(InvalidInput, match="say where the packages' archives are"):
        tokenization_standards.run(tmp_path)
    with pytest.raises(InvalidInput, match="seeds=0"):
        tokenization_standards.run(tmp_path, quick=True, seeds=0)
    with pytest.raises(CorpusError, match="apt-get download hunspell-tr"):
        tokenization_standards.run(tmp_path, archives=tmp_path)
    assert list(tmp_path.iterdir()) == []
