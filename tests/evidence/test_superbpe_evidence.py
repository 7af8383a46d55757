"""The experiment runs from end to end on the embedded samples; what it finds at full size is in results/superbpe."""

import json

import pytest

from tokenloom.core.errors import InvalidInput
from tokenloom.evidence import superbpe


@pytest.mark.slow
def test_the_experiment_in_miniature_gives_a_result_and_a_picture(tmp_path):
    superbpe.run(tmp_path, quick=True, seeds=2, workers=1)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    first = result["figures"][0]
    assert first["name"] == "bytes per token, 1,000 ids"
    assert list(first["ours"]) == ["t = 0", *(f"t = {share:g}" for share in superbpe.SHARES[1:-1]), "BPE"]
    *of_seeds, training = result["figures"]
    assert all(len(cell["values"]) == 2 for figure in of_seeds for cell in figure["ours"].values())
    assert list(training["ours"]) == [
        "counting, CPU s",
        "first stage, CPU s",
        "second stage, CPU s",
        "peak memory, GiB",
    ]
    assert all(cell["mean"] > 0 for cell in training["ours"].values())
    assert " of 4 trials" in result["sentence"]
    assert (tmp_path / result["pictures"][0]["file"]).read_bytes().startswith(b"\x89PNG")


def test_a_trial_repeats_itself_and_counts_what_the_tokenizers_do():
    settings = {"files": [], "sizes": [500], "megabytes": 0.02, "seed": 1}
    found = superbpe.trial(**settings)
    assert found == superbpe.trial(**settings)
    assert found["500 1"]["tokens of several words"] == 0 < found["500 0.5"]["tokens of several words"]
    assert 1 < found["500 1"]["bytes per token"] < found["bound"]
    assert "".join(found["500 0.9"]["sentence"]) == superbpe.SENTENCE


def test_training_texts_come_from_the_first_file_and_counts_from_the_others(tmp_path):
    (tmp_path / "learn.txt").write_text("\n\n".join(f"ab cd {i}" for i in range(50)), encoding="utf-8")
    (tmp_path / "count.txt").write_text("ab cd ab cd", encoding="utf-8")
    files = [str(tmp_path / name) for name in ("learn.txt", "count.txt")]
    found = superbpe.trial(files, [270], 1, 0)
    assert found["bound"] == 11 / 4
    assert found["270 1"]["bytes per token"] == 11 / 5  # no " ab" was learnt
    assert found["270 1"]["bytes per token of count.txt"] == 11 / 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({}, "say what to read: --text"), ({"quick": True, "seeds": 0}, "seeds=0"), ({"quick": True, "workers": 0}, "workers=0")],
)  # fmt: skip
def test_what_is_missing_is_told_before_anything_is_written(tmp_path, arguments, words):
    with pytest.raises(InvalidInput, match=words):
        superbpe.run(tmp_path, **arguments)
    assert list(tmp_path.iterdir()) == []
