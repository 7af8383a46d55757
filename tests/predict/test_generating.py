"""`generate`: equal to transformers without a drafter and with any, laws of sampling, streams, stop strings, refusals, the hook."""

import numpy as np
import pytest
import torch
from drafters import Blind, outcomes, tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    CLIPVisionConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
)

import tokenloom as tl
from tokenloom.core.draft_tree import DraftTree
from tokenloom.core.errors import InvalidInput
from tokenloom.core.ledger import Ledger
from tokenloom.models.transformer import Transformer
from tokenloom.predict.decode import generating
from tokenloom.predict.decode.drafting import Draft
from tokenloom.predict.decode.generating import generate, stream, transformers_hook
from tokenloom.predict.decode.sampling import Warp

MODELS = [tiny_model(seed, vocab) for seed, vocab in ((0, 5), (1, 11), (2, 50))]


def theirs(model, prompt, n, **options):
    ids = torch.tensor([prompt])
    options = {"do_sample": False, "pad_token_id": 0, **options}
    return model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=n, **options)[
        0, len(prompt) :
    ].tolist()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 2), st.integers(1, 6), st.integers(1, 14))
def test_greedy_text_is_that_of_transformers_with_any_drafter_and_without(seed, which, length, n):
    model = MODELS[which]
    vocab = model.config.vocab_size
    prompt = np.random.default_rng(seed).integers(0, vocab, length).tolist()
    right = theirs(model, prompt, n, eos_token_id=3)
    alone = generate(model, prompt, max_new_tokens=n, end=3)
    drafted = generate(model, prompt, Blind(vocab, seed), max_new_tokens=n, end=3)
    assert alone.ids == drafted.ids == right
    assert alone.stopped == drafted.stopped == ("end" if right[-1] == 3 else "length")
    assert alone.steps == [1] * len(right) and sum(drafted.steps) >= len(right)


@pytest.mark.slow
def test_hundreds_of_models_write_the_same_with_a_drafter():
    longer = 0
    for seed in range(300):
        vocab = 5 + seed % 46
        model = tiny_model(1000 + seed, vocab)
        prompt = np.random.default_rng(seed).integers(0, vocab, 1 + seed % 5).tolist()
        found = generate(model, prompt, Blind(vocab, seed, nodes=12), max_new_tokens=16)
        assert found.ids == theirs(model, prompt, 16), seed
        longer += max(found.steps) > 1
    assert longer > 50


def test_a_transformer_of_ours_is_a_model_too():
    model = Transformer(vocab_size=9, width=16, layers=2, heads=2, generator=torch.Generator().manual_seed(3)).double()
    right = model.generate(torch.tensor([[1, 2]]), new=12)[0, 2:].tolist()
    assert generate(model, [1, 2], max_new_tokens=12).ids == right
    assert generate(model, torch.tensor([[1, 2]]), Blind(9), max_new_tokens=12).ids == right


class Fixed:
    """One tree with the same tokens each time, drawn from q where there is one."""

    needs_hidden = needs_prompt = False

    def __init__(self, tree, tokens, q=None, draw=None):
        self.tree, self.tokens, self.q, self.draw = tree, np.array(tokens), q, draw

    def begin(self, session, ids, step):
        pass

    def draft(self, ids):
        tokens = self.tokens.copy()
        if self.q is not None:
            for node in range(len(self.tree)):
                left = self.q.clone()
                for child in self.tree.children(node):
                    tokens[child] = self.draw(left / left.sum(), None)
                    left[tokens[child]] = 0
        tokens[0] = ids[-1]
        return Draft(self.tree, tokens, None if self.q is None else self.q.expand(len(self.tree), -1))

    def learn(self, draft, step, accepted):
        pass


SETTINGS = [{"temperature": 1.0}, {"temperature": 0.7, "top_p": 0.8}, {"temperature": 1.5, "top_k": 2}]


@pytest.mark.parametrize("options", SETTINGS, ids=repr)
@pytest.mark.parametrize("drawn_from_q", [False, True])
def test_all_texts_have_their_probability_whatever_is_drafted(monkeypatch, options, drawn_from_q):
    model, n = tiny_model(4, 3, sharp=3.0), 3
    tree = DraftTree.from_paths([[0], [1], [0, 0]]) if not drawn_from_q else DraftTree.from_paths([[0], [1]])
    q = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64) if drawn_from_q else None

    def run(draw):
        drafter = Fixed(tree, [0, 2, 1, 0][: len(tree)], q, draw)
        found = generate(model, [1, 2], drafter, max_new_tokens=n, end=(), generator=torch.Generator(), **options)
        return tuple(found.ids)

    found = outcomes(monkeypatch, run)
    warp, right = Warp(**options), {}
    for text in np.ndindex(3, 3, 3):
        with torch.no_grad():
            logits = model(torch.tensor([[1, 2, *text]])).logits[0]
        right[text] = float(np.prod([warp(logits[1 + k])[text[k]] for k in range(n)]))
    assert sum(abs(found[text] - right[text]) for text in right) / 2 < 1e-12


