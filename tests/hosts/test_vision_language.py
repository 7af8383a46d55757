"""What is recorded in vision-language models, against attention written out, and prompts whose pictures shrink."""

import sys
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput, MissingExtra
from tokenloom.core.token_map import TokenMap
from tokenloom.hosts.vision_language import open_family
from tokenloom.hosts.vision_language.before_decoder import _Prompts, reduce_before_decoder
from tokenloom.hosts.vision_language.pictures import Rows
from tokenloom.hosts.vision_language.prompts import columns_left, picked, spans, text_behind
from tokenloom.hosts.vision_language.recording import RECORDED, attention_layers, has_class_token, recording
from tokenloom.hosts.vision_language.text_attention import text_attention

sys.path.insert(0, str(Path(__file__).parents[1] / "reduce"))  # where the tiny models are
from tiny_models import FAMILIES, PLACEHOLDER, TOWERS, pixels, tiny_inputs, tiny_tower, tiny_vlm

vlm = cache(tiny_vlm)
tower = cache(tiny_tower)

both = pytest.mark.parametrize("implementation", ["eager", "sdpa"])
all_families = pytest.mark.parametrize("family", FAMILIES)


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


def close(a, b):
    assert a.shape == b.shape
    assert torch.allclose(a, b, atol=1e-6), float((a - b).abs().max())


def heard(model, inputs, requests):
    """All that a family gives a reducer in one call, picture by picture."""
    calls = []

    def listen(x_BND, signals):
        calls.append({"x": x_BND, **signals})
        return TokenMap.identity(*x_BND.shape[:2])

    with reduce_before_decoder(model, requests, listen):
        model(**inputs)
    return calls


# Recording


@pytest.mark.parametrize("kind", TOWERS)
@both
def test_recorded_attention_is_that_of_the_weights_and_changes_nothing(kind, implementation):
    model, pictures = tower(kind, implementation), pixels(3)
    layers = attention_layers(model)
    plain = model(pictures).last_hidden_state
    eager = tower(kind, "eager")
    weights = eager(pictures, output_attentions=True).attentions
    projections = {}
    for i, layer in enumerate(attention_layers(eager)):
        for name in ("q_proj", "k_proj"):
            part = getattr(layer, name)
            handle = part.register_forward_hook(
                lambda module, args, out, key=(i + 1, name): projections.__setitem__(key, out)
            )
            eager(pictures)
            handle.remove()
    kinds = [k for k in RECORDED if has_class_token(model) or not k.startswith("cls_")]
    before = [(layer.config, dict(vars(layer))) for layer in layers]
    with recording(layers, [(k, block) for k in kinds for block in (1, 3, 4)]) as found:
        assert torch.equal(model(pictures).last_hidden_state, plain)
    assert all(layer.config is config and dict(vars(layer)) == state for layer, (config, state) in zip(layers, before))
    assert len(found) == 3 * len(kinds)
    for block in (1, 3, 4):
        key_BTHC = projections[block, "k_proj"].unflatten(2, (4, 8))
        query_BTHC = projections[block, "q_proj"].unflatten(2, (4, 8))
        close(found["received_attention", block], weights[block - 1].sum(2).mean(1))
        close(found["keys", block], key_BTHC)
        if "cls_query" not in kinds:
            continue
        close(found["cls_attention", block], weights[block - 1][:, :, 0].mean(1))
        close(found["cls_query", block], query_BTHC[:, 0])
        logits_BHT = torch.einsum("bhc,bthc->bht", query_BTHC[:, 0], key_BTHC) / 8**0.5
        close(found["cls_logits", block], logits_BHT.mean(1))


def test_attention_is_summed_over_blocks_of_queries(monkeypatch):
    from tokenloom.hosts.vision_language import recording as module

    model = tower("clip")
    with recording(attention_layers(model), [("received_attention", 2)]) as whole:
        model(pixels(2))
    monkeypatch.setattr(module, "_QUERIES_AT_ONCE", 5)
    with recording(attention_layers(model), [("received_attention", 2)]) as parts:
        model(pixels(2))
    close(parts["received_attention", 2], whole["received_attention", 2])
    close(whole["received_attention", 2].sum(1), torch.full((2,), 17.0))


