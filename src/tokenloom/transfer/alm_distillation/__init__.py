"""ALM: distil a teacher into a student with another tokenizer, by the likelihoods of chunks of text that both spell.

Minixhofer, Vulić, Ponti 2025, "Universal Cross-Tokenizer Distillation via Approximate Likelihood Matching", arXiv 2503.20083.
Both models read the same text; wherever both cut it, the stretch since the last such cut has a likelihood under each, and the
two are to be the same. Nothing has to be known of how the vocabularies are related.

Differs from the authors' code: chunks are found by byte offsets; a chunk that holds the first token of a document is left out,
for the two sides would be given different beginnings of it.
"""
# B documents, T positions, C chunks, G groups of chunks

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ...core.errors import InvalidInput
from .byte_student import ByteEmbedding, expanded_ids, to_bytes
from .chunks import Pairs, Side, boundary_ids, chunk_numbers, pair_segmentations, pair_texts
from .distil import Distilled, Loss, distil
from .divergences import Divergence, binary_cross_entropy
from .ensemble import Ensemble
from .gradmag import gradmag, last_layer
from .mined import MinED, nearest_tokens
from .scores import Scores, score, taught

__all__ = [
    "ALM",
    "ByteEmbedding",
    "Distilled",
    "Ensemble",
    "HiddenStates",
    "Loss",
    "MinED",
    "NextToken",
    "Pairs",
    "Scores",
    "Side",
    "boundary_ids",
    "chunk_numbers",
    "distil",
    "expanded_ids",
    "gradmag",
    "last_layer",
    "nearest_tokens",
    "pair_segmentations",
    "pair_texts",
    "score",
    "taught",
    "to_bytes",
]


@dataclass(frozen=True)
class ALM:
    """The likelihood of each chunk under the student is to be that under the teacher.

    log p(chunk) is the sum over its tokens. A token also tells what does not follow (`[ab]` is not read where `[abc]` would
    have been); so, with `debias`, the probability that a word ends behind the chunk is multiplied to both, and a chunk behind
    which the teacher thinks that improbable is joined with those after it, until one has a probable end. What remains at the
    end of a document is a group too, with the end that it has.

    Args:
        temperature: τ, by which log-likelihoods are divided; see `divergences`.
        threshold: γ, the probability of an end above which the teacher's chunks are not joined; None joins none.
        debias: whether the probability of the end is multiplied.
        divergence: of the two likelihoods.
        by_tokens: whether a chunk weighs as many tokens as the student has for it, instead of 1.
    Raises: InvalidInput: a temperature that is not above 0, a threshold outside [0, 1).
    """

    temperature: float = 100.0
    threshold: float | None = 0.1
    debias: bool = True
    divergence: Divergence = binary_cross_entropy
    by_tokens: bool = False

    def __post_init__(self) -> None:
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise InvalidInput(f"temperature={self.temperature}; it must be above 0")
        if self.threshold is not None and not 0 <= self.threshold < 1:
            raise InvalidInput(f"threshold={self.threshold}; it must be in [0, 1), or None")

    def __call__(self, teacher: Scores, student: Scores, pairs: Pairs) -> Tensor:
        """The mean divergence over the groups of chunks of a batch, float32, a scalar.

        Raises: InvalidInput: a log-probability above 0.
        """
        theirs_G, ours_G, tokens_G = self.likelihoods(teacher, student, pairs)
        values_G = self.divergence(theirs_G, ours_G, self.temperature)
        weights_G = tokens_G if self.by_tokens else torch.ones_like(tokens_G)
        return (values_G * weights_G).sum() / weights_G.sum()

    def likelihoods(self, teacher: Scores, student: Scores, pairs: Pairs) -> tuple[Tensor, Tensor, Tensor]:
        """Log-likelihoods of each group of chunks under teacher and student, and how many tokens the student has for it.

        Returns: float32 (G,) each, in the order of the text.
        Raises: InvalidInput: a log-probability above 0.
        """
        for name, said in (("teacher", teacher), ("student", student)):
            if bool((said.log_probs > 0).any()) or bool((said.boundary > 0).any()):
                raise InvalidInput(f"a log-probability of the {name} is above 0: {float(said.log_probs.max()):.4g}")
        group_C = self._groups(teacher, pairs)
        last_G = torch.nonzero(torch.cat([group_C[1:] != group_C[:-1], group_C.new_ones(1, dtype=torch.bool)]))[:, 0]
        found = []
        for said, side in ((teacher, pairs.teacher), (student, pairs.student)):
            likelihood_G = _sum_by(said.log_probs, side.chunk, group_C)
            if self.debias:
                likelihood_G = likelihood_G + said.boundary.flatten()[side.ends[last_G]]
            found.append(likelihood_G.clamp(max=0))
        tokens_G = _sum_by(torch.ones_like(student.log_probs), pairs.student.chunk, group_C)
        return found[0], found[1], tokens_G

    def _groups(self, teacher: Scores, pairs: Pairs) -> Tensor:
        """The group of each chunk: one ends with a document, and where the teacher thinks that a word may end."""
        document_C = pairs.document
        new_C = torch.ones_like(document_C, dtype=torch.bool)
        if self.threshold is not None:
            ends_C = teacher.boundary.flatten()[pairs.teacher.ends].exp() > self.threshold
            new_C[1:] = ends_C[:-1] | (document_C[1:] != document_C[:-1])
        return new_C.cumsum(0) - 1


def _sum_by(values_BT: Tensor, chunk_BT: Tensor, group_C: Tensor) -> Tensor:
    """Sums over the tokens of each group, (G,)."""
    inside = chunk_BT >= 0
    sums = values_BT.new_zeros(int(group_C[-1]) + 1)
    return sums.index_add(0, group_C[chunk_BT[inside]], values_BT[inside])


@dataclass(frozen=True)
class NextToken:
    """Supervised fine-tuning: -log p of each token of the student, the mean over the batch."""

    def __call__(self, teacher: Scores, student: Scores, pairs: Pairs) -> Tensor:
        """A scalar, float32, in nats."""
        lengths_B = pairs.student.lengths
        real_BT = torch.arange(student.log_probs.shape[1], device=lengths_B.device) < lengths_B[:, None]
        return -student.log_probs[real_BT].sum() / (lengths_B - 1).sum()


@dataclass(frozen=True)
class HiddenStates:
    """At the end of each chunk the student's last state is to be the teacher's; for students with the teacher's body.

    The mean over chunks of the squared difference, for each channel divided by the mean square of the teacher's channel, and
    then the mean over channels. States are what the output layers read, behind the last norm.

    Args:
        projection: from the student's width to the teacher's; None where they are the same. It is
            trained if it is a module of the student.
    """

    projection: nn.Linear | None = None

    def __call__(self, teacher: Scores, student: Scores, pairs: Pairs) -> Tensor:
        """A scalar, float32.

        Raises: InvalidInput: states of different widths, without a projection.
        """
        theirs_CD = teacher.states.flatten(0, 1)[pairs.teacher.ends].float()
        ours_CD = student.states.flatten(0, 1)[pairs.student.ends].float()
        if self.projection is not None:
            ours_CD = self.projection(ours_CD)
        if ours_CD.shape != theirs_CD.shape:
            raise InvalidInput(
                f"states of the student have width {ours_CD.shape[1]}, those of the teacher {theirs_CD.shape[1]}; give a projection"
            )
        return ((ours_CD - theirs_CD).square().mean(0) / theirs_CD.square().mean(0).clamp(min=1e-12)).mean()
