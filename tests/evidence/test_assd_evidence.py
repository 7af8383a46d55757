"""The experiment runs from end to end on the embedded samples; what it finds at full size is in results/assd."""

import json
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the package 'torch'")

from tokenloom.core.errors import CorpusError, InvalidInput
from tokenloom.evidence import assd
from tokenloom.evidence.assd import trials
from tokenloom.evidence.assd.judge import count_grams


@pytest.mark.slow
def test_the_experiment_in_miniature_gives_a_result_and_pictures(tmp_path):
    assd.run(tmp_path, quick=True, seeds=2, workers=1)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert result["system"] == "assd"
    assert all(len(cell["values"]) == 2 for figure in result["figures"] for cell in figure["ours"].values())
    for picture in result["pictures"]:
        assert (tmp_path / picture["file"]).read_bytes().startswith(b"\x89PNG")
    figures = {figure["name"]: figure["ours"] for figure in result["figures"]}
    for name in ("English", "Python"):
        calls, most = figures[f"{name}: calls of the network"], figures[f"{name}: most calls for a text"]
        assert calls["one by one"]["mean"] == 1
        assert abs(calls["at once"]["mean"] * (trials.LENGTH - trials.GIVEN) - 1) < 1e-12
        assert max(most["ASSD"]["values"] + most["ASSD, bigrams"]["values"]) <= 1
        for shown in result["details"]["shown"][name]:
            kept = [(a, b) for a, b in zip(shown["given"], shown["filled"]) if a != "·"]
            assert all(a == b for a, b in kept) and shown["calls"] <= shown["tokens"] == shown["given"].count("·")


def plain_bits(text, row, longest, vocab_size):
    """Witten-Bell by recursion, from counts of tuples."""
    grams = [Counter(zip(*(text[i:] for i in range(n)))) for n in range(1, longest + 1)]

    def probability(context, character):
        rest = probability(context[1:], character) if context else 1 / vocab_size
        followers = {g: c for g, c in grams[len(context)].items() if g[:-1] == context}
        if not followers:
            return rest
        return (followers.get((*context, character), 0) + len(followers) * rest) / (
            sum(followers.values()) + len(followers)
        )

    return [-np.log2(probability(tuple(row[max(0, i - longest + 1) : i]), c)) for i, c in enumerate(row)]


@pytest.mark.parametrize("longest", [1, 2, 4])
def test_the_judge_is_witten_bell(longest):
    rng = np.random.default_rng(longest)
    text, rows = rng.integers(0, 4, 60), rng.integers(0, 5, (6, 9))  # 4 is never seen
    bits = count_grams(text, longest=longest, vocab_size=5)(rows)
    expected = [plain_bits(text.tolist(), row, longest, 5) for row in rows.tolist()]
    assert np.abs(bits - expected).max() < 1e-12


def test_parts_are_apart_and_all_there():
    ids = np.arange(400_000)
    learnt, judged, asked = trials._parts(ids)
    asked = np.concatenate(asked)
    assert sorted([*learnt, *judged, *asked]) == ids.tolist()
    assert 0.6 < len(learnt) / len(ids) < 0.7 and len(judged) > 5 * len(asked)


def test_four_spaces_are_one_character():
    ids = trials._read(None, "Python")
    text = trials.written(ids)
    assert "\t\treturn " in text and "    " not in text
    assert ids.max() < trials.MASK


def test_what_is_missing_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(InvalidInput, match="say where the packages' archives are"):
        assd.run(tmp_path)
    with pytest.raises(InvalidInput, match="seeds=0"):
        assd.run(tmp_path, quick=True, seeds=0)
    with pytest.raises(CorpusError, match="pip download --no-deps scancode-toolkit"):
        assd.run(tmp_path, archives=tmp_path)
    assert list(tmp_path.iterdir()) == []