@both
def test_a_mask_of_any_kind_is_in_the_recorded_attention(implementation):
    model = tower("vit", implementation)
    layer, x_BTD = attention_layers(model)[0], torch.randn(2, 6, 32, generator=torch.Generator().manual_seed(0))
    hidden = torch.zeros(2, 1, 6, 6)
    hidden[1, :, :, 4:] = -torch.inf
    bias = torch.randn(2, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    masks = [hidden, hidden + bias] + ([hidden == 0] if implementation == "sdpa" else [])
    for mask in masks:
        plain = layer(x_BTD, mask)[0]
        with recording([layer], [("received_attention", 1), ("cls_attention", 1)]) as found:
            assert torch.equal(layer(x_BTD, mask)[0], plain)
        query, key = (part(x_BTD).unflatten(2, (4, 8)).transpose(1, 2) for part in (layer.q_proj, layer.k_proj))
        extra = mask if mask.dtype != torch.bool else torch.zeros(2, 1, 6, 6).masked_fill(~mask, -torch.inf)
        weights = (query @ key.transpose(2, 3) / 8**0.5 + extra).softmax(-1)
        close(found["received_attention", 1], weights.sum(2).mean(1))
        close(found["cls_attention", 1], weights[:, :, 0].mean(1))


# Families


@both
def test_llava_gives_signals_of_the_patches_without_the_class_token(implementation):
    model, inputs = vlm("llava", implementation), tiny_inputs("llava", ((2, "p", 3, "p", 1),))
    eager = vlm("llava", "eager").model.vision_tower
    weights = eager(inputs["pixel_values"], output_attentions=True).attentions
    requests = {
        "last": ("received_attention", None),
        "first": ("received_attention", 1),
        "row": ("cls_attention", -1),
        "keys": ("keys", 2),
        "grid": ("grid", None),
    }
    features = model.model.get_image_features(inputs["pixel_values"]).pooler_output
    for k, got in enumerate(heard(model, inputs, requests)):
        assert torch.equal(got["x"][0], features[k])
        close(got["last"], weights[2][k : k + 1].mean((1, 2))[:, 1:])  # vision_feature_layer=-2: block 3 of 4
        close(got["first"], weights[0][k : k + 1].mean((1, 2))[:, 1:])
        close(got["row"], weights[3][k : k + 1, :, 0].mean(1)[:, 1:])
        assert got["keys"].shape == (1, 16, 4, 8) and got["grid"] == (4, 4)


def test_signals_begin_with_the_class_token_where_the_prefix_is_asked_for():
    model, inputs = vlm("llava"), tiny_inputs("llava")
    weights = vlm("llava", "eager").model.vision_tower(inputs["pixel_values"], output_attentions=True).attentions
    (got,) = heard(model, inputs, {"offset": ("offset", None)})
    assert got["offset"] == 1 and got["x"].shape[1] == 16
    (got,) = heard(model, inputs, {"prefix": ("prefix", None), "row": ("cls_attention", None)})
    states = model.model.vision_tower(inputs["pixel_values"], output_hidden_states=True).hidden_states
    assert got["prefix"] == 1 and torch.equal(got["x"], states[-2])
    close(got["row"], weights[2][:, :, 0].mean(1))


def test_the_default_block_follows_the_layer_that_features_are_taken_from():
    inputs = tiny_inputs("llava")
    weights = vlm("llava", "eager").model.vision_tower(inputs["pixel_values"], output_attentions=True).attentions
    for layer, block in ((-1, 4), (2, 2), (-4, 1), ([-2, -1], 4)):
        model = tiny_vlm("llava", vision_feature_layer=layer)
        (got,) = heard(model, inputs, {"received": ("received_attention", None)})
        close(got["received"], weights[block - 1].mean((1, 2))[:, 1:])


def test_features_from_before_the_first_block_have_no_attention_of_their_own():
    model, inputs = tiny_vlm("llava", vision_feature_layer=-5), tiny_inputs("llava")
    with pytest.raises(InvalidInput, match="before the first one; a layer from 1 to 4"):
        heard(model, inputs, {"received": ("received_attention", None)})
    (got,) = heard(model, inputs, {"received": ("received_attention", 1), "grid": ("grid", None)})
    assert got["received"].shape == (1, 16)


def test_a_tower_without_a_class_token_gives_what_it_has():
    model, inputs = vlm("llava", tower="siglip"), tiny_inputs("llava")
    (got,) = heard(model, inputs, {"received": ("received_attention", -1), "prefix": ("prefix", None)})
    eager = vlm("llava", "eager", tower="siglip").model.vision_tower
    close(got["received"], eager(inputs["pixel_values"], output_attentions=True).attentions[-1].mean((1, 2)))
    assert got["prefix"] == 0 and got["x"].shape == (1, 16, 32)
    wrong = tiny_vlm("llava", tower="siglip", vision_feature_select_strategy="default")
    with pytest.raises(InvalidInput, match="SiglipVisionModel has no class token; it must be 'full'"):
        heard(wrong, inputs, {})


def qwen_weights(model, inputs, block):
    """A block's attention as one (H, S, S) matrix in the prompt's order, from what goes into the block."""
    visual = model.model.visual
    seen = {}
    handle = visual.blocks[block - 1].attn.register_forward_pre_hook(
        lambda module, args, kwargs: seen.update(kwargs, x=args[0]), with_kwargs=True
    )
    visual(inputs["pixel_values"], grid_thw=inputs["image_grid_thw"])
    handle.remove()
    layer, x_SD = visual.blocks[block - 1].attn, seen["x"]
    query, key, _ = layer.qkv(x_SD).view(len(x_SD), 3, 4, -1).permute(1, 2, 0, 3)
    cos, sin = seen["position_embeddings"]

    def turned(x):
        return x * cos + torch.cat((-x[..., 4:], x[..., :4]), -1) * sin

    piece_S = torch.bucketize(torch.arange(len(x_SD)), seen["cu_seqlens"][1:], right=True)
    logits = turned(query) @ turned(key).transpose(1, 2) / 8**0.5
    weights = logits.masked_fill(piece_S[:, None] != piece_S, -torch.inf).softmax(-1)
    order = torch.arange(len(x_SD))
    if hasattr(visual, "window_size"):
        from transformers.vision_utils import get_vision_window_index

        windows, _ = get_vision_window_index(inputs["image_grid_thw"], 2, 56, 14)
        order = order.view(-1, 4)[windows].flatten().argsort()
    return weights[:, order][:, :, order], key[:, order], int(piece_S.max()) + 1


@pytest.mark.parametrize("family", ["qwen2-vl", "qwen2.5-vl"])
@both
def test_qwen_gives_means_over_merged_patches_in_the_order_of_the_prompt(family, implementation):
    model = vlm(family, implementation)
    inputs = tiny_inputs(family, ((2, "p", 3, "p", 1),), grids=((8, 12), (6, 10)))
    for block in (1, 2, 4):
        weights_HSS, key_HSC, pieces = qwen_weights(model, inputs, block)
        assert pieces == (
            2 if family == "qwen2-vl" or block != 1 else 12
        )  # windows of 4 x 4 patches in all blocks but 2 and 4
        requests = {"received": ("received_attention", block), "keys": ("keys", block), "grid": ("grid", None)}
        at = 0
        for got, (rows, columns) in zip(heard(model, inputs, requests), ((4, 6), (3, 5))):
            patches = slice(at, at + 4 * rows * columns)
            at = patches.stop
            received = weights_HSS[:, patches, patches].mean((0, 1))
            assert got["grid"] == (rows, columns) and got["x"].shape == (1, rows * columns, 48)
            close(got["received"], received.view(1, -1, 4).mean(2))
            close(got["keys"][0], key_HSC[:, patches].transpose(0, 1).unflatten(0, (-1, 4)).mean(1))
            close(received.sum(), torch.tensor(1.0))


def test_llava_next_gives_a_pool_in_the_order_of_the_prompt_or_crops():
    inputs = tiny_inputs("llava-next", ((2, "p", 3, "p", 1),), sizes=((90, 120), (200, 60)))
    model = vlm("llava-next")
    features = model.model.get_image_features(inputs["pixel_values"], inputs["image_sizes"]).pooler_output
    requests = {"received": ("received_attention", None), "keys": ("keys", None)}
    pools = heard(model, inputs, requests)
    crops = heard(model, inputs, requests | {"crops": ("crops", None)})
    newline = model.model.image_newline
    for k, (pool, crop, expected) in enumerate(zip(pools, crops, ((2, 2, 4, 90, 120), (2, 1, 4, 200, 60)))):
        assert torch.equal(pool["x"][0], features[k]) and crop["crops"] == expected
        assert crop["x"].shape == (1 + expected[0] * expected[1], 16, 48)
        flat = crop["x"].flatten(0, 1)
        for token, received, keys in zip(pool["x"][0], pool["received"][0], pool["keys"][0]):
            if torch.equal(token, newline):
                assert received == 0 and not keys.any()
                continue
            (source,) = (flat == token).all(1).nonzero()[:, 0].tolist()
            assert received == crop["received"].flatten()[source]
            assert torch.equal(keys, crop["keys"].flatten(0, 1)[source])


@both
@all_families
def test_text_behind_a_picture_is_what_the_first_layer_sees_there(family, implementation):
    rows = ((3, "p", 4, "p", 2), (2, "p", 9))
    model, inputs = vlm(family, implementation), tiny_inputs(family, rows)
    requests = {"text": ("text_features", None), "looked": ("text_attention", 1)}
    calls = heard(model, inputs, requests)
    whole = vlm(family, "eager")(**inputs, output_attentions=True, output_hidden_states=True)
    weights, embedded = whole.attentions[0].mean(1), whole.hidden_states[0]
    ids, slot = inputs["input_ids"], PLACEHOLDER[family]
    rows_of, at = [0, 0, 1], {0: 0, 1: 0}
    for got, row in zip(calls, rows_of):
        n = got["x"].shape[1]
        slots = (ids[row] == slot).nonzero()[at[row] : at[row] + n, 0]
        at[row] += n
        text = [c for c in range(int(slots[-1]) + 1, ids.shape[1]) if ids[row, c] != slot]
        assert torch.equal(got["text"][0], embedded[row, text])
        close(got["looked"][0], weights[row][text][:, slots])


def test_text_attention_to_crops_is_zero_for_padding():
    model, inputs = vlm("llava-next"), tiny_inputs("llava-next")
    (pool,) = heard(model, inputs, {"looked": ("text_attention", 1)})
    requests = {"looked": ("text_attention", 1), "text": ("text_features", None), "grid": ("grid", None)}
    (crops,) = heard(model, inputs, requests)
    assert crops["looked"].shape == (5, 4, 16) and crops["text"].shape == (5, 4, 48)
    close(crops["looked"][0], pool["looked"][0, :, :16])
    # 16 patches of padding, and 6 newlines that crops do not have
    assert int((crops["looked"] == 0).sum()) == 4 * 16
    features = model.model.get_image_features(inputs["pixel_values"], inputs["image_sizes"]).pooler_output[0]
    patch = ~(features == model.model.image_newline).all(1)
    assert sorted(crops["looked"][crops["looked"] > 0].tolist()) == sorted(
        pool["looked"][..., patch].flatten().tolist()
    )


def test_a_layer_of_another_kind_is_refused():
    with pytest.raises(InvalidInput, match="Linear has not the norm"):
        text_attention(torch.nn.Linear(2, 2), torch.zeros(1, 2, 2), (torch.zeros(1, 2, 2),) * 2, torch.tensor([1]), torch.tensor([0]))  # fmt: skip


def test_videos_are_encoded_with_reduced_pictures():
    model = vlm("qwen2.5-vl")
    inputs = tiny_inputs("qwen2.5-vl")
    video = torch.randn(2 * 4 * 4, 3 * 2 * 14 * 14, generator=torch.Generator().manual_seed(7))
    behind = torch.tensor([[157, *[156] * 8, 158, 5, 6]])
    both_kinds = {
        **inputs,
        "input_ids": torch.cat((inputs["input_ids"], behind), 1),
        "attention_mask": torch.ones(1, inputs["input_ids"].shape[1] + 12).long(),
        "mm_token_type_ids": torch.cat((inputs["mm_token_type_ids"], (behind == 156).long() * 2), 1),
        "pixel_values_videos": video,
        "video_grid_thw": torch.tensor([[2, 4, 4]]),
    }
    plain = model(**both_kinds).logits
    (got,) = heard(model, both_kinds, {"text": ("text_features", None)})
    assert got["text"].shape[1] == 1 + 4 + 4  # no token of the video

    def same(x_BND, signals):
        return TokenMap.identity(*x_BND.shape[:2])

    with reduce_before_decoder(model, {}, same) as report:
        assert torch.equal(model(**both_kinds).logits, plain)
    assert report.kept == [24]


# Prompts


def brute_left(mask, found, rows):
    """`columns_left` row by row, for prompts padded on the left."""
    lines = []
    for b, line in enumerate(mask.tolist()):
        columns = []
        for c in range(len(line)):
            inside = [(s, r) for s, r in zip(found, rows) if s.row == b and s.start <= c < s.end]
            if not inside:
                columns.append(c)
            elif c == inside[0][0].start:
                columns += [c + p for p in inside[0][1].place_M.tolist()]
        lines.append([c for c in columns if line[c] or c >= line.index(1)])
    shared = min(line.index(1) for line in mask.tolist())
    width = shared + max(map(len, lines))
    return lines, width


@settings(max_examples=40)
@given(st.data())
def test_prompts_are_shortened_row_by_row(data):
    lengths = data.draw(
        st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), max_size=3), min_size=1, max_size=3)
    )
    tails = [data.draw(st.integers(1, 3)) for _ in lengths]
    lines = [
        [i for text, picture in parts for i in [1] * text + [7] * picture + [2]] + [3] * tail
        for parts, tail in zip(lengths, tails)
    ]
    extra = data.draw(st.integers(0, 2))
    width = extra + max(map(len, lines))
    ids = torch.tensor([[0] * (width - len(line)) + line for line in lines])
    mask = (ids != 0).long()
    sizes = [picture for parts in lengths for _, picture in parts]
    found = spans(ids, 7, sizes)
    assert [ids[s.row, s.start : s.end].tolist() for s in found] == [[7] * n for n in sizes]
    rows = []
    for n in sizes:
        place = torch.tensor(data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=n + 1)))
        rows.append(Rows(torch.zeros(len(place), 2), place))
    left = columns_left(mask, found, rows)
    expected, new_width = brute_left(mask, found, rows)
    assert left.shape == (len(lines), new_width)
    shorter = picked(ids, left, 0)
    for b, columns in enumerate(expected):
        assert left[b, new_width - len(columns) :].tolist() == columns
        assert (shorter[b, : new_width - len(columns)] == 0).all()
        assert picked(mask, left, 0)[b].sum() == len(columns)
    # The same prompts padded on the right give the same lines there.
    turned = torch.tensor([line + [0] * (width - len(line)) for line in lines])
    again = columns_left((turned != 0).long(), spans(turned, 7, sizes), rows)
    if (turned == 0).any():
        for b, columns in enumerate(expected):
            assert again[b, : len(columns)].tolist() == [c - (width - len(lines[b])) for c in columns]


