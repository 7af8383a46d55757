"""The experiment runs from end to end on the embedded samples; what it finds at full size is in results/supertokens."""

import json

import pytest

from tokenloom.core.errors import InvalidInput
from tokenloom.evidence import supertokens


@pytest.mark.slow
def test_the_experiment_in_miniature_gives_a_result_and_a_picture(tmp_path):
    supertokens.run(tmp_path, quick=True, seeds=2, workers=1)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert list(result["figures"][0]["ours"]) == list(supertokens.METHODS)
    assert all(len(cell["values"]) == 2 for figure in result["figures"] for cell in figure["ours"].values())
    assert (tmp_path / result["pictures"][0]["file"]).read_bytes().startswith(b"\x89PNG")


def test_a_trial_repeats_itself_and_tells_tokens_that_cross_a_space(monkeypatch):
    monkeypatch.setattr(supertokens, "LIMIT", 3000)
    settings = {"files": [], "megabytes": [0.02], "sizes": [400, 500], "passes": [1, 20], "seed": 1}
    found = supertokens.trial(**settings)
    assert found == supertokens.trial(**settings)
    assert found["0.02 500"]["word BPE"]["cross a space"] == 0 < found["0.02 500"]["Supertokens"]["cross a space"]
    assert found["0.02 400"]["word BPE"]["bytes per token"] < found["0.02 500"]["word BPE"]["bytes per token"]
    assert 0 < found["limit"]["1"] < found["limit"]["20"] <= 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({}, "say what to read: --text"), ({"quick": True, "seeds": 0}, "seeds=0"), ({"quick": True, "workers": 0}, "workers=0")],
)  # fmt: skip
def test_what_is_missing_is_told_before_anything_is_written(tmp_path, arguments, words):
    with pytest.raises(InvalidInput, match=words):
        supertokens.run(tmp_path, **arguments)
    assert list(tmp_path.iterdir()) == []
