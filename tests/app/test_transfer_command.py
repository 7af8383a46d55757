"""`tokenloom transfer` on a small model made here: a folder that transformers loads, a report, and refusals that write nothing."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    ViTConfig,
    ViTModel,
)

from tokenloom.app.cli import main
from tokenloom.data import sample
from tokenloom.tokenize.text.bpe import BPE
from tokenloom.transfer.rows import shared_ids

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


@pytest.mark.parametrize("name", ["chat_template.jinja", "tokenizer_config.json"])
def test_the_chat_template_is_carried_over(transfer, tmp_path, name):
    template = "{% for one in messages %}{{ one.role }}: {{ one.content }}\n{% endfor %}"
    content = template if name.endswith("jinja") else json.dumps({"chat_template": template})
    (tmp_path / "model" / name).write_text(content, encoding="utf-8")
    code, _, errors = transfer("model", "-t", "new.json", "-o", "out", "-q")
    assert code == 0, errors
    written = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert written.apply_chat_template([{"role": "user", "content": "hello"}], tokenize=False) == "user: hello\n"


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


def test_wechsel_brings_vectors_of_other_widths_into_one_space_and_keeps_shared_rows(transfer, tmp_path):
    words, rng = sorted({*TEXT.split()}), np.random.default_rng(0)
    for name, width in (("old.vec", 7), ("new.vec", 5)):
        lines = [
            " ".join([word, *map(str, row)]) for word, row in zip(words, rng.normal(size=(len(words), width)).round(3))
        ]
        (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "d.txt").write_text("".join(f"{word}\t{word}\n" for word in words[:200]), encoding="utf-8")
    code, _, errors = transfer(
        "model", "-t", "new.json", "-o", "out", "-q", "-m", "wechsel",
        "--old-vectors", "old.vec", "--new-vectors", "new.vec", "--dictionary", "d.txt",
    )  # fmt: skip
    assert code == 0, errors
    rows = json.loads((tmp_path / "out" / "transplant.json").read_text(encoding="utf-8"))["rows"]
    assert rows["neighbours"] > 20 and rows["copied"] == shared_ids(OLD.vocab, NEW.vocab)[1].size


def test_a_model_that_predicts_nothing_is_transplanted_without_bits(transfer, tmp_path):
    config = BertConfig(
        vocab_size=len(OLD.vocab), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    BertModel(config).save_pretrained(tmp_path / "bert")
    OLD.save(tmp_path / "bert" / "tokenizer.json")
    code, _, errors = transfer("bert", "-t", "new.json", "-o", "out", "-q")
    assert code == 0, errors
    assert json.loads((tmp_path / "out" / "transplant.json").read_text(encoding="utf-8"))["bits per byte"] == {}
    model = AutoModel.from_pretrained(tmp_path / "out")
    assert type(model) is BertModel and model.get_input_embeddings().num_embeddings == len(NEW.vocab)


def config_of(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def cut_off(folder):
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:2000])


def without(folder, name):
    weights = load_file(folder / "model.safetensors")
    del weights[name]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def not_numbers(folder):
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][0] = torch.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def sees_pictures(folder):
    config = ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, image_size=8, patch_size=4
    )
    ViTModel(config).save_pretrained(folder)


# What was done to a folder of a model → what is said of it.
BROKEN = {
    "no tokenizer": (lambda at: (at / "tokenizer.json").unlink(), "model holds no tokenizer"),
    "no weights": (lambda at: (at / "model.safetensors").unlink(), "no file named model.safetensors"),
    "half of the weights": (cut_off, "model cannot be read as a model: Error while deserializing"),
    "a weight fewer": (lambda at: without(at, "model.layers.0.mlp.up_proj.weight"), "1 weights are missing, model.layers.0.mlp.up_proj"),
    "another width": (lambda at: config_of(at, hidden_size=32), "(400, 16), but config.json wants (400, 32)"),
    "no number": (lambda at: config_of(at, hidden_size="x"), "expected int"),
    "heads that do not fit": (lambda at: config_of(at, num_attention_heads=3), "not a multiple of the number of attention heads"),
    "an unknown class": (lambda at: config_of(at, architectures=["FooForCausalLM"]), "has no FooForCausalLM"),
    "code of its own": (lambda at: config_of(at, model_type="foo", auto_map={"AutoConfig": "x.Y"}), "custom code"),
    "no numbers": (not_numbers, "are not finite; are its weights?"),
    "a broken template": (lambda at: (at / "tokenizer_config.json").write_text("{"), "tokenizer_config.json"),
    "pictures": (sees_pictures, "ViTModel has no input embeddings of ids"),
}  # fmt: skip


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_model_is_told_in_one_line_and_nothing_is_written(transfer, tmp_path, how):
    breaks, said = BROKEN[how]
    breaks(tmp_path / "model")
    before = sorted(path.name for path in tmp_path.iterdir())
    code, output, errors = transfer("model", "-t", "new.json", "-o", "out", "-q")
    assert code == 1 and said in errors and errors.count("\n") == 1 and output == "", errors
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("encoder", "said"),
    [
        ("nowhere", "nowhere is no folder of a model"),
        ("empty", "empty is no folder of a model"),
        ("bare", "bare holds no encoder that transformers can read"),
        ("half", "half holds no encoder that transformers can read"),
    ],
)
def test_a_broken_encoder_is_told_in_one_line_too(transfer, tmp_path, encoder, said):
    (tmp_path / "empty").mkdir()
    shutil.copytree(tmp_path / "model", tmp_path / "bare", ignore=shutil.ignore_patterns("tokenizer*"))
    shutil.copytree(tmp_path / "model", tmp_path / "half")
    cut_off(tmp_path / "half")
    code, _, errors = transfer("model", "-t", "new.json", "-o", "out", "-q", "-m", "tokenadapt", "--encoder", encoder)
    assert code == 1 and said in errors and errors.count("\n") == 1, errors
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "rise", [KeyboardInterrupt(), OSError(28, "No space left on device"), SafetensorError("I/O error")]
)
def test_a_run_that_ends_while_it_writes_leaves_nothing(transfer, tmp_path, monkeypatch, rise):
    def stop(*_, **__):
        raise rise

    monkeypatch.setattr(PreTrainedTokenizerFast, "save_pretrained", stop)  # the weights are there by then
    before = sorted(path.name for path in tmp_path.iterdir())
    code, _, errors = transfer("model", "-t", "new.json", "-o", "out", "-q")
    assert code != 0 and errors.count("\n") <= 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_worst_tokens_are_new_ones_by_what_they_cost_together(transfer, tmp_path):
    (tmp_path / "mine.txt").write_text("licensed " * 40 + "hereby " * 3, encoding="utf-8")
    transfer("model", "-t", "new.json", "-o", "out", "-q", "--text", "mine.txt")
    report = json.loads((tmp_path / "out" / "transplant.json").read_text(encoding="utf-8"))
    rows = {one["row"] for one in report["worst tokens"]}
    assert rows == {"composed"} and report["worst tokens"][0]["occurrences"] > 3


WECHSEL = ["model", "-t", "new.json", "-o", "out", "-m", "wechsel", "--old-vectors", "v.vec", "--new-vectors"]


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
        (["model", "-t", "model/config.json", "-o", "out"], "is not a tokenizer.json"),
        ([*WECHSEL, "v.vec"], "needs --dictionary"),
        ([*WECHSEL, "no.vec", "--dictionary", "d.txt"], "no.vec cannot be read as word vectors"),
        ([*WECHSEL, "v.vec", "--dictionary", "bad.txt"], "no pair of the dictionary has both words"),
        ([*WECHSEL, "v.vec", "--dictionary", "empty.txt"], "no pair of the dictionary has both words"),
        ([*WECHSEL, "v.vec", "--dictionary", "v.vec"], "line 1 has 3 columns"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(transfer, tmp_path, arguments, said):
    (tmp_path / "empty.txt").write_text("", encoding="utf-8")
    (tmp_path / "v.vec").write_text("the 1 0\nof 0 1\n", encoding="utf-8")
    (tmp_path / "bad.txt").write_text("zzz\tyyy\n", encoding="utf-8")
    config = LlamaConfig(
        vocab_size=30, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "small")
    OLD.save(tmp_path / "small" / "tokenizer.json")
    before = sorted(path.name for path in tmp_path.iterdir())
    code, output, errors = transfer(*arguments, "-q")
    assert code == 1 and said in errors and errors.count("\n") == 1 and output == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == before
