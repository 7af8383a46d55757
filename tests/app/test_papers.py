"""`tokenloom papers` and `tokenloom evidence`: what the catalogue says, and nothing else."""

import json
import sys

import pytest

from tokenloom.app.cli import main
from tokenloom.core.catalogue import catalogue


@pytest.fixture
def tokenloom(monkeypatch, capsys):
    """Run the command line: arguments → (exit code, output, errors)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["tokenloom", *arguments])
        with pytest.raises(SystemExit) as exit_:
            main()
        return exit_.value.code, *capsys.readouterr()

    return run


def test_papers_as_json_are_all_systems_with_their_fields(tokenloom):
    code, output, _ = tokenloom("papers", "--json")
    papers = json.loads(output)
    assert code == 0
    assert [paper["slug"] for paper in papers] == list(catalogue())
    assert {"slug", "title", "stage", "home", "status"} <= papers[0].keys()


def test_papers_are_listed_one_a_line_below_their_stage(tokenloom):
    _, output, _ = tokenloom("papers", "--stage", "graphs")
    first = [line.split()[0] for line in output.splitlines() if line.startswith("  ") and line[2] != " "]
    assert first == [system.slug for system in catalogue().select(stage="graphs")]
    assert output.splitlines()[1].strip() == "graphs"


def test_papers_can_be_chosen_by_status(tokenloom):
    _, output, _ = tokenloom("papers", "--json", "--status", "planned")
    assert {paper["status"] for paper in json.loads(output)} == {"planned"}


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["papers", "--stage", "tokenise"], "no stage 'tokenise'; there are tokenize/text"),
        (["papers", "--status", "done"], "no status 'done'; there are planned, built, proven"),
        (["evidence", "divprun"], "no system 'divprun'; did you mean 'divprune'?"),
        (["evidence", "os"], "no system 'os'"),
        (["evidence", "flextok"], "flextok is planned: it has no evidence yet"),
    ],
)
def test_errors_are_one_line_and_exit_code_one(tokenloom, arguments, words):
    code, output, errors = tokenloom(*arguments)
    assert (code, output) == (1, "")
    assert words in errors
    assert errors.count("\n") == 1


def test_a_wrong_option_is_a_usage_error(tokenloom):
    code, output, errors = tokenloom("papers", "--stages")
    assert (code, output) == (2, "")
    assert "--stages" in errors
