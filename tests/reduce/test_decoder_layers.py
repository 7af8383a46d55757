"""Reduction between decoder layers: dropping is masking, caches of different lengths decode right, signals are the model's own."""

import re
from dataclasses import dataclass, field

import pytest
import torch
from tiny_models import FAMILIES, PLACEHOLDER, one_row, tiny_inputs, tiny_vlm
from torch.testing import assert_close
from transformers import DynamicCache, StaticCache

from tokenloom.core.errors import InvalidInput
from tokenloom.core.token_map import TokenMap
from tokenloom.hosts.vision_language.decoder_layers import reduce_in_decoder
from tokenloom.reduce.attaching import attach
from tokenloom.reduce.divprune import DivPrune
from tokenloom.reduce.fastv import FastV
from tokenloom.reduce.signals import Signal
from tokenloom.reduce.sparsevlm import SparseVLM
from tokenloom.reduce.transprune import TransPrune

ROWS = ((3, "p", 4), (6, "p", 2))
BOTH = [(family, implementation) for family in FAMILIES for implementation in ("eager", "sdpa")]
PRUNERS = [
    FastV(keep=0.4, layer=2),
    TransPrune((1, 2, 4), (0.8, 0.5, 0.25), (1, 2, 3, 4)),
    SparseVLM((2, 4), (0.6, 0.2)),
]


@pytest.fixture(autouse=True, scope="module")
def _without_gradients():
    with torch.no_grad():
        yield


@dataclass
class Fixed:
    """Keeps what it is told to after each layer; writes down what it is given."""

    kept: dict[int, list[int]]
    asks: dict[int, dict[str, Signal]] = field(default_factory=dict)
    calls: list = field(default_factory=list)

    @property
    def layers(self):
        return tuple(self.kept)

    def needs(self, layer):
        return self.asks.get(layer, {})

    def __call__(self, x_BND, *, layer, total, attention_BQN=None, transitions=None, text_BQD=None, first_BVD=None):
        given = {"attention": attention_BQN, "transitions": transitions, "text": text_BQD, "first": first_BVD}
        self.calls.append({"x": x_BND, "layer": layer, "total": total, **given})
        return TokenMap.keep(torch.tensor([self.kept[layer]]), of=x_BND.shape[1])


