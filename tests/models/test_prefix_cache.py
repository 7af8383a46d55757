"""Whatever was asked before, the answer is that of the whole sequence run anew; and only what differs is run."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="pip install 'tokenloom[torch]'")

from tokenloom.core.errors import InvalidInput  # noqa: E402
from tokenloom.models.prefix_cache import PrefixCache  # noqa: E402
from tokenloom.models.transformer import Transformer  # noqa: E402

QUESTIONS = [
    [1, 2, 3],
    [1, 2, 3, 4],
    [1, 2, 3],
    [1, 2, 7, 8, 9],
    [1],
    [5, 6],
    [5, 6, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
    [5, 6, 1, 2, 9],
]


SIZES = {
    "vocab_size": 12,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


def ours():
    return Transformer(vocab_size=12, width=16, layers=2, heads=2, context=32)


def llama():
    transformers = pytest.importorskip("transformers", reason="pip install 'tokenloom[hf]'")
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES, num_key_value_heads=1))


def gemma():
    """Layers that see only four positions: a cache that forgets the others could not be taken back."""
    transformers = pytest.importorskip("transformers", reason="pip install 'tokenloom[hf]'")
    config = transformers.Gemma3TextConfig(
        **SIZES,
        num_key_value_heads=1,
        head_dim=8,
        sliding_window=4,
        layer_types=["sliding_attention", "full_attention"],
    )
    return transformers.Gemma3ForCausalLM(config)


@pytest.mark.parametrize(
    "make", [ours, pytest.param(llama, marks=pytest.mark.slow), pytest.param(gemma, marks=pytest.mark.slow)]
)
def test_an_answer_is_that_of_the_whole_sequence(make):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = make()
        for weight in model.parameters():
            torch.nn.init.normal_(weight, std=0.3)
    ask = PrefixCache(model)
    for ids in QUESTIONS:
        output = model.eval()(torch.tensor([ids]))
        logits = getattr(output, "logits", output)[0, -1]
        np.testing.assert_allclose(ask(ids), logits.double().log_softmax(-1).detach().numpy(), atol=2e-5)
    assert ask.ledger.forward_passes == len(QUESTIONS)
    # Of each what differs from the one before, and at least its last id.
    assert ask.ledger.tokens == 3 + 1 + 1 + 3 + 1 + 2 + 10 + 1


@pytest.mark.parametrize("ids", [[], [12], [-1, 2]])
def test_ids_that_cannot_be_asked_about(ids):
    with pytest.raises(InvalidInput, match="need at least one, all from 0 to 11"):
        PrefixCache(ours())(ids)
