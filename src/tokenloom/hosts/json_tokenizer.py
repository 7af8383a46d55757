"""Tokenizers that a Hugging Face `tokenizer.json` describes, whoever's engine runs them."""
# T tokens

import json
from functools import cached_property
from typing import Any

import numpy as np

from ..core.errors import InvalidInput, TokenizerError
from ..core.store import digest_of
from ..core.vocabulary import Vocabulary
from .engines import FastokensEngine, Flat, TokenizersEngine
from .host import HostTokenizer
from .offsets import ends_by_span
from .pairs import PairsEngine
from .probe import same_ids
from .surface import parts, surface_vocabulary
from .words import WordsEngine, word_pattern

__all__ = ["JsonTokenizer"]

# What these say does not change how a text is cut; for the last, it moves spans.
_SILENT = ("padding", "truncation", "post_processor")
# Memory is reserved up to the highest id of a file; published vocabularies have fewer than half a million.
_MOST_IDS = 1 << 24


class JsonTokenizer(HostTokenizer):
    """A tokenizer described by a `tokenizer.json`.

    Args:
        source: the text of the file, or the parsed text.
        name: what messages call it.
        engine: "tokenloom", "fastokens", "tokenizers", or None for the fastest that gives the same ids as `tokenizers`.
        trusted: take `engine` without comparing ids; for another process of the same run.
    Raises: TokenizerError: no engine can read it, or `engine` is not to be had for this file.
    """

    def __init__(
        self, source: str | dict[str, Any], name: str, *, engine: str | None = None, trusted: bool = False
    ) -> None:
        if engine not in (None, "tokenizers", "fastokens", "tokenloom"):
            raise InvalidInput(f"engine={engine!r}; engines are 'tokenizers', 'fastokens', 'tokenloom', None chooses")
        self.name = name
        self._json = _parse(source, name) if isinstance(source, str) else source
        self._text = source if isinstance(source, str) else json.dumps(source, ensure_ascii=False)
        self._engine = self._choose(engine, trusted)
        self.engine = self._engine.name

    def _choose(
        self, engine: str | None, trusted: bool
    ) -> TokenizersEngine | FastokensEngine | WordsEngine | PairsEngine:
        if engine == "fastokens" and trusted:
            return self._fast()
        reference = self._reference  # reads every valid file: what it refuses is refused
        if engine == "tokenloom" or (engine is None and not _is_cut(self._json)):
            ours = self._ours_or_why_not(trusted)
            if isinstance(ours, PairsEngine):
                return ours
            if engine == "tokenloom":
                raise TokenizerError(ours)
        if engine != "tokenizers":
            fast = self._fast_or_why_not()
            if isinstance(fast, FastokensEngine):
                return fast
            if engine == "fastokens":
                raise TokenizerError(fast)
        if engine is None:
            ours = self._ours_or_why_not(trusted)
            if isinstance(ours, PairsEngine):
                return ours
        return self._by_words(reference, trusted)

    def _ours_or_why_not(self, trusted: bool) -> PairsEngine | str:
        """The compiled encoder, if it gives the ids of `tokenizers`; otherwise what stands in the way."""
        try:
            ours = PairsEngine(self._reference, self._json)
        except TokenizerError as error:
            return f"engine='tokenloom' cannot read {self.name}: {error}"
        if trusted or same_ids(ours, self._reference, self._json):
            return ours
        return f"engine='tokenloom' gives other ids for {self.name} than tokenizers; use engine='tokenizers'"

    def _fast_or_why_not(self) -> FastokensEngine | str:
        """fastokens, if it gives the ids of `tokenizers`; otherwise what stands in the way."""
        if not FastokensEngine.installed():
            return "engine='fastokens' is not installed: pip install 'tokenloom[data]'"
        try:
            fast = self._fast()
            agree = same_ids(fast, self._reference, self._json)
        except TokenizerError as error:
            return f"fastokens cannot read {self.name}: {error}"
        return fast if agree else f"fastokens gives other ids for {self.name} than tokenizers; use engine='tokenizers'"

    @cached_property
    def _reference(self) -> TokenizersEngine:
        plain = _plain(self._json)
        return TokenizersEngine(self._text if plain is self._json else json.dumps(plain, ensure_ascii=False))

    def _fast(self) -> FastokensEngine:
        plain = _dense(_plain(self._json))
        return FastokensEngine(self._text if plain is self._json else json.dumps(plain, ensure_ascii=False))

    def _by_words(self, reference: TokenizersEngine, trusted: bool) -> TokenizersEngine | WordsEngine:
        """`tokenizers`, asked about each different word once where the file lets words be told without it."""
        if (pattern := word_pattern(self._json)) is None:
            return reference
        words = WordsEngine(reference, pattern)
        return words if trusted or same_ids(words, reference, self._json) else reference

    @cached_property
    def vocab(self) -> Vocabulary:
        """The bytes and kind of each id."""
        return surface_vocabulary(self._json, self.name)

    @cached_property
    def unknown(self) -> int | None:  # type: ignore[override]
        """The id of the unknown token, None where there is none."""
        model = self._json["model"]
        if model["type"] == "Unigram":
            return model.get("unk_id")
        return model["vocab"].get(model.get("unk_token"))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the file in canonical form, without padding and truncation."""
        return digest_of({key: value for key, value in self._json.items() if key not in ("padding", "truncation")})

    @property
    def spec(self) -> dict[str, Any]:
        return {"format": "tokenizer.json", "name": self.name, "engine": self.engine, "text": self._text}

    def _file(self) -> bytes:
        return self._text.encode("utf-8", "surrogatepass")

    def _ids(self, texts: list[str], threads: int | None) -> Flat:
        if self._engine.name == FastokensEngine.name and any(FastokensEngine.disputed in text for text in texts):
            return self._reference.flat(texts, threads)
        return self._engine.flat(texts, threads)

    def _ends(self, text: str, ids_T: np.ndarray) -> np.ndarray:
        return ends_by_span(self.vocab, ids_T, self._reference.spans(text), text)


def _is_cut(tokenizer: dict[str, Any]) -> bool:
    """Whether texts are cut before the model sees them; fastokens is slower than we are where they are not."""
    steps = list(parts(tokenizer, "pre_tokenizer"))
    return not all(step.get("type") == "ByteLevel" and not step.get("use_regex", True) for step in steps)


def _parse(text: str, name: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise TokenizerError(f"{name} is not a tokenizer.json: {error}") from error
    model = parsed.get("model") if isinstance(parsed, dict) else None
    if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict | list):
        raise TokenizerError(f"{name} is not a tokenizer.json: it has no model with a vocabulary")
    if (odd := _odd_entry(model["vocab"])) is not None:
        raise TokenizerError(
            f"{name}: vocabulary entry {odd!r} is neither a token with its id nor a piece with its score"
        )
    for token in parsed.get("added_tokens") or []:
        if not (isinstance(token, dict) and _is_id(token.get("id")) and {"content", "special"} <= token.keys()):
            raise TokenizerError(f"{name}: added token {token!r} lacks a valid id, content or special")
    # Files written before tokenizers 0.9 or so leave the type to be guessed.
    model.setdefault(
        "type", "Unigram" if isinstance(model["vocab"], list) else "BPE" if "merges" in model else "WordPiece"
    )
    return parsed


def _odd_entry(vocab: dict[Any, Any] | list[Any]) -> Any:
    """The first entry that is neither token and id nor piece and score, or None."""
    if isinstance(vocab, dict):
        return next((entry for entry in vocab.items() if not _is_id(entry[1])), None)
    return next((e for e in vocab if not (isinstance(e, list) and len(e) == 2 and isinstance(e[0], str))), None)


def _is_id(i: Any) -> bool:
    return type(i) is int and 0 <= i < _MOST_IDS


def _plain(tokenizer: dict[str, Any]) -> dict[str, Any]:
    """The file as the engines get it: deterministic, and nothing added, padded, cut off or trimmed from the spans."""
    if any(tokenizer.get(key) for key in _SILENT):
        tokenizer = tokenizer | dict.fromkeys(_SILENT)
    if tokenizer["model"].get("dropout"):
        tokenizer = tokenizer | {"model": tokenizer["model"] | {"dropout": None}}
    return _unspoken(tokenizer)


def _unspoken(tokenizer: dict[str, Any]) -> dict[str, Any]:
    """The file with special tokens taken out of reach of a model that looks up whole words.

    Such a model finds "<s>" in a text even when the engine was told to read special tokens as text. Under a name that no
    text contains, their ids stay taken. Plain BPE reaches only what its merges build.
    """
    model, added = tokenizer["model"], tokenizer.get("added_tokens") or []
    if model["type"] == "BPE" and not model.get("ignore_merges"):
        return tokenizer
    vocab = model["vocab"]
    known = vocab if isinstance(vocab, dict) else {piece for piece, _ in vocab}
    unknown = _unknown_token(model)
    hidden = {t["content"]: f"\U0010ffff{t['id']}" for t in added if t["special"] and t["content"] in known}
    hidden.pop(unknown, None)
    if not hidden:
        return tokenizer
    if isinstance(vocab, dict):
        vocab = {hidden.get(token, token): i for token, i in vocab.items()}
    else:
        vocab = [[hidden.get(piece, piece), score] for piece, score in vocab]
    added = [token for token in added if token["content"] not in hidden]
    return tokenizer | {"model": model | {"vocab": vocab}, "added_tokens": added}


def _unknown_token(model: dict[str, Any]) -> str | None:
    if model["type"] == "Unigram":
        return None if model.get("unk_id") is None else model["vocab"][model["unk_id"]][0]
    return model.get("unk_token")


def _dense(tokenizer: dict[str, Any]) -> dict[str, Any]:
    """The file without the added tokens among the model's, if these have holes in their numbering.

    fastokens refuses holes, and takes the ids of added tokens from their own list.
    """
    vocab = tokenizer["model"]["vocab"]
    if not isinstance(vocab, dict) or not vocab or max(vocab.values()) < len(vocab):
        return tokenizer
    added = {token["content"] for token in tokenizer.get("added_tokens") or []}
    model = tokenizer["model"] | {"vocab": {token: i for token, i in vocab.items() if token not in added}}
    return tokenizer | {"model": model}
