"""Models in GGUF files: decoded once, then kept as a folder that loads in seconds.

The names and the order of the weights are those of llama.cpp. Its `tokenizer.json` has to be made from the header: which
pattern finds words is only named there.
"""
# O rows of a weight, I its columns

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..core.errors import StoreError, require
from ..core.store import atomic_write, read_json, sha256_file, write_json
from . import gemma
from .gguf_file import GgufFile, read_gguf
from .json_tokenizer import JsonTokenizer
from .model_folder import load_model

if TYPE_CHECKING:
    from torch import nn

__all__ = ["GgufModel", "load_gguf"]

_CONTROL = 3  # the type of a token that no text produces

_MANIFEST = "source.json"
_FORMAT = 1

# Published under the names that llama.cpp gives them; what a file does not tell is taken from there.
_DIGITS = {"type": "Digits", "individual_digits": True}
_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_PRE_TOKENIZERS = {"gpt-2": [_BYTES], "smollm": [_DIGITS, _BYTES]}

_OUTSIDE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_INSIDE = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


@dataclass(frozen=True, eq=False)
class GgufModel:
    """A model of `transformers` and its tokenizer.

    Args:
        model: in float32, for evaluation, on the processor.
        tokenizer: gives the ids that the model was trained on.
    """

    model: nn.Module
    tokenizer: JsonTokenizer


def load_gguf(path: str | Path, cache: str | Path) -> GgufModel:
    """Load a Llama model with byte-level BPE or a Gemma 3 from a GGUF file, by way of a folder that `transformers` reads too.

    The first call decodes the file into `cache`: config.json, model.safetensors (float32, four bytes a weight),
    tokenizer.json and, last, source.json with the digests of all. Later calls need neither the file's weights nor the
    package `gguf`.

    Args:
        path: the file.
        cache: a folder of its own.
    Raises: StoreError: another kind of model or tokenizer; a file that is damaged; a folder that holds another model.
        MissingExtra: `gguf`, `torch` or `transformers` is not installed.
    """
    require("transformers", "hf")
    require("torch", "torch")
    cache = Path(cache)
    source = sha256_file(path)
    if not (cache / _MANIFEST).is_file():
        _convert(read_gguf(path), cache, source)
    manifest = read_json(cache / _MANIFEST)
    match manifest:
        case {"format": int(version), "source": str(known), "files": dict(files)} if version == _FORMAT:
            pass
        case _:
            raise StoreError(f"{cache / _MANIFEST} is not of format {_FORMAT}; give another folder, or remove this one")
    if known != source:
        raise StoreError(
            f"{cache} holds the model of another file than {path}; give another folder, or remove this one"
        )
    for name, digest in files.items():
        if sha256_file(cache / name) != digest:
            raise StoreError(f"{cache / name} is not the file that was written; remove {cache} and load again")
    model = load_model(cache)
    text = (cache / "tokenizer.json").read_text(encoding="utf-8")
    return GgufModel(model, JsonTokenizer(text, Path(path).name))


def _convert(file: GgufFile, cache: Path, source: str) -> None:
    """Write the model as a folder; everything is checked before the first file."""
    from safetensors.numpy import save

    config, tokenizer = _config(file), _tokenizer(file)
    weights = save(_weights(file, config), {"format": "pt"})
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make the folder {cache}: {error.strerror or error}") from error
    write_json(cache / "config.json", config)
    for name, content in (
        ("tokenizer.json", json.dumps(tokenizer, ensure_ascii=False).encode()),
        ("model.safetensors", weights),
    ):
        with atomic_write(cache / name) as out:
            out.write(content)
    names = ("config.json", "tokenizer.json", "model.safetensors")
    digests = {name: sha256_file(cache / name) for name in names}
    write_json(cache / _MANIFEST, {"format": _FORMAT, "source": source, "files": digests})


def _config(file: GgufFile) -> dict[str, Any]:
    """The settings of a model as `config.json` has them."""
    if (kind := file["general.architecture"]) == "gemma3":
        return gemma.config(file)
    if kind != "llama":
        raise StoreError(f"the GGUF file holds a model of the kind {kind!r}; read are 'llama' and 'gemma3'")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(file["tokenizer.ggml.tokens"]),
        "hidden_size": file["llama.embedding_length"],
        "intermediate_size": file["llama.feed_forward_length"],
        "num_hidden_layers": file["llama.block_count"],
        "num_attention_heads": file["llama.attention.head_count"],
        "num_key_value_heads": file["llama.attention.head_count_kv"],
        "max_position_embeddings": file["llama.context_length"],
        "rms_norm_eps": file["llama.attention.layer_norm_rms_epsilon"],
        "rope_theta": file["llama.rope.freq_base"],
        "bos_token_id": file["tokenizer.ggml.bos_token_id"],
        "eos_token_id": file["tokenizer.ggml.eos_token_id"],
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "torch_dtype": "float32",
    }


def _weights(file: GgufFile, config: dict[str, Any]) -> dict[str, np.ndarray]:
    """The weights under the names of `transformers`, decoded."""
    llama = config["model_type"] == "llama"
    inside = _INSIDE if llama else gemma.INSIDE
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]} if llama else {}
    weights = {}
    for name, tensor in file.tensors.items():
        where, _, part = name.removeprefix("blk.").partition(".")
        part = part.removesuffix(".weight")
        if name not in _OUTSIDE and not (name.startswith("blk.") and where.isdigit() and part in inside):
            raise StoreError(
                f"the GGUF file holds {name!r}, which a {config['model_type']} model of transformers does not have"
            )
        weight = tensor.decode()
        if not llama and "norm" in name:
            weight = weight - 1  # transformers adds the one again
        if name in _OUTSIDE:
            weights[_OUTSIDE[name]] = weight
        else:
            turned = _unturned(weight, heads[part]) if part in heads else weight
            weights[f"model.layers.{where}.{inside[part]}.weight"] = turned
    return weights


def _unturned(weight_OI: np.ndarray, heads: int) -> np.ndarray:
    """Rows in the order of transformers, which turns the halves of a head against each other; llama.cpp turns neighbours."""
    rows, columns = weight_OI.shape
    pairs = weight_OI.reshape(heads, rows // heads // 2, 2, columns)
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(rows, columns)


def _tokenizer(file: GgufFile) -> dict[str, Any]:
    """The vocabulary of the header as a `tokenizer.json`."""
    if file["general.architecture"] == "gemma3":
        return gemma.tokenizer(file)
    kind, pre = file["tokenizer.ggml.model"], file["tokenizer.ggml.pre"]
    if kind != "gpt2" or pre not in _PRE_TOKENIZERS:
        known = ", ".join(_PRE_TOKENIZERS)
        raise StoreError(
            f"the GGUF file has a tokenizer {kind!r} with words as in {pre!r}; read is 'gpt2' with {known}"
        )
    tokens = file["tokenizer.ggml.tokens"]
    if len(set(tokens)) < len(tokens):
        raise StoreError("the GGUF file has a token twice; a tokenizer.json cannot tell the two apart")
    special = np.flatnonzero(np.asarray(file["tokenizer.ggml.token_type"]) == _CONTROL).tolist()
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {
        "version": "1.0",
        "added_tokens": [{"id": i, "content": tokens[i], **plain, "special": True} for i in special],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": _PRE_TOKENIZERS[pre]},
        "post_processor": None,
        "decoder": _BYTES,
        "model": {
            "type": "BPE",
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in file["tokenizer.ggml.merges"]],
        },
    }
