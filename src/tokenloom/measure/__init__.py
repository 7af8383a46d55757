"""Metrics, benchmarks and analyses."""

# Made from catalogue.toml by `make generate`; do not edit.

from ..core.lazy import lazy as _lazy

_NAMES = {
    "Addition": "tokenloom.measure.addition:Addition",
    "Answers": "tokenloom.measure.questions:Answers",
    "ChoiceResult": "tokenloom.measure.choice:ChoiceResult",
    "Cute": "tokenloom.measure.cute:Cute",
    "LangGame": "tokenloom.measure.langgame:LangGame",
    "Question": "tokenloom.measure.questions:Question",
    "ask": "tokenloom.measure.questions:ask",
    "bits_per_byte": "tokenloom.measure.bits:bits_per_byte",
    "choose": "tokenloom.measure.choice:choose",
    "examples": "tokenloom.measure.questions:examples",
    "hidden_at_last": "tokenloom.measure.representation:hidden_at_last",
    "hold_out": "tokenloom.measure.questions:hold_out",
    "layer_distances": "tokenloom.measure.representation:layer_distances",
    "linear_probe": "tokenloom.measure.representation:linear_probe",
    "normalised_accuracy": "tokenloom.measure.choice:normalised_accuracy",
    "number_probe": "tokenloom.measure.representation:number_probe",
    "number_vocabulary": "tokenloom.measure.addition:number_vocabulary",
    "pca": "tokenloom.measure.representation:pca",
    "representation_distance": "tokenloom.measure.representation:representation_distance",
    "score_options": "tokenloom.measure.choice:score_options",
    "solve": "tokenloom.measure.addition:solve",
    "text_bits": "tokenloom.measure.bits:text_bits",
    "token_log_probs": "tokenloom.measure.bits:token_log_probs",
    "tokenizations": "tokenloom.measure.addition:tokenizations",
}
__getattr__, __dir__ = _lazy(__name__, _NAMES)

__all__ = [
    "Addition",
    "Answers",
    "ChoiceResult",
    "Cute",
    "LangGame",
    "Question",
    "ask",
    "bits_per_byte",
    "choose",
    "examples",
    "hidden_at_last",
    "hold_out",
    "layer_distances",
    "linear_probe",
    "normalised_accuracy",
    "number_probe",
    "number_vocabulary",
    "pca",
    "representation_distance",
    "score_options",
    "solve",
    "text_bits",
    "token_log_probs",
    "tokenizations",
]
