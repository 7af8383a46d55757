"""Multi-digit addition, asked in every tokenization: does a model know the digits inside a number's token?

Sims et al. 2025 (StochasTok), arXiv 2506.01687, section 4: a stream of `$A+B=` and the digits of the sum, last digit
first. Differs from the authors' code: the answer is what follows the question, up to the next `$`, and nothing else; their
scorer finds it anywhere in the generated text, the question included.
"""
# Q questions, T tokens

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import InvalidInput
from ..core.vocabulary import Vocabulary

if TYPE_CHECKING:
    from ..models.transformer import Transformer

__all__ = ["Addition", "number_vocabulary", "solve", "tokenizations"]


@dataclass(frozen=True)
class Addition:
    """All sums A + B with A of exactly `digits` digits and B of at most so many, without leading zeros.

    A sum is named by a number: A = sum div 10^digits, B = sum mod 10^digits. The paper uses 3 digits, 900,000 sums.

    Args:
        digits: 1 … 4; with 4 there are 90 million sums.
    Raises: InvalidInput: another number of digits.

    >>> addition = Addition(digits=2)
    >>> addition.question(4785), addition.answer(4785), addition.text([4785, 1203])
    ('$47+85=', '231', '$47+85=231$12+3=51')
    """

    digits: int = 3

    def __post_init__(self) -> None:
        if not 1 <= self.digits <= 4:
            raise InvalidInput(f"digits={self.digits}; it must be 1 … 4")

    def split(self, *, rng: np.random.Generator, held_out: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
        """All sums in random order, in two parts: to train on, and held out.

        Args:
            rng: draws the order.
            held_out: share of the second part, between 0 and 1; the paper holds out a tenth.
        Returns: int64 each; together every sum once.
        """
        base = 10**self.digits
        sums = rng.permutation(np.arange(base // 10 * base, base * base))
        held = round(held_out * sums.size) if 0 < held_out < 1 else 0
        if not 0 < held < sums.size:
            raise InvalidInput(f"held_out={held_out} of {sums.size} sums leaves one part empty")
        return sums[held:], sums[:held]

    def question(self, number: int) -> str:
        """`$A+B=`"""
        a, b = divmod(int(number), 10**self.digits)
        return f"${a}+{b}="

    def answer(self, number: int) -> str:
        """The digits of A + B, last digit first."""
        return str(sum(divmod(int(number), 10**self.digits)))[::-1]

    def text(self, numbers: Sequence[int] | np.ndarray) -> str:
        """Questions and answers, one after the other, as a model is trained on them."""
        return "".join(self.question(number) + self.answer(number) for number in numbers)


def number_vocabulary(digits: int) -> Vocabulary:
    """A byte-level BPE vocabulary in which every string of up to `digits` digits is a token, and nothing else merges.

    >>> vocab = number_vocabulary(2)
    >>> len(vocab), vocab[256 + 47]
    (356, b'47')
    """
    longer = [f"{n:0{length}}".encode() for length in range(2, digits + 1) for n in range(10**length)]
    return Vocabulary([bytes([byte]) for byte in range(256)] + longer)


def tokenizations(vocab: Vocabulary, text: bytes) -> list[np.ndarray]:
    """Every way to write `text` in tokens of `vocab`, fewest tokens first, then by earlier cuts.

    Their number may grow exponentially with the text: meant for words and questions.
    Returns: ids, int32 (T,) each; none where the vocabulary cannot write the text.

    >>> [ids.tolist() for ids in tokenizations(Vocabulary([b"a", b"b", b"ab"]), b"aba")]
    [[2, 0], [0, 1, 0]]
    """
    longest = int(vocab.lengths.max(initial=0))
    # ways[k]: all ways to write the last bytes, from k on, as (cut positions, ids).
    ways: list[list[tuple[tuple[int, ...], tuple[int, ...]]]] = [[] for _ in range(len(text))] + [[((), ())]]
    for start in reversed(range(len(text))):
        for end in range(start + 1, min(start + longest, len(text)) + 1):
            if ways[end] and (ids := vocab.ids_of(text[start:end])):
                ways[start] += [((end, *cuts), (ids[0], *tail)) for cuts, tail in ways[end]]
    found = sorted(ways[0], key=lambda way: (len(way[0]), way[0]))
    return [np.array(ids, np.int32) for _, ids in found]


def solve(
    model: Transformer, questions: Sequence[np.ndarray], vocab: Vocabulary, *, digits: int, batch: int = 256
) -> list[str]:
    """What a model answers, decoded greedily: the text after each question up to the next `$`.

    Args:
        model: a `Transformer`.
        questions: ids of each, in any tokenization, int (T,).
        vocab: of the ids.
        digits: of the summands; an answer is cut after `digits + 2` tokens, one more than it can need.
        batch: questions of a forward pass.
    Returns: Q texts; a byte that is not ASCII is a replacement character.
    """
    import torch

    device = next(model.parameters()).device
    answers = [""] * len(questions)
    order = sorted(range(len(questions)), key=lambda i: len(questions[i]))
    for _, alike in groupby(order, key=lambda i: len(questions[i])):
        same = list(alike)
        for first in range(0, len(same), batch):
            chosen = same[first : first + batch]
            ids = torch.from_numpy(np.stack([questions[i] for i in chosen]).astype(np.int64)).to(device)
            generated = model.generate(ids, new=digits + 2)[:, ids.shape[1] :].cpu().numpy()
            for i, row in zip(chosen, generated):
                answers[i] = vocab.decode(row).partition(b"$")[0].decode("ascii", "replace")
    return answers
