"""Reducers inside models: what a model says with all tokens, with some of them, and afterwards."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import pytest
import torch
from tiny_models import FAMILIES, PLACEHOLDER, TOWERS, one_row, pixels, tiny_inputs, tiny_tower, tiny_vlm

from tokenloom.core.errors import InvalidInput
from tokenloom.core.token_map import TokenMap
from tokenloom.reduce.attaching import attach
from tokenloom.reduce.baselines import Linspace, Random, UniformGrid
from tokenloom.reduce.crops import Crops
from tokenloom.reduce.divprune import DivPrune
from tokenloom.reduce.explainability_compression import Compressor, ExplainabilityCompression
from tokenloom.reduce.fastv import FastV
from tokenloom.reduce.fopru import FoPru
from tokenloom.reduce.globalcom2 import GlobalCom2
from tokenloom.reduce.hiprune import HiPrune
from tokenloom.reduce.matryoshka_m3 import MatryoshkaM3
from tokenloom.reduce.prumerge import PruMerge, PruMergePlus
from tokenloom.reduce.signals import Signal, given
from tokenloom.reduce.sparsevlm import SparseVLM
from tokenloom.reduce.super_token_sampling import SuperTokenSampling
from tokenloom.reduce.token_correlation_compression import TokenCorrelationCompression
from tokenloom.reduce.token_transforming import TokenTransforming
from tokenloom.reduce.tokenflex import TokenFLEX
from tokenloom.reduce.tome import ToMe
from tokenloom.reduce.transprune import TransPrune
from tokenloom.reduce.visionzip import VisionZip

# Every reducer with settings that keep all tokens. Those that look at a class token are not tried on Qwen, which has none, nor
# those that divide a budget among crops on models without crops; see `possible`.
ALL_TOKENS = [
    DivPrune(keep=1.0),
    HiPrune(keep=1.0, layer=2),
    HiPrune(keep=1.0, layer=2, neighbours="grid"),
    FoPru(keep=1.0),
    FoPru(keep=1.0, score="cls"),
    FoPru(keep=1.0, strategy="rows"),
    FoPru(keep=1.0, per_crop=True),
    GlobalCom2(keep=1.0),
    GlobalCom2(keep=1.0, score="received_attention"),
    TokenCorrelationCompression(shallow=1, threshold=0.999, look_alikes=0.99, sampling="top"),
    TokenCorrelationCompression(shallow=1, threshold=0.999, look_alikes=0.99, sampling="top", sub_images=True),
    TokenCorrelationCompression(shallow=1, keep=1.0, sampling="top"),
    TokenTransforming(keep=1.0),
    MatryoshkaM3(keep=1.0),
    TokenFLEX(keep=1.0),
    SuperTokenSampling(cell=(1, 1)),
    SuperTokenSampling(keep=1.0),
    PruMerge(neighbours=4, keep=1.0),
    PruMergePlus(neighbours=4, keep=1.0),
    ExplainabilityCompression(Compressor(channels=(4, 8)), keep=1.0),
    Random(keep=1.0),
    UniformGrid(keep=1.0),
    Linspace(keep=1.0),
    ToMe(keep=1.0),
    FastV(keep=1.0, layer=1),
    SparseVLM(layers=(1, 2, 4), keep=(1.0, 1.0, 1.0)),
    TransPrune(layers=(2, 4), ratios=(1.0, 1.0), accumulated=(1, 2, 3)),
]

vlm = cache(tiny_vlm)
tower = cache(tiny_tower)

both = pytest.mark.parametrize("implementation", ["eager", "sdpa"])
all_families = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


@dataclass(frozen=True)
class Best:
    """Keep the tokens for which the sum of what is asked for is largest; all kinds of signals, each by itself or together."""

    kinds: tuple[str, ...]
    keep: int | float = 1.0
    layer: int | None = None

    @property
    def needs(self) -> Mapping[str, Signal]:
        names = {
            "received_attention": "received",
            "cls_attention": "row",
            "cls_logits": "logits",
            "cls_query": "query",
            "text_features": "text",
            "text_attention": "looked",
        }  # the others have the name of their kind
        recorded = ("received_attention", "cls_attention", "cls_logits", "cls_query", "keys")
        layer = dict.fromkeys(recorded, self.layer) | {"text_attention": 1}
        return {names.get(kind, kind): Signal(kind, layer.get(kind)) for kind in self.kinds}

    def __call__(
        self,
        x_BND,
        *,
        received_BT=None,
        row_BT=None,
        logits_BT=None,
        query_BHC=None,
        keys_BTHC=None,
        prefix=None,
        grid=None,
        crops=None,
        mass_BT=None,
        text_BQD=None,
        looked_BQN=None,
    ):
        batch, n, width = x_BND.shape
        got = locals()
        for name in self.needs:
            given(next(value for key, value in got.items() if key.split("_")[0] == name), self.needs[name].kind, self)
        score_BN = x_BND.float().square().sum(2) * 1e-9  # decides where nothing else does
        for value_BT in (received_BT, row_BT, logits_BT):
            score_BN = score_BN if value_BT is None else score_BN + value_BT
        if query_BHC is not None:
            assert query_BHC.shape == (batch, 4, 8)
        if keys_BTHC is not None:
            assert keys_BTHC.shape == (batch, n, 4, 8)
            score_BN = score_BN + keys_BTHC.float().square().sum((2, 3))
        assert mass_BT is None or torch.equal(mass_BT, torch.ones(batch, n))
        if grid is not None:
            assert grid[0] * grid[1] == n - (prefix or 0)
        if crops is not None:
            assert isinstance(crops, Crops) and batch == crops.count and n == crops.side**2
        if text_BQD is not None:
            score_BN = score_BN + torch.einsum("bnd,bqd->bn", x_BND.float(), text_BQD.float())
        if looked_BQN is not None:
            assert looked_BQN.shape[::2] == (batch, n)
            score_BN = score_BN + looked_BQN.sum(1)
        kept = max(1, round(self.keep * n)) if isinstance(self.keep, float) else self.keep
        return TokenMap.keep(score_BN.topk(kept).indices.sort().values, of=n)


KINDS = {
    "features": (),
    "received": ("received_attention",),
    "class row": ("cls_attention",),
    "class logits": ("cls_logits",),
    "class query": ("cls_query",),
    "keys": ("keys",),
    "grid": ("grid",),
    "crops": ("crops",),
    "mass": ("mass",),
    "text": ("text_features",),
    "text attention": ("text_attention",),
    "many": ("received_attention", "keys", "grid", "text_features", "text_attention"),
}


def possible(family, kinds):
    """Whether a family has what is asked for."""
    if any(kind.startswith("cls_") for kind in kinds) and family.startswith("qwen"):
        return False  # no class token
    return "crops" not in kinds or family == "llava-next"


CASES = [(f, k) for f in FAMILIES for k, kinds in KINDS.items() if possible(f, kinds)]


@cache
def plain_logits(family, implementation, grid=(8, 12)):
    return vlm(family, implementation)(**tiny_inputs(family, grids=(grid,))).logits


# All tokens


@both
@pytest.mark.parametrize("family, kind", CASES)
def test_a_model_with_all_tokens_says_what_it_says_without_a_reducer_to_the_last_bit(family, kind, implementation):
    model, inputs = vlm(family, implementation), tiny_inputs(family)
    with attach(model, Best(KINDS[kind])) as attached:
        reduced = model(**inputs).logits
    assert torch.equal(plain_logits(family, implementation), reduced)
    assert attached.kept == attached.of == [int((inputs["input_ids"] == PLACEHOLDER[family]).sum())]


@both
@all_families
def test_divprune_that_keeps_all_tokens_changes_no_bit_of_a_padded_batch(family, implementation):
    rows = ((3, "p", 4), (2, "p", 3, "p", 5), (6,))
    model, inputs = vlm(family, implementation), tiny_inputs(family, rows)
    plain = model(**inputs)
    words = model.generate(**inputs, max_new_tokens=6, do_sample=False)
    with attach(model, DivPrune(keep=1.0)):
        reduced = model(**inputs)
        same_words = model.generate(**inputs, max_new_tokens=6, do_sample=False)
    assert torch.equal(plain.logits, reduced.logits)
    assert torch.equal(words, same_words)


@all_families
def test_any_block_can_be_asked_and_negative_numbers_count_from_the_last(family):
    model, inputs = vlm(family), tiny_inputs(family)
    maps = []
    for layer in (1, 2, 3, 4, -1, None):
        with attach(model, Best(("received_attention",), 0.5, layer)) as attached:
            model(**inputs)
        maps.append(attached.maps[0].matrix())
    assert torch.equal(maps[3], maps[4])
    assert torch.equal(
        maps[5], maps[2 if family.startswith("llava") else 3]
    )  # LLaVA's features come from the last but one
    assert not torch.equal(maps[0], maps[3])


def kinds_of(reducer):
    needs = reducer.needs(reducer.layers[0]) if hasattr(reducer, "layers") else reducer.needs
    return tuple(signal.kind for signal in needs.values())


EVERY = [(f, r) for f in FAMILIES for r in ALL_TOKENS if possible(f, kinds_of(r))]


@pytest.mark.parametrize(
    "family, reducer", EVERY, ids=lambda value: value if isinstance(value, str) else repr(value)[:70]
)
def test_every_reducer_that_keeps_all_tokens_changes_no_bit(family, reducer):
    # TokenFLEX and M3 pool squares: one grid is square, and so are the crops of LLaVA.
    model, inputs = vlm(family), tiny_inputs(family, grids=((8, 8),))
    generator = torch.Generator().manual_seed(0) if isinstance(reducer, Random) else None
    with attach(model, reducer, generator=generator) as attached:
        reduced = model(**inputs).logits
    assert attached.kept == attached.of and len(attached.maps) == 1
    assert torch.equal(plain_logits(family, "sdpa", (8, 8)), reduced)


@pytest.mark.parametrize("family", ["llava", "llava-next"])
def test_visionzip_keeps_the_class_tokens_beside_all_others(family):
    model, inputs = vlm(family), tiny_inputs(family)
    plain = model(**inputs).image_outputs
    # Of the last block but one, as the features are.
    states = model.model.vision_tower(inputs["pixel_values"].flatten(0, -4), output_hidden_states=True).hidden_states[
        -2
    ]
    classes = model.model.multi_modal_projector(states[:, :1])[:, 0]
    with attach(model, VisionZip(keep=1.0)) as attached:
        (tokens,) = model(**inputs).image_outputs.pooler_output
    ours = ((tokens[:, None] - classes).abs() < 1e-5).all(2).any(1)
    assert int(ours.sum()) == len(states) and attached.kept == [attached.of[0] + len(states)]
    assert torch.allclose(tokens[~ours], plain.pooler_output[0], atol=1e-5)


FEWER = [
    DivPrune(keep=0.3),
    HiPrune(keep=0.5, layer=2),
    FoPru(keep=0.3),
    GlobalCom2(keep=0.3),
    TokenCorrelationCompression(shallow=1, threshold=0.0, look_alikes=0.3),
    TokenTransforming(keep=0.5),
    MatryoshkaM3(keep=0.25),
    TokenFLEX(keep=0.25),
    SuperTokenSampling(cell=(2, 2)),
    ExplainabilityCompression(Compressor(channels=(4, 8)), keep=0.3),
    Random(keep=0.3),
    UniformGrid(keep=0.25),
    Linspace(keep=0.3),
    VisionZip(keep=0.4),
    ToMe(keep=0.6),
    PruMerge(neighbours=4),
]


@pytest.mark.parametrize(
    "family, reducer",
    [(f, r) for f in FAMILIES for r in FEWER if possible(f, kinds_of(r))],
    ids=lambda value: value if isinstance(value, str) else repr(value)[:70],
)
def test_every_reducer_makes_a_prompt_shorter_and_a_batch_equal_to_its_prompts(family, reducer):
    rows = ((3, "p", 4), (2, "p", 9))
    model, inputs = vlm(family), tiny_inputs(family, rows, grids=((8, 8),))
    drawn = isinstance(reducer, Random | TokenCorrelationCompression)

    def run(call):
        generator = torch.Generator().manual_seed(0) if drawn else None
        with attach(model, reducer, generator=generator) as attached:
            return model(**call).logits, attached

    logits, attached = run(inputs)
    assert all(0 < kept < of for kept, of in zip(attached.kept, attached.of))
    for row in range(1 if drawn else 2):  # the second picture is drawn from what the first one left of the generator
        own, _ = run(one_row(family, inputs, row, rows))
        assert torch.allclose(logits[row, -own.shape[1] :], own[0], atol=1e-4)


# Fewer tokens


def full_positions(family, model, inputs):
    if family.startswith("llava"):
        return torch.arange(inputs["input_ids"].shape[1]).expand(inputs["input_ids"].shape)
    names = ("image_grid_thw", "mm_token_type_ids", "attention_mask")
    return model.model.get_rope_index(inputs["input_ids"], **{name: inputs[name] for name in names})[0]


@both
@all_families
def test_dropping_tokens_is_masking_them(family, implementation):
    model, inputs = vlm(family, implementation), tiny_inputs(family, ((3, "p", 2, "p", 4),))
    with attach(model, Best((), 0.4)) as attached:
        short = model(**inputs).logits
    mask = inputs["attention_mask"].clone()
    slots = (inputs["input_ids"][0] == PLACEHOLDER[family]).nonzero()[:, 0].split(attached.of)
    for token_map, columns in zip(attached.maps, slots):
        gone = torch.ones(len(columns), dtype=torch.bool)
        gone[token_map.index_BM[0]] = False
        mask[0, columns[gone]] = 0
    where = full_positions(family, model, inputs)
    masked = model(**inputs | {"attention_mask": mask, "position_ids": where}).logits
    assert short.shape[1] == int(mask.sum()) < inputs["input_ids"].shape[1]
    assert torch.allclose(short, masked[:, mask[0].bool()], atol=1e-5)


@both
@all_families
def test_generation_with_a_cache_is_computation_without(family, implementation):
    model, inputs = vlm(family, implementation), tiny_inputs(family)
    with attach(model, DivPrune(keep=0.3)):
        words = model.generate(**inputs, max_new_tokens=8, do_sample=False)
        slowly = model.generate(**inputs, max_new_tokens=8, do_sample=False, use_cache=False)
        step = model(**inputs).logits[:, -1].argmax(-1)
    start = inputs["input_ids"].shape[1]
    assert torch.equal(words[:, :start], inputs["input_ids"])
    assert words.shape[1] == start + 8
    assert torch.equal(words, slowly)
    assert torch.equal(step, words[:, start])


@all_families
def test_each_word_is_the_one_that_the_whole_prompt_with_masked_tokens_gives(family):
    model, inputs = vlm(family), tiny_inputs(family)
    with attach(model, DivPrune(keep=0.3)) as attached:
        made = model.generate(
            **inputs, max_new_tokens=5, do_sample=False, return_dict_in_generate=True, output_logits=True
        )
    mask = inputs["attention_mask"].clone()
    slots = (inputs["input_ids"][0] == PLACEHOLDER[family]).nonzero()[:, 0]
    gone = torch.ones(len(slots), dtype=torch.bool)
    gone[attached.maps[0].index_BM[0]] = False
    mask[0, slots[gone]] = 0
    where = full_positions(family, model, inputs)
    ids = inputs["input_ids"]
    for logits in made.logits:
        call = {"input_ids": ids, "attention_mask": mask, "position_ids": where}
        whole = model(**inputs | call).logits[:, -1]
        assert torch.allclose(whole, logits, atol=1e-4)
        ids = torch.cat((ids, logits.argmax(-1)[:, None]), 1)
        mask, where = torch.cat((mask, mask[:, -1:]), 1), torch.cat((where, where[..., -1:] + 1), -1)
        if "mm_token_type_ids" in inputs:
            inputs["mm_token_type_ids"] = torch.cat((inputs["mm_token_type_ids"], torch.zeros(1, 1).long()), 1)
    assert torch.equal(ids, made.sequences)


@dataclass(frozen=True)
class Loud:
    """Keep the patches of more than average length, which are not as many in each picture."""

    @property
    def needs(self):
        return {}

    def __call__(self, x_BND):
        (length_N,) = x_BND.float().norm(dim=2)
        return TokenMap.keep((length_N > length_N.mean()).nonzero()[:, 0][None], of=x_BND.shape[1])


ROWS = ((3, "p", 4), (2, "p", 3, "p", 5), (6,), ("p", 2))


@all_families
@pytest.mark.parametrize("reducer", [Loud(), Best(("keys", "text_attention"), 0.2)])
def test_a_padded_batch_of_unequal_prompts_gives_what_they_give_one_by_one(family, reducer):
    options = {"grids": ((8, 12), (4, 8), (6, 10)), "sizes": ((90, 120), (40, 200), (200, 60))}
    model, inputs = vlm(family), tiny_inputs(family, ROWS, **options)
    with attach(model, reducer) as attached:
        logits = model(**inputs).logits
        kept = list(attached.kept)
        words = model.generate(**inputs, max_new_tokens=6, do_sample=False)
        parts = []
        for row in range(len(ROWS)):
            alone = one_row(family, inputs, row, ROWS)
            own = model(**alone).logits[0]
            assert torch.allclose(logits[row, -len(own) :], own, atol=1e-5)
            parts += [] if "pixel_values" not in alone else attached.kept
            own_words = model.generate(**alone, max_new_tokens=6, do_sample=False)
            assert torch.equal(words[row, -6:], own_words[0, -6:])
    assert kept == parts and len(kept) == 4
    assert torch.equal(words[:, :-6], inputs["input_ids"])


@all_families
def test_prompts_padded_on_the_right_stay_padded_there(family):
    rows = ((3, "p", 4), (2, "p", 9))
    model, inputs = vlm(family), tiny_inputs(family, rows)
    pad = inputs["attention_mask"][0].eq(0).sum()
    turned = inputs | {
        name: torch.stack((inputs[name][0].roll(-int(pad)), inputs[name][1]))
        for name in ("input_ids", "attention_mask", "mm_token_type_ids")
        if name in inputs
    }
    with attach(model, DivPrune(keep=5)):
        left, right = model(**inputs).logits, model(**turned).logits
    assert torch.allclose(left[0, pad:], right[0, :-pad], atol=1e-5)
    assert torch.allclose(left[1], right[1], atol=1e-5)


@all_families
def test_compact_positions_are_those_of_a_prompt_that_never_had_more(family):
    model, inputs = vlm(family), tiny_inputs(family)
    with attach(model, DivPrune(keep=6), positions="compact"):
        short = model(**inputs)
        words = model.generate(**inputs, max_new_tokens=6, do_sample=False)
        slowly = model.generate(**inputs, max_new_tokens=6, do_sample=False, use_cache=False)
    with attach(model, DivPrune(keep=6)) as attached:
        kept = model(**inputs).logits
    ids = inputs["input_ids"][0]
    slots = (ids == PLACEHOLDER[family]).nonzero()[:, 0]
    gone = torch.ones(len(slots), dtype=torch.bool)
    gone[attached.maps[0].index_BM[0]] = False
    left = torch.ones(len(ids), dtype=torch.bool)
    left[slots[gone]] = False
    where = torch.arange(int(left.sum()))[None]
    where = where.expand(3, -1, -1) if family.startswith("qwen") else where
    plain = model(
        input_ids=ids[None, left],
        attention_mask=torch.ones(1, int(left.sum())).long(),
        position_ids=where,
        mm_encoder_outputs={"image": short.image_outputs},
    ).logits
    assert torch.equal(plain, short.logits)
    assert torch.equal(words, slowly)
    assert not torch.allclose(kept, short.logits, atol=1e-4)


@all_families
def test_labels_are_shortened_with_the_prompt(family):
    model, inputs = vlm(family), tiny_inputs(family, ((3, "p", 4), (2, "p", 7)))
    labels = inputs["input_ids"].masked_fill(inputs["input_ids"] == PLACEHOLDER[family], -100)
    labels = labels.masked_fill(inputs["attention_mask"] == 0, -100)
    plain = model(**inputs, labels=labels).loss
    with attach(model, DivPrune(keep=1.0)):
        assert torch.equal(model(**inputs, labels=labels).loss, plain)
    with attach(model, DivPrune(keep=5)):
        short = model(**inputs, labels=labels)
    # The last text tokens are predicted by themselves and by what is before them: count them by hand.
    ids, logits = inputs["input_ids"], short.logits
    losses = []
    for row, text in enumerate((4, 7)):
        last = logits[row, -text:-1]
        losses.append(torch.nn.functional.cross_entropy(last, ids[row, -text + 1 :], reduction="none"))
    first = [labels[row, labels[row] >= 0][: 3 - row + family.startswith("qwen")] for row in (0, 1)]
    assert [len(part) for part in losses] == [3, 6] and len(first) == 2
    with attach(model, DivPrune(keep=5)):
        only_last = labels.clone()
        only_last[:, :-6] = -100
        only_last[0, :-3] = -100
        loss = model(**inputs, labels=only_last).loss
    assert torch.allclose(loss, torch.cat(losses).mean(), atol=1e-6)


# Merged tokens


@dataclass(frozen=True)
class Pairs:
    """Means of neighbours with weights 1/4 and 3/4."""

    @property
    def needs(self):
        return {}

    def __call__(self, x_BND):
        batch, n, _ = x_BND.shape
        target = torch.arange(n).expand(batch, -1) // 2
        share = torch.tensor([0.25, 0.75]).repeat(n)[:n].expand(batch, -1)
        return TokenMap.merge(target, (n + 1) // 2, share)


def test_a_merged_token_stands_where_its_heaviest_one_stood():
    model, inputs = vlm("llava"), tiny_inputs("llava")
    with attach(model, Pairs()) as attached:
        short = model(**inputs)
    ids = inputs["input_ids"][0]
    tokens = model.model.get_image_features(inputs["pixel_values"]).pooler_output[0]
    merged = 0.25 * tokens[::2] + 0.75 * tokens[1::2]
    assert torch.allclose(short.image_outputs.pooler_output[0], merged, atol=1e-6)
    left = [*range(3), *range(4, 19, 2), *range(19, 23)]
    plain = model(
        input_ids=ids[None, left],
        attention_mask=torch.ones(1, len(left)).long(),
        position_ids=torch.tensor(left)[None],
        mm_encoder_outputs={"image": short.image_outputs},
    ).logits
    assert torch.equal(plain, short.logits)
    assert (attached.kept, attached.of) == ([8], [16])


# Tokens before the patches


@dataclass(frozen=True)
class WithPrefix:
    """Ask for class tokens too, and keep them or not."""

    keep_them: bool = True
    recorded: bool = True

    @property
    def needs(self):
        known = {"row": Signal("cls_attention")} if self.recorded else {}
        return {"prefix": Signal("prefix"), **known}

    def __call__(self, x_BTD, *, prefix=None, row_BT=None):
        assert row_BT is None or row_BT.shape == x_BTD.shape[:2]
        start = 0 if self.keep_them else prefix
        return TokenMap.keep(torch.arange(start, x_BTD.shape[1]).expand(len(x_BTD), -1), of=x_BTD.shape[1])


@pytest.mark.parametrize("family", ["llava", "llava-next"])
def test_a_reducer_that_lets_the_class_token_go_leaves_the_model_as_it_is(family):
    model, inputs = vlm(family), tiny_inputs(family, ((3, "p", 4), (2, "p", 5)))
    plain = model(**inputs).logits
    with attach(model, WithPrefix(keep_them=False)):
        assert torch.allclose(model(**inputs).logits, plain, atol=1e-6)


def test_a_class_token_that_is_kept_makes_the_prompt_longer_and_takes_the_first_place():
    model, inputs = vlm("llava"), tiny_inputs("llava")
    with attach(model, WithPrefix()) as attached:
        longer = model(**inputs).logits
        words = model.generate(**inputs, max_new_tokens=3)
    ids = inputs["input_ids"][0]
    one_more = torch.cat((ids[:4], ids[3:]))[None]
    places = torch.tensor([[0, 1, 2, 3, *range(3, 23)]])
    by_hand = model(
        input_ids=one_more,
        pixel_values=inputs["pixel_values"],
        vision_feature_select_strategy="full",
        position_ids=places,
        attention_mask=torch.ones_like(one_more),
    ).logits
    assert torch.allclose(longer, by_hand, atol=1e-6)
    assert (attached.kept, attached.of, words.shape[1]) == ([17], [16], 26)


def test_a_class_token_that_the_language_model_sees_anyway_is_kept_beside_the_patches():
    model = tiny_vlm("llava", vision_feature_select_strategy="full")
    inputs = tiny_inputs("llava")
    ids = inputs["input_ids"]
    inputs["input_ids"] = torch.cat((ids[:, :4], ids[:, 3:]), 1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    plain = model(**inputs).logits
    with attach(model, Best(("received_attention", "grid"))):
        assert torch.equal(model(**inputs).logits, plain)
    with attach(model, WithPrefix()):
        assert torch.allclose(model(**inputs).logits, plain, atol=1e-6)
    with attach(model, Best(("received_attention", "grid"), 4)) as attached:
        model(**inputs)
    assert (attached.kept, attached.of) == ([5], [17])


# Crops


SIZES = ((90, 120), (40, 200), (200, 60), (100, 100))


def packed_places(size):
    """Crops, and for each patch of each crop its place in the prompt, -1 for padding, by walking over the canvas."""
    from tiny_models import next_crops

    rows, columns = next_crops(*size)
    crops = Crops(rows, columns, 4, *size)
    places = torch.full((crops.count, 16), -1)
    places[0] = torch.arange(16)
    at = 16
    lines = []
    for r in range(4 * rows):
        patches = []
        for c in range(4 * columns):
            crop, patch = 1 + (r // 4) * columns + c // 4, (r % 4) * 4 + c % 4
            if crops.valid[crop, patch]:
                places[crop, patch] = at
                patches.append(at)
                at += 1
        if patches:
            lines.append((patches, at))
            at += 1
    return crops, places, lines, at


@dataclass(frozen=True)
class Fixed:
    """Keep given patches of each crop; `kind` decides whether it sees crops."""

    index: tuple[tuple[int, ...], ...]
    kind: str = "grid"

    @property
    def needs(self):
        return {self.kind: Signal(self.kind)}

    def __call__(self, x_BND, *, grid=None, crops=None):
        return TokenMap.keep(torch.tensor(self.index), of=x_BND.shape[1])


@pytest.mark.parametrize("newlines", ["rows", "all", "none"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["grid", "crops"])
def test_crops_are_put_together_line_by_line(kind, size, newlines):
    model, inputs = vlm("llava-next"), tiny_inputs("llava-next", sizes=(size,))
    crops, places, lines, tokens = packed_places(size)
    generator = torch.Generator().manual_seed(sum(size))
    index = tuple(tuple(torch.randperm(16, generator=generator)[:5].tolist()) for _ in range(crops.count))
    with attach(model, Fixed(index, kind), newlines=newlines) as attached:
        short = model(**inputs)
    kept = {int(places[c, i]) for c in range(1, crops.count) for i in index[c]} - {-1}
    expected = list(index[0])
    for patches, newline in lines:
        in_line = [p for p in patches if p in kept]
        expected += in_line + [newline] * (newlines == "all" or (newlines == "rows" and bool(in_line)))
    whole = model.model.get_image_features(inputs["pixel_values"], inputs["image_sizes"]).pooler_output[0]
    assert len(whole) == tokens == attached.of[0]
    assert torch.equal(short.image_outputs.pooler_output[0], whole[expected])
    assert attached.kept == [len(expected)]


@pytest.mark.parametrize("size", SIZES)
def test_merged_rows_of_crops_stand_where_their_heaviest_patch_that_is_shown_stands(size):
    @dataclass(frozen=True)
    class Lines:
        """Each row of a crop, with weights 1 to 4, heaviest on the right."""

        @property
        def needs(self):
            return {"grid": Signal("grid")}

        def __call__(self, x_BND, *, grid=None):
            weight = torch.zeros(1, 4, 16)
            for r in range(4):
                weight[0, r, 4 * r : 4 * r + 4] = torch.tensor([1.0, 2, 3, 4]) / 10
            return TokenMap.dense(weight)

    model, inputs = vlm("llava-next"), tiny_inputs("llava-next", sizes=(size,))
    crops, places, lines, _ = packed_places(size)
    with attach(model, Lines(), newlines="none") as attached:
        model(**inputs)
    found = 4
    for c in range(1, crops.count):
        found += sum(bool((places[c, 4 * r : 4 * r + 4] >= 0).any()) for r in range(4))
    assert attached.kept == [found]
    assert attached.of == [16 + sum(len(patches) + 1 for patches, _ in lines)]


def test_a_number_of_tokens_is_divided_among_the_crops():
    model, inputs = vlm("llava-next"), tiny_inputs("llava-next", sizes=((112, 112),))
    with attach(model, Best(("grid",), 20), newlines="none") as attached:
        model(**inputs)
    assert attached.maps[0].shape == (5, 4, 16) and attached.kept == [20]
    with (
        attach(model, Best(("grid",), 22)),
        pytest.raises(InvalidInput, match=r"keep=22 for a picture of 5 crops.* 20 or 25"),
    ):
        model(**inputs)
    with attach(model, Best((), 22)) as attached:  # one pool of all tokens, newlines among them
        model(**inputs)
    assert attached.kept == [22]


# What is left alone


@all_families
@both
def test_calls_without_pictures_are_left_alone(family, implementation):
    model, inputs = vlm(family, implementation), tiny_inputs(family, ((5,), (9,)))
    plain, words = model(**inputs).logits, model.generate(**inputs, max_new_tokens=4)
    with attach(model, DivPrune(keep=2)) as attached:
        assert torch.equal(model(**inputs).logits, plain)
        assert torch.equal(model.generate(**inputs, max_new_tokens=4), words)
    assert (attached.maps, attached.kept, attached.of) == ([], [], [])


def whole_state(model):
    """What a reducer could leave behind: methods, hooks and configurations of all modules."""
    return {
        name: (
            {key: value for key, value in vars(module).items() if callable(value) or key in ("config", "rope_deltas")},
            len(module._forward_hooks),
            len(module._forward_pre_hooks),
            getattr(getattr(module, "config", None), "_attn_implementation", None),
            {key for key in vars(module) if key.startswith("tokenloom")},
        )
        for name, module in model.named_modules()
    }


@all_families
def test_an_exception_gives_the_model_back_as_it_was(family):
    @dataclass(frozen=True)
    class Fails(Best):
        def __call__(self, x_BND, *, received_BT=None, keys_BTHC=None):
            raise RuntimeError("no map")

    model, inputs = tiny_vlm(family), tiny_inputs(family)
    model(**inputs, output_hidden_states=True)  # transformers puts its own hooks in once
    plain, before = model(**inputs).logits, whole_state(model)
    for name in ("forward", "generate"):
        with pytest.raises(RuntimeError, match="no map"), attach(model, Fails(("received_attention", "keys"))):
            getattr(model, name)(**inputs)
        assert whole_state(model) == before
    with pytest.raises(ZeroDivisionError), attach(model, DivPrune(keep=2)):
        _ = 1 / 0
    assert torch.equal(model(**inputs).logits, plain)
    attached = attach(model, DivPrune(keep=2))
    short = model(**inputs).logits
    attached.detach()
    attached.detach()
    assert short.shape[1] < plain.shape[1]
    assert torch.equal(model(**inputs).logits, plain)
    assert "forward" not in vars(model) and "generate" not in vars(model)


def test_a_forward_that_somebody_else_put_there_comes_back():
    model, inputs = tiny_vlm("llava"), tiny_inputs("llava")
    own = model.forward

    def counted(*args, **kwargs):
        counted.calls += 1
        return own(*args, **kwargs)

    counted.calls = 0
    model.forward = counted
    with attach(model, DivPrune(keep=2)):
        model(**inputs)
    assert counted.calls == 1 and model.forward is counted


# Generation


@all_families
def test_generated_sequences_begin_with_the_whole_prompts(family):
    model, inputs = vlm(family), tiny_inputs(family, ((3, "p", 4), (2, "p", 7)))
    start = inputs["input_ids"].shape[1]
    with attach(model, DivPrune(keep=4)):
        made = model.generate(
            **inputs, max_new_tokens=3, num_beams=2, num_return_sequences=2, return_dict_in_generate=True
        )
        by_length = model.generate(**inputs, max_length=start + 3, do_sample=False)
        torch.manual_seed(0)
        drawn = model.generate(**inputs, max_new_tokens=3, do_sample=True, num_return_sequences=3)
        greedy = model.generate(**inputs, max_new_tokens=3, do_sample=False)
    assert made.sequences.shape == (4, start + 3)
    assert torch.equal(made.sequences[:, :start], inputs["input_ids"].repeat_interleave(2, 0))
    assert torch.equal(drawn[:, :start], inputs["input_ids"].repeat_interleave(3, 0))
    assert torch.equal(by_length, greedy)


@all_families
def test_beams_of_a_batch_are_those_of_its_prompts_alone(family):
    rows = ((3, "p", 4), (2, "p", 7))
    model, inputs = vlm(family), tiny_inputs(family, rows)
    options = {"max_new_tokens": 4, "num_beams": 3, "do_sample": False}
    with attach(model, DivPrune(keep=4)):
        together = model.generate(**inputs, **options)
        for row in range(2):
            alone = model.generate(**one_row(family, inputs, row, rows), **options)
            assert torch.equal(together[row, -4:], alone[0, -4:])


def test_bfloat16_runs_and_keeps_all_bits_with_all_tokens():
    for family in FAMILIES:
        model, inputs = tiny_vlm(family).bfloat16(), tiny_inputs(family)
        inputs["pixel_values"] = inputs["pixel_values"].bfloat16()
        plain = model(**inputs).logits
        with attach(model, Best(("received_attention", "text_attention"))):
            assert torch.equal(model(**inputs).logits, plain)
        with attach(model, Best(("received_attention", "text_attention"), 0.5)):
            assert torch.isfinite(model(**inputs).logits).all()


def test_a_reducer_that_draws_is_given_the_generator():
    @dataclass(frozen=True)
    class Some:
        @property
        def needs(self):
            return {}

        def __call__(self, x_BND, *, generator=None):
            order = torch.rand(x_BND.shape[:2], generator=generator).argsort(1)
            return TokenMap.keep(order[:, :6].sort(1).values, of=x_BND.shape[1])

    model, inputs = vlm("llava"), tiny_inputs("llava")
    maps = []
    for seed in (1, 1, 2):
        with attach(model, Some(), generator=torch.Generator().manual_seed(seed)) as attached:
            model(**inputs)
        maps.append(attached.maps[0].index_BM)
    assert torch.equal(maps[0], maps[1]) and not torch.equal(maps[0], maps[2])
    for reducer, words in (
        (DivPrune(keep=2), "DivPrune draws nothing"),
        (FastV(), "nothing is drawn"),
        ({1: ToMe(r=1)}, "no reducer here draws"),
    ):
        with pytest.raises(InvalidInput, match=words):
            attach(model, reducer, generator=torch.Generator())


# Vision transformers alone


@pytest.mark.parametrize("kind", TOWERS)
@both
def test_a_vision_transformer_alone_returns_fewer_patches_behind_its_class_token(kind, implementation):
    model, pictures = tower(kind, implementation), pixels(3)
    plain = model(pictures)
    before = plain.last_hidden_state.shape[1] - 16
    with attach(model, Best(("received_attention", "grid"), 5)) as attached:
        short = model(pictures)
        as_tuple = model(pictures, return_dict=False)
    patches = plain.last_hidden_state[:, before:]
    kept = torch.stack([p[token_map.index_BM[0]] for p, token_map in zip(patches, attached.maps)])
    assert torch.equal(short.last_hidden_state, torch.cat((plain.last_hidden_state[:, :before], kept), 1))
    assert torch.equal(as_tuple[0], short.last_hidden_state)
    assert plain.pooler_output is None or torch.equal(plain.pooler_output, short.pooler_output)
    assert attached.kept == [before + 5] * 3 and attached.of == [before + 16] * 3
    with attach(model, Best(("keys", "mass"))):
        assert torch.equal(model(pictures).last_hidden_state, plain.last_hidden_state)
    assert torch.equal(model(pictures).last_hidden_state, plain.last_hidden_state)


# Refusals


def test_a_second_reducer_is_refused():
    model = vlm("llava")
    with attach(model, DivPrune(keep=2)), pytest.raises(InvalidInput, match="attached already; detach it first"):
        attach(model, DivPrune(keep=3))
    attach(model, DivPrune(keep=3)).detach()


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: attach(torch.nn.Linear(2, 2), DivPrune(keep=2)), "Linear is of no family.*Qwen2VLForConditionalGeneration"),
        (lambda: attach(vlm("llava"), DivPrune(keep=2), positions="old"), "positions='old'"),
        (lambda: attach(vlm("llava"), DivPrune(keep=2), newlines="some"), "newlines='some'"),
        (lambda: attach(vlm("llava"), Best(("received_attention",), layer=5)), "layer=5, but CLIPVisionModel has 4 blocks"),
        (lambda: attach(vlm("qwen2-vl"), Best(("cls_attention",))), "no class token.*received_attention"),
        (lambda: attach(vlm("llava", tower="siglip"), Best(("cls_query",))), "SiglipVisionModel has no class token"),
        (lambda: attach(vlm("llava"), Best(("crops",))), "crops"),
        (lambda: attach(vlm("qwen2-vl"), Best(("crops",))), "crops"),
        (lambda: attach(tower("siglip"), Best(("cls_logits",))), "no class token"),
        (lambda: attach(tower("vit"), Best(("text_features",))), "ViTModel alone does not have"),
    ],
)  # fmt: skip
def test_what_a_model_cannot_give_is_refused_when_attaching(make, words):
    with pytest.raises(InvalidInput, match=words):
        make()


@dataclass(frozen=True)
class Asks:
    request: Signal

    @property
    def needs(self):
        return {"value": self.request}

    def __call__(self, x_BND, *, value=None):
        return TokenMap.identity(*x_BND.shape[:2])


@pytest.mark.parametrize(
    "signal, words",
    [
        (Signal("text_attention", 2), "there is that of layer 1"),
        (Signal("transitions"), "transitions, which there are not"),
    ],
)
def test_what_comes_later_is_refused(signal, words):
    with pytest.raises(InvalidInput, match=words):
        attach(vlm("llava"), Asks(signal))


def test_a_need_without_a_keyword_is_refused():
    class Wrong(Asks):
        def __call__(self, x_BND):
            return TokenMap.identity(*x_BND.shape[:2])

    with pytest.raises(InvalidInput, match="Wrong needs 'value', but its __call__ has no such keyword"):
        attach(vlm("llava"), Wrong(Signal("grid")))


@pytest.mark.parametrize(
    "family, change, words",
    [
        ("llava", {"input_ids": None}, "no input_ids"),
        ("llava", {"input_ids": torch.tensor([[5, 127, 127, 6]]), "attention_mask": None}, "have 2 placeholders, but the pictures have 16"),
        ("llava", {"attention_mask": torch.ones(1, 1, 23, 23)}, "must be that of the tokens"),
        ("llava", {"logits_to_keep": torch.tensor([0])}, "logits_to_keep names places"),
        ("llava-next", {"image_sizes": None}, "no image_sizes"),
        ("qwen2-vl", {"image_grid_thw": None}, "no image_grid_thw"),
        ("qwen2.5-vl", {"mm_token_type_ids": None}, "no mm_token_type_ids"),
    ],
)  # fmt: skip
def test_calls_that_cannot_be_reduced_are_refused(family, change, words):
    model, inputs = vlm(family), tiny_inputs(family)
    with attach(model, DivPrune(keep=2)), pytest.raises(InvalidInput, match=words):
        model(**inputs | change)


def test_text_that_is_needed_but_not_there_is_refused():
    model, inputs = vlm("llava"), tiny_inputs("llava", ((3, "p"),))
    with attach(model, Best(("text_features",))), pytest.raises(InvalidInput, match="no text behind its picture"):
        model(**inputs)


def test_a_picture_behind_a_filled_cache_is_refused():
    model, inputs = vlm("llava"), tiny_inputs("llava")
    cache = model(**inputs, use_cache=True).cache
    with attach(model, DivPrune(keep=2)), pytest.raises(InvalidInput, match="in the cache"):
        model(**inputs, cache=cache)


def test_generation_from_a_shortened_cache_is_refused():
    model, inputs = vlm("llava"), tiny_inputs("llava")
    with attach(model, DivPrune(keep=2)):
        made = model.generate(**inputs, max_new_tokens=2, return_dict_in_generate=True)
        cache = made.get("cache", made.get("past_key_values"))
        with pytest.raises(InvalidInput, match="whole conversation anew"):
            model.generate(made.sequences, cache=cache, max_new_tokens=2)
        more = model(input_ids=made.sequences[:, -1:], cache=cache, use_cache=True).logits[:, -1].argmax(-1)
        longer = model.generate(**inputs, max_new_tokens=3, do_sample=False)
    assert int(more) == int(longer[0, -1])


@all_families
def test_positions_that_the_caller_gives_are_kept(family):
    model, inputs = vlm(family), tiny_inputs(family)
    own = full_positions(family, model, inputs) + 5
    plain = model(**inputs, position_ids=own).logits
    with attach(model, Best(("text_attention",))):
        assert torch.equal(model(**inputs, position_ids=own).logits, plain)
    flat = torch.arange(inputs["input_ids"].shape[1])[None] * 2
    plain = model(**inputs, position_ids=flat).logits
    with attach(model, Best(("text_attention",))):
        assert torch.equal(model(**inputs, position_ids=flat).logits, plain)


def test_a_batch_is_generated_only_with_its_mask():
    model, inputs = vlm("llava"), tiny_inputs("llava", ((3, "p", 4), (2, "p", 7)))
    del inputs["attention_mask"]
    with attach(model, DivPrune(keep=2)), pytest.raises(InvalidInput, match="no attention_mask"):
        model.generate(**inputs, max_new_tokens=2)


# Going on from a cache


@all_families
@pytest.mark.parametrize("positions", ["kept", "compact"])
@pytest.mark.parametrize("masked", [True, False])
def test_a_loop_of_ones_own_with_the_cache_says_what_generation_says(family, positions, masked):
    rows = ((3, "p", 4), (2, "p", 9)) if masked else ((3, "p", 4),)
    model, inputs = vlm(family), tiny_inputs(family, rows)
    mask = inputs["attention_mask"]
    with attach(model, Best(("received_attention",), 0.3), positions=positions):
        words = model.generate(**inputs, max_new_tokens=5, do_sample=False)[:, -5:]
        out = model(**inputs, use_cache=True)
        said = [out.logits[:, -1].argmax(-1)]
        for _ in range(4):
            mask = torch.cat((mask, mask.new_ones(len(mask), 1)), 1)
            given_mask = {"attention_mask": mask} if masked else {}
            out = model(input_ids=said[-1][:, None], cache=out.cache, use_cache=True, **given_mask)
            said.append(out.logits[:, -1].argmax(-1))
    assert torch.equal(torch.stack(said, 1), words)


# Inside a vision tower


@dataclass(frozen=True)
class Keep:
    """Keep given patches."""

    index: tuple[int, ...]

    @property
    def needs(self):
        return {}

    def __call__(self, x_BND):
        return TokenMap.keep(torch.tensor(self.index).expand(len(x_BND), -1), of=x_BND.shape[1])


@both
def test_a_reducer_in_a_block_of_the_tower_shortens_the_prompt(implementation):
    rows = ((3, "p", 4), (2, "p", 3, "p", 1))
    model, inputs = vlm("llava", implementation), tiny_inputs("llava", rows)
    plain = model(**inputs).logits
    with attach(model, {1: Keep(tuple(range(16))), 3: Keep(tuple(range(16)))}) as attached:
        assert torch.equal(model(**inputs).logits, plain)
    assert attached.kept == attached.of == [16] * 3
    # After the last block that counts, dropping is dropping from the features.
    first, second = (0, 2, 3, 5, 7, 8, 11, 15), (1, 2, 4, 7)
    with attach(model, {2: Keep(first), 3: Keep(second)}) as attached:
        inside = model(**inputs)
        words = model.generate(**inputs, max_new_tokens=4, do_sample=False)
        alone = model.generate(**one_row("llava", inputs, 0, rows), max_new_tokens=4, do_sample=False)
    kept = tuple(first[i] for i in second)
    assert [token_map.index_BM.tolist() for token_map in attached.maps] == [[list(kept)]]
    assert torch.equal(words[0, -4:], alone[0, -4:])
    # The same prompt with what the tower gave, by hand.
    tokens = inside.image_outputs
    row = one_row("llava", inputs, 0, rows)
    left = [0, 1, 2, *(3 + k for k in kept), *range(19, 23)]
    tokens.pooler_output = tokens.pooler_output[:1]
    by_hand = model(
        input_ids=row["input_ids"][:, left],
        attention_mask=torch.ones(1, len(left)).long(),
        position_ids=torch.tensor(left)[None],
        mm_encoder_outputs={"image": tokens},
    ).logits
    assert torch.allclose(inside.logits[0, -len(left) :], by_hand[0], atol=1e-5)


def test_tome_inside_a_tower_merges_patches_and_spares_the_class_token():
    model, inputs = vlm("llava"), tiny_inputs("llava")
    with attach(model, {1: ToMe(r=4), 2: ToMe(r=4)}) as attached:
        logits = model(**inputs).logits
        words = model.generate(**inputs, max_new_tokens=3)
    assert (attached.kept, attached.of) == ([8], [16])
    assert logits.shape[1] == 15 and words.shape[1] == 26
    assert attached.maps[0].shape == (1, 8, 16)
    assert torch.allclose(attached.maps[0].matrix().sum(2), torch.ones(1, 8))


@pytest.mark.parametrize(
    "family, reducers, words",
    [
        ("llava", {4: Keep((0,))}, "block 4, but features are taken from block 3"),
        ("llava-next", {1: Keep((0,))}, "LlavaNextForConditionalGeneration cannot do with fewer tokens inside"),
        ("qwen2-vl", {1: Keep((0,))}, "Qwen2VLForConditionalGeneration cannot do with fewer"),
    ],
)
def test_blocks_that_cannot_be_reduced_are_refused(family, reducers, words):
    model = vlm(family)
    with pytest.raises(InvalidInput, match=words):
        attach(model, reducers)
    assert "forward" not in vars(model)


def test_a_class_token_that_is_lost_in_the_tower_is_refused():
    @dataclass(frozen=True)
    class Patches:
        @property
        def needs(self):
            return {"prefix": Signal("prefix")}

        def __call__(self, x_BTD, *, prefix=None):
            return TokenMap.keep(torch.arange(1, 9).expand(len(x_BTD), -1), of=x_BTD.shape[1])

    with attach(vlm("llava"), {2: Patches()}), pytest.raises(InvalidInput, match="did not stay first"):
        vlm("llava")(**tiny_inputs("llava"))
