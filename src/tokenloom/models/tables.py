"""The two tables of a causal language model, by whatever names it has them: embeddings of ids, and the layer from states to logits."""

from __future__ import annotations

from torch import nn

from ..core.errors import InvalidInput
from .transformer import Transformer

__all__ = ["embeddings", "output_layer"]


def embeddings(model: nn.Module) -> nn.Module:
    """From ids to the embeddings that the model begins with.

    Raises: InvalidInput: there are none.
    """
    if isinstance(model, Transformer):
        return model.embed
    found = model.get_input_embeddings() if hasattr(model, "get_input_embeddings") else None  # type: ignore[operator]
    if not isinstance(found, nn.Module):
        raise InvalidInput(f"a {type(model).__name__} has no embeddings of ids; give a causal language model")
    return found


def output_layer(model: nn.Module) -> nn.Linear:
    """From the last states to logits, D → V; with tied embeddings its weight is that of the embeddings, too.

    Raises: InvalidInput: there is none.
    """
    if isinstance(model, Transformer):
        return model.head
    found = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None  # type: ignore[operator]
    if not isinstance(found, nn.Linear):
        raise InvalidInput(f"a {type(model).__name__} has no output layer over ids; give a causal language model")
    return found
