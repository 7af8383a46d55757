"""`tokenloom transfer` on a small model made here: a folder that transformers loads, a report, and refusals that write nothing."""

import json
import sys

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from tokenloom.app.cli import main
from tokenloom.data import sample
from tokenloom.tokenize.text.bpe import BPE

TEXT = sample("en-technical")[:20_000]
OLD, NEW = BPE(400)([TEXT]), BPE(500)([sample("en-legal")[:20_000]])


@pytest.fixture
def transfer(monkeypatch, capsys, tmp_path):
    """Run the command in this process, in a folder with a model and a tokenizer: arguments → (exit code, output, errors)."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(OLD.vocab), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "model")
    OLD.save(tmp_path / "old.json")
    PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "old.json"), eos_token="<|endoftext|>").save_pretrained(
        tmp_path / "model"
    )
    NEW.save(tmp_path / "new.json")
    monkeypatch.chdir(tmp_path)

    def run_here(*arguments):
        capsys.readouterr()  # what transformers drew while the models were written
        monkeypatch.setattr(sys, "argv", ["tokenloom", "transfer", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            main()
        return exit_.value.code, *capsys.readouterr()

    return run_here


@pytest.mark.parametrize("method", ["fvt", "mean", "random"])
def test_what_is_written_loads_and_has_the_new_tokens(transfer, tmp_path, method):
    code, output, _ = transfer("model", "-t", "new.json", "-o", "out", "-m", method)
    assert code == 0 and "rows copied" in output and "bits per byte" in output
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    ids = tokenizer("A licence is granted.", return_tensors="pt").input_ids
    assert ids[0].tolist() == NEW.encode("A licence is granted.").ids.tolist()
    assert model(ids).logits.shape[-1] == len(NEW.vocab) == model.config.vocab_size
    assert tokenizer.eos_token == "<|endoftext|>"


def test_the_report_tells_rows_bits_and_the_worst_tokens(transfer, tmp_path):
    transfer("model", "-t", "new.json", "-o", "out", "-q")
    report = json.loads((tmp_path / "out" / "transplant.json").read_text(encoding="utf-8"))
    assert sum(report["rows"].values()) == len(NEW.vocab) and report["rows"]["composed"] > 0
    assert set(report["bits per byte"]) == {"en-literary", "en-technical", "en-legal"}
    costs = [one["occurrences"] * one["bits"] for one in report["worst tokens"]]
    assert costs == sorted(costs, reverse=True) and all(one["row"] == "composed" for one in report["worst tokens"])


def test_the_same_tokenizer_changes_no_bit(transfer, tmp_path):
    transfer("model", "-t", "old.json", "-o", "out", "-q")
    report = json.loads((tmp_path / "out" / "transplant.json").read_text(encoding="utf-8"))
    for bits in report["bits per byte"].values():
        assert bits["before"] == bits["after"]


def test_texts_of_ones_own_are_measured(transfer, tmp_path):
    (tmp_path / "mine.txt").write_text("Some text of mine, not long. " * 20, encoding="utf-8")
    transfer("model", "-t", "new.json", "-o", "out", "-q", "--text", "mine.txt")
    report = json.loads((tmp_path / "out" / "transplant.json").read_text(encoding="utf-8"))
    assert list(report["bits per byte"]) == ["mine.txt"]


def test_focus_learns_from_a_corpus(transfer, tmp_path):
    (tmp_path / "corpus.txt").write_text(TEXT, encoding="utf-8")
    code, _, errors = transfer("model", "-t", "new.json", "-o", "out", "-q", "-m", "focus", "--corpus", "corpus.txt")
    report = json.loads((tmp_path / "out" / "transplant.json").read_text(encoding="utf-8"))
    assert code == 0 and report["rows"]["neighbours"] > 0, errors


def test_a_model_that_predicts_nothing_is_transplanted_without_bits(transfer, tmp_path):
    config = BertConfig(
        vocab_size=len(OLD.vocab), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    BertModel(config).save_pretrained(tmp_path / "bert")
    OLD.save(tmp_path / "bert" / "tokenizer.json")
    code, _, errors = transfer("bert", "-t", "new.json", "-o", "out", "-q")
    assert code == 0, errors
    assert json.loads((tmp_path / "out" / "transplant.json").read_text(encoding="utf-8"))["bits per byte"] == {}


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["nowhere", "-t", "new.json", "-o", "out"], "no config.json"),
        (["model", "-t", "nobody", "-o", "out"], "nobody"),
        (["model", "-t", "new.json", "-o", "model"], "is there already"),
        (["model", "-t", "new.json", "-o", "no/where"], "no folder no"),
        (["model", "-t", "new.json", "-o", "out", "-m", "magic"], "no method 'magic'"),
        (["model", "-t", "new.json", "-o", "out", "-m", "tokenadapt"], "needs --encoder"),
        (["model", "-t", "new.json", "-o", "out", "-m", "wechsel"], "needs --old-vectors"),
        (["model", "-t", "new.json", "-o", "out", "--encoder", "x"], "--encoder does not belong to --method fvt"),
        (["model", "-t", "new.json", "-o", "out", "--text", "empty.txt"], "empty.txt is empty"),
        (["small", "-t", "new.json", "-o", "out"], "its table has 30 rows, but its tokenizer 400 ids"),
        (["model", "-t", "bytes", "-o", "out"], "is no tokenizer.json"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(transfer, tmp_path, arguments, said):
    (tmp_path / "empty.txt").write_text("", encoding="utf-8")
    config = LlamaConfig(
        vocab_size=30, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "small")
    OLD.save(tmp_path / "small" / "tokenizer.json")
    before = sorted(path.name for path in tmp_path.iterdir())
    code, output, errors = transfer(*arguments, "-q")
    assert code == 1 and said in errors and errors.count("\n") == 1 and output == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == before
