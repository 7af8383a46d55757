"""FLASH: the head by plain loops, the blocks by a double loop, text that stays the model's own, laws by all outcomes, refusals."""

import numpy as np
import pytest
import torch
from drafters import outcomes, tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

import tokenloom as tl
from tokenloom.core.draft_tree import DraftTree
from tokenloom.core.errors import InvalidInput, StoreError
from tokenloom.models.transformer import Cache, Transformer
from tokenloom.predict.decode import flash_speculative
from tokenloom.predict.decode.flash_speculative import (
    FLASH,
    FlashHead,
    LatentPooling,
    OwnAnswers,
    flash_losses,
    flash_tree,
    own_answers,
    train_flash,
)
from tokenloom.predict.decode.flash_speculative.training import blocks
from tokenloom.predict.decode.sampling import Warp
from tokenloom.predict.decode.session import CausalSession
from tokenloom.testing import check_drafter

IMAGE = 11
SMALL = DraftTree.from_paths([[0], [1], [0, 0], [0, 1]])


def captioner(seed=0, vocab=12, width=16, patches=3):
    """A LLaVA in float64 with random weights; `patches` squared visual tokens."""
    vision = CLIPVisionConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=2, num_attention_heads=2, image_size=2 * patches, patch_size=2, projection_dim=8)  # fmt: skip
    text = LlamaConfig(vocab_size=vocab, hidden_size=width, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2, eos_token_id=None, bos_token_id=None, initializer_range=0.4)  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = LlavaConfig(vision_config=vision, text_config=text, image_token_id=IMAGE, image_seq_length=patches**2)
        return LlavaForConditionalGeneration(config).double().eval()


def pictured(seed=0, *, before=1, behind=3, patches=3, batch=1):
    """Prompts with a picture between other ids."""
    generator = torch.Generator().manual_seed(seed)
    text = torch.randint(0, IMAGE, (batch, before + behind), generator=generator)
    slots = torch.full((batch, patches**2), IMAGE)
    ids = torch.cat([text[:, :before], slots, text[:, before:]], 1)
    pixels = torch.randn(batch, 3, 2 * patches, 2 * patches, generator=generator).double()
    return {"input_ids": ids, "pixel_values": pixels, "attention_mask": torch.ones_like(ids)}


def made(seed=0, *, wild=1.0, width=16, heads=2, futures=3, groups=3, latents=None):
    """A head in float64; `wild` scales its weights."""
    head = FlashHead(width=width, heads=heads, futures=futures, groups=groups, latents=latents, generator=torch.Generator().manual_seed(seed))  # fmt: skip
    with torch.no_grad():
        for weight in head.parameters():
            weight.mul_(wild)
    return head.double()


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# The head


