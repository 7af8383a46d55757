"""`tokenloom bench reduce`: what it writes, and what it refuses."""

import json

import pytest
from typer.testing import CliRunner

from tokenloom.app.bench import _cell
from tokenloom.app.cli import app


@pytest.mark.slow
def test_a_quick_run_writes_a_page_with_every_reducer(tmp_path):
    page, work = tmp_path / "reduce.html", tmp_path / "work"
    arguments = ["bench", "reduce", "--quick", "--seeds", "1", "--workers", "1", "--keep", "0.25"]
    done = CliRunner().invoke(app, [*arguments, "-o", str(page), "--work", str(work)])
    assert done.exit_code == 0, done.output
    text = page.read_text(encoding="utf-8")
    for name in ("DivPrune", "FastV", "ToMe", "nothing reduced", "Time to choose"):
        assert name in text
    again = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path / "b.html"), "--work", str(work), "--json"])
    assert json.loads(again.stdout)["answered"]["0.25"]["random"]["tokens"] == [4.0]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--keep", "0"], "above 0 and below 1"),
        ([], "archives"),
        (["--archives", "nowhere"], "nowhere"),
        (["-o", "nowhere/a.html", "--quick"], "no folder nowhere"),
        (["-o", "there.html", "--quick"], "--force"),
    ],
)
def test_mistakes_are_told_and_nothing_is_written(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.html").write_text("mine", encoding="utf-8")
    done = CliRunner().invoke(app, ["bench", "reduce", *arguments, *(["--quick"] if "--keep" in arguments else [])])
    assert done.exit_code != 0 and words in str(done.exception)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there.html"]


def test_a_cell_shows_the_mean_and_half_of_the_range():
    assert _cell([0.5, 0.6]) == "0.550 ± 0.050"
    assert _cell([0.5, 0.6], spread=False) == "0.550"
    assert _cell([64.0, 64.0]) == "64.0" and _cell(None) == "–"