@dataclass
class Halves:
    """Merges each token with the one half the picture away; later rows weigh more."""

    layers: tuple[int, ...] = (2,)

    def needs(self, layer):
        return {}

    def __call__(self, x_BND, *, layer, total):
        n = x_BND.shape[1]
        place = torch.arange(n) % (n // 2)
        return TokenMap.merge(place[None].flip(1), n // 2, torch.linspace(0.1, 0.9, n)[None])


def two_stages(n):
    """Every other token after layer 2, and of these all but the last third after layer 4."""
    first = list(range(0, n, 2))
    return Fixed({2: first, 4: list(range(len(first) - len(first) // 3))})


def columns_of(ids, family, kept, row):
    """Columns of a row that are left when these of its visual tokens are."""
    start = int((ids[row] == PLACEHOLDER[family]).int().argmax())
    n = int((ids[row] == PLACEHOLDER[family]).sum())
    return [*range(start), *(start + k for k in kept), *range(start + n, ids.shape[1])]


def text_of(model, inputs, **options):
    return model.generate(**inputs, max_new_tokens=3, do_sample=False, **options)[:, inputs["input_ids"].shape[1] :]


@pytest.mark.parametrize("family, implementation", BOTH)
@pytest.mark.parametrize("positions", ["kept", "compact"])
def test_reducers_that_keep_all_change_no_bit(family, implementation, positions):
    model, inputs = tiny_vlm(family, implementation), tiny_inputs(family, ROWS)
    plain, text = model(**inputs).logits, text_of(model, inputs)
    for reducer in (FastV(1.0), TransPrune((1, 3), (1.0, 1.0), (1, 2)), SparseVLM((1, 3), (1.0, 1.0))):
        with reduce_in_decoder(model, reducer, positions) as report:
            assert torch.equal(model(**inputs).logits, plain), reducer
            assert torch.equal(text_of(model, inputs), text), reducer
        assert report.kept == report.of


@pytest.mark.parametrize("family, implementation", BOTH)
def test_dropping_is_masking_from_that_layer_on(family, implementation):
    model, inputs = tiny_vlm(family, implementation), tiny_inputs(family, ROWS)
    ids, valid = inputs["input_ids"], inputs["attention_mask"].bool()
    n = int((ids[0] == PLACEHOLDER[family]).sum())
    reducer = two_stages(n)
    with reduce_in_decoder(model, reducer) as report:
        short = model(**inputs).logits
    left = [reducer.kept[2], [reducer.kept[2][k] for k in reducer.kept[4]]]
    assert report.kept == [len(left[1])] * 2 and report.maps[0].index_BM.tolist() == [left[1]]

    def masking(i, kept):
        seen = valid.clone()
        for row in range(len(ids)):
            dropped = set(range(ids.shape[1])) - set(columns_of(ids, family, kept, row))
            seen[row, list(dropped)] = False
        allowed = seen[:, None, None] & torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool).tril()
        number = torch.zeros(allowed.shape).masked_fill(~allowed, torch.finfo(torch.float32).min)
        mask = allowed if implementation == "sdpa" else number

        def hook(module, args, kwargs):
            return args, {**kwargs, "attention_mask": mask}

        return model.model.language_model.layers[i].register_forward_pre_hook(hook, with_kwargs=True)

    hooks = [masking(i, left[i >= 4]) for i in range(2, 6)]
    masked = model(**inputs).logits
    for hook in hooks:
        hook.remove()
    for row in range(2):
        columns = [c for c in columns_of(ids, family, left[1], row) if valid[row, c]]
        assert_close(short[row, -len(columns) :], masked[row, columns], atol=1e-5, rtol=0)


@pytest.mark.parametrize("family, implementation", BOTH)
@pytest.mark.parametrize("positions", ["kept", "compact"])
def test_answers_from_the_cache_are_those_computed_anew(family, implementation, positions):
    model, inputs = tiny_vlm(family, implementation, seed=1), tiny_inputs(family, ROWS)
    reducer = two_stages(int((inputs["input_ids"][0] == PLACEHOLDER[family]).sum()))
    with reduce_in_decoder(model, reducer, positions):
        # A random model may say a placeholder, which would be a second picture when all is computed anew.
        options = {"output_logits": True, "return_dict_in_generate": True, "suppress_tokens": [PLACEHOLDER[family]]}
        made = model.generate(**inputs, max_new_tokens=4, do_sample=False, **options)
        longer = dict(inputs)
        for step, logits in enumerate(made.logits):
            assert_close(model(**longer).logits[:, -1], logits, atol=2e-5, rtol=0)
            longer["input_ids"] = made.sequences[:, : inputs["input_ids"].shape[1] + step + 1]
            for name, value in (("attention_mask", 1), ("mm_token_type_ids", 0)):
                if name in longer:
                    longer[name] = torch.cat((longer[name], torch.full((2, 1), value)), 1)
    lengths = [made.cache.get_seq_length(i) for i in range(6)]
    assert lengths[0] == lengths[1] > lengths[2] == lengths[3] > lengths[4] == lengths[5]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("reducer", PRUNERS, ids=lambda reducer: type(reducer).__name__)
@pytest.mark.parametrize("implementation, positions", [("eager", "compact"), ("sdpa", "kept")])
def test_a_batch_is_its_rows_one_by_one(family, implementation, reducer, positions):
    model, inputs = tiny_vlm(family, implementation), tiny_inputs(family, ROWS)
    with reduce_in_decoder(model, reducer, positions) as report:
        together, text, maps = model(**inputs).logits, text_of(model, inputs), [m.matrix() for m in report.maps]
        for row in range(2):
            alone = one_row(family, inputs, row, ROWS)
            logits = model(**alone).logits[0]
            assert_close(together[row, -len(logits) :], logits, atol=1e-5, rtol=0)
            assert_close(report.maps[0].matrix(), maps[row])
            assert torch.equal(text_of(model, alone)[0], text[row])


@pytest.mark.parametrize("family, implementation", BOTH)
def test_text_attention_is_that_of_the_layers(family, implementation):
    model, inputs = tiny_vlm(family, implementation), tiny_inputs(family, ROWS)
    ids, n = inputs["input_ids"], int((inputs["input_ids"][0] == PLACEHOLDER[family]).sum())
    all_of, some = list(range(n)), list(range(1, n, 2))
    asks = {2: {"attention": Signal("text_attention", 3)}, 3: {"attention": Signal("text_attention")}}
    asks[5] = {"attention": Signal("text_attention", -1)}
    reducer = Fixed({2: all_of, 3: some, 5: list(range(len(some)))}, asks)
    with reduce_in_decoder(model, reducer):
        model(**inputs)
    model.set_attn_implementation("eager")
    with reduce_in_decoder(model, Fixed({3: some})):
        weights = model(**inputs, output_attentions=True).attentions
    # Layer 3 before and as it runs; layer 6, in which fewer tokens are left.
    for stage, (layer, kept) in enumerate([(3, n), (3, n), (6, len(some))]):
        for row in range(2):
            start = int((ids[row] == PLACEHOLDER[family]).int().argmax())
            heads = weights[layer - 1][row]
            expected = heads.mean(0)[start + kept :, start : start + kept]
            given = reducer.calls[2 * stage + row]["attention"]
            assert given.dtype == torch.float32 and given.shape[0] == 1
            assert_close(given[0], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_transitions_are_of_normed_inputs_and_outputs_before_the_residual_sum(family):
    model, inputs = tiny_vlm(family), tiny_inputs(family, ROWS)
    valid, n = inputs["attention_mask"].bool(), int((inputs["input_ids"][0] == PLACEHOLDER[family]).sum())
    kept = list(range(n - 3))
    ask = {"transitions": Signal("transitions", 2)}
    reducer = Fixed({3: kept, 4: list(range(n - 5))}, {3: ask, 4: ask})
    seen = {}

    def listen(name):
        return lambda module, args, output: seen.update({name: output[0] if isinstance(output, tuple) else output})

    layers = model.model.language_model.layers
    parts = ("input_layernorm", "self_attn", "post_attention_layernorm", "mlp")
    hooks = [getattr(layers[i], part).register_forward_hook(listen((i + 1, part))) for i in (1, 2, 3) for part in parts]
    with reduce_in_decoder(model, reducer):
        model(**inputs)
    for hook in hooks:
        hook.remove()
    assert [sorted(call["transitions"]) for call in reducer.calls] == [[2, 3], [2, 3], [2, 3, 4], [2, 3, 4]]
    for call, row in ((reducer.calls[0], 0), (reducer.calls[3], 1)):
        for layer, found in call["transitions"].items():
            there = valid[row] if layer < 4 else valid[row, 3:]  # three tokens were dropped, none of them padding
            for m in range(2):
                x_in, x_out = (seen[layer, parts[2 * m + k]][row][there] for k in range(2))
                assert_close(found.gain_2BT[m, 0], x_out.norm(dim=1) / x_in.norm(dim=1))
                assert_close(found.cosine_2BT[m, 0], torch.cosine_similarity(x_in, x_out, dim=1))
            start = int((inputs["input_ids"][row][valid[row]] == PLACEHOLDER[family]).int().argmax())
            assert (found.start, found.count) == (start, n if layer < 4 else n - 3)
            left = None if layer == 4 or call["layer"] == 3 else [kept]
            assert (found.left and found.left.index_BM.tolist()) == left


def test_text_and_first_visual_tokens_are_those_where_the_decoder_begins():
    model, inputs = tiny_vlm("llava"), tiny_inputs("llava", ROWS)
    reducer = Fixed({2: [0, 5], 3: [1]}, {3: {"text": Signal("text_features")}})
    with reduce_in_decoder(model, reducer):
        whole = model(**inputs, output_hidden_states=True).hidden_states[0]
    calls = reducer.calls[2:]
    assert [(call["layer"], call["total"], call["x"].shape[1]) for call in calls] == [(3, 16, 2)] * 2
    for row, (call, behind) in enumerate(zip(calls, (4, 2))):
        assert torch.equal(call["text"][0], whole[row, -behind:])
        assert torch.equal(call["first"][0], whole[row, -behind - 16 : -behind])


@pytest.mark.parametrize("positions", ["kept", "compact"])
@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_merging_equals_layers_run_by_hand(positions, implementation):
    model, inputs = tiny_vlm("llava", implementation), tiny_inputs("llava", ((3, "p", 4),))
    decoder = model.model.language_model
    with reduce_in_decoder(model, Halves(), positions) as report:
        merged = model(**inputs).logits
        text = text_of(model, inputs)
    hidden = model(**inputs, output_hidden_states=True).hidden_states[2]
    weight = report.maps[0].matrix()[0]
    hidden = torch.cat((hidden[:, :3], (weight @ hidden[0, 3:19])[None], hidden[:, 19:]), 1)
    # Of each pair the second one weighs more, and pairs stand in reverse order.
    heaviest = [*range(3), *(3 + 15 - k for k in range(8)), *range(19, 23)]
    assert report.maps[0].positions_BM.tolist() == [[15 - k for k in range(8)]]
    numbers = torch.tensor([heaviest]) if positions == "kept" else torch.arange(15)[None]
    causal = torch.full((15, 15), torch.finfo(torch.float32).min).triu(1)[None, None]
    for layer in decoder.layers[2:]:
        angles = decoder.rotary_emb(hidden, numbers)
        hidden = layer(hidden, attention_mask=causal, position_embeddings=angles)
    assert_close(merged, model.lm_head(decoder.norm(hidden)), atol=1e-5, rtol=0)
    assert int(text[0, 0]) == int(merged[0, -1].argmax())


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("implementation, positions", [("eager", "kept"), ("sdpa", "compact")])
def test_two_talks_go_on_side_by_side_and_by_several_tokens(family, implementation, positions):
    model = tiny_vlm(family, implementation)
    talks = [tiny_inputs(family, ((3, "p", 4),), seed=seed) for seed in (0, 1)]
    reducer = two_stages(int((talks[0]["input_ids"] == PLACEHOLDER[family]).sum()))
    more = torch.tensor([[5, 9, 11]])
    with reduce_in_decoder(model, reducer, positions):
        expected = []
        for talk in talks:
            longer = talk | {"input_ids": torch.cat((talk["input_ids"], more), 1)}
            longer["attention_mask"] = torch.ones_like(longer["input_ids"])
            if "mm_token_type_ids" in talk:
                longer["mm_token_type_ids"] = torch.cat((talk["mm_token_type_ids"], torch.zeros_like(more)), 1)
            expected.append(model(**longer).logits[:, -3:])
        caches = []
        for talk in talks:
            caches.append(model(**talk, use_cache=True).cache)
        for cache, logits in zip(caches, expected):
            assert_close(model(input_ids=more, cache=cache).logits, logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_beams_keep_their_tokens(family):
    model, inputs = tiny_vlm(family), tiny_inputs(family, ROWS)
    with reduce_in_decoder(model, PRUNERS[0]):
        together = text_of(model, inputs, num_beams=3)
        for row in range(2):
            alone = text_of(model, one_row(family, inputs, row, ROWS), num_beams=3)
            assert torch.equal(together[row : row + 1], alone)


def test_it_works_behind_a_reducer_before_the_language_model():
    model, inputs = tiny_vlm("llava"), tiny_inputs("llava", ROWS)
    with attach(model, DivPrune(keep=10)), reduce_in_decoder(model, FastV(keep=4)) as report:
        both = model(**inputs).logits
        model.generate(**inputs, max_new_tokens=2)
    assert report.of == [10, 10] and report.kept == [4, 4]
    assert both.shape[1] == inputs["input_ids"].shape[1] - 12


def test_attach_puts_layer_reducers_here():
    model, inputs = tiny_vlm("llava"), tiny_inputs("llava", ROWS)
    with reduce_in_decoder(model, PRUNERS[1], "compact"):
        expected = model(**inputs).logits
    with attach(model, PRUNERS[1], positions="compact") as attached:
        assert torch.equal(model(**inputs).logits, expected)
        assert attached.kept == [4, 4] and attached.of == [16, 16]


def test_bfloat16_runs():
    model, inputs = tiny_vlm("llava").bfloat16(), tiny_inputs("llava", ROWS)
    inputs["pixel_values"] = inputs["pixel_values"].bfloat16()
    for reducer in PRUNERS:
        with reduce_in_decoder(model, reducer):
            logits = model(**inputs).logits
        assert logits.dtype == torch.bfloat16 and bool(torch.isfinite(logits).all())


def test_gradients_pass_through():
    model, inputs = tiny_vlm("llava"), tiny_inputs("llava", ROWS)
    with torch.enable_grad(), reduce_in_decoder(model, PRUNERS[2]):
        model(**inputs).logits.sum().backward()
    assert float(model.model.multi_modal_projector.linear_1.weight.grad.abs().sum()) > 0


def hooks_of(model):
    return [
        hook
        for module in model.modules()
        for hook in (*module._forward_pre_hooks.values(), *module._forward_hooks.values())
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_an_exception_leaves_the_model_as_it_was(family):
    model, inputs = tiny_vlm(family), tiny_inputs(family, ROWS)
    plain = model(**inputs).logits
    before = hooks_of(model)
    with pytest.raises(ZeroDivisionError), reduce_in_decoder(model, PRUNERS[1]):
        model(**inputs)
        raise ZeroDivisionError
    with pytest.raises(InvalidInput, match="map"), reduce_in_decoder(model, Broken()):
        model(**inputs)
    assert hooks_of(model) == before
    assert torch.equal(model(**inputs).logits, plain)


class Broken:
    layers = (2,)

    def needs(self, layer):
        return {}

    def __call__(self, x_BND, *, layer, total):
        return TokenMap.identity(1, x_BND.shape[1] + 1)


class Uneven(Broken):
    def __call__(self, x_BND, *, layer, total):
        return TokenMap.keep(torch.arange(1 + int(x_BND.sum() * 1e6) % 7)[None], of=x_BND.shape[1])


def asking(layer, signals, names="attention"):
    return Fixed({layer: [0]}, {layer: {names: signals}})


@pytest.mark.parametrize(
    "reducer, words",
    [
        (FastV(layer=6), "after layers (6,); they must ascend from 1 to 5"),
        (TransPrune((2, 7), (0.5, 0.5), (1,)), "after layers (2, 7)"),
        (Fixed({}), "after layers ()"),
        (Fixed({3: [0], 2: [0]}), "after layers (3, 2)"),
        (asking(2, Signal("text_attention", 1)), "needs text_attention of layer 1"),
        (asking(2, Signal("text_attention", 4)), "needs text_attention of layer 4"),
        (asking(2, Signal("transitions", 3), "transitions"), "needs transitions of layer 3"),
        (asking(2, Signal("cls_attention")), "needs cls_attention"),
        (asking(2, Signal("text_attention"), "weights"), "as 'weights'"),
    ],
)
def test_reducers_that_do_not_fit_the_model_are_refused(reducer, words):
    with pytest.raises(InvalidInput, match=re.escape(words)), reduce_in_decoder(tiny_vlm("llava"), reducer):
        pass


def test_other_models_and_words_are_refused():
    with pytest.raises(InvalidInput, match="of no family"), reduce_in_decoder(torch.nn.Linear(2, 2), FastV()):
        pass
    with pytest.raises(InvalidInput, match="positions='both'"), reduce_in_decoder(tiny_vlm("llava"), FastV(), "both"):
        pass
    model = tiny_vlm("qwen2-vl")
    model.model.language_model.config.sliding_window = 8
    with pytest.raises(InvalidInput, match="sliding window"), reduce_in_decoder(model, FastV()):
        pass


@pytest.mark.parametrize(
    "rows, words",
    [
        (((3, "p", 4), (5,)), "row 1 has no placeholder"),
        (((3, "p", 2, "p", 4),), "row 0 has placeholders of images apart"),
        (((3, "p"),), "row 0 ends with its picture"),
        (((3, "p", 4), (3, "p", "p", 4)), "rows have [16, 32] visual tokens"),
    ],
)
def test_prompts_that_cannot_be_reduced_are_refused(rows, words):
    model, inputs = tiny_vlm("llava"), tiny_inputs("llava", rows)
    with pytest.raises(InvalidInput, match=re.escape(words)), reduce_in_decoder(model, FastV()):
        model(**inputs)


@pytest.mark.parametrize("family", FAMILIES)
def test_text_alone_is_left_alone_with_and_without_a_cache(family):
    model, ids = tiny_vlm(family), torch.tensor([[3, 9, 4, 7]])
    plain = model(input_ids=ids).logits
    words = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=3, do_sample=False)
    with attach(model, FastV(keep=4)):
        assert torch.equal(model(input_ids=ids).logits, plain)
        again = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=3, do_sample=False)
    assert torch.equal(words, again)


def test_rows_that_keep_unequal_numbers_are_refused():
    model, inputs = tiny_vlm("llava"), tiny_inputs("llava", ((3, "p", 4),) * 5)
    with pytest.raises(InvalidInput, match="a batch needs equal numbers"), reduce_in_decoder(model, Uneven()):
        model(**inputs)


def test_calls_that_would_go_wrong_in_silence_are_refused():
    model, inputs = tiny_vlm("llava"), tiny_inputs("llava", ((3, "p", 4),))
    text = model.model.language_model
    cache = StaticCache(config=text.config, max_cache_len=40)
    mask = torch.zeros(1, 1, 23, 23)
    with reduce_in_decoder(model, FastV(keep=4)):
        with pytest.raises(InvalidInput, match="StaticCache has a fixed size"):
            model(**inputs, cache=cache)
        with pytest.raises(InvalidInput, match="no input_ids"):
            text(inputs_embeds=torch.zeros(1, 23, 48))
        with pytest.raises(InvalidInput, match="attention_mask must be"):
            model(**inputs | {"attention_mask": mask})
        filled = model(**inputs, use_cache=True).cache
        with pytest.raises(InvalidInput, match="a prompt must be given whole"):
            model(**inputs | {"attention_mask": torch.ones(1, 46, dtype=torch.int64)}, cache=filled)
    with (
        reduce_in_decoder(model, FastV(keep=5)),
        pytest.raises(InvalidInput, match="filled under another reduction"),
    ):
        model(input_ids=torch.tensor([[5]]), cache=filled)


@pytest.mark.parametrize("name", ["prompt_lookup_num_tokens", "prefill_chunk_size"])
def test_ways_to_generate_that_show_more_or_less_than_the_prompt_are_refused(name):
    model, inputs = tiny_vlm("llava"), tiny_inputs("llava", ((3, "p", 4),))
    with reduce_in_decoder(model, FastV(keep=4)):
        with pytest.raises(InvalidInput, match=f"generate with {name}"):
            model.generate(**inputs, **{name: 2})
        setattr(model.generation_config, name, 2)
        with pytest.raises(InvalidInput, match=f"generate with {name}"):
            model.generate(**inputs)
    assert "generate" not in model.__dict__


def test_a_cache_that_was_filled_before_goes_on_unreduced():
    model, inputs = tiny_vlm("llava"), tiny_inputs("llava", ((3, "p", 4),))
    more = torch.tensor([[5]])
    plain = model(input_ids=more, cache=model(**inputs, cache=DynamicCache()).cache).logits
    cache = model(**inputs, cache=DynamicCache()).cache
    with reduce_in_decoder(model, FastV(keep=4)):
        assert torch.equal(model(input_ids=more, cache=cache).logits, plain)
