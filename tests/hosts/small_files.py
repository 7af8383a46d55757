"""Tokenizer files small enough to be read: one of each notation, built with the public classes of `tokenizers`."""

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

WORDS = ["the", "token", "tokens", "low", "lower", "est"]


def word_piece() -> str:
    """Like BERT: lower case, accents and white space dropped, `##` inside words."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = ["[UNK]", "[MASK]", *letters, *(f"##{c}" for c in letters), *WORDS, "##en", "##er", "!", "é"]
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(["[UNK]", "[MASK]"])
    tokenizer.enable_padding(length=9)
    tokenizer.enable_truncation(5)
    return tokenizer.to_str()


def unigram() -> str:
    """Like SentencePiece: `▁`, byte fallback, NFKC, a special token, one added token that is text."""
    pieces = [("<unk>", 0.0), *((f"<0x{byte:02X}>", -20.0) for byte in range(256)), ("▁", -3.0)]
    pieces += [(c, -8.0) for c in "abcdefghijklmnopqrstuvwxyz.é"] + [
        ("▁the", -2.0),
        ("ken", -4.0),
        ("▁to", -3.0),
        ("<s>", 0.0),
    ]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.add_special_tokens(["<unk>", "<s>"])
    tokenizer.add_tokens([AddedToken("<think>", normalized=False)])
    return tokenizer.to_str()


def byte_level(normalizer: normalizers.Normalizer | None = None) -> str:
    """Like GPT-2, with a hundred merges."""
    from tokenloom.hosts.train import train_bpe

    text = train_bpe(["the token tokens lower lowest é ☕ naïve token token " * 3], 300)._text
    tokenizer = Tokenizer.from_str(text)
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    return tokenizer.to_str()


def clip() -> str:
    """Like CLIP: the byte alphabet, and `</w>` at the end of words."""
    vocab = {"a": 0, "b": 1, "a</w>": 2, "b</w>": 3, "ab</w>": 4, "<|endoftext|>": 5}
    tokenizer = Tokenizer(models.BPE(vocab, [("a", "b</w>")], end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.add_special_tokens(["<|endoftext|>"])
    return tokenizer.to_str()


def silent_bpe() -> str:
    """Three letters, no unknown token: other text yields nothing."""
    return Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")])).to_str()
