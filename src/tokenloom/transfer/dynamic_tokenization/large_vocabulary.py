"""Generation with a vocabulary of any size: rows for all its tokens, and an index that finds the likely ones.

Feher, Vulić, Minixhofer 2024, arXiv 2411.18553, section 3.3. The index is an inverted file of faiss, in which the rows lie in
lists around centroids and those of the nearest lists are compared exactly.

Differs from the authors' code: that uses ScaNN, whose scores are rounded and computed again for 200 candidates; a list of
faiss holds the rows themselves. Its "repetition penalty" divides all logits alike, which is a temperature.
"""
# N ids, V ids of the model, H width, B queries, k candidates

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from inspect import signature
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...core.cuts import cut_points
from ...core.errors import InvalidInput, require
from ...core.merges import GPT2_PATTERN
from ...core.tokenizer import Tokenizer, as_bytes
from ...core.vocabulary import Vocabulary
from ...hosts.utf8 import valid_runs
from ...tokenize.text.bpe import Pieces, learn_merges
from ..neighbours import normalised
from .embedders import Embedder, ModelRows
from .pieces import LongestMatch

__all__ = ["LargeVocabulary", "NeighbourIndex", "extend_vocabulary", "recall"]


def extend_vocabulary(
    tokenizer: Tokenizer,
    texts: Iterable[str | bytes],
    size: int,
    *,
    pattern: str = GPT2_PATTERN,
    progress: Callable[[int], None] | None = None,
) -> list[bytes]:
    """Go on with byte-pair encoding where a tokenizer stopped: new tokens, each of two that are there.

    Args:
        tokenizer: its tokens are the units.
        texts: to learn from; bytes that are not UTF-8 are left out.
        size: ids in all, those of the tokenizer included; fewer where every word has become one token.
        pattern: the regular expression that finds words, within which merges happen.
        progress: called with the number of merges so far, now and then.
    Returns: the bytes of id V, V + 1, …: those of the most frequent pairs first, none in the vocabulary or twice.
    Raises: InvalidInput: fewer ids than the tokenizer has, or no text.

    >>> from tokenloom.hosts import load_tokenizer
    >>> extend_vocabulary(load_tokenizer("bytes"), ["the cat, the hat, the bat"], 261)
    [b'at', b'he', b'the', b' the']
    """
    known = len(tokenizer.vocab)
    if size < known:
        raise InvalidInput(f"size={size}, but the tokenizer has {known} ids already")
    words: Counter[str] = Counter()
    for text in texts:
        for run in valid_runs(text):
            if isinstance(run, str):
                points = cut_points(run, pattern).tolist()
                words.update(run[begin:end] for begin, end in pairwise(points))
    if not words:
        raise InvalidInput("there is no text to learn from")
    units = tokenizer.encode_batch(words)
    counts = np.fromiter(words.values(), np.int64, len(words))
    tokens: list[bytes] = [tokenizer.vocab[i] for i in range(known)]
    seen = set(tokens)
    new: list[bytes] = []
    # Two merges may spell the same; then there are fewer tokens than merges.
    merges = learn_merges(Pieces(units.ids, units.starts, counts), known, size - known, progress=progress)
    for left, right in merges.tolist():
        tokens.append(tokens[left] + tokens[right])
        if tokens[-1] not in seen:
            seen.add(tokens[-1])
            new.append(tokens[-1])
    return new


