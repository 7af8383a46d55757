"""The experiment runs from end to end on generated digits; what it finds at full size is in results/tokenflex."""

import json

import pytest

from tokenloom.core.errors import CorpusError, InvalidInput
from tokenloom.evidence import tokenflex


@pytest.mark.slow
def test_the_experiment_in_miniature_gives_a_result_and_a_picture(tmp_path):
    tokenflex.run(tmp_path, quick=True, seeds=2, workers=1)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert result["system"] == "tokenflex"
    assert all(len(cell["values"]) == 2 for figure in result["figures"] for cell in figure["ours"].values())
    assert (tmp_path / "budgets.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_missing_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(InvalidInput, match="say where the packages' archives are"):
        tokenflex.run(tmp_path)
    with pytest.raises(InvalidInput, match="seeds=0"):
        tokenflex.run(tmp_path, quick=True, seeds=0)
    with pytest.raises(CorpusError, match="pip download --no-deps scikit-learn"):
        tokenflex.run(tmp_path, archives=tmp_path)
    assert list(tmp_path.iterdir()) == []
