# Made from catalogue.toml by `make generate`; do not edit.

from tokenloom.core.errors import TokenloomError as TokenloomError
from tokenloom.core.ledger import Ledger as Ledger
from tokenloom.core.segmentation import Ragged as Ragged
from tokenloom.core.segmentation import Segmentation as Segmentation
from tokenloom.core.segmentation import align as align
from tokenloom.core.token_map import TokenMap as TokenMap
from tokenloom.core.vocabulary import Vocabulary as Vocabulary
from tokenloom.hosts import load_tokenizer as load_tokenizer
from tokenloom.hosts.lexicons import load_lexicon as load_lexicon
from tokenloom.tokenize.text.bpe import BPE as BPE
from tokenloom.tokenize.text.bpe_dropout import BPEDropout as BPEDropout
from tokenloom.tokenize.text.compoundpiece import CompoundPiece as CompoundPiece
from tokenloom.tokenize.text.hybrid_morphological import HybridMorphology as HybridMorphology
from tokenloom.tokenize.text.hybrid_morphological import HybridTokenizer as HybridTokenizer
from tokenloom.tokenize.text.hybrid_morphological import MorphLexicon as MorphLexicon
from tokenloom.tokenize.text.kl3m_tokenizers import KL3M as KL3M
from tokenloom.tokenize.text.lib_tokenizer import LessIsBetter as LessIsBetter
from tokenloom.tokenize.text.lib_tokenizer import LiB as LiB
from tokenloom.tokenize.text.stochastok import StochasTok as StochasTok
from tokenloom.tokenize.text.subword_grammar_wfst import SubwordGrammar as SubwordGrammar
from tokenloom.tokenize.text.superbpe import SuperBPE as SuperBPE
from tokenloom.tokenize.text.supertokens import ChunkLaw as ChunkLaw
from tokenloom.tokenize.text.supertokens import Supertokens as Supertokens

from . import core as core
from . import data as data
from . import hosts as hosts
from . import measure as measure
from . import models as models
from . import predict as predict
from . import reduce as reduce
from . import testing as testing
from . import tokenize as tokenize
from . import transfer as transfer
from ._version import __version__ as __version__
