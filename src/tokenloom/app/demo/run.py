"""What the demo does, without a word on the terminal: a corpus, a vocabulary, shards, two models, and what they say."""
# N prompts, V ids

import math
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import tokenloom as tl

from ...core.errors import StoreError
from ...core.segmentation import Segmentation
from ...core.tokenizer import Tokenizer
from ...data import sample
from ...data.encode import encode_corpus
from ...data.manifest import Manifest, verify_shards
from ...data.shards import open_shards
from ...data.windows import Windows
from ...hosts.json_tokenizer import JsonTokenizer
from ...hosts.train import train_bpe
from ...models.transformer import Transformer
from .size import Size

__all__ = ["CONDITIONS", "PIECES", "PROPORTIONS", "TEXTS", "Outcome", "Prompt"]

TEXTS = ("en-literary", "en-technical", "en-legal")
CONDITIONS = {"plain": None, "StochasTok": 0.1}
PROPORTIONS = (0.0, 0.1, 0.5, 1.0)
PIECES = (1, 2, 3)
SEED = 0
_NEW = 12
_WORD = re.compile(rb" [A-Za-z]{5,}")
_NOTE = "The demo of tokenloom made this folder, and empties it when it runs again.\n"


@dataclass(frozen=True)
class Prompt:
    """The beginning of a held-out paragraph.

    Args:
        head: all of it but the last word.
        ways: the last word as one token, cut into two and into three.
    """

    head: Segmentation
    ways: Sequence[Segmentation]

    def ids(self, way: int) -> np.ndarray:
        """The whole prompt with its last word cut in this way, int32 (n,)."""
        return np.concatenate([self.head.ids, self.ways[way].ids])


@dataclass(frozen=True)
class Outcome:
    """All that the page tells; by condition where there is one for each model.

    Args:
        folder: where everything of the run lies.
        size: of everything.
        tokenizer: the vocabulary that was learnt.
        manifests: of the shards.
        parameters: of each model.
        learnt: bits per byte of the text trained on, of each step, float64 (steps,).
        bits: bits per byte of the held-out text, by the proportion at which it is split.
        held_out: bytes of the held-out text.
        same: by pieces, the share of prompts where the most likely next token is that after the whole word.
        moved: by pieces, the total variation between the next-token distributions, mean over prompts.
        prompts: how many those are.
        shown: a prompt of each text.
        said: the continuation of each shown prompt, for each way to cut its last word.
        seconds: of each training, and "all" of everything before the page.
    """

    folder: Path
    size: Size
    tokenizer: Tokenizer
    manifests: Mapping[str, Manifest]
    parameters: int
    learnt: Mapping[str, np.ndarray]
    bits: Mapping[str, Mapping[float, float]]
    held_out: int
    same: Mapping[str, Mapping[int, float]]
    moved: Mapping[str, Mapping[int, float]]
    prompts: int
    shown: Sequence[Prompt]
    said: Mapping[str, Sequence[Sequence[str]]]
    seconds: Mapping[str, float]


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch work on one core: then the models are the same on any number of them, however busy the others are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def empty_folder(out: Path) -> None:
    """Make the folder, or empty it if an earlier demo made it.

    Raises: StoreError: it holds anything else, or cannot be written.
    """
    note = out / "README.txt"
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            if not (note.is_file() and note.read_bytes() == _NOTE.encode()):
                raise StoreError(
                    f"{out} is there, and no demo made it; move it away, or give another folder with --out"
                )
            for entry in out.iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                elif entry != note:
                    entry.unlink()
        out.mkdir(parents=True, exist_ok=True)
        note.write_text(_NOTE, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"cannot write into {out}: {error.strerror or error}") from error


def write_corpus(folder: Path) -> dict[str, list[str]]:
    """Write the embedded English texts as files, without every tenth paragraph; those are returned by text."""
    folder.mkdir()
    held_out = {}
    for name in TEXTS:
        # Licences quote each other: what is held out must not stand elsewhere too.
        paragraphs = list(dict.fromkeys(sample(name).split("\n\n")))
        held_out[name] = paragraphs[5::10]
        learn = [text for i, text in enumerate(paragraphs) if i % 10 != 5]
        (folder / f"{name}.txt").write_text("\n\n".join(learn), encoding="utf-8")
    return held_out


