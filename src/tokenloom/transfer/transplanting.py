"""Give a trained model another tokenizer: its tables get the rows of the new vocabulary, everything else stays."""
# O old ids, N new ids, H width

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from ..core.errors import InvalidInput
from ..core.tokenizer import Tokenizer
from ..core.vocabulary import Kind, Vocabulary
from ..hosts import load_tokenizer
from .composition import FVT
from .rows import Rows, shared_ids

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from transformers import PreTrainedModel

__all__ = ["Method", "Transplanted", "input_table", "special_roles", "transplant"]

# Names under which published tokenizers have their special tokens, the commonest first.
_ROLES = {
    "bos": ("<s>", "<bos>", "<|begin_of_text|>", "<|startoftext|>", "<|im_start|>", "<|endoftext|>", "[CLS]"),
    "eos": ("</s>", "<eos>", "<|end_of_text|>", "<|endoftext|>", "<|im_end|>", "[SEP]"),
    "pad": ("<pad>", "[PAD]", "<|pad|>", "<|padding|>", "<|finetune_right_pad_id|>"),
    "unk": ("<unk>", "[UNK]", "<|unk|>"),
    "mask": ("<mask>", "[MASK]", "<|mask|>"),
    "cls": ("[CLS]", "<cls>", "<s>"),
    "sep": ("[SEP]", "<sep>", "</s>"),
}
# Their positions count from behind the id of padding.
_POSITIONS_FROM_PADDING = ("roberta", "xlm-roberta", "camembert", "longformer", "xmod", "data2vec-text", "mpnet", "esm")


class Method(Protocol):
    """What makes rows: `FVT`, `WECHSEL`, `TokenAdapt` …"""

    def __call__(self, old: Tokenizer, new: Tokenizer, pairs: tuple[np.ndarray, np.ndarray]) -> Rows:
        """Rows for the vocabulary of `new`, in which those of `pairs` (old ids, new ids) are copies."""
        ...


@dataclass(frozen=True, eq=False)
class Transplanted:
    """A model with new tables.

    Args:
        model: the model that was given, changed.
        rows: how each row came about.
        old: the tokenizer that it had.
        new: the one that it has.
    """

    model: PreTrainedModel
    rows: Rows
    old: Tokenizer
    new: Tokenizer


def special_roles(tokenizer: Any, vocab: Vocabulary) -> dict[str, int]:
    """Role → id of the special tokens: what an object of transformers says, otherwise by the names that are in use.

    >>> special_roles(None, Vocabulary([b"a"], special=[b"<s>", b"</s>"]))
    {'bos': 1, 'eos': 2, 'cls': 1, 'sep': 2}
    """
    roles = {}
    for role, names in _ROLES.items():
        given = getattr(tokenizer, f"{role}_token_id", None)
        ids = [i for name in names for i in vocab.ids_of(name.encode()) if vocab.kinds[i] == Kind.SPECIAL]
        if given is not None:
            roles[role] = int(given)
        elif ids:
            roles[role] = ids[0]
    return roles


