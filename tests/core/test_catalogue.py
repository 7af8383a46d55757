"""The catalogue is complete, refuses nonsense, and claims nothing that is not there."""

import json
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import tokenloom
from tokenloom.core.catalogue import KINDS, STAGES, catalogue, parse
from tokenloom.core.errors import InvalidInput, UnknownMethod
from tokenloom.core.generated import generated, outdated

ROOT = Path(__file__).parents[2]
HERE = [system for system in catalogue().values() if system.status != "planned"]

PLANNED = """
[[system]]
slug = "divprune"
title = "DivPrune"
year = 2025
stage = "reduce"
kind = "reducer"
home = "tokenloom.reduce.divprune"
summary = "Keeps the tokens that are farthest from each other."
status = "planned"
"""
BUILT = (
    PLANNED.replace('"planned"', '"built"')
    + """
exports = ["DivPrune"]
built = ["everything"]
tests = ["tests/reduce/test_divprune.py"]
evidence = "tokenloom.evidence.divprune"
docs = "docs/systems/divprune.md"
"""
)


def test_there_are_sixty_nine_systems_and_each_stage_and_kind_is_used():
    systems = catalogue()
    assert len(systems) == 69
    assert {system.stage for system in systems.values()} == set(STAGES)
    assert {system.kind for system in systems.values()} == set(KINDS)


def test_two_methods_of_one_paper_are_one_entry():
    assert catalogue()["supertokens"].parts == ("tokenadapt",)
    assert "tokenadapt" not in catalogue()


def test_homes_are_distinct():
    homes = [system.home for system in catalogue().values()]
    assert len(set(homes)) == len(homes)


@pytest.mark.parametrize("system", HERE, ids=lambda system: system.slug)
def test_every_claim_about_a_system_is_true(system):
    home = import_module(system.home)
    for name in system.exports:
        assert name in home.__all__, f"{system.home} does not offer {name}"
    for path in (*system.tests, system.docs):
        assert (ROOT / path).is_file(), f"{path} is missing"
    assert find_spec(system.evidence), f"{system.evidence} is missing"
    if system.status == "proven":
        result = json.loads((ROOT / "results" / system.slug / "result.json").read_text(encoding="utf-8"))
        assert result, f"results/{system.slug}/result.json is empty"


def test_every_public_name_can_be_had_and_is_listed():
    for name in tokenloom.__all__:
        assert getattr(tokenloom, name) is not None
        assert name in dir(tokenloom)


@pytest.mark.parametrize("room", sorted({name.split(".")[0] for name in catalogue().public if "." in name}))
def test_every_public_name_of_a_room_can_be_had_and_is_listed(room):
    module = getattr(tokenloom, room)
    names = [name.split(".")[1] for name in catalogue().public if name.startswith(f"{room}.")]
    assert sorted(names) == sorted(module.__all__)
    for name in names:
        assert getattr(module, name).__name__ == name
        assert name in dir(module)


def test_a_public_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'tokenloom' has no attribute 'Vocabularies'"):
        tokenloom.Vocabularies  # noqa: B018


def test_generated_files_are_up_to_date():
    assert outdated(ROOT) == [], "run `make generate`"


def test_a_system_outside_tokenize_is_public_in_its_room(tmp_path):
    (tmp_path / "README.md").write_text("", encoding="utf-8")
    files = generated(tmp_path, parse(BUILT))
    room = files[tmp_path / "src" / "tokenloom" / "reduce" / "__init__.py"]
    assert '"DivPrune": "tokenloom.reduce.divprune:DivPrune"' in room
    stub = files[tmp_path / "src" / "tokenloom" / "reduce" / "__init__.pyi"]
    assert "from tokenloom.reduce.divprune import DivPrune as DivPrune" in stub


def test_a_name_in_a_room_can_be_written_with_a_dot():
    assert parse('[public]\nreduce.attach = "tokenloom.reduce.hooks:attach"').public == {
        "reduce.attach": "tokenloom.reduce.hooks:attach"
    }


def test_an_unknown_system_names_the_nearest():
    with pytest.raises(UnknownMethod, match="no system 'stocastok'; did you mean 'stochastok'"):
        catalogue()["stocastok"]


def test_a_stage_stands_for_all_below_it():
    tokenizers = catalogue().select(stage="tokenize")
    assert {system.stage.split("/")[0] for system in tokenizers} == {"tokenize"}
    assert len(tokenizers) == sum(system.stage.startswith("tokenize/") for system in catalogue().values())


def without(field):
    return "\n".join(line for line in PLANNED.splitlines() if not line.startswith(f"{field} ="))


@pytest.mark.parametrize(
    "text, words",
    [
        ("[[system]", "not TOML"),
        ("[[systems]]", "a table 'systems'"),
        (without("title"), "system 'divprune' lacks the field 'title'"),
        (without("slug"), "the system titled 'DivPrune' lacks the field 'slug'"),
        (PLANNED + "colour = 1", "has a field 'colour'"),
        (PLANNED.replace("2025", '"2025"'), "year is '2025'; it must be a year"),
        (PLANNED.replace("2025", "25"), "year is 25"),
        (PLANNED.replace('"DivPrune"', '" "'), "title is ' '; it must be a text"),
        (PLANNED + "parts = 'one'", "parts is 'one'; it must be a list of texts"),
        (PLANNED.replace('"reduce"', '"reducer"'), "stage is 'reducer'; it must be one of"),
        (PLANNED.replace('"reducer"', '"pruner"'), "kind is 'pruner'; it must be one of"),
        (PLANNED.replace('"planned"', '"done"'), "status is 'done'; it must be one of"),
        (PLANNED.replace("tokenloom.reduce.", "tokenloom.predict."), "lives in modules below tokenloom.reduce"),
        (PLANNED.replace("tokenloom.reduce.divprune", "os.path"), "home is 'os.path'"),
        (PLANNED + PLANNED, "'divprune' is entered twice"),
        (PLANNED + "built = ['it']", "planned and yet states 'built'"),
        (BUILT.replace("docs =", "arxiv ="), "is built and must state 'docs'"),
        (BUILT.replace("tokenloom.evidence.", "os."), "evidence is 'os.divprune'"),
        ('[public]\nreduce.DivPrune = "tokenloom.reduce.divprune:DivPrune"\n' + BUILT, "name it once"),
        ('[public]\nx = "tokenloom.core"', 'write "tokenloom.module:attribute"'),
        ('[public]\nx = "os:system"', 'write "tokenloom.module:attribute"'),
        ("[public]\nx = 1", 'write "tokenloom.module:attribute"'),
    ],
)
def test_a_catalogue_is_refused(text, words):
    with pytest.raises(InvalidInput) as caught:
        parse(text)
    assert words in str(caught.value)


def test_a_stage_or_status_is_refused():
    with pytest.raises(InvalidInput, match="no stage 'tokenise'"):
        catalogue().select(stage="tokenise")
    with pytest.raises(InvalidInput, match="no status 'done'"):
        catalogue().select(status="done")