class NeighbourIndex:
    """The rows with the largest cosine to a vector, or the largest dot product with it, nearly.

    Args:
        rows_NH: any vectors, finite.
        cosine: what is published. Hidden states choose by dot product, though, and where rows differ in length the two have
            little in common.
        lists: into which the rows are sorted; 2,000 as published for a million.
        searched: lists looked into, 1 … `lists`; with all of them the search is exact. 250 as published. It may be set again
            later.
        seed: of the centroids.
    Raises: InvalidInput: numbers out of range, rows that are not finite. MissingExtra: `faiss` is not installed.
    """

    def __init__(
        self,
        rows_NH: Tensor | np.ndarray,
        *,
        cosine: bool = True,
        lists: int = 2000,
        searched: int = 250,
        seed: int = 0,
    ) -> None:
        faiss = require("faiss", "transfer")
        rows_NH = np.asarray(rows_NH, np.float32)
        if not 1 <= searched <= lists <= len(rows_NH):
            raise InvalidInput(f"{searched=}, {lists=} and {len(rows_NH)} rows; need 1 <= searched <= lists <= rows")
        if not np.isfinite(rows_NH).all():
            raise InvalidInput("the rows hold values that are not finite")
        width = rows_NH.shape[1]
        self._centroids = faiss.IndexFlatIP(width)
        self._index = faiss.IndexIVFFlat(self._centroids, width, lists, faiss.METRIC_INNER_PRODUCT)
        # Small vocabularies have few rows for each list; faiss would warn of that on standard error.
        self._index.cp.seed, self._index.cp.min_points_per_centroid = seed, 1
        rows_NH = normalised(rows_NH) if cosine else np.ascontiguousarray(rows_NH)
        self._index.train(rows_NH)
        self._index.add(rows_NH)
        self.lists, self.searched = lists, searched

    def __len__(self) -> int:
        return self._index.ntotal

    def search(self, queries_BH: Tensor | np.ndarray, k: int) -> np.ndarray:
        """The ids of the `k` rows found for each query, int64 (B, k), the nearest first; -1 where the lists have no more.

        Raises: InvalidInput: `k` or `searched` out of range.
        """
        if not 1 <= k <= len(self):
            raise InvalidInput(f"k={k}, but there are {len(self)} rows; k must be 1 … {len(self)}")
        if not 1 <= self.searched <= self.lists:
            raise InvalidInput(f"searched={self.searched}; it must be 1 … {self.lists}")
        self._index.nprobe = self.searched
        return self._index.search(normalised(np.asarray(queries_BH, np.float32)), k)[1]


def recall(
    index: NeighbourIndex, rows_NH: Tensor | np.ndarray, queries_BH: Tensor | np.ndarray, k: int = 20
) -> tuple[float, float]:
    """The share of the true `k` best rows that an index finds: best by cosine, and best by dot product.

    An index by cosine may miss a long row although its search is exact.

    Args:
        rows_NH: those of the index.
        queries_BH: such as last hidden states, at least one.
    """
    rows_NH, queries_BH = np.asarray(rows_NH, np.float32), np.asarray(queries_BH, np.float32)
    found = index.search(queries_BH, k)
    shares = []
    for table in (normalised(rows_NH), rows_NH):
        best = np.argpartition(-(queries_BH @ table.T), k - 1, axis=1)[:, :k]
        shares.append(float(np.mean([np.isin(ours, right).mean() for ours, right in zip(best, found)])))
    return shares[0], shares[1]