def transplant(
    model: PreTrainedModel,
    tokenizer: Any,
    *,
    old: Any,
    generator: torch.Generator,
    method: Method | None = None,
    roles: Mapping[str, int] | None = None,
) -> Transplanted:
    """Replace the vocabulary of a Hugging Face model; the model is changed in place, its body not at all.

    Shared tokens keep their rows bit for bit, and so their logits; the others get what the method makes. Input and output
    embeddings, tied or not, and an output bias are treated alike, and the ids of special tokens in the configurations follow.

    Args:
        model: with `get_input_embeddings`; one without output embeddings has its input embeddings replaced only.
        tokenizer: the new one: whatever `load_tokenizer` reads.
        old: the one that the model was trained with.
        generator: of the drawn rows.
        method: makes the rows; `FVT()` without.
        roles: role ("bos", "eos", "pad" …) → new id, where that cannot be told from the tokenizer. Such an id has the row of the
            old token with that role, and others only where the old vocabulary has no special token with their spelling. Where
            one id has two roles the later of "bos", "eos", "pad" … decides, and what is given here before all.
    Raises: InvalidInput: no such model, fewer rows than the old tokenizer has ids, values that are not finite, a model whose
        positions depend on the id of padding, which would move. Nothing is changed then.
    """
    before, after = load_tokenizer(old), load_tokenizer(tokenizer)
    table = input_table(model)
    old_roles = special_roles(old, before.vocab) | _configured(model, before.vocab)
    named = {role: int(i) for role, i in (roles or {}).items()}
    guessed = special_roles(tokenizer, after.vocab)
    new_roles = {role: i for role, i in guessed.items() if role not in named} | named
    if unknown := set(new_roles) - set(_ROLES):
        raise InvalidInput(f"no role {sorted(unknown)[0]!r}; there are {', '.join(_ROLES)}")
    _check_padding(model, new_roles.get("pad"))
    # Only what the old vocabulary does not spell has the row of its role: SmolLM2's <|endoftext|> is not its <|im_end|>.
    spellings = {before.vocab[i] for i in before.vocab.special_ids.tolist()}
    spelt = {i for i in after.vocab.special_ids.tolist() if after.vocab[i] in spellings}
    same = {
        i: old_roles[role] for role, i in new_roles.items() if role in old_roles and (role in named or i not in spelt)
    }
    pairs = shared_ids(before.vocab, after.vocab, same)
    rows = (method or FVT())(before, after, pairs)
    shape = (len(after.vocab), len(before.vocab))
    if rows.weights.shape != shape:
        raise InvalidInput(f"the method made weights of shape {rows.weights.shape}; the vocabularies have {shape}")
    output = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
    tied = output is not None and output.weight.data_ptr() == table.weight.data_ptr()
    tables: list[tuple[str, Tensor]] = [("input", rows.apply(table.weight, generator=generator))]
    if output is not None and not tied:
        tables.append(("output", rows.apply(output.weight, generator=generator)))
    if output is not None and getattr(output, "bias", None) is not None:
        tables.append(("bias", rows.apply(output.bias, generator=generator)))
    if output is not None:
        model.config.tie_word_embeddings = tied  # what is, for resizing goes by what is said
    _write(model, dict(tables), new_roles)
    return Transplanted(model, rows, before, after)


def _configured(model: PreTrainedModel, vocab: Vocabulary) -> dict[str, int]:
    """The roles that the model's configuration tells; what is no special token there is only a default of its class."""
    given = {role: getattr(model.config, f"{role}_token_id", None) for role in ("bos", "eos", "pad")}
    first = {role: next(iter(i), None) if isinstance(i, list) else i for role, i in given.items()}
    specials = set(vocab.special_ids.tolist())
    return {role: int(i) for role, i in first.items() if i is not None and i in specials}


def input_table(model: PreTrainedModel) -> nn.Embedding:
    """The input embeddings of a model.

    Raises: InvalidInput: it has none, or reads something else than ids.
    """
    from torch import nn

    try:
        table = model.get_input_embeddings() if hasattr(model, "resize_token_embeddings") else None
    except NotImplementedError:
        table = None
    if not isinstance(table, nn.Embedding):
        raise InvalidInput(f"a {type(model).__name__} has no input embeddings of ids to replace")
    return table


def _check_padding(model: PreTrainedModel, new: int | None) -> None:
    config = model.config
    if getattr(config, "model_type", "") in _POSITIONS_FROM_PADDING and new != config.pad_token_id:
        raise InvalidInput(
            f"positions of a {config.model_type} count from the id of padding, {config.pad_token_id}; the new tokenizer has "
            f"{'none' if new is None else new} there: give it that id"
        )


def _write(model: PreTrainedModel, tables: dict[str, Tensor], roles: dict[str, int]) -> None:
    """Resize as transformers does, which knows where all tables and sizes are, and fill in."""
    import torch

    model.resize_token_embeddings(tables["input"].shape[0], mean_resizing=False)
    table = cast("nn.Embedding", model.get_input_embeddings())
    places: dict[str, Any] = {"input": table.weight}
    if (output := model.get_output_embeddings()) is not None:
        places |= {"output": output.weight, "bias": getattr(output, "bias", None)}
    with torch.no_grad():
        for name, values in tables.items():
            places[name].copy_(values)
    table.padding_idx = roles.get("pad") if table.padding_idx is not None else None
    # What the new tokenizer lacks another of its special tokens does.
    known = roles.get("eos", roles.get("bos"))
    for config in (model.config, getattr(model, "generation_config", None)):
        for role in ("bos", "eos", "pad"):
            if config is not None and getattr(config, f"{role}_token_id", None) is not None:
                setattr(config, f"{role}_token_id", roles.get(role, known))