def test_the_same_seed_is_the_same_text_and_no_drafter_is_sampling():
    def made(seed, drafter=None):
        return generate(MODELS[1], [1, 2], drafter, temperature=1.0, generator=torch.Generator().manual_seed(seed)).ids

    with pytest.raises(InvalidInput, match="128 positions"):
        made(0)
    model = MODELS[1]
    options = {"temperature": 1.0, "max_new_tokens": 20}
    first, again, other = (
        generate(model, [1, 2], Blind(11, 7), generator=torch.Generator().manual_seed(s), **options).ids
        for s in (0, 0, 1)
    )
    assert first == again != other
    # What is drawn for a token does not depend on the draft, if nothing in it was drawn.
    assert generate(model, [1, 2], generator=torch.Generator().manual_seed(0), **options).ids == first


def test_no_draft_reaches_beyond_the_positions_of_a_model():
    """Which GPT-2 has no embeddings for."""
    torch.manual_seed(0)
    options = {"vocab_size": 11, "n_embd": 16, "n_layer": 2, "n_head": 2, "bos_token_id": None, "eos_token_id": None}
    model = GPT2LMHeadModel(GPT2Config(n_positions=16, **options)).double().eval()
    for seed in range(5):
        found = generate(model, [1, 2, 3], Blind(11, seed, nodes=30), max_new_tokens=13)
        assert found.ids == generate(model, [1, 2, 3], max_new_tokens=13).ids and len(found.ids) == 13


def test_what_it_took_is_counted():
    model = MODELS[1]
    tree = DraftTree.chain(2)
    right = generate(model, [1, 2], max_new_tokens=9).ids
    texts = [1, 2, *right]

    class Oracle(Fixed):
        def draft(self, ids):
            known = len(ids)
            return Draft(tree, np.array([ids[-1], *[*texts[known : known + 2], 0, 0][:2]]))

    found = generate(model, [1, 2], Oracle(tree, [0, 0, 0]), max_new_tokens=9)
    size = sum(weight.numel() for weight in model.parameters())
    assert found.steps == [3, 3, 3] and found.tokens_per_forward == 3
    assert found.offered == [3, 3] and found.accepted == [3, 3]
    assert found.ledger == Ledger(4, 1 + 9, 10 * size)
    wrong = generate(model, [1, 2], Fixed(tree, [0, (right[0] + 1) % 11, right[1]]), max_new_tokens=1)
    assert wrong.offered == [1, 0] and wrong.accepted == [0, 0]


def test_text_comes_in_whole_characters_and_stops_at_strings():
    tokenizer, model = tl.load_tokenizer("bytes"), tiny_model(5, 256)
    text = "aé→"
    whole = generate(model, text, tokenizer=tokenizer, max_new_tokens=40)
    assert whole.text == bytes(whole.ids).decode(errors="replace")
    pieces = list(stream(model, text, tokenizer=tokenizer, max_new_tokens=40))
    assert "".join(pieces) == whole.text and len(pieces) > 1
    stop = whole.text[5:8]
    assert whole.text.count(stop) >= 1
    running = stream(model, text, Blind(256), tokenizer=tokenizer, max_new_tokens=40, stop=["never there", stop])
    pieces, cut = list(running), running.result
    assert cut.stopped == "stop string" and cut.text == whole.text[: whole.text.index(stop)] == "".join(pieces)
    assert cut.ids == whole.ids[: len(cut.ids)] and stop in bytes(cut.ids).decode(errors="replace")
    assert stream(model, text, tokenizer=tokenizer, max_new_tokens=7).result.ids == whole.ids[:7]
    ids = stream(model, tokenizer.encode(text).ids, max_new_tokens=7)
    assert [i for piece in ids for i in piece] == whole.ids[:7] and ids.result.text is None


class Scripted:
    """A tokenizer whose ids are the characters of a text, and a model that says it."""

    def __init__(self, text):
        self.data = text.encode()

    def decode(self, ids):
        return bytes(self.data[int(i)] for i in ids)


