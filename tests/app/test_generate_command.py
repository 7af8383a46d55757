"""`tokenloom generate`: text as it is written, statistics, a matrix that stays, and mistakes that are told before the model is loaded."""

import json

import pytest
import torch
from typer.testing import CliRunner

from tokenloom.app.cli import app
from tokenloom.core.errors import TokenloomError
from tokenloom.data import sample
from tokenloom.hosts.model_folder import save_model
from tokenloom.tokenize.text.bpe import BPE

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    tokenizer = BPE(300)([sample("en-technical")[:5_000]])
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer.vocab), hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=128, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    place = tmp_path_factory.mktemp("models") / "small"
    save_model(transformers.LlamaForCausalLM(config), tokenizer, {}, place, notes={})
    return place


def run(*words, **options):
    return CliRunner().invoke(app, ["generate", *map(str, words)], **options)


def test_the_text_is_the_same_with_a_drafter_and_statistics_go_elsewhere(folder):
    plain, drafted = (run(folder, "-p", "the", "-n", 40, "-d", drafter) for drafter in ("none", "recycling"))
    assert plain.exit_code == drafted.exit_code == 0 and plain.stdout == drafted.stdout != ""
    assert "40 tokens in 40 passes (1.00 each)" in plain.stderr
    assert "stayed by depth" in drafted.stderr and "40 tokens in" in drafted.stderr
    assert run(folder, "-p", "the", "-n", 40, "-q").stderr == ""
    assert run(folder, "-p", "-", "-n", 40, input="the").stdout == plain.stdout


def test_json_tells_all(folder, tmp_path):
    (tmp_path / "p.txt").write_text("the")
    told = json.loads(
        run(
            folder, "--prompt-file", tmp_path / "p.txt", "-n", 9, "--json", "--tree", "published", "-d", "recycling"
        ).stdout
    )
    assert len(told["ids"]) == told["tokens"] == 9 and told["stopped"] == "length"
    assert told["ledger"]["forward_passes"] in (told["passes"], told["passes"] + 1) and told["tokens a pass"] >= 1
    assert told["text"] in run(folder, "-p", "the", "-n", 9).stdout


def test_a_seed_is_a_text(folder):
    first, again, other = (
        run(folder, "-p", "the", "-n", 20, "--temperature", 1, "--seed", seed).stdout for seed in (0, 0, 1)
    )
    assert first == again != other


def test_what_was_learnt_stays_in_a_folder(folder, tmp_path):
    first, second = (
        run(folder, "-p", "the", "-n", 40, "-d", "recycling", "--matrix", tmp_path / "m", "--json") for _ in range(2)
    )
    assert json.loads(second.stdout)["passes"] <= json.loads(first.stdout)["passes"]
    assert (tmp_path / "m" / "matrix.safetensors").is_file()


def test_a_tree_can_be_measured(folder):
    assert run(folder, "-p", "the", "-n", 5, "-d", "recycling", "--tree", "measured").exit_code == 0


@pytest.mark.parametrize(
    "words, message",
    [
        (["-p", ""], "the prompt is empty"),
        ([], "give the text to continue"),
        (["-p", "a", "--prompt-file", "b"], "give the text to continue"),
        (["--prompt-file", "missing"], "cannot read missing"),
        (["-p", "a", "-d", "eagle"], "no drafter 'eagle'"),
        (["-p", "a", "-d", "recycling", "--tree", "oak"], "no tree 'oak'"),
        (["-p", "a", "--tree", "published"], "belong to --drafter recycling"),
        (["-p", "a", "-n", "200"], "the model has 128 positions"),
        (["-p", "a", "--chat"], "does not say how conversations are written"),
        (["-p", "a", "--top-p", "0"], "top_p=0"),
    ],
)
def test_mistakes_are_one_clear_error(folder, words, message):
    result = run(folder, *words)
    assert isinstance(result.exception, TokenloomError) and message in str(result.exception)
    assert result.stdout == ""


def test_a_folder_that_is_none_is_told(tmp_path, folder):
    assert "is no folder of a model" in str(run(tmp_path, "-p", "a").exception)
    (tmp_path / "f").mkdir()
    assert "holds no matrix" in str(run(folder, "-p", "a", "-d", "recycling", "--matrix", tmp_path / "f").exception)