def plain_head(head, rows_RD):
    """y[t, i] in loops: each head with each group, summed."""
    width, heads, groups, futures = (getattr(head.config, n) for n in ("width", "heads", "groups", "futures"))
    size = width // heads

    def rotated(x, t):
        found = x.clone()
        for i in range(size // 2):
            angle = t * 10_000.0 ** (-2 * i / size)
            c, s = np.cos(angle), np.sin(angle)
            found[i], found[i + size // 2] = x[i] * c - x[i + size // 2] * s, x[i + size // 2] * c + x[i] * s
        return found

    y = []
    for t in range(len(rows_RD)):
        mixed = torch.zeros(width, dtype=torch.float64)
        for h in range(heads):
            q = rotated((head.q.weight @ rows_RD[t])[h * size : (h + 1) * size], t)
            for g in range(groups):
                keys, values = [], []
                for s in range(t + 1):
                    kv = head.kv.weight @ rows_RD[s]
                    keys.append(rotated(kv[g * size : (g + 1) * size], s))
                    values.append(kv[(groups + g) * size : (groups + g + 1) * size])
                weights = torch.stack([q @ key / size**0.5 for key in keys]).softmax(0)
                mixed[h * size : (h + 1) * size] += sum(w * v for w, v in zip(weights, values))
        inside = head.up.weight @ (head.out.weight @ mixed) + head.up.bias
        y.append((head.down.weight @ (inside * torch.sigmoid(inside)) + head.down.bias).view(futures, width))
    return torch.stack(y)


@pytest.mark.parametrize("heads, groups, futures", [(2, 3, 3), (4, 1, 1), (1, 4, 5), (8, 2, 2)])
def test_the_head_is_that_of_plain_loops(heads, groups, futures):
    head = made(heads=heads, groups=groups, futures=futures, wild=2.0)
    rows = random(2, 6, 16)
    with torch.no_grad():
        assert torch.allclose(head(rows)[1], plain_head(head, rows[1]), atol=1e-5)  # frequencies are float32
        for wanted in range(1, 7):
            assert torch.allclose(head(rows, wanted=wanted), head(rows)[:, -wanted:], atol=1e-12)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_rows_run_bit_by_bit_are_those_run_at_once(parts, seed):
    head, rows = made(seed), random(2, sum(parts), 16, seed=seed)
    cache = Cache([])
    with torch.no_grad():
        pieces = [head(part, cache) for part in rows.split(parts, 1)]
        assert torch.allclose(torch.cat(pieces, 1), head(rows), atol=1e-12)
    assert cache.length == sum(parts)


def test_no_row_knows_of_a_later_one():
    head, rows = made(), random(1, 5, 16).requires_grad_()
    for t in range(5):
        (gradient,) = torch.autograd.grad(head(rows)[0, t].sum(), rows)
        assert (gradient[0].abs().sum(1) > 0).tolist() == [s <= t for s in range(5)]


def test_a_picture_becomes_latents_and_what_is_behind_it_pairs():
    """As a whole: blockdiag(I, softmax(A Vᵀ), I), on features in front and on pairs behind."""
    head, features, following = made(latents=2), random(1, 9, 16), random(1, 9, 16, seed=1)
    span = range(2, 6)
    with torch.no_grad():
        pooling = head.pooling(features[:, 2:6])
        assert pooling.form == "dense" and pooling.shape == (1, 2, 4)
        plain = [(head.pooling.latents_MD[m] @ features[0, 2:6].T).softmax(0) for m in range(2)]
        assert torch.allclose(pooling.matrix()[0], torch.stack(plain))
        whole = torch.block_diag(torch.eye(2), pooling.matrix()[0], torch.eye(3)).double()
        pairs = torch.stack([head.fuse(torch.cat([following[0, t], features[0, t]])) for t in range(9)])
        right = whole @ torch.cat([features[0, :6], pairs[6:]])
        assert torch.allclose(head.rows(features, following, span)[0], right)
        assert torch.allclose(head.rows(features, following)[0], pairs)  # text alone


def test_as_many_latents_as_tokens_that_look_at_one_each_are_no_compression():
    plain, pooled = made(latents=None), made(latents=4)
    pooled.load_state_dict(plain.state_dict(), strict=False)
    features = torch.cat([random(1, 1, 16), 30 * torch.eye(16).double()[None, :4], random(1, 2, 16)], 1)
    with torch.no_grad():
        pooled.pooling.latents_MD.copy_(30 * torch.eye(16)[:4])
        following = random(1, 7, 16, seed=2)
        a, b = (head(head.rows(features, following, range(1, 5))) for head in (plain, pooled))
    assert torch.equal(a, b)


# The blocks and the loss


@given(st.integers(1, 7), st.integers(1, 5), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_blocks_and_losses_are_those_of_a_double_loop(size, futures, seed):
    y, hidden, rng = (
        random(2, size, futures, 4, seed=seed),
        random(2, size, 4, seed=seed + 1),
        np.random.default_rng(seed),
    )
    wanted, head = (
        torch.from_numpy(rng.random((2, size)) < 0.6),
        nn.Linear(4, 5, bias=False).double().requires_grad_(False),
    )
    made_BKSD, there = blocks(y)
    losses = flash_losses(y, hidden, wanted, head)
    for i in range(futures):
        found = []
        for j in range(size):
            assert there[i, j] == (j >= i)
            for b in range(2):
                if j >= i:
                    assert torch.equal(made_BKSD[b, i, j], y[b, j - i, i])
                    if wanted[b, j]:
                        smooth = (
                            sum(0.5 * d**2 if d < 1 else d - 0.5 for d in (y[b, j - i, i] - hidden[b, j]).abs()) / 4
                        )
                        p, q = head(hidden[b, j]).softmax(0), head(y[b, j - i, i]).softmax(0)
                        found.append(float(smooth - 0.1 * (p * q.log()).sum()))
        assert losses[i].item() == pytest.approx(np.mean(found) if found else 0.0, abs=1e-6)


def test_what_a_block_does_not_predict_has_no_part_in_the_loss():
    y = random(1, 3, 3, 4).requires_grad_()
    wanted = torch.tensor([[True, True, True]])
    flash_losses(y, random(1, 3, 4), wanted, nn.Linear(4, 5).double()).sum().backward()
    # Row j has a say on columns j … 2 only: its future i is of column j + i.
    assert (y.grad[0].abs().sum(2) > 0).tolist() == [[True, True, True], [True, True, False], [True, False, False]]


# Features and answers


@pytest.mark.parametrize("image", [False, True])
def test_cached_features_are_what_the_output_layer_reads_and_answers_are_the_models_own(image):
    model, inputs = captioner(), pictured(batch=3)
    if not image:
        inputs = {"input_ids": torch.tensor([[1, 2, 3], [4, 5, 6], [2, 2, 2]])}
    found = own_answers(model, inputs, new=6, end=4, image_token=IMAGE if image else None)
    prompt = inputs["input_ids"].shape[1]
    assert found.span == (range(1, 10) if image else None)
    for b in range(3):
        one = {name: value[b : b + 1] for name, value in inputs.items()}
        right = tl.generate(model, one, max_new_tokens=6, end=4).ids
        assert found.ids_BT[b, prompt:][found.answer_BT[b, prompt:]].tolist() == right
        assert not found.answer_BT[b, :prompt].any()
        steps = CausalSession(model)
        given = {"pixel_values": one["pixel_values"]} if image else {}
        first = steps.extend(one["input_ids"][0].tolist(), hidden=True, **given)
        assert torch.allclose(first.hidden_ND, found.hidden_BPD[b, :prompt], atol=1e-10)
        assert torch.allclose(model.lm_head(found.hidden_BPD[b, :prompt]), first.logits_NV, atol=1e-10)


def test_answers_end_where_the_model_ends_them_unless_told_otherwise():
    model, inputs = captioner(), pictured(batch=2)
    whole = own_answers(model, inputs, new=6)
    assert whole.answer_BT[:, 13:].all() and whole.ids_BT.shape == (2, 19)
    model.generation_config.eos_token_id = end = int(whole.ids_BT[0, 15])
    found = own_answers(model, inputs, new=6)
    assert found.ids_BT[0][found.answer_BT[0]].tolist() == tl.generate(model, {n: v[:1] for n, v in inputs.items()}).ids
    assert found.ids_BT[0][found.answer_BT[0]][-1] == end
    assert torch.equal(own_answers(model, inputs, new=6, end=()).answer_BT, whole.answer_BT)


def test_a_transformer_of_ours_answers_too():
    model = Transformer(vocab_size=9, width=16, layers=2, heads=2).double()
    found = own_answers(model, {"input_ids": torch.tensor([[1, 2], [3, 4]])}, new=5)
    assert found.answer_BT.tolist() == [[False] * 2 + [True] * 5] * 2
    assert torch.allclose(model.head(found.hidden_BPD), model(found.ids_BT[:, :-1]), atol=1e-12)


def lessons(model, *, image=True, batch=12, new=8):
    inputs = pictured(5, batch=batch)
    if not image:
        inputs = {"input_ids": inputs["input_ids"][:, -3:]}
    return own_answers(model, inputs, new=new, image_token=IMAGE if image else None)


@pytest.mark.parametrize("latents, image", [(None, False), (None, True), (3, True)])
def test_training_lowers_the_loss_of_every_block_and_leaves_the_model_alone(latents, image):
    model, head = captioner(), made(latents=latents)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    answers = lessons(model, image=image)
    done = train_flash(head, model, answers, steps=150, generator=torch.Generator().manual_seed(0), lr=1e-2, batch=8)
    assert (done.losses[-10:].mean(0) < 0.8 * done.losses[:5].mean(0)).all()
    assert done.ledger.forward_passes == 150
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(weight.grad is None for weight in model.parameters())


def test_the_same_seed_is_the_same_head_and_answers_of_several_lengths_are_learnt_together():
    model = captioner()
    several = [lessons(model), lessons(model, new=5)]
    heads = [made(latents=3) for _ in range(2)]
    for head in heads:
        train_flash(head, model, several, steps=4, generator=torch.Generator().manual_seed(1), lr=1e-3)
    assert all(torch.equal(a, b) for a, b in zip(*(head.state_dict().values() for head in heads)))
    assert not torch.equal(heads[0].q.weight, made(latents=3).q.weight)


def test_a_step_of_training_is_that_of_a_plain_reading():
    """Row t pairs feature t with token t + 1; its future i is compared with feature t + 1 + i, if token t + 2 + i is of the answer."""
    model, head = captioner(), made(latents=2, futures=2)
    answers = lessons(model, batch=2)
    losses = train_flash(head, model, answers, steps=1, generator=torch.Generator(), lr=1e-3, noise=0.0).losses[0]
    head, span, length = made(latents=2, futures=2), answers.span, answers.ids_BT.shape[1]
    found = [[], []]
    with torch.no_grad():
        for b in range(2):
            f, e = answers.hidden_BPD[b], model.get_input_embeddings()(answers.ids_BT[b])
            y = head(head.rows(f[None], e[None, 1:], span))[0]
            for t in range(span.stop, length - 1):
                row = y[t - len(span) + 2]
                for i in range(2):
                    if t + 2 + i < length and answers.answer_BT[b, t + 2 + i]:
                        true = f[t + 1 + i]
                        p, q = (model.lm_head(x).softmax(0) for x in (true, row[i]))
                        smooth = nn.functional.smooth_l1_loss(row[i], true)
                        found[i].append(float(smooth - 0.1 * (p * q.log()).sum()))
    assert losses == pytest.approx([np.mean(values) for values in found], abs=1e-6)


# Drafting


def test_the_published_tree_has_25_nodes_on_five_levels():
    tree = flash_tree()
    assert len(tree) == 26 and [len(nodes) for nodes in tree.levels] == [1, 4, 8, 8, 3, 2]
    paths = {tuple(tree.ranks_N[n] for n in row[1:] if n >= 0) for row in tree.paths}
    assert {(3, 0), (1, 0, 0), (0, 2, 1), (0, 0, 0, 2), (0, 0, 0, 0, 1)} <= paths and (2, 0, 0) not in paths


HEADS = {
    "random": lambda latents: made(3, latents=latents),
    "wild": lambda latents: made(4, wild=40.0, latents=latents),
    "constant": lambda latents: made(5, wild=0.0, latents=latents),
    "one future": lambda latents: made(6, futures=1, latents=latents),
}


@pytest.mark.parametrize("tree", [None, flash_tree(), SMALL, DraftTree.chain(7), DraftTree.chain(0)], ids=str)
@pytest.mark.parametrize("latents", [None, 3])
@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_greedy_text_is_the_models_own_with_any_weights_and_any_tree(head, latents, tree):
    model, drafter = captioner(2), FLASH(head(latents), tree, image_token=IMAGE)
    for seed in range(2):
        inputs = pictured(seed, behind=1 + 2 * seed)
        right = tl.generate(model, inputs, max_new_tokens=14).ids
        assert tl.generate(model, inputs, drafter, max_new_tokens=14).ids == right


def trained(model, latents=3, image=True, steps=120, **options):
    head = made(latents=latents, **options)
    train_flash(head, model, lessons(model, image=image), steps=steps, generator=torch.Generator().manual_seed(0), lr=5e-3, batch=12)  # fmt: skip
    return head


def test_a_trained_head_saves_passes_and_text_stays_the_same():
    model = captioner(2)
    for latents, futures in ((3, 3), (None, 3), (3, 1)):
        drafter = FLASH(trained(model, latents, futures=futures), DraftTree.chain(3), image_token=IMAGE)
        for seed in (5, 6):
            found = tl.generate(model, pictured(seed), drafter, max_new_tokens=20)
            assert found.ids == tl.generate(model, pictured(seed), max_new_tokens=20).ids
        assert found.tokens_per_forward > 1
        # One pass of the head for one of the model; with one future, three.
        assert drafter.ledger.forward_passes == len(found.steps) * (3 if futures == 1 else 1)


@pytest.mark.parametrize("generator", [None, 0])
def test_the_laws_of_drafters_hold(generator):
    for seed in range(3):
        model = tiny_model(seed, 11)
        drawing = None if generator is None else torch.Generator().manual_seed(generator)
        check_drafter(
            lambda seed=seed, drawing=drawing: FLASH(made(seed), flash_tree() if drawing is None else SMALL, generator=drawing),
            model, [[1], [1, 2], [3, 1, 4, 1]], generate=tl.generate,
        )  # fmt: skip


def drafts(drafter, model, prompt, **options):
    """Each draft with the ids that it was made behind."""
    found, draft = [], drafter.draft

    def watched(ids):
        found.append((list(ids), draft(ids)))
        return found[-1][1]

    drafter.draft = watched
    tl.generate(model, prompt, drafter, max_new_tokens=12, **options)
    return found


@pytest.mark.parametrize("futures, depth", [(3, 3), (3, 2), (1, 4), (2, 5)])
@pytest.mark.parametrize("image", [False, True])
def test_what_is_drafted_is_that_of_a_plain_reading_of_all_tokens(futures, depth, image):
    """From the true features of all known tokens; beyond the futures of the head, from its own."""
    model, head = captioner(2), made(9, futures=futures, latents=3 if image else None)
    tree = DraftTree.from_paths([*[[0] * (d + 1) for d in range(depth)], [1], [0, 1]])
    inputs = pictured(7) if image else {"input_ids": torch.tensor([[5, 1, 3]])}
    found = drafts(FLASH(head, tree, image_token=IMAGE if image else None), model, inputs)
    assert len(found) > 3
    for ids, draft in found:
        given = {"pixel_values": inputs["pixel_values"]} if image else {}
        features = CausalSession(model).extend(ids, hidden=True, **given).hidden_ND[:-1]
        tokens, levels = list(ids[1:]), []
        with torch.no_grad():
            while len(levels) < depth:
                following = model.get_input_embeddings()(torch.tensor(tokens))
                y = head(head.rows(features[None], following[None], range(1, 10) if image else None))[0, -1]
                logits = model.lm_head(y)
                levels += [row.argsort(descending=True) for row in logits]
                features, tokens = torch.cat([features, y]), tokens + logits.argmax(-1).tolist()
        right = [ids[-1], *(int(levels[d - 1][r]) for d, r in zip(tree.depths_N[1:], tree.ranks_N[1:]))]
        assert draft.tokens_N.tolist() == right and draft.q_NV is None


def test_one_known_token_is_nothing_to_draft_from():
    found = drafts(FLASH(made()), tiny_model(0, 11), [3])
    assert [len(draft.tree) for _, draft in found[:2]] == [1, 4]
    # Nor is a picture with a single token behind it: that token's embedding is paired with the last visual token's, which has none.
    found = drafts(FLASH(made(latents=3), image_token=IMAGE), captioner(), pictured(behind=1))
    assert [len(draft.tree) for _, draft in found[:2]] == [1, 4]


def test_the_model_never_sees_that_its_picture_was_compressed():
    """What the model is run on does not depend on the latents: the same ids, and logits equal to its own."""
    model, inputs = captioner(), pictured()
    seen = []
    handle = model.model.language_model.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(kwargs["inputs_embeds"].shape[1]), with_kwargs=True
    )
    tl.generate(model, inputs, FLASH(made(latents=1), DraftTree.chain(2), image_token=IMAGE), max_new_tokens=5)
    handle.remove()
    assert seen[0] == inputs["input_ids"].shape[1] - 1 and set(seen[1:]) == {3}


# Sampling


@pytest.mark.parametrize("warp", [Warp(), Warp(0.7), Warp(0.7, None, 0.8)], ids=repr)
@pytest.mark.parametrize("drawing", [False, True])
def test_every_text_has_its_probability(monkeypatch, warp, drawing):
    """All outcomes of candidates that are drawn, of rejections and of what is drawn in the end."""
    model, prompt, n, vocab = tiny_model(4, 3, sharp=3.0), [1, 2], 2, 3
    tree = (
        DraftTree.from_paths([[0], [1]])
        if drawing
        else DraftTree.from_paths([[0], [1], [0, 0], [1, 0], [0, 1], [0, 0, 0]])
    )
    options = {"temperature": warp.temperature, "top_p": warp.top_p, "generator": torch.Generator()}

    def run(draw):
        monkeypatch.setattr(flash_speculative, "drawn", lambda p, generator: draw(p / p.sum(), generator))
        drafter = FLASH(made(1), tree, generator=torch.Generator() if drawing else None, temperature=0.9)
        return tuple(tl.generate(model, prompt, drafter, max_new_tokens=n, **options).ids)

    found, right = outcomes(monkeypatch, run), {}
    for text in np.ndindex(*[vocab] * n):
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt, *text]])).logits[0]
        right[text] = float(np.prod([warp(logits[1 + k])[text[k]] for k in range(n)]))
    assert abs(sum(found.values()) - 1) < 1e-12
    assert sum(abs(found[text] - right[text]) for text in right) / 2 < 1e-12


