"""Gemma 3 as GGUF files have it, told as transformers has it: settings, names of weights, and the vocabulary.

The vocabulary is SentencePiece's: pieces with scores. Two neighbours are merged if together they are a piece, the one with
the highest score first; as a list of merges it is what `tokenizers` reads.
"""
# V pieces

from __future__ import annotations

from typing import Any

import numpy as np

from .gguf_file import GgufFile

__all__ = ["INSIDE", "config", "tokenizer"]

INSIDE = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "post_ffw_norm": "post_feedforward_layernorm",
}

_CONTROL, _USER = 3, 4  # types of tokens: no text produces them; they are found in texts before anything is merged

# What files of this architecture do not tell: the base of the rotary frequencies in layers that see a window of the text, and
# which layers these are.
_LOCAL_BASE, _EVERY = 10_000.0, 6


def config(file: GgufFile) -> dict[str, Any]:
    """The settings as `config.json` has them."""
    layers = file["gemma3.block_count"]
    return {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        "vocab_size": len(file["tokenizer.ggml.tokens"]),
        "hidden_size": file["gemma3.embedding_length"],
        "intermediate_size": file["gemma3.feed_forward_length"],
        "num_hidden_layers": layers,
        "num_attention_heads": file["gemma3.attention.head_count"],
        "num_key_value_heads": file["gemma3.attention.head_count_kv"],
        "head_dim": file["gemma3.attention.key_length"],
        "query_pre_attn_scalar": file["gemma3.attention.key_length"],
        "max_position_embeddings": file["gemma3.context_length"],
        "rms_norm_eps": file["gemma3.attention.layer_norm_rms_epsilon"],
        "rope_theta": file["gemma3.rope.freq_base"],
        "rope_local_base_freq": _LOCAL_BASE,
        "sliding_window": file["gemma3.attention.sliding_window"],
        "layer_types": ["sliding_attention" if (i + 1) % _EVERY else "full_attention" for i in range(layers)],
        "bos_token_id": file["tokenizer.ggml.bos_token_id"],
        "eos_token_id": file["tokenizer.ggml.eos_token_id"],
        "pad_token_id": file["tokenizer.ggml.padding_token_id"],
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "torch_dtype": "float32",
    }


def tokenizer(file: GgufFile) -> dict[str, Any]:
    """The vocabulary of the header as a `tokenizer.json`."""
    # Runs of spaces are written as such, all other tokens with marks.
    tokens = [token.replace(" ", "▁") for token in file["tokenizer.ggml.tokens"]]
    scores, types = np.asarray(file["tokenizer.ggml.scores"]).tolist(), np.asarray(file["tokenizer.ggml.token_type"])
    vocab = {token: i for i, token in enumerate(tokens)}
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added = [
        {"id": i, "content": tokens[i], **plain, "special": bool(types[i] == _CONTROL)}
        for i in np.flatnonzero((types == _CONTROL) | (types == _USER)).tolist()
    ]
    marks = {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}
    return {
        "version": "1.0",
        "added_tokens": added,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [marks, {"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {
            "type": "BPE",
            "unk_token": tokens[file["tokenizer.ggml.unknown_token_id"]],
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": vocab,
            "merges": _merges(tokens, scores, vocab, set(np.flatnonzero(types == _USER).tolist())),
        },
    }


def _merges(tokens: list[str], scores: list[float], vocab: dict[str, int], users: set[int]) -> list[list[str]]:
    """All pairs of pieces that together are one: by the score of what they make, of equals by their ids.

    Runs of one character are found whole, as long as they are; as merges, they come first, the longest of all.
    """
    pairs = []
    for i, token in enumerate(tokens):
        order = (0, -len(token)) if i in users else (1, -scores[i])
        for cut in range(1, len(token)):
            left, right = vocab.get(token[:cut]), vocab.get(token[cut:])
            if left is not None and right is not None:
                pairs.append((order, i, left, right))
    pairs.sort()
    return [[tokens[left], tokens[right]] for _, _, left, right in pairs]
