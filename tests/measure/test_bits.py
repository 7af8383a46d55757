import math

import numpy as np
import pytest

from tokenloom.core.errors import InvalidInput
from tokenloom.measure.bits import bits_per_byte, text_bits, token_log_probs

torch = pytest.importorskip("torch", reason="needs the package 'torch'")

from tokenloom.core.segmentation import Ragged  # noqa: E402
from tokenloom.models.transformer import Transformer  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small(**changes):
    return Transformer(
        **({"vocab_size": 13, "width": 16, "layers": 2, "heads": 2, "context": 16, "dropout": 0.3} | changes)
    )


def documents(sizes=(5, 1, 0, 30, 16, 17, 9)):
    rng = np.random.default_rng(0)
    return Ragged.of([rng.integers(0, 13, n) for n in sizes])


def one_by_one(model, ids, length, start):
    """Each token by a forward pass of its own window."""
    sequence = list(ids) if start is None else [start, *ids]
    scores = [-math.log(13)] if start is None and sequence else []
    step, begin, end = length // 2, 0, length
    for i in range(1, len(sequence)):
        while i >= end:  # the next window begins half a window later
            end += step
        begin = max(0, min(end, len(sequence)) - length)
        with torch.no_grad():
            logits = model(torch.tensor([sequence[begin:i]]))[0, -1]
        scores.append(logits.double().log_softmax(-1)[sequence[i]].item())
    return scores


def test_bits_per_byte_of_a_fair_coin_per_byte():
    assert bits_per_byte(np.log([0.5] * 8), b"12345678") == 1.0
    assert bits_per_byte(np.zeros(3), b"abc") == 0.0


@pytest.mark.parametrize(
    "log_probs, text, words",
    [
        ([-1.0], b"", "text is empty"),
        ([], b"ab", r"shape \(0,\); need \(n_tokens,\)"),
        ([[-1.0]], b"ab", r"shape \(1, 1\)"),
        ([-1.0, 0.1], b"ab", r"log_probs\[1\] is 0\.1"),
        ([-math.inf], b"a", r"log_probs\[0\] is -inf"),
        ([-1.0, math.nan], b"ab", r"log_probs\[1\] is nan"),
    ],
)
def test_bits_per_byte_refuses(log_probs, text, words):
    with pytest.raises(InvalidInput, match=words):
        bits_per_byte(np.array(log_probs), text)


@pytest.mark.parametrize("start", [None, 0])
@pytest.mark.parametrize("length", [2, 3, 8, 16])
@pytest.mark.parametrize("batch", [1, 4])
def test_token_log_probs_equal_a_forward_pass_for_each_token(start, length, batch):
    model, texts = small(), documents()
    result = token_log_probs(model, texts, length=length, start=start, batch=batch)
    model.eval()
    for ids, scores in zip(texts, result):
        assert scores.shape == ids.shape
        assert scores == pytest.approx(one_by_one(model, ids, length, start), abs=1e-5)


def test_scoring_leaves_the_mode_of_the_model_and_uses_no_dropout():
    model = small().train()
    first, second = (token_log_probs(model, documents(), length=8) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second))
    assert model.training


def test_probabilities_of_all_continuations_sum_to_one():
    every = Ragged.of([[a, b] for a in range(13) for b in range(13)])
    scores = token_log_probs(small(), every, length=4, start=0, batch=64)
    assert sum(math.exp(pair.sum()) for pair in scores) == pytest.approx(1.0, abs=1e-5)


def test_text_bits_joins_all_documents():
    model, texts = small(), documents()
    content = [b"ab" * len(ids) for ids in texts]
    scores = np.concatenate(token_log_probs(model, texts, length=8, start=1))
    expected = -scores.sum() / math.log(2) / (2 * texts.ids.size)
    assert text_bits(model, texts, content, length=8, start=1) == pytest.approx(expected)


def test_a_hugging_face_model_is_scored_alike():
    transformers = pytest.importorskip("transformers", reason="needs the package 'transformers'")
    config = transformers.GPT2Config(
        vocab_size=13, n_embd=16, n_layer=1, n_head=2, n_positions=16, bos_token_id=0, eos_token_id=0
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    ids = np.array([3, 1, 4, 1, 5])
    (scores,) = token_log_probs(model, [ids], length=16)
    with torch.no_grad():
        expected = model(torch.from_numpy(ids)[None]).logits[0].log_softmax(-1)
    assert scores[1:] == pytest.approx([expected[i, ids[i + 1]].item() for i in range(4)], abs=1e-5)
    assert scores[0] == pytest.approx(-math.log(13))


@pytest.mark.parametrize(
    "ids, texts, changes, words",
    [
        ([[1]], [], {}, "1 documents, but 0 texts"),
        ([[1], []], [b"a", b"b"], {}, "document 1 has 0 ids for 1 bytes"),
        ([[1]], [b"a"], {"length": 1}, "length=1"),
        ([[1, 2]], [b"ab"], {"batch": 0}, "batch=0"),
        ([[]], [b""], {}, "text is empty"),
        ([[1, 2], [13]], [b"ab", b"c"], {"start": 0}, "sequence 1 holds id 13, but the model knows 0 … 12"),
    ],
)
def test_text_bits_refuses(ids, texts, changes, words):
    with pytest.raises(InvalidInput, match=words):
        text_bits(small(), Ragged.of(ids), texts, **({"length": 8} | changes))