def test_candidates_are_drawn_from_the_heads_distribution_and_told_with_it():
    model, generator = tiny_model(1, 11), torch.Generator().manual_seed(0)
    found = drafts(FLASH(made(2, wild=1.5), SMALL, generator=generator, temperature=0.5), model, [1, 2, 3])
    head = made(2, wild=1.5)
    for ids, draft in found:
        features = CausalSession(model).extend(ids, hidden=True).hidden_ND[None, :-1]
        with torch.no_grad():
            y = head(head.rows(features, model.get_input_embeddings()(torch.tensor([ids[1:]]))))[0, -1]
            q = (model.lm_head(y[:2]) / 0.5).softmax(-1)
        for node in range(3):  # those with candidates, at depth 0 and 1
            assert torch.allclose(draft.q_NV[node], q[SMALL.depths_N[node]], atol=1e-5)
    assert {tuple(draft.tokens_N[1:3]) for _, draft in found} != {tuple(found[0][1].tokens_N[1:3])}


def test_a_head_that_is_sure_still_gives_a_tree_all_its_candidates():
    """Where softmax leaves no probability but for one id."""
    model = tiny_model(0, 4)
    drafter = FLASH(made(0, wild=60.0), DraftTree.from_paths([[0], [1], [2], [3]]), generator=torch.Generator())
    found = drafts(drafter, model, [1, 2], temperature=1.0, generator=torch.Generator().manual_seed(0))
    assert all({*draft.tokens_N[1:].tolist()} == {0, 1, 2, 3} for _, draft in found)


