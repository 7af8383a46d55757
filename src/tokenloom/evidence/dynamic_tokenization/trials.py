"""What is tried: prompts of a decoder, sentences of an encoder, and an index over a large vocabulary."""

from __future__ import annotations

import csv
import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch.nn.functional import cosine_similarity

from ...core.segmentation import Ragged
from ...data import sample
from ...hosts import load_tokenizer
from ...hosts.bars import without_bars
from ...hosts.gguf import load_gguf
from ...hosts.json_tokenizer import JsonTokenizer
from ...hosts.pretokens import pretokenizer_of
from ...measure.bits import bits_per_byte
from ...models.hypernetwork import Hypernetwork
from ...tokenize.text.batch_merging import BatchMerging, length_curve
from ...transfer.dynamic_tokenization import (
    DynamicTokenization,
    HypernetworkEmbedder,
    LargeVocabulary,
    ModelRows,
    NeighbourIndex,
    PieceMean,
    RowTeaching,
    extend_vocabulary,
    recall,
)
from ...transfer.dynamic_tokenization.teaching import splittable

__all__ = ["decoder", "encoder", "index"]


def decoder(models: str | None, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Teach a hypernetwork, then read merged prompts with both kinds of rows and score what follows."""
    model, tok = _decoder(models)
    rng = np.random.default_rng(seed)
    rows = ModelRows(model)
    mean = PieceMean(rows, tok)
    known = rng.permutation(splittable(tok.vocab))
    held, taught = known[: known.size // 10], np.sort(known[known.size // 10 :])
    hypernetwork = Hypernetwork(source=rows.width, generator=torch.Generator().manual_seed(seed), **settings["network"])
    began = time.process_time()
    losses = RowTeaching(settings["steps"])(hypernetwork, rows, tok.vocab, rng=rng, tokens=taught)
    seconds = time.process_time() - began
    embedders: dict[str, Any] = {"FVT": mean, "hypernetwork": HypernetworkEmbedder(hypernetwork, mean)}
    found: dict[str, Any] = {
        "seconds of teaching": seconds,
        "loss": losses[:: max(1, losses.size // 20)].tolist(),
        "parameters": sum(p.numel() for p in hypernetwork.parameters()),
        "rows": _rows(tok, rows, embedders, taught, held),
        "languages": {},
        "tokens": 0,
    }
    merging = BatchMerging(tok.vocab, pretokens=pretokenizer_of(tok))
    for language in settings["languages"]:
        prompts, continuations, others = _passages(tok, sample(f"{language}-technical"), settings, rng)
        curve = length_curve(merging, others)
        text = tok.vocab.decode(continuations.ids)
        levels = []
        for share in settings["shares"]:
            merges = curve.merges_for(share)
            readers = {name: DynamicTokenization(model, merging, embed) for name, embed in embedders.items()}
            seconds, merged = _prefill(model, readers["FVT"], prompts, merges, settings["timed"])
            bits = {
                name: bits_per_byte(np.concatenate(reader.score(prompts, continuations, merges)), text)
                for name, reader in readers.items()
                if merges or name == "FVT"
            }
            levels.append({
                "share": share, "merges": merges, "bits": {"hypernetwork": bits["FVT"], **bits}, "prefill": seconds,
                "reduction": 1 - merged.ids.ids.size / prompts.ids.size, "new": len(merged.new),
            })  # fmt: skip
            found["tokens"] += len(bits) * (merged.ids.ids.size + continuations.ids.size)
        found["languages"][language] = {
            "levels": levels,
            "tokens": int(prompts.ids.size),
            "all": curve.reduction(1 << 30),
        }
    return found


def _passages(
    tok: JsonTokenizer, text: str, settings: dict[str, Any], rng: np.random.Generator
) -> tuple[Ragged, Ragged, list[Ragged]]:
    """Prompts, what follows each from the beginning of a word on, and batches of other prompts, for the curve."""
    number, before, behind = settings["prompts"], settings["prompt"], settings["continuation"]
    ids = tok.encode(text).ids
    blocks = ids[: ids.size // (before + behind) * (before + behind)].reshape(-1, before + behind)
    blocks = blocks[rng.permutation(len(blocks))[: 4 * number]]
    cuts = [max(k for k in range(1, before + 1) if k == 1 or tok.vocab[block[k]].startswith(b" ")) for block in blocks]
    prompts = [block[:cut] for block, cut in zip(blocks, cuts)]
    behinds = [block[cut : cut + behind] for block, cut in zip(blocks[:number], cuts)]
    others = [Ragged.of(prompts[at : at + number]) for at in range(number, len(prompts), number)]
    return Ragged.of(prompts[:number]), Ragged.of(behinds), others


@torch.no_grad()
def _prefill(model: Any, reader: DynamicTokenization, prompts: Ragged, merges: int, timed: int) -> tuple[float, Any]:
    """Processor seconds for a prompt, merging and rows included, the fastest of three times; and the merged batch."""
    best = np.inf
    for _ in range(3):
        began = time.process_time()
        read = reader(prompts, merges)
        making = (time.process_time() - began) / len(prompts)
        lengths = read.merged.ids.lengths
        began = time.process_time()
        for k in range(timed):
            model(inputs_embeds=read.inputs_embeds[k : k + 1, : lengths[k]], logits_to_keep=1, use_cache=True)
        best = min(best, making + (time.process_time() - began) / timed)
    return float(best), read.merged


@torch.no_grad()
def _rows(
    tok: JsonTokenizer, rows: ModelRows, embedders: dict[str, Any], taught: np.ndarray, held: np.ndarray
) -> dict[str, Any]:
    """Cosine of predicted and true rows of tokens held back, from the two parts that BPE makes them of."""
    model = json.loads(tok.spec["text"])["model"]
    ids, pairs = model["vocab"], [p if isinstance(p, list) else p.split(" ") for p in model["merges"]]
    parts = {ids[left + right]: [ids[left], ids[right]] for left, right in pairs}
    held = np.array([i for i in held.tolist() if i in parts])
    learnt = np.array([i for i in taught.tolist() if i in parts])
    table = rows.source(torch.arange(len(tok.vocab)))
    right, middle = table[held], table.mean(0)
    both = torch.tensor([parts[i] for i in held.tolist()])
    pieces = [np.array(parts[i]) for i in held.tolist()]
    valid = torch.ones(len(pieces), 2, dtype=torch.bool)
    # A linear map of both parts, by least squares with a little ridge, is what the hypernetwork has to beat.
    given = _ones(table[torch.tensor([parts[i] for i in learnt.tolist()])].flatten(1))
    ridge = given.T @ given + torch.eye(given.shape[1])
    linear = torch.linalg.solve(ridge, given.T @ table[learnt])
    made = {
        "FVT": embedders["FVT"].of_pieces(pieces).input,
        "linear map of both parts": _ones(table[both].flatten(1)) @ linear,
        "hypernetwork": embedders["hypernetwork"].hypernetwork(table[both], valid).rows,
    }
    return {
        "held back": int(held.size),
        "cosine": {name: float(cosine_similarity(one, right).mean()) for name, one in made.items()},
        "centred": {name: float(cosine_similarity(one - middle, right - middle).mean()) for name, one in made.items()},
    }


def _ones(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([x, torch.ones(len(x), 1)], 1)


@torch.no_grad()
def encoder(models: str | None, settings: dict[str, Any]) -> dict[str, Any]:
    """Similarities of the articles of a declaration among each other, before and after merging, language by language."""
    model, tok = _encoder(models)
    merging = BatchMerging(tok.vocab, pretokens=pretokenizer_of(tok))
    reader = DynamicTokenization(model, merging, PieceMean(ModelRows(model), tok))
    first, last = (tok.vocab.id_of(mark) for mark in (b"[CLS]", b"[SEP]"))
    table = list(csv.DictReader(io.StringIO(sample("udhr-parallel-13")), delimiter="\t"))
    found: dict[str, Any] = {}
    for language in settings["sentences"]:
        texts = [row[language] for row in table][: settings["articles"]]
        batch = Ragged.of([[first, *ids[: settings["longest"]], last] for ids in tok.encode_batch(texts)])
        upper = np.triu_indices(len(batch), 1)
        curve = length_curve(merging, [batch])
        levels, plain = [], None
        for share in settings["shares"]:
            read = reader(batch, curve.merges_for(share))
            hidden = model(**read.inputs).last_hidden_state
            mask = read.attention_mask[..., None]
            vectors = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)
            alike = (vectors @ vectors.T).numpy()[upper]
            plain = alike if plain is None else plain
            levels.append({
                "share": share, "merges": read.merged.merges, "rank": float(spearmanr(plain, alike).statistic),
                "reduction": 1 - read.merged.ids.ids.size / batch.ids.size,
            })  # fmt: skip
        found[language] = {"levels": levels, "tokens": int(batch.ids.size)}
    return {"languages": found, "tokens": sum(one["tokens"] * len(settings["shares"]) for one in found.values())}


@torch.no_grad()
def index(models: str | None, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    """Extend the vocabulary, look the likely tokens up for real hidden states, and generate."""
    model, tok = _decoder(models)
    rng = np.random.default_rng(seed)
    tokens = extend_vocabulary(tok, [sample(name) for name in settings["texts"]], len(tok.vocab) + settings["more"])
    large = LargeVocabulary.of(model, tok.vocab, tokens, PieceMean(ModelRows(model), tok))
    states, prompts = [], []
    for language in settings["languages"]:
        passages, _, _ = _passages(tok, sample(f"{language}-technical"), settings, rng)
        for ids in passages[: settings["queries"]]:
            states.append(model.base_model(torch.from_numpy(ids.astype(np.int64))[None]).last_hidden_state[0])
        prompts.append(passages[0])
    queries, lists = torch.cat(states), settings["lists"]
    found: dict[str, Any] = {"ids": len(large.vocab), "queries": len(queries), "recall": {}}
    scores = queries @ large.output.T
    for name, cosine in (("cosine", True), ("dot product", False)):
        near = NeighbourIndex(large.output, cosine=cosine, lists=lists, searched=lists, seed=seed)
        shares = found["recall"][name] = {}
        for near.searched in [max(1, lists * k // 64) for k in (1, 4, 8, 16, 64)]:
            by_cosine, by_product = recall(near, large.output, queries)
            seen = torch.from_numpy(near.search(queries, 20))
            # By score: a new token of equal pieces has the row of one of them.
            best = torch.gather(scores, 1, seen.clamp_min(0)).max(1).values
            shares[str(near.searched / lists)] = {
                "20 nearest": by_cosine if cosine else by_product,
                "20 likeliest": by_product,
                "the likeliest": float((best >= scores.max(1).values - 1e-3).float().mean()),
                "seconds": _seconds(lambda near=near: near.search(queries[:32], 20)) / 32,
            }  # fmt: skip
    found["seconds of all rows"] = _seconds(lambda: (queries[:32] @ large.output.T).topk(20)) / 32
    near.searched = max(1, lists // 8)
    made: dict[str, Any] = {"own": [], "large": []}
    stop = tok.vocab.special_ids.tolist()
    small = LargeVocabulary.of(model, tok.vocab, [], PieceMean(ModelRows(model), tok))
    for prompt in prompts:
        for name, vocabulary, by in (("own", small, None), ("large", large, near)):
            ids = vocabulary.generate(model, prompt, new=settings["new"], index=by, stop=stop)
            text = vocabulary.vocab.decode(ids)
            made[name].append([len(ids), len(text), int((ids >= len(tok.vocab)).sum()), text.decode(errors="replace")])
    return {**found, "made": made, "tokens": len(queries) + sum(one[0] for ones in made.values() for one in ones)}


def _seconds(work: Any) -> float:
    """Processor time, the least of five."""
    spent = []
    for _ in range(5):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return min(spent)


def _decoder(models: str | None) -> tuple[Any, JsonTokenizer]:
    if models is not None:
        loaded = load_gguf(Path(models) / "SmolLM2.gguf", Path(models) / "smollm2")
        return loaded.model, loaded.tokenizer
    from transformers import LlamaConfig, LlamaForCausalLM

    tok = load_tokenizer("tokenloom-en-16k")
    assert isinstance(tok, JsonTokenizer)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tok.vocab), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        tie_word_embeddings=True,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval(), tok


def _encoder(models: str | None) -> tuple[Any, JsonTokenizer]:
    from transformers import BertConfig, BertModel

    if models is not None:
        folder = Path(models) / "minilm"
        with without_bars():
            model = BertModel.from_pretrained(folder, local_files_only=True).eval()
        return model, JsonTokenizer((folder / "tokenizer.json").read_text(encoding="utf-8"), "MiniLM")
    tok = _letters()
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tok.vocab), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    return BertModel(config).eval(), tok


def _letters() -> JsonTokenizer:
    """A WordPiece of letters, for the miniature."""
    letters = "abcdefghijklmnopqrstuvwxyzäöüßéèêçàâîôûñ.,;:'()-0123456789"
    marks = ["[UNK]", "[CLS]", "[SEP]"]
    vocab = {token: i for i, token in enumerate([*marks, *letters, *(f"##{letter}" for letter in letters)])}
    added = [{"id": i, "content": mark, "special": True, "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False} for i, mark in enumerate(marks)]  # fmt: skip
    return JsonTokenizer(
        {
            "version": "1.0", "added_tokens": added, "normalizer": {"type": "Lowercase"},
            "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": None,
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
            "model": {"type": "WordPiece", "vocab": vocab, "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                      "max_input_chars_per_word": 100},
        },
        "letters",
    )  # fmt: skip