def test_placeholders_that_are_not_those_of_the_pictures_are_refused():
    ids = torch.tensor([[1, 7, 7, 2, 7, 7]])
    assert [tuple(s) for s in spans(ids, 7, [2, 2])] == [(0, 1, 3), (0, 4, 6)]
    with pytest.raises(InvalidInput, match="4 placeholders, but the pictures have 5 tokens"):
        spans(ids, 7, [2, 3])
    with pytest.raises(InvalidInput, match="the 3 placeholders of a picture in prompt 0 do not follow"):
        spans(ids, 7, [3, 1])
    with pytest.raises(InvalidInput, match="do not follow"):
        spans(torch.tensor([[1, 7], [7, 2]]), 7, [2])


def test_text_behind_a_picture_is_neither_padding_nor_another_picture():
    ids, mask = torch.tensor([[0, 5, 7, 7, 6, 7, 9, 8, 4]]), torch.tensor([[0, 1, 1, 1, 1, 1, 1, 1, 0]])
    first, second = spans(ids, 7, [2, 1])
    assert text_behind(ids, mask, first, [7, 9]).tolist() == [4, 7]
    assert text_behind(ids, mask, second, [7, 9]).tolist() == [7]


def test_tokens_behind_a_shortened_prompt_follow_its_last_position_and_keep_their_own_mask():
    prompts = _Prompts(6, torch.tensor([[0, 1, 1]]), torch.tensor([[5]]))
    mask = torch.tensor([[0, 1, 1, 1, 1, 1, 1, 0, 1]])
    found = prompts.followed({"input_ids": torch.zeros(1, 2), "attention_mask": mask}, cached=4)
    assert found["position_ids"].tolist() == [[7, 8]]
    assert found["attention_mask"].tolist() == [[0, 1, 1, 1, 0, 1]]
    found = prompts.followed({"inputs_embeds": torch.zeros(1, 2, 4)}, cached=3)
    assert (found["position_ids"].tolist(), found["attention_mask"].tolist()) == ([[6, 7]], [[0, 1, 1, 1, 1]])


