"""How large the demo is."""

from dataclasses import dataclass

__all__ = ["Size"]


@dataclass(frozen=True)
class Size:
    """How large everything is; as it stands, about three minutes of one core.

    Args:
        vocab_size: ids of the vocabulary.
        width: of the models.
        layers: of the models.
        context: tokens of a window.
        batch: windows of a step.
        steps: of each training.
        prompts: at most so many, to compare next tokens.
    """

    vocab_size: int = 2000
    width: int = 128
    layers: int = 3
    context: int = 64
    batch: int = 16
    steps: int = 400
    prompts: int = 400
