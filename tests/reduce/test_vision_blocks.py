"""Reduction inside vision transformers: dropping is masking, equal tokens that are merged count as often as they are many."""

import re
from dataclasses import dataclass, field

import pytest
import torch
from tiny_models import TOWERS, pixels, tiny_tower, tiny_vlm
from torch.testing import assert_close
from transformers.modeling_outputs import BaseModelOutputWithPooling

from tokenloom.core.errors import InvalidInput
from tokenloom.core.token_map import TokenMap
from tokenloom.hosts.vision_language.vision_blocks import reduce_in_blocks
from tokenloom.reduce.attaching import attach
from tokenloom.reduce.baselines import Random
from tokenloom.reduce.divprune import DivPrune
from tokenloom.reduce.signals import Signal
from tokenloom.reduce.tome import ToMe

BOTH = [(tower, implementation) for tower in TOWERS for implementation in ("eager", "sdpa")]
PREFIX = {"clip": 1, "siglip": 0, "vit": 1, "dinov2": 1}


@pytest.fixture(autouse=True, scope="module")
def _without_gradients():
    with torch.no_grad():
        yield


@dataclass
class Given:
    """Makes the map that it is given, for every picture; writes down what it is called with."""

    made: TokenMap
    asks: dict[str, str] = field(default_factory=dict)
    proportional: bool = False
    calls: list = field(default_factory=list)

    @property
    def needs(self):
        return {name: Signal(kind) for name, kind in self.asks.items()}

    def __call__(
        self,
        x_BND,
        *,
        received_BN=None,
        cls_BN=None,
        query_BHC=None,
        keys_BNHC=None,
        mass_BN=None,
        prefix=None,
        offset=None,
        grid=None,
    ):
        names = ("received", "cls", "query", "keys", "mass", "prefix", "offset", "grid")
        values = (received_BN, cls_BN, query_BHC, keys_BNHC, mass_BN, prefix, offset, grid)
        self.calls.append({"x": x_BND, **dict(zip(names, values))})
        return self.made


def keep(indices, of):
    return TokenMap.keep(torch.tensor([indices]), of=of)


def merge(targets, shares=None):
    share = None if shares is None else torch.tensor([shares])
    return TokenMap.merge(torch.tensor([targets]), max(targets) + 1, share)


def model_of(tower, implementation="sdpa"):
    """With sharp attention: flat one would hide mistakes in the mass."""
    model = tiny_tower(tower, implementation)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            parameter.mul_(4)
        if name.endswith("lambda1"):
            parameter.copy_(torch.linspace(0.2, 1.5, len(parameter)))
    return model


@pytest.mark.parametrize("tower, implementation", BOTH)
def test_reducers_that_keep_all_change_no_bit(tower, implementation):
    model, x = model_of(tower, implementation), pixels(2)
    plain = model(x, output_hidden_states=True)
    whole = ToMe(keep=1.0, proportional=True)
    dense = Given(TokenMap.dense(torch.eye(16)[None]), proportional=True)
    for reducers in ({1: whole, 2: whole, 4: whole}, {2: DivPrune(keep=1.0)}, {1: dense, 3: dense}):
        with reduce_in_blocks(model, reducers) as reduced:
            out = model(x, output_hidden_states=True)
        assert torch.equal(out.last_hidden_state, plain.last_hidden_state)
        assert len(out.hidden_states) == 5 and all(map(torch.equal, out.hidden_states, plain.hidden_states))
        assert reduced.of == reduced.kept == [16 + PREFIX[tower]] * 2
        assert torch.equal(reduced.token_map.lift(out.last_hidden_state), plain.last_hidden_state)