# Folders and refusals


@pytest.mark.parametrize("latents", [None, 3])
def test_a_head_comes_back_from_its_folder(tmp_path, latents):
    head = made(3, latents=latents).float()
    head.save_pretrained(tmp_path)
    again = FlashHead.from_pretrained(tmp_path)
    rows = random(1, 4, 16).float()
    assert again.config == head.config and torch.equal(again(rows), head(rows))
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(StoreError, match="SHA-256 differs"):
        FlashHead.from_pretrained(tmp_path)


def test_the_same_seed_is_the_same_first_head():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        first = torch.rand(1)
        torch.manual_seed(3)
        FlashHead(width=8, heads=2)
        assert torch.equal(torch.rand(1), first)
    a, b, c = (FlashHead(width=8, heads=2, generator=torch.Generator().manual_seed(s)).kv.weight for s in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)


def gapped():
    inputs = pictured()
    inputs["input_ids"][0, 4] = 1
    return inputs["input_ids"][0].tolist()


def began(head, model, ids, **options):
    FLASH(head, **options).begin(CausalSession(model), ids, None)


def learn(answers, head=None, **options):
    settings = {"steps": 2, "generator": torch.Generator(), "lr": 1e-3, **options}
    return train_flash(made() if head is None else head, captioner(), answers, **settings)


