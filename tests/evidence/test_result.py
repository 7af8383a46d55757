"""Trials are run once and survive; a result says mean, spread and what made it."""

import json
from pathlib import Path

import pytest

from tokenloom.core.ledger import Ledger
from tokenloom.evidence.result import Figure, Picture, run_trials, write_result


def leave_a_mark(folder, name, value):
    """A trial: counts its runs in a file."""
    with Path(folder, f"{name}.runs").open("a", encoding="utf-8") as file:
        file.write("x")
    if value < 0:
        raise ValueError("a trial that fails")
    return {"twice": 2 * value}


def runs_of(folder, **values):
    return {name: {"folder": str(folder), "name": name, "value": value} for name, value in values.items()}


def marks(folder):
    return {path.stem: path.read_text() for path in folder.glob("*.runs")}


def test_what_is_finished_is_not_run_again_and_an_interrupted_set_goes_on(tmp_path):
    kept, seen = tmp_path / ".trials", []
    with pytest.raises(ValueError, match="a trial that fails"):
        run_trials(leave_a_mark, runs_of(tmp_path, a=1, b=-1), kept)
    results = run_trials(leave_a_mark, runs_of(tmp_path, a=1, b=2), kept, workers=2, progress=seen.append)
    assert results == {"a": {"twice": 2}, "b": {"twice": 4}}
    assert marks(tmp_path) == {"a": "x", "b": "xx"}
    assert seen == ["a", "b"]


def test_other_settings_are_another_trial(tmp_path):
    kept = tmp_path / ".trials"
    run_trials(leave_a_mark, runs_of(tmp_path, a=1), kept)
    assert run_trials(leave_a_mark, runs_of(tmp_path, a=5), kept) == {"a": {"twice": 10}}
    assert marks(tmp_path) == {"a": "xx"}


def test_a_result_states_mean_spread_values_and_versions(tmp_path):
    write_result(
        tmp_path,
        system="stochastok",
        sentence="It shows this and not that.",
        settings={"steps": 3},
        seeds=[0, 1],
        figures=[Figure("accuracy", {"plain": [0.25, 0.75], "split": [1.0]}, paper="0.9", unit="share")],
        pictures=[Picture("a.png", "What it shows.")],
        ledger=Ledger(tokens=7),
    )
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert result["figures"] == [
        {
            "name": "accuracy",
            "unit": "share",
            "paper": "0.9",
            "ours": {
                "plain": {"mean": 0.5, "spread": pytest.approx(0.5**0.5 / 2), "values": [0.25, 0.75]},
                "split": {"mean": 1.0, "spread": None, "values": [1.0]},
            },
        }
    ]
    assert result["ledger"]["tokens"] == 7
    assert result["versions"]["numpy"] and result["machine"] and result["seeds"] == [0, 1]
