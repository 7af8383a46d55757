"""What is done about prompts that end inside a token without exact probabilities."""
# V ids, S = 257 symbols: the bytes, and the end of the text

import numpy as np

from ....core.errors import InvalidInput
from ....core.tokenizer import as_bytes
from .bytes import END
from .model import ByteModel

__all__ = ["aligned_next_byte", "healed_next_byte", "naive_next_byte"]

# Ways to spell the end of a prompt that are less likely are not followed.
_NEGLIGIBLE = 1e-3


def naive_next_byte(model: ByteModel, prompt: str | bytes) -> np.ndarray:
    """The first byte of the token after the encoded prompt: float64 (257,).

    Raises: InvalidInput: an empty prompt, and nothing before it.
    """
    ids = [*model.before, *model.tokenizer.encode(prompt).ids.tolist()]
    return _normed(_first_bytes(model, _asked(model, ids), b""))


def healed_next_byte(model: ByteModel, prompt: str | bytes) -> np.ndarray:
    """Token healing: the last token is dropped, and the next must begin with its bytes; float64 (257,).

    Where the next token is the dropped one, the byte is that of the one after it.

    Raises: InvalidInput: a prompt of one token, and nothing before it.
    """
    seg = model.tokenizer.encode(prompt)
    ids = [*model.before, *seg.ids.tolist()]
    rest = seg.data[seg.offsets[-2] :] if len(seg) else b""
    if not rest:
        return naive_next_byte(model, prompt)
    log_probs_V = _asked(model, ids[:-1])
    mass_S = _first_bytes(model, log_probs_V, rest)
    mass_S += np.exp(log_probs_V[ids[-1]]) * _first_bytes(model, _asked(model, ids), b"")
    return _normed(mass_S)


def aligned_next_byte(model: ByteModel, prompt: str | bytes, *, back: int = 3) -> np.ndarray:
    """Token alignment by characters: the last `back` tokens are dropped, and tokens are drawn that spell their bytes; float64 (257,).

    Each is drawn among those that fit to what is still to be spelled, so what fits less well later on is not taken into
    account. Athiwaratkun et al. 2024, arXiv 2403.08688.

    Raises: InvalidInput: `back` below 1, a prompt without so many tokens and one more before them.
    """
    if back < 1:
        raise InvalidInput(f"back={back}; it must be at least 1")
    seg = model.tokenizer.encode(as_bytes(prompt))
    ids = [*model.before, *seg.ids.tolist()]
    if len(seg) < back:
        raise InvalidInput(f"the prompt has {len(seg)} tokens; {back} cannot be dropped")
    mass_S = np.zeros(END + 1)
    todo = [(1.0, ids[:-back], seg.data[seg.offsets[-1 - back] :])]
    while todo:
        weight, left, rest = todo.pop()
        if weight < _NEGLIGIBLE:
            continue
        log_probs_V = _asked(model, left)
        beyond_S = _first_bytes(model, log_probs_V, rest)
        if not rest:
            mass_S += weight * _normed(beyond_S)
            continue
        begun = [
            (i, rest[size:]) for size in range(1, len(rest) + 1) for i in model.tokenizer.vocab.ids_of(rest[:size])
        ]
        shares = np.exp(log_probs_V[[i for i, _ in begun]])
        total = shares.sum() + beyond_S.sum()
        if total == 0:
            continue  # a way that cannot be finished, which is only seen now
        mass_S += weight / total * beyond_S
        todo += [(weight * share / total, [*left, i], after) for (i, after), share in zip(begun, shares.tolist())]
    return _normed(mass_S)


def _asked(model: ByteModel, ids: list[int]) -> np.ndarray:
    if not ids:
        raise InvalidInput("nothing stands before the token that is asked for; give before=[id] or a longer prompt")
    return model.log_probs(ids)


def _first_bytes(model: ByteModel, log_probs_V: np.ndarray, rest: bytes) -> np.ndarray:
    """Probabilities of tokens that begin with `rest` and go on, by the byte behind it; and of the end behind an empty one."""
    covers, mass_S = model.covers, np.zeros(END + 1)
    low, high = covers.rows_of(rest)
    low, following = covers.rows_after(low, high, len(rest))
    mass_S[:END] = np.bincount(following, np.exp(log_probs_V[covers.tokens[low:high]]), END)
    if not rest:
        mass_S[END] = np.exp(log_probs_V[model.special]).sum()
    return mass_S


def _normed(mass_S: np.ndarray) -> np.ndarray:
    if not mass_S.sum() > 0:
        raise InvalidInput("the model gives no probability to any token that fits")
    return mass_S / mass_S.sum()