def learn_vocabulary(corpus: Path, out: Path, size: Size) -> JsonTokenizer:
    """Train byte-level BPE on the files of a folder, and save it."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(corpus.iterdir())]
    tokenizer = train_bpe(texts, size.vocab_size, name="demo")
    tokenizer.save(out)
    return tokenizer


def encode(corpus: Path, tokenizer: Tokenizer, out: Path, size: Size) -> dict[str, Manifest]:
    """The main job, once for each condition: shards and a manifest, and every byte of them checked again."""
    manifests: dict[str, Manifest] = {}
    for condition, proportion in CONDITIONS.items():
        look, passes = None, 1
        if proportion is not None:
            # As many passes as the training takes, each split anew.
            once = manifests["plain"].totals["tokens"]
            look, passes = (
                tl.StochasTok(tokenizer.vocab, proportion),
                -(-size.steps * size.batch * size.context // once),
            )
        encode_corpus(
            [corpus], out / condition, tokenizer=tokenizer, look=look, epochs=passes, split="paragraph", workers=1
        )
        manifests[condition] = verify_shards(out / condition)
    return manifests


def train(shards: Path, size: Size, progress: Callable[[int, float], None]) -> tuple[Transformer, np.ndarray]:
    """Train a model on shards.

    Args:
        progress: called after each step with its number and the bits per byte.
    Returns: the model, on the CPU, and the bits per byte of each step, float64 (steps,).
    """
    opened = open_shards(shards)
    model = tl.models.Transformer(
        vocab_size=opened.manifest.tokenizer["vocab_size"],
        width=size.width,
        layers=size.layers,
        heads=4,
        context=size.context,
        generator=torch.Generator().manual_seed(SEED),
    )
    windows = Windows(opened, size.context, batch=size.batch, seed=SEED, epochs=None)
    # Per byte, because a token of split text is a smaller thing to predict.
    scale = 1 / (math.log(2) * bytes_per_token(opened.manifest))
    result = tl.models.train(
        model,
        windows,
        steps=size.steps,
        lr=3e-3,
        warmup=size.steps // 10,
        seed=SEED,
        progress=lambda step, loss: progress(step, loss * scale),
    )
    return model.cpu(), result.losses * scale


def bytes_per_token(manifest: Manifest) -> float:
    """Bytes of text a token stands for, over all passes; end-of-text tokens count too."""
    return manifest.totals["bytes"] * manifest.settings["epochs"] / manifest.totals["tokens"]


def measure_bits(
    model: Transformer, tokenizer: Tokenizer, texts: Sequence[str], start: int, size: Size
) -> dict[float, float]:
    """Bits per byte of texts, by the proportion at which their tokens are split."""
    data = [text.encode() for text in texts]
    whole = tokenizer.encode_batch(data)
    results = {}
    for proportion in PROPORTIONS:
        split = tl.StochasTok(tokenizer.vocab, proportion)(whole, rng=np.random.default_rng(SEED))
        results[proportion] = tl.measure.text_bits(model, list(split), data, length=size.context, start=start, batch=32)
    return results


def find_prompts(tokenizer: Tokenizer, texts: Mapping[str, Sequence[str]], size: Size) -> dict[str, list[Prompt]]:
    """Every place near the beginning of a paragraph where a word of one token, at least five letters long, ends."""
    two, three = (tl.StochasTok(tokenizer.vocab, 99.0, max_splits=pieces - 1) for pieces in PIECES[1:])
    rng = np.random.default_rng(SEED)
    prompts: dict[str, list[Prompt]] = {name: [] for name in texts}
    for name, paragraphs in texts.items():
        for seg in map(tokenizer.encode, paragraphs):
            tokens = seg.tokens()
            for i in range(6, min(len(tokens) - 1, size.context // 2)):
                if _WORD.fullmatch(tokens[i]) and not tokens[i + 1][:1].isalpha():
                    word = seg[i : i + 1]
                    ways = (word, two(word, rng=rng), three(word, rng=rng))
                    if tuple(map(len, ways)) == PIECES:
                        prompts[name].append(Prompt(seg[:i], ways))
    return prompts


def choose(prompts: Mapping[str, Sequence[Prompt]], count: int) -> list[Prompt]:
    """At most `count` of the prompts of all texts, drawn at random."""
    together = [prompt for one_text in prompts.values() for prompt in one_text]
    return [together[i] for i in np.random.default_rng(SEED).permutation(len(together))[:count]]


def compare_next(model: Transformer, prompts: Sequence[Prompt]) -> tuple[dict[int, float], dict[int, float]]:
    """How far the next token depends on how the last word is cut: `same` and `moved` of an `Outcome`."""
    whole_NV = _next(model, [prompt.ids(0) for prompt in prompts])
    same, moved = {}, {}
    for way, pieces in enumerate(PIECES[1:], 1):
        cut_NV = _next(model, [prompt.ids(way) for prompt in prompts])
        same[pieces] = float((cut_NV.argmax(1) == whole_NV.argmax(1)).mean())
        moved[pieces] = float(np.abs(cut_NV - whole_NV).sum(1).mean() / 2)
    return same, moved


@torch.no_grad()
def _next(model: Transformer, sequences: Sequence[np.ndarray]) -> np.ndarray:
    """Probabilities of the next token, (N, V)."""
    hidden_ND = torch.from_numpy(tl.measure.hidden_at_last(model, sequences)[-1])
    return model.head(model.norm(hidden_ND)).softmax(-1).numpy()


def continue_prompt(model: Transformer, tokenizer: Tokenizer, prompt: Prompt, end: int) -> list[str]:
    """What the model says after the prompt, greedily, for each way to cut its last word; ¶ where it ends the text."""
    said = []
    for way in range(len(prompt.ways)):
        ids = torch.from_numpy(prompt.ids(way).astype(np.int64))[None]
        new = model.generate(ids, new=_NEW)[0, ids.shape[1] :].numpy()
        ends = np.flatnonzero(new == end)
        text = tokenizer.decode(new[: ends[0]] if ends.size else new).decode("utf-8", "replace")
        said.append(text + " ¶" * bool(ends.size))
    return said