@pytest.mark.parametrize("tower, implementation", BOTH)
def test_dropping_is_masking_in_the_blocks_behind(tower, implementation):
    model, x, prefix = model_of(tower, implementation), pixels(2), PREFIX[tower]
    first, second = [0, 2, 3, 5, 7, 8, 11, 12, 15], [1, 2, 4, 8]
    left = [first[k] for k in second]
    with reduce_in_blocks(model, {2: Given(keep(first, 16)), 3: Given(keep(second, 9))}) as reduced:
        short = model(x, output_hidden_states=True)
    assert [h.shape[1] - prefix for h in short.hidden_states] == [16, 16, 9, 4, 4]
    assert [one.index_BM.tolist() for one in reduced.maps] == [[[*range(prefix), *(k + prefix for k in left)]]] * 2

    def masking(block, kept):
        seen = torch.zeros(16 + prefix, dtype=torch.bool)
        seen[[*range(prefix), *(k + prefix for k in kept)]] = True
        mask = torch.zeros(1, 1, 1, 16 + prefix).masked_fill(~seen, torch.finfo(torch.float32).min)
        attention = getattr(blocks_of(model)[block - 1], "self_attn" if tower in ("clip", "siglip") else "attention")

        def hook(module, args, kwargs):
            return args[:1], {**kwargs, "attention_mask": mask}

        return attention.register_forward_pre_hook(hook, with_kwargs=True)

    hooks = [masking(3, first), masking(4, left)]
    masked = model(x).last_hidden_state
    for hook in hooks:
        hook.remove()
    expected = masked[:, [*range(prefix), *(k + prefix for k in left)]]
    assert_close(short.last_hidden_state, expected, atol=1e-5, rtol=0)


def blocks_of(model):
    return getattr(getattr(model, "encoder", model), "layers", None) or model.encoder.layer