NONE = OwnAnswers(
    torch.zeros(1, 5, dtype=torch.int64), torch.zeros(1, 4, 16).double(), torch.zeros(1, 5, dtype=torch.bool)
)


@pytest.mark.parametrize(
    "work, words",
    [
        (lambda: FlashHead(width=16, heads=3), "no multiple of twice heads=3"),
        (lambda: FlashHead(width=16, heads=2, futures=0), "futures=0"),
        (lambda: FlashHead(width=16, heads=2, groups=0), "groups=0"),
        (lambda: FlashHead(width=16, heads=2, latents=0), "latents=0"),
        (lambda: made().rows(random(1, 4, 16), random(1, 5, 16)), "features of .1, 4, 16. and embeddings of .1, 5, 16."),
        (lambda: made().rows(random(1, 4, 8), random(1, 4, 8)), "both must be .B, L, 16."),
        (lambda: made(latents=2).rows(random(1, 6, 16), random(1, 6, 16), range(1, 5, 2)), "without gaps"),
        (lambda: made(latents=2).rows(random(1, 6, 16), random(1, 6, 16), range(1, 1)), "must be there"),
        (lambda: made(latents=2).rows(random(1, 6, 16), random(1, 6, 16), range(3, 8)), "of 6 positions"),
        (lambda: made(latents=5).rows(random(1, 6, 16), random(1, 6, 16), range(1, 5)), "5 latents of 4 visual tokens"),
        (lambda: LatentPooling(3, 4)(torch.zeros(1, 2, 4)), "3 latents of 2 visual"),
        (lambda: FLASH(made(), temperature=0.0), "temperature=0"),
        (lambda: began(made(), captioner(), [1, 2, 3], image_token=IMAGE), "no picture in it"),
        (lambda: began(made(), captioner(), gapped(), image_token=IMAGE), "text in between"),
        (lambda: began(made(), captioner(), [1, IMAGE, IMAGE], image_token=IMAGE), "text must follow"),
        (lambda: began(made(width=8), captioner(), [1]), "the head is 8 wide, and the model 16"),
        (lambda: began(made(), captioner(), [1], tree=DraftTree.from_paths([[12]])), "candidate 12, but the model has 12"),
        (lambda: tl.generate(captioner(), pictured(), FLASH(made(latents=10), image_token=IMAGE)), "10 latents of 9"),
        (lambda: own_answers(captioner(), pictured(), new=0), "new=0"),
        (
            lambda: own_answers(captioner(), {**pictured(), "attention_mask": torch.zeros(1, 13)}, new=1),
            "with padding",
        ),
        (lambda: own_answers(captioner(), {"input_ids": torch.tensor([[1, 2]])}, new=2, image_token=IMAGE), "no picture"),
        (lambda: learn([]), "no answers"),
        (lambda: learn(NONE), "no answers"),
        (lambda: learn(lessons(captioner(), image=False), made(latents=3)), "no picture"),
        (lambda: learn(lessons(captioner()), made(latents=10)), "10 latents of 9"),
        (lambda: learn(lessons(captioner()), steps=0), "steps=0"),
        (lambda: learn(lessons(captioner()), warmup=2), "warmup=2"),
        (lambda: learn(lessons(captioner()), lr=0.0), "lr=0.0"),
        (lambda: learn(lessons(captioner()), noise=-1.0), "noise=-1.0"),
        (lambda: learn(lessons(captioner()), made(wild=float("inf"))), "not finite|is nan|is inf"),
        (lambda: own_answers(nn.Linear(2, 2), {"input_ids": torch.tensor([[1]])}, new=1), "causal language model"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused(work, words):
    with pytest.raises(InvalidInput, match=words):
        work()
