"""Models, drafters that know nothing, and all outcomes of what is drawn, with their exact probabilities."""

from collections import Counter

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tokenloom.core.draft_tree import DraftTree
from tokenloom.predict.decode import verification
from tokenloom.predict.decode.drafting import Draft


def tiny_model(seed=0, vocab=11, *, sharp=6.0, **options):
    """A Llama in float64, whose choices depend on all that it has read."""
    settings = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
                "eos_token_id": None, "bos_token_id": None, "max_position_embeddings": 128, **options}  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(LlamaConfig(vocab_size=vocab, **settings)).double().eval()
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(sharp) if weight.dim() == 2 else None
    return model


class Blind:
    """Random trees with random tokens, the same for the same seed; many of them right by chance where there are few ids."""

    needs_hidden = needs_prompt = False

    def __init__(self, vocab, seed=0, nodes=9):
        self.vocab, self.rng, self.nodes = vocab, np.random.default_rng(seed), nodes

    def begin(self, session, ids, step):
        assert step is None or len(step.logits_NV) == 1

    def draft(self, ids):
        tree = random_tree(self.rng, self.nodes, self.vocab)
        tokens = self.rng.integers(0, self.vocab, len(tree))
        tokens[0] = ids[-1]
        return Draft(tree, tokens)

    def learn(self, draft, step, accepted):
        assert step.logits_NV.shape == (len(draft.tree), self.vocab) and step.hidden_ND is None


def random_tree(rng, nodes, width):
    """At most so many nodes beside the root, at most `width` behind one."""
    paths = [()]
    for _ in range(int(rng.integers(0, nodes + 1))):
        parent = paths[rng.integers(len(paths))]
        rank = sum(path[:-1] == parent for path in paths[1:])
        if rank < width:
            paths.append((*parent, rank))
    return DraftTree.from_paths(paths[1:])


def outcomes(monkeypatch, run):
    """What `run()` returns → its exact probability, over all that `drawn` and `happens` can come to in `verification`."""
    found, scripts = Counter(), [()]
    while scripts:
        script, taken, weight = scripts.pop(), [], 1.0

        def choose(options, script=script, taken=taken):
            nonlocal weight
            place = len(taken)
            if place >= len(script):
                for other, _ in options[1:]:
                    scripts.append((*taken, other))
                value = options[0][0]
            else:
                value = script[place]
            taken.append(value)
            weight *= dict(options)[value]
            return value

        def drawn(p_V, generator, choose=choose):
            return choose([(i, float(p)) for i, p in enumerate(p_V.double()) if p > 0])

        def happens(probability, generator, choose=choose):
            p = min(1.0, probability)
            return choose([(value, chance) for value, chance in ((True, p), (False, 1 - p)) if chance > 0])

        monkeypatch.setattr(verification, "drawn", drawn)
        monkeypatch.setattr(verification, "happens", happens)
        found[run(drawn)] += weight
    return found
