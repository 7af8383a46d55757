"""CharBench: four questions about the characters of words, at scale, and how errors go with the tokens of the word.

Uzan, Pinter 2025, "CharBench: Evaluating the Role of Tokenization in Character-Level Tasks", arXiv 2508.02591. The tasks
are generated from any text or list of words (items.py), asked and scored (asking.py), and what a model gets right is
compared with the word and with its tokens (features.py, analysis.py).

Differs from the authors' code: features come from byte offsets, by default of the word as it stands in the prompt, not
from strings of tokens of the word alone; a reply that is missing is wrong, not dropped; every correlation comes with its
number of cases and an interval, and with one that holds word and answer fixed.
"""

from .analysis import (
    Accuracy,
    Effect,
    Scores,
    accuracy_by,
    effects,
    error_overlap,
    mean_correlations,
    mixed_case,
    parse,
    rank_biserial,
    score,
)
from .asking import calibrated, cut, number_scores, replies
from .features import FEATURES, features
from .items import COUNT_TASKS, INDEX_TASKS, TASKS, CharBench, Items, Prompt, english_words

__all__ = [
    "COUNT_TASKS",
    "FEATURES",
    "INDEX_TASKS",
    "TASKS",
    "Accuracy",
    "CharBench",
    "Effect",
    "Items",
    "Prompt",
    "Scores",
    "accuracy_by",
    "calibrated",
    "cut",
    "effects",
    "english_words",
    "error_overlap",
    "features",
    "mean_correlations",
    "mixed_case",
    "number_scores",
    "parse",
    "rank_biserial",
    "replies",
    "score",
]
