"""One toolkit for tokens: cut, look inside, move, reduce and predict them."""

# Made from catalogue.toml by `make generate`; do not edit.

from ._version import __version__
from .core.lazy import lazy as _lazy

_NAMES = {
    "BPE": "tokenloom.tokenize.text.bpe:BPE",
    "BPEDropout": "tokenloom.tokenize.text.bpe_dropout:BPEDropout",
    "ChunkLaw": "tokenloom.tokenize.text.supertokens:ChunkLaw",
    "CompoundPiece": "tokenloom.tokenize.text.compoundpiece:CompoundPiece",
    "HybridMorphology": "tokenloom.tokenize.text.hybrid_morphological:HybridMorphology",
    "HybridTokenizer": "tokenloom.tokenize.text.hybrid_morphological:HybridTokenizer",
    "KL3M": "tokenloom.tokenize.text.kl3m_tokenizers:KL3M",
    "Ledger": "tokenloom.core.ledger:Ledger",
    "LessIsBetter": "tokenloom.tokenize.text.lib_tokenizer:LessIsBetter",
    "LiB": "tokenloom.tokenize.text.lib_tokenizer:LiB",
    "MorphLexicon": "tokenloom.tokenize.text.hybrid_morphological:MorphLexicon",
    "Ragged": "tokenloom.core.segmentation:Ragged",
    "Segmentation": "tokenloom.core.segmentation:Segmentation",
    "StochasTok": "tokenloom.tokenize.text.stochastok:StochasTok",
    "SubwordGrammar": "tokenloom.tokenize.text.subword_grammar_wfst:SubwordGrammar",
    "SuperBPE": "tokenloom.tokenize.text.superbpe:SuperBPE",
    "Supertokens": "tokenloom.tokenize.text.supertokens:Supertokens",
    "TokenMap": "tokenloom.core.token_map:TokenMap",
    "TokenloomError": "tokenloom.core.errors:TokenloomError",
    "Vocabulary": "tokenloom.core.vocabulary:Vocabulary",
    "align": "tokenloom.core.segmentation:align",
    "load_lexicon": "tokenloom.hosts.lexicons:load_lexicon",
    "load_tokenizer": "tokenloom.hosts:load_tokenizer",
}
__getattr__, __dir__ = _lazy(
    __name__,
    _NAMES,
    ("core", "data", "hosts", "measure", "models", "predict", "reduce", "testing", "tokenize", "transfer"),
)

__all__ = [
    "BPE",
    "KL3M",
    "BPEDropout",
    "ChunkLaw",
    "CompoundPiece",
    "HybridMorphology",
    "HybridTokenizer",
    "Ledger",
    "LessIsBetter",
    "LiB",
    "MorphLexicon",
    "Ragged",
    "Segmentation",
    "StochasTok",
    "SubwordGrammar",
    "SuperBPE",
    "Supertokens",
    "TokenMap",
    "TokenloomError",
    "Vocabulary",
    "__version__",
    "align",
    "core",
    "data",
    "hosts",
    "load_lexicon",
    "load_tokenizer",
    "measure",
    "models",
    "predict",
    "reduce",
    "testing",
    "tokenize",
    "transfer",
]