@dataclass(frozen=True, eq=False)
class LargeVocabulary:
    """A vocabulary of which the first ids are those of a model, with the rows of all.

    Args:
        vocab: N ids.
        input: rows that the model reads, (N, H).
        output: rows that hidden states are multiplied with, (N, H).
        pattern: the regular expression that finds words; no token goes beyond one.
    """

    vocab: Vocabulary
    input: Tensor
    output: Tensor
    pattern: str = GPT2_PATTERN
    _match: LongestMatch = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not len(self.vocab) == len(self.input) == len(self.output):
            raise InvalidInput(f"{len(self.vocab)} ids, but {len(self.input)} and {len(self.output)} rows")
        cut_points("", self.pattern)
        object.__setattr__(self, "_match", LongestMatch(self.vocab))

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        model: nn.Module,
        vocab: Vocabulary,
        tokens: Sequence[bytes],
        embedder: Embedder,
        *,
        pattern: str = GPT2_PATTERN,
        block: int = 4096,
    ) -> LargeVocabulary:
        """The vocabulary of a causal model and more tokens; ids of the model keep their rows.

        Args:
            vocab: of the model.
            tokens: such as `extend_vocabulary` gives.
            embedder: of their rows; not a cache, which would only fill.
            block: tokens embedded at a time.
        Raises: InvalidInput: a model without output embeddings, or with an output bias.
        """
        rows = ModelRows(model)
        made = [rows(torch.arange(len(vocab)))]
        if made[0].output is None or rows.biased:
            raise InvalidInput("the model must have output embeddings, without a bias, which new tokens would lack")
        made += [embedder(tokens[at : at + block]) for at in range(0, len(tokens), block)]
        output = torch.cat([one.output for one in made if one.output is not None])
        kinds = np.concatenate([vocab.kinds, np.zeros(len(tokens), np.uint8)])
        return cls(
            Vocabulary([*vocab[:], *tokens], kinds=kinds), torch.cat([one.input for one in made]), output, pattern
        )

    def encode(self, text: str | bytes) -> np.ndarray:
        """Ids of a text by longest match inside words, int32.

        Raises: InvalidInput: no token begins with some byte of it.
        """
        found = [np.zeros(0, np.int32)]
        for run in valid_runs(text):
            if isinstance(run, bytes):
                found.append(self._match(run))
            else:
                points = cut_points(run, self.pattern).tolist()
                found += [self._match(as_bytes(run[begin:end])) for begin, end in pairwise(points)]
        return np.concatenate(found)

    @torch.no_grad()
    def generate(
        self,
        model: nn.Module,
        prompt: Sequence[int] | np.ndarray,
        *,
        new: int,
        index: NeighbourIndex | None = None,
        candidates: int = 20,
        temperature: float = 0.0,
        best: int = 10,
        min_p: float = 0.1,
        stop: Sequence[int] = (),
        generator: torch.Generator | None = None,
    ) -> np.ndarray:
        """Continue a prompt by up to `new` ids, each among the candidates that an index finds for the last hidden state.

        Args:
            model: the one that the rows were made for.
            prompt: ids, not empty.
            index: over `output`; None compares with all rows.
            candidates: of the index, on which exact dot products decide.
            temperature: 0 takes the largest; otherwise one is drawn of the `best`, without those that are less probable than
                `min_p` times the most probable.
            stop: ids that end the text, the last of the result then.
            generator: of the draws.
        Returns: the new ids, int64.
        Raises: InvalidInput: an empty prompt, an id outside the vocabulary, an index over other rows, a draw without a
            generator.
        """
        ids = self.vocab.check_ids(prompt)
        if not len(ids) or new < 0 or temperature < 0:
            raise InvalidInput(
                f"a prompt of {len(ids)} ids, {new=}, {temperature=}; need one id at least and no negative number"
            )
        if temperature and generator is None:
            raise InvalidInput("give generator=torch.Generator() to draw tokens")
        if index is not None and len(index) != len(self.output):
            raise InvalidInput(f"the index is over {len(index)} rows, but there are {len(self.output)}")
        body: Any = model.base_model
        # Up to transformers 5.23 the argument had another name.
        names = signature(body.forward).parameters
        cache = {"cache" if "cache" in names else "past_key_values": require("transformers", "hf").DynamicCache()}
        step = torch.from_numpy(np.asarray(ids, np.int64))
        made: list[int] = []
        while len(made) < new and not (made and made[-1] in stop):
            hidden_H = body(inputs_embeds=self.input[step][None], use_cache=True, **cache).last_hidden_state[0, -1]
            if index is None:
                found = torch.arange(len(self.output))
            else:
                ids_k = index.search(hidden_H.float().cpu().numpy()[None], min(candidates, len(index)))[0]
                found = torch.from_numpy(ids_k[ids_k >= 0])
            scores = (self.output[found] @ hidden_H).float().cpu()
            if temperature:
                scores, order = (scores / temperature).topk(min(best, scores.numel()))
                weights = scores.softmax(0)
                weights[weights < min_p * weights[0]] = 0
                chosen = order[torch.multinomial(weights, 1, generator=generator)]
            else:
                chosen = scores.argmax(keepdim=True)
            step = found[chosen]
            made.append(int(step))
        return np.array(made, np.int64)
