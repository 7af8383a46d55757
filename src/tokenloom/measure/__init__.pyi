# Made from catalogue.toml by `make generate`; do not edit.

from tokenloom.measure.addition import Addition as Addition
from tokenloom.measure.addition import number_vocabulary as number_vocabulary
from tokenloom.measure.addition import solve as solve
from tokenloom.measure.addition import tokenizations as tokenizations
from tokenloom.measure.bits import bits_per_byte as bits_per_byte
from tokenloom.measure.bits import text_bits as text_bits
from tokenloom.measure.bits import token_log_probs as token_log_probs
from tokenloom.measure.choice import ChoiceResult as ChoiceResult
from tokenloom.measure.choice import choose as choose
from tokenloom.measure.choice import normalised_accuracy as normalised_accuracy
from tokenloom.measure.choice import score_options as score_options
from tokenloom.measure.cute import Cute as Cute
from tokenloom.measure.langgame import LangGame as LangGame
from tokenloom.measure.questions import Answers as Answers
from tokenloom.measure.questions import Question as Question
from tokenloom.measure.questions import ask as ask
from tokenloom.measure.questions import examples as examples
from tokenloom.measure.questions import hold_out as hold_out
from tokenloom.measure.representation import hidden_at_last as hidden_at_last
from tokenloom.measure.representation import layer_distances as layer_distances
from tokenloom.measure.representation import linear_probe as linear_probe
from tokenloom.measure.representation import number_probe as number_probe
from tokenloom.measure.representation import pca as pca
from tokenloom.measure.representation import representation_distance as representation_distance