# Refusals


def test_what_is_of_no_family_is_told_which_there_are():
    with pytest.raises(InvalidInput, match=r"Linear is of no family.*LlavaNextForConditionalGeneration.*Dinov2Model"):
        open_family(torch.nn.Linear(2, 2), {})


def test_an_older_transformers_is_told_which_is_needed():
    class LlavaForConditionalGeneration(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = vlm("llava").model

        def generate(self): ...
        def forward(self, input_ids=None, pixel_values=None): ...

    with pytest.raises(MissingExtra, match=r"takes no `mm_encoder_outputs`; it needs transformers 5.23 or newer"):
        open_family(LlavaForConditionalGeneration(), {})


def test_a_missing_name_is_told_with_the_version_when_it_is_imported(monkeypatch):
    import importlib

    import transformers.masking_utils

    from tokenloom.hosts.vision_language import names

    monkeypatch.delattr(transformers.masking_utils, "AttentionMaskInterface")
    with pytest.raises(MissingExtra, match=r"transformers 5.23 or newer.*AttentionMaskInterface"):
        importlib.reload(names)


def test_a_tower_of_another_kind_is_refused():
    with pytest.raises(InvalidInput, match="Linear is not built like CLIP"):
        attention_layers(torch.nn.Linear(2, 2))
