"""Exact byte-level probabilities: a language model over tokens, asked and sampled byte by byte, without training.

Phan, Amos, Gat, Havasi, Muckley, Ullrich 2024, "Exact Byte-Level Probabilities from Tokenized Language Models for FIM-Tasks
and Model Ensembles", arXiv 2410.09303. A prompt that ends inside a token misleads: the model has learnt that the encoder
would have taken another token if certain bytes followed. The probability of a text as a beginning is the sum over its covers
(core/covers.py), and that of a byte the quotient of two such sums. Each byte costs one call of the model; the covers that
end further to the right wait until they are spelled out. Models with different vocabularies can so be averaged.

Implemented from the mathematics; the authors' code may not be used commercially and nothing of it is here.
"""

from .baselines import aligned_next_byte, healed_next_byte, naive_next_byte
from .bytes import ByteDistribution, ByteText
from .ensemble import Ensemble
from .model import ByteModel, Cover

__all__ = [
    "ByteDistribution",
    "ByteModel",
    "ByteText",
    "Cover",
    "Ensemble",
    "aligned_next_byte",
    "healed_next_byte",
    "naive_next_byte",
]
