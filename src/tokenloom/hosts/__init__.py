"""The doors to other people's software."""

from .load import load_tokenizer, tokenizer_from_spec

__all__ = ["load_tokenizer", "tokenizer_from_spec"]
