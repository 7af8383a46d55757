"""What may explain an error: properties of a word, of its answer, and of the tokens that hold its characters.

Uzan, Pinter 2025, arXiv 2508.02591, section 4. Of a segmentation only the offsets count: the strings of tokens are another
matter (`Ġ`, halves of characters), and so is the word alone, where a token of the prompt may hold its quote as well.
"""
# N items, S characters of all words, T pieces: tokens as far as they lie within a word

from collections.abc import Sequence

import numpy as np

from ...core.errors import InvalidInput
from ...core.segmentation import Segmentation
from .items import INDEX_TASKS, Items, Prompt

__all__ = ["FEATURES", "features"]

FEATURES = ("word_length", "gold", "gold_over_length", "number_of_tokens", "compression", "target_token_length")


def features(items: Items, prompts: Sequence[Prompt], segs: Sequence[Segmentation]) -> dict[str, np.ndarray]:
    """The properties of each item, with its word as a tokenizer cut it in its prompt.

    word_length: characters. gold: the answer. gold_over_length: their ratio. number_of_tokens: tokens that hold some of the
    word. compression: word_length / number_of_tokens. target_token_length, of index tasks: characters of the word in the
    token that holds the character at the answer. A character belongs to the token that holds its first byte, so the lengths
    of a word's tokens sum to its own.

    Args:
        items: N questions.
        prompts: where their words stand: `items.prompts()`, or `items.bare()` as in the paper.
        segs: the prompts, cut; see `cut`.
    Returns: the name of each of `FEATURES` → float64 (N,); target_token_length is NaN for the tasks of counting.
    Raises: InvalidInput: other numbers of items, prompts and segmentations, or a segmentation of another text.

    >>> import tokenloom as tl
    >>> from tokenloom.measure.charbench import CharBench, cut
    >>> items = CharBench(4, shortest=5, longest=5)(["think", "where", "other", "their"], rng=np.random.default_rng(0))
    >>> table = features(items, items.bare(), cut(items.bare(), tl.load_tokenizer("tokenloom-en-16k")))
    >>> items.words.tolist(), table["number_of_tokens"].tolist()
    (['other', 'think', 'where', 'their'], [1.0, 2.0, 1.0, 2.0])
    """
    if not len(items) == len(prompts) == len(segs):
        raise InvalidInput(
            f"{len(items)} items, {len(prompts)} prompts, {len(segs)} segmentations; need as many of each"
        )
    lengths = items.lengths
    words = [word.encode("utf-8", "surrogatepass") for word in items.words.tolist()]
    cuts, begins = [], np.zeros(len(items) + 1, np.int64)
    for i, (prompt, seg, word) in enumerate(zip(prompts, segs, words)):
        start = len(prompt.before.encode("utf-8", "surrogatepass"))
        if seg.data[start : start + len(word)] != word or prompt.word != items.words[i]:
            raise InvalidInput(f"prompt {i} and its segmentation do not have {str(items.words[i])!r} at byte {start}")
        begins[i + 1] = begins[i] + len(word)
        cuts.append(_pieces(seg.offsets, start, start + len(word)) + begins[i])
    # All words as one text: its pieces begin at `starts_T`, its characters at `heads_S`.
    starts_T = np.concatenate([*cuts, np.empty(0, np.int64)])
    data = np.frombuffer(b"".join(words), np.uint8)
    heads_S = np.flatnonzero((data & 0xC0) != 0x80)
    piece_S = np.searchsorted(starts_T, heads_S, side="right") - 1
    sizes_T = np.bincount(piece_S, minlength=starts_T.size)
    tokens = np.array([cut.size for cut in cuts], np.int64)
    indexed = np.logical_or.reduce([items.of(task) for task in INDEX_TASKS])
    target = np.full(len(items), np.nan)
    firsts = np.cumsum(lengths) - lengths
    target[indexed] = sizes_T[piece_S[firsts[indexed] + items.answers[indexed]]]
    columns = (lengths, items.answers, items.answers / lengths, tokens, lengths / tokens, target)
    return {name: np.asarray(column, np.float64) for name, column in zip(FEATURES, columns)}


def _pieces(offsets: np.ndarray, start: int, end: int) -> np.ndarray:
    """Where the tokens begin within bytes `start` to `end`, counted from `start`; the first at 0, whatever it holds before."""
    first, last = np.searchsorted(offsets, (start, end), side="left")
    inside = offsets[first:last] - start
    # Tokens without bytes begin where the next one does; a token that began before the word holds its first byte.
    inside = inside[np.diff(inside, prepend=-1) > 0]
    return inside if inside.size and inside[0] == 0 else np.concatenate([np.zeros(1, np.int64), inside])