@settings(max_examples=100, deadline=None)
@given(st.text("aé→b", min_size=1, max_size=12), st.lists(st.text("aé→b", min_size=1, max_size=3), max_size=2))
def test_no_piece_shows_what_a_stop_string_takes_back(text, stops):
    tokenizer = Scripted(text)
    shown, reader = "", generating._Text(tokenizer, stops)
    n = len(tokenizer.data)
    for i in range(n):
        stopped = reader.ended_by(i)
        shown += reader.piece(last=stopped or i == n - 1)
        if stopped:
            break
    ends = [text.index(stop) + len(stop.encode()) * 0 for stop in stops if stop in text]
    first = min((text.index(stop) + len(stop), text.index(stop)) for stop in stops if stop in text) if ends else None
    assert shown == reader.whole
    assert shown == (
        text
        if first is None
        else text[: first[0]][: min(text[: first[0]].find(s) for s in stops if s in text[: first[0]])]
    )


def test_a_prompt_with_a_picture():
    vision = CLIPVisionConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=2, num_attention_heads=2, image_size=4, patch_size=2, projection_dim=8)  # fmt: skip
    text = LlamaConfig(vocab_size=12, hidden_size=8, intermediate_size=8, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2, eos_token_id=None, bos_token_id=None)  # fmt: skip
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(LlavaConfig(vision_config=vision, text_config=text, image_token_id=11, image_seq_length=4)).double().eval()  # fmt: skip
    ids = torch.tensor([[1, 11, 11, 11, 11, 5, 6]])
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": torch.randn(1, 3, 4, 4).double(),
    }
    right = model.generate(**inputs, max_new_tokens=8, do_sample=False, pad_token_id=0)[0, 7:].tolist()
    assert generate(model, inputs, max_new_tokens=8).ids == right
    assert generate(model, inputs, Blind(12), max_new_tokens=8).ids == right
    # What belongs to each token goes with its token.
    assert generate(model, {**inputs, "position_ids": torch.arange(7)[None]}, Blind(12), max_new_tokens=8).ids == right
    with pytest.raises(InvalidInput, match="with padding"):
        generate(model, {**inputs, "attention_mask": torch.tensor([[0, 1, 1, 1, 1, 1, 1]])})


def test_the_hook_obeys_what_transformers_was_told():
    model = MODELS[2]
    prompt = [3, 1, 4]
    for options in (
        {},
        {"repetition_penalty": 1.7},
        {"no_repeat_ngram_size": 2},
        {"eos_token_id": theirs(model, prompt, 9)[5]},
    ):
        right = theirs(model, prompt, 20, **options)
        assert theirs(model, prompt, 20, custom_generate=transformers_hook(Blind(50, 3)), **options) == right
    hook = transformers_hook(Blind(50, 3), generator=torch.Generator().manual_seed(0))
    drawn = theirs(model, prompt, 20, do_sample=True, temperature=0.8, top_p=0.9, custom_generate=hook)
    ours = generate(model, prompt, Blind(50, 3), max_new_tokens=20, temperature=0.8, top_p=0.9, generator=torch.Generator().manual_seed(0))  # fmt: skip
    assert drawn == ours.ids
    with pytest.raises(InvalidInput, match="give generator"):
        theirs(model, prompt, 3, do_sample=True, custom_generate=transformers_hook(Blind(50)))
    with pytest.raises(InvalidInput, match="2 prompts"):
        model.generate(
            torch.ones(2, 3).long(),
            attention_mask=torch.ones(2, 3).long(),
            custom_generate=hook,
            pad_token_id=0,
            max_new_tokens=3,
        )


class Liar(Fixed):
    def draft(self, ids):
        return Draft(DraftTree.chain(0), np.array([(ids[-1] + 1) % 11]))


@pytest.mark.parametrize(
    "work, words",
    [
        (lambda m: generate(m, []), "not empty"),
        (lambda m: generate(m, [[1], [2]]), "the ids of one"),
        (lambda m: generate(m, [11], max_new_tokens=9), "from 0 to 10"),
        (lambda m: generate(m, "text"), "needs a tokenizer"),
        (lambda m: generate(m, {"pixel_values": 1}), "no input_ids"),
        (lambda m: generate(m, [1], max_new_tokens=0), "max_new_tokens=0"),
        (lambda m: generate(m, [1], max_new_tokens=128), "1 ids and max_new_tokens=128; the model has 128"),
        (lambda m: generate(m, [1], temperature=1.0), "give generator"),
        (lambda m: generate(m, [1], temperature=-1.0), "temperature=-1"),
        (lambda m: generate(m, [1], stop="x"), "stop strings need a tokenizer"),
        (lambda m: generate(m, [1], stop=[""], tokenizer=tl.load_tokenizer("bytes")), "is empty"),
        (lambda m: generate(m, [1], Liar(None, [0]), max_new_tokens=2), "the last known token is"),
    ],
)
def test_what_cannot_be_written_is_refused_at_once(work, words):
    with pytest.raises(InvalidInput, match=words):
        work(MODELS[1])