def with_twins(model):
    """Without places, equal patches are equal tokens in all blocks: pixels in which patches 0, 5, 6 and 9 are one."""
    for name, parameter in model.named_parameters():
        if "position_embedding" in name:
            parameter.zero_()
    x = pixels(2)
    patches = x.unfold(2, 14, 14).unfold(3, 14, 14)
    for k in (5, 6, 9):
        patches[:, :, k // 4, k % 4] = patches[:, :, 0, 0]
    return patches.permute(0, 1, 2, 4, 3, 5).reshape(2, 3, 56, 56)


# Patches 0 and 5, 6 and 9 become one in the first of two blocks, these in the second: one token that stands for four.
FIRST = [0, 1, 2, 3, 4, 0, 5, 6, 7, 5, 8, 9, 10, 11, 12, 13]
SECOND = [0, 1, 2, 3, 4, 0, 5, 6, 7, 8, 9, 10, 11, 12]


@pytest.mark.parametrize("tower, implementation", BOTH)
@pytest.mark.parametrize("form", ["merge", "dense"])
def test_merged_twins_in_proportion_are_the_same_as_not_merged(tower, implementation, form):
    model = model_of(tower, implementation)
    x = with_twins(model)
    plain = model(x).last_hidden_state
    maps = [merge(FIRST), merge(SECOND)]
    if form == "dense":
        maps = [TokenMap.dense(one.matrix()) for one in maps]
    with reduce_in_blocks(model, {1: Given(maps[0], proportional=True), 3: Given(maps[1])}) as reduced:
        out = model(x).last_hidden_state
        again = model(x).last_hidden_state
    assert out.shape[1] == 13 + PREFIX[tower]
    assert_close(reduced.token_map.lift(out), plain, atol=2e-5, rtol=0)
    assert torch.equal(out, again)
    assert reduced.mass_BT[0].tolist() == [1] * PREFIX[tower] + [4] + [1] * 12
    with reduce_in_blocks(model, {1: Given(maps[0]), 3: Given(maps[1])}) as reduced:
        out = model(x).last_hidden_state
    assert float((reduced.token_map.lift(out) - plain).abs().max()) > 1e-3


@pytest.mark.parametrize("tower, implementation", BOTH)
def test_signals_are_those_of_the_blocks_own_attention(tower, implementation):
    model, x, prefix = model_of(tower, implementation), pixels(2), PREFIX[tower]
    asks = {"received": "received_attention", "keys": "keys", "mass": "mass", "grid": "grid", "offset": "offset"}
    asks |= {"cls": "cls_attention", "query": "cls_query"} if prefix else {}
    halves = merge([k % 8 for k in range(16)])
    spy, later = Given(halves, asks, proportional=True), {k: v for k, v in asks.items() if k != "grid"}
    whole = Given(TokenMap.identity(1, 8 + prefix), later | {"prefix": "prefix"})
    with reduce_in_blocks(model, {2: spy, 3: whole}) as reduced:
        model(x)
    model.set_attn_implementation("eager")
    with reduce_in_blocks(model, {2: Given(halves, proportional=True)}):
        weights = model(x, output_attentions=True).attentions
    for reducer, block, aside in ((spy, 2, prefix), (whole, 3, 0)):
        [call], real = reducer.calls, weights[block - 1]
        size = real.shape[-1]
        assert call["x"].shape == (2, size - aside, 32) and call["keys"].shape == (2, size - aside, 4, 8)
        assert_close(call["received"], real.mean((1, 2))[:, aside:], atol=1e-6, rtol=0)
        if prefix:
            assert_close(call["cls"], real[:, :, 0].mean(1)[:, aside:], atol=1e-6, rtol=0)
            assert call["query"].shape == (2, 4, 8)
    assert spy.calls[0]["grid"] == (4, 4) and spy.calls[0]["mass"].tolist() == [[1] * 16] * 2
    assert whole.calls[0]["prefix"] == prefix == spy.calls[0]["offset"]
    assert whole.calls[0]["mass"].tolist() == [[1] * prefix + [2] * 8] * 2 == reduced.mass_BT.tolist()


@pytest.mark.parametrize("tower", TOWERS)
def test_features_are_those_between_attention_and_feed_forward(tower):
    model, x = model_of(tower), pixels(1)
    norm = {"clip": "layer_norm2", "siglip": "layer_norm2", "vit": "layernorm_after", "dinov2": "norm2"}[tower]
    seen = []
    hook = getattr(blocks_of(model)[1], norm).register_forward_hook(lambda module, args, output: seen.append(args[0]))
    model(x)
    hook.remove()
    spy = Given(TokenMap.identity(1, 16))
    with reduce_in_blocks(model, {2: spy}):
        model(x)
    assert torch.equal(spy.calls[0]["x"], seen[0][:, PREFIX[tower] :])


@pytest.mark.parametrize("tower", TOWERS)
def test_a_batch_is_its_pictures_one_by_one(tower):
    model, x = model_of(tower), pixels(3)
    reducers = {1: ToMe(r=3), 2: ToMe(r=3), 4: ToMe(r=2)}
    with attach(model, reducers) as attached:
        together, maps = model(x).last_hidden_state, attached.maps
        for b in range(3):
            assert_close(model(x[b : b + 1]).last_hidden_state[0], together[b], atol=1e-5, rtol=0)
    assert [one.shape for one in maps] == [(1, 8 + PREFIX[tower], 16 + PREFIX[tower])] * len(maps)


def test_larger_pictures_have_a_larger_grid():
    model = model_of("dinov2")
    spy = Given(TokenMap.identity(1, 30), {"grid": "grid"})
    with reduce_in_blocks(model, {1: spy}):
        model(torch.zeros(1, 3, 70, 84))
    assert spy.calls[0]["grid"] == (5, 6)


def test_llava_takes_its_features_from_a_reduced_tower():
    model = tiny_vlm("llava")
    tower, x = model.model.vision_tower, pixels(2)
    with reduce_in_blocks(tower, {1: ToMe(r=3), 2: ToMe(r=2), 4: ToMe(r=1)}) as reduced:
        features = model.model.get_image_features(pixel_values=x, return_dict=True).pooler_output
        hidden = tower(x, output_hidden_states=True).hidden_states[-2]
    assert [len(one) for one in features] == [11, 11] and reduced.kept == [11, 11]
    assert_close(features[0], model.model.multi_modal_projector(hidden[:, 1:])[0])
    ids = torch.tensor([[3, *[127] * 11, 5, 6]] * 2)
    given = {"image": BaseModelOutputWithPooling(pooler_output=features)}
    with reduce_in_blocks(tower, {1: ToMe(r=3), 2: ToMe(r=2), 4: ToMe(r=1)}):
        made = model.generate(input_ids=ids, pixel_values=x, attention_mask=torch.ones_like(ids), max_new_tokens=3)
    assert torch.equal(made[:, :14], ids)
    assert torch.equal(made[:, 14], model(input_ids=ids, mm_encoder_outputs=given).logits[:, -1].argmax(1))


def test_gradients_and_bfloat16_pass_through():
    model, x = model_of("dinov2"), pixels(2)
    with torch.enable_grad(), reduce_in_blocks(model, {1: ToMe(r=3), 3: ToMe(r=3)}):
        model(x).last_hidden_state.sum().backward()
    assert float(model.embeddings.cls_token.grad.abs().sum()) > 0
    half = model.bfloat16()
    with reduce_in_blocks(half, {1: ToMe(r=3), 3: ToMe(r=3)}):
        out = half(x.bfloat16()).last_hidden_state
    assert out.dtype == torch.bfloat16 and out.shape == (2, 11, 32) and bool(torch.isfinite(out).all())


def test_what_is_drawn_in_blocks_comes_from_the_generator_block_by_block():
    vit, x = tiny_tower("vit"), pixels(2)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad(), reduce_in_blocks(vit, {1: Random(9), 3: Random(4)}, generator=generator) as reduced:
        vit(x)
    again = torch.Generator().manual_seed(3)
    first, second = (Random(m)(torch.ones(2, n, 1), generator=again).index_BM for n, m in ((16, 9), (9, 4)))
    assert torch.equal(reduced.token_map.index_BM[:, 1:] - 1, first.gather(1, second))


@pytest.mark.parametrize("tower", TOWERS)
def test_an_exception_leaves_the_model_as_it_was(tower):
    model, x = model_of(tower), pixels(1)
    plain = model(x).last_hidden_state
    before = len(model.embeddings._forward_pre_hooks)
    with (
        pytest.raises(InvalidInput, match=r"a map of .* for 16 tokens of 1"),
        reduce_in_blocks(model, {2: Given(keep([0], 5))}),
    ):
        model(x)
    with pytest.raises(ZeroDivisionError), reduce_in_blocks(model, {2: Given(keep([0], 16))}):
        raise ZeroDivisionError
    assert all("forward" not in block.__dict__ for block in blocks_of(model))
    assert len(model.embeddings._forward_pre_hooks) == before
    assert torch.equal(model(x).last_hidden_state, plain)


def test_contexts_inside_each_other_end_in_their_order():
    model, x = model_of("vit"), pixels(1)
    with reduce_in_blocks(model, {2: Given(keep([0, 3], 16))}):
        outer = model(x).last_hidden_state
        with pytest.raises(ZeroDivisionError), reduce_in_blocks(model, {3: Given(keep([0], 16))}):
            raise ZeroDivisionError
        assert torch.equal(model(x).last_hidden_state, outer)
    assert model(x).last_hidden_state.shape[1] == 17


@dataclass
class At(Given):
    layer: int = 1

    @property
    def needs(self):
        return {"keys": Signal("keys", self.layer)}


@pytest.mark.parametrize(
    "tower, reducers, words",
    [
        ("clip", {}, "blocks []; there must be some, from 1 to 4"),
        ("clip", {5: DivPrune(2)}, "blocks [5]"),
        ("clip", {0: DivPrune(2)}, "blocks [0]"),
        ("clip", {2: At(keep([0], 16), layer=1)}, "needs keys of block 1, but works in block 2"),
        ("siglip", {2: Given(keep([0], 16), {"cls": "cls_attention"})}, "SiglipVisionModel has no class token"),
        ("clip", {2: Given(keep([0], 16), {"received": "text_attention"})}, "which is not there inside a vision"),
        ("clip", {2: Given(keep([0], 16), {"weights": "keys"})}, "as 'weights', but its __call__ has no such keyword"),
    ],
)
def test_reducers_that_do_not_fit_the_model_are_refused(tower, reducers, words):
    with pytest.raises(InvalidInput, match=re.escape(words)), reduce_in_blocks(model_of(tower), reducers):
        pass


def test_a_signal_may_name_its_block():
    for layer in (2, -3):
        with reduce_in_blocks(model_of("clip"), {2: At(keep([0], 16), layer=layer)}):
            pass


@pytest.mark.parametrize("model", [torch.nn.Linear(2, 2), tiny_vlm("qwen2-vl").model.visual, tiny_vlm("llava")])
def test_other_models_are_refused(model):
    with pytest.raises(InvalidInput, match="CLIP"), reduce_in_blocks(model, {1: DivPrune(2)}):
        pass


def test_what_would_go_wrong_in_a_run_is_refused():
    uneven = TokenMap.keep(torch.tensor([[0, 1], [2, -1]]), of=16)
    clip = model_of("clip")
    with pytest.raises(InvalidInput, match=re.escape("[3, 2] tokens")), reduce_in_blocks(clip, {1: Given(uneven)}):
        clip(pixels(2))
    vit = model_of("vit")
    with pytest.raises(InvalidInput, match="an attention mask"), reduce_in_blocks(vit, {1: DivPrune(4)}):
        vit(pixels(1), attention_mask=torch.tensor([[1] * 16 + [0]]))
    grid = Given(keep([0], 4), {"grid": "grid"})
    with pytest.raises(InvalidInput, match="needs a grid"), reduce_in_blocks(vit, {1: DivPrune(4), 2: grid}):
        vit(pixels(1))
