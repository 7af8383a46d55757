"""R2R: both ends and any mixture by plain loops, labels by a twin without a cache, router, thresholds and uncertainties, refusals."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from drafters import tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import digamma
from scipy.stats import mannwhitneyu

from tokenloom.core.errors import InvalidInput, StoreError, VocabularyError
from tokenloom.core.ledger import Ledger
from tokenloom.core.vocabulary import Vocabulary
from tokenloom.models.transformer import Transformer
from tokenloom.predict.decode import session as sessions
from tokenloom.predict.decode.generating import generate
from tokenloom.predict.decode.r2r_routing import (
    R2R,
    AleatoricRouting,
    Comparison,
    Difference,
    EntropyRouting,
    EpistemicRouting,
    Examples,
    LabelledPath,
    PathFollowing,
    RandomRouting,
    States,
    TokenRouter,
    common_ids,
    examples,
    follow,
    quality,
    read_states,
    sentence_ends,
    states_of,
    threshold_for_rate,
    threshold_for_recall,
    train_router,
    verdict,
)
from tokenloom.predict.decode.sampling import Warp

LARGE, SMALL = tiny_model(1), tiny_model(2, hidden_size=8, num_attention_heads=2)
OURS = Transformer(vocab_size=11, width=16, layers=1, heads=2).double()
with torch.no_grad():
    for _weight in OURS.parameters():
        _weight.mul_(60) if _weight.dim() == 2 else None
PAIRS = {"two of transformers": (LARGE, SMALL), "ours is small": (LARGE, OURS), "ours is large": (OURS, SMALL)}
every_pair = pytest.mark.parametrize(("large", "small"), PAIRS.values(), ids=PAIRS)


def plain(model, ids):
    """Logits behind all of `ids`, without a cache."""
    with torch.no_grad():
        found = model(torch.tensor([list(ids)]))
    return (found if torch.is_tensor(found) else found.logits)[0, -1]


def best(model, ids):
    return int(plain(model, ids).argmax())


def router(small=SMALL, **settings):
    return TokenRouter.of(small, **{"k": 4, "width": 8, "blocks": 1, **settings}).eval()


def prompt_of(rng):
    return rng.integers(0, 11, int(rng.integers(1, 6))).tolist()


# Mixed generation


@every_pair
def test_if_everything_is_routed_the_text_is_the_large_models(large, small):
    for seed in range(3):
        prompt = prompt_of(np.random.default_rng(seed))
        found = R2R(router(small), threshold=0)(large, small, prompt, max_new_tokens=30)
        assert found.ids == generate(large, prompt, max_new_tokens=30).ids
        assert found.rate == 1 and found.gaps == [len(prompt)] + [1] * 29


@every_pair
def test_if_nothing_is_routed_it_is_the_small_models_and_the_large_one_never_runs(large, small):
    for seed in range(3):
        prompt = prompt_of(np.random.default_rng(seed))
        found = R2R(router(small), threshold=math.inf)(large, small, prompt, max_new_tokens=30)
        assert found.ids == generate(small, prompt, max_new_tokens=30).ids
        assert found.rate == 0 and found.gaps == [] and found.large == Ledger()


@every_pair
def test_routing_all_mismatches_gives_the_large_models_text_at_the_rate_of_mismatches(large, small):
    for seed in range(3):
        prompt = prompt_of(np.random.default_rng(seed))
        found = follow(large, small, prompt, PathFollowing(lambda both: 1, ends={0}, longest=3), max_new_tokens=20)
        right = generate(large, prompt, max_new_tokens=20).ids
        assert found.ids == right
        parted = [best(small, prompt + right[:i]) != right[i] for i in range(20)]
        assert found.by_large_N.tolist() == parted and found.rate == sum(parted) / 20


@every_pair
def test_where_the_verifier_finds_no_difference_the_text_is_the_small_models(large, small):
    for seed in range(3):
        prompt = prompt_of(np.random.default_rng(seed))
        found = follow(large, small, prompt, PathFollowing(lambda both: 0, ends={0}, longest=3), max_new_tokens=30)
        assert found.ids == generate(small, prompt, max_new_tokens=30).ids and found.rate == 0


@every_pair
@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000), st.floats(0, 1))
def test_any_mixture_is_that_of_a_loop_without_caches_and_adds_up(large, small, seed, threshold):
    prompt = prompt_of(np.random.default_rng(seed))
    rule = RandomRouting(torch.Generator().manual_seed(seed))
    found = R2R(rule, threshold)(large, small, prompt, max_new_tokens=20)
    again, ids, read, gaps = torch.Generator().manual_seed(seed), list(prompt), 0, []
    for i in range(20):
        score = float(torch.rand(1, generator=again, dtype=torch.float64))
        routed = score >= threshold
        assert (found.scores_N[i], found.by_large_N[i]) == (score, routed)
        if routed:
            gaps.append(len(ids) - read)
            read = len(ids)
        ids.append(best(large if routed else small, ids))
    assert found.ids == ids[len(prompt) :] and found.gaps == gaps and sum(gaps) == read
    sizes = [sum(w.numel() for w in model.parameters()) for model in (small, large)]
    assert found.sizes == (*sizes, 0)
    assert found.small == Ledger(20, len(prompt) + 19, sizes[0] * (len(prompt) + 19))
    assert found.large == Ledger(len(gaps), sum(gaps), sizes[1] * sum(gaps))
    assert found.ledger == found.small + found.large and found.router == Ledger()
    assert found.activated_per_token == pytest.approx(sizes[0] + sizes[1] * len(gaps) / 20)
    assert found.cost == pytest.approx(20 * sizes[0] + len(gaps) * sizes[1])


@every_pair
def test_whatever_was_interleaved_both_caches_give_the_logits_of_a_fresh_reading(large, small, monkeypatch):
    run, calls = sessions.CausalSession.extend, []

    def checked(self, ids, *args, **options):
        step = run(self, ids, *args, **options)
        calls.append(self.model)
        assert torch.allclose(step.logits_NV[-1], plain(self.model, self.ids), atol=1e-5)
        return step

    monkeypatch.setattr(sessions.CausalSession, "extend", checked)
    rule = RandomRouting(torch.Generator().manual_seed(0))
    for _ in range(4):
        R2R(rule, 0.6)(large, small, [3, 1], max_new_tokens=20)
    assert calls.count(small) == 80 and 10 < calls.count(large) < 70


def test_the_routers_scores_are_those_of_its_states_and_decide():
    judge = router()
    scores = judge(read_states(SMALL, [3, 1, 4, 1, 5], start=1, k=4)).tolist()
    threshold = sorted(scores)[2]
    found = R2R(judge, threshold)(LARGE, SMALL, [3, 1, 4], max_new_tokens=25)
    ids = [3, 1, 4]
    for token, by_large, score in zip(found.ids, found.by_large_N, found.scores_N):
        states = read_states(SMALL, ids, start=len(ids), k=4)
        assert int(states.tokens_N[0]) == best(SMALL, ids)
        assert score == pytest.approx(float(judge(states)[0]), abs=1e-6)
        assert by_large == (score >= threshold)
        assert token == best(LARGE if by_large else SMALL, ids)
        ids.append(token)
    size = sum(weight.numel() for weight in judge.parameters())
    assert found.router == Ledger(25, 25, 25 * size) and found.sizes[2] == size
    assert found.ledger == found.small + found.large + found.router
    assert found.activated_per_token == pytest.approx(found.sizes[0] + size + found.sizes[1] * found.rate)


def test_a_router_that_was_left_in_training_drops_nothing_out():
    judge = router(dropout=0.9)
    right = R2R(judge, 0.5)(LARGE, SMALL, [3, 1], max_new_tokens=10).scores_N
    found = R2R(judge.train(), 0.5)(LARGE, SMALL, [3, 1], max_new_tokens=10).scores_N
    assert found.tolist() == right.tolist()


def test_a_score_at_the_threshold_is_routed():
    found = R2R(lambda_router(0.5), 0.5)(LARGE, SMALL, [3], max_new_tokens=3)
    assert found.rate == 1
    assert R2R(lambda_router(0.5), np.nextafter(0.5, 1))(LARGE, SMALL, [3], max_new_tokens=3).rate == 0


def lambda_router(value):
    class Constant:
        k = 1

        def __call__(self, states):
            return torch.full((len(states),), value, dtype=torch.float64)

    return Constant()


def test_writing_ends_at_an_end():
    right = generate(LARGE, [3, 1], max_new_tokens=20).ids
    end = right[6]
    found = R2R(lambda_router(1.0), 1)(LARGE, SMALL, [3, 1], max_new_tokens=20, end=end)
    assert found.ids == right[: right.index(end) + 1] and found.stopped == "end"
    assert R2R(lambda_router(1.0), 1)(LARGE, SMALL, [3, end], max_new_tokens=2, end=()).stopped == "length"


def test_the_end_is_the_large_models_if_none_is_named():
    right = generate(LARGE, [3, 1], max_new_tokens=20).ids
    first, later = dict.fromkeys(right[:1] + [i for i in right if i != right[0]][:1])
    narrow = {"hidden_size": 8, "num_attention_heads": 2}
    for end, other in ((first, later), (later, first)):
        ended, small = tiny_model(1, eos_token_id=end), tiny_model(2, eos_token_id=other, **narrow)
        found = R2R(lambda_router(1.0), 1)(ended, small, [3, 1], max_new_tokens=20)
        assert found.ids == right[: right.index(end) + 1] and found.stopped == "end"


def test_padding_is_never_written_and_never_seen_by_a_router():
    wide = tiny_model(3, vocab=13)
    with torch.no_grad():
        # One of the two is always by far the most probable id.
        wide.lm_head.weight[11] = 100 * wide.lm_head.weight[0]
        wide.lm_head.weight[12] = -wide.lm_head.weight[11]
    assert best(wide, [3, 1]) >= 11
    for large, small in ((wide, SMALL), (LARGE, wide)):
        rule = RandomRouting(torch.Generator().manual_seed(1))
        found = R2R(rule, 0.5)(large, small, [3, 1], max_new_tokens=30, shared=11)
        ids = [3, 1]
        for token, by_large in zip(found.ids, found.by_large_N):
            assert token == int(plain(large if by_large else small, ids)[:11].argmax())
            ids.append(token)
        assert 0 < found.rate < 1
        path = PathFollowing(lambda both: 1, ends={0}).label(large, small, [3], [1, 4], k=11, shared=11)
        right = plain(small, [3])[:11]
        assert path.states.tokens_N.max() < 11 and int(path.states.tokens_N[0]) == int(right.argmax())
        assert torch.allclose(path.states.logits_NK[0], right.sort(descending=True).values.float())
        assert all(max(*both.large, *both.small) < 11 for both in path.compared.values()) and path.compared
    assert TokenRouter.of(wide, shared=11, k=2, width=4, blocks=0).embeddings_VD.shape == (11, 16)


def test_drawn_text_is_the_same_for_the_same_generator_and_of_the_models_distribution():
    def write(seed, n=1):
        generator = torch.Generator().manual_seed(seed)
        return R2R(lambda_router(1.0), 1)(
            LARGE, SMALL, [3, 1], max_new_tokens=n, warp=Warp(1.5), generator=generator, end=()
        ).ids

    assert write(5, 20) == write(5, 20) != write(6, 20)
    p_V = Warp(1.5)(plain(LARGE, [3, 1])).numpy()
    counts = np.bincount([write(seed)[0] for seed in range(300)], minlength=11)
    assert np.abs(counts / 300 - p_V).max() < 0.1


# Labels


def plain_closed(way, ends, stop):
    """The part of a way that is compared, sentence by sentence."""
    found, sentences = [], 0
    for token in way:
        found.append(token)
        if token in stop:
            return found
        if token in ends:
            sentences += 1
            if sentences == (2 if way[0] in ends else 1):
                return found
    return None


def plain_onward(large, before, token, ends, stop, longest):
    way = [token]
    while plain_closed(way, ends, stop) is None and len(way) < longest:
        way.append(best(large, before + way))
    return way


def odd(both):
    """A verifier with all three answers, that depends on everything it is shown."""
    return (sum(both.context) + 3 * sum(both.large) + 5 * sum(both.small) + 7 * both.place) % 3 - 1


def plain_comparison(written, large, small, ends, stop, longest):
    start = len(written)
    while start and written[start - 1] not in ends:
        start -= 1
    ways = [written[start:] + (plain_closed(way, ends, stop) or way)[:longest] for way in (large, small)]
    return Comparison(tuple(written[:start]), tuple(ways[0]), tuple(ways[1]), len(written) - start)


@every_pair
@settings(max_examples=6, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 9), st.booleans())
def test_labels_are_those_of_a_loop_without_caches(large, small, seed, longest, greedy):
    rng = np.random.default_rng(seed)
    ends, stop = set(rng.integers(0, 11, 3).tolist()), {int(rng.integers(0, 11))}
    prompt = prompt_of(rng)
    answer = generate(large, prompt, max_new_tokens=12).ids if greedy else rng.integers(0, 11, 12).tolist()
    path = PathFollowing(odd, ends, stop, longest).label(large, small, prompt, answer, k=3)
    assert path.large_A.tolist() == answer
    for i in range(12):
        before = prompt + answer[:i]
        fresh = read_states(small, before, start=len(before), k=3)
        mine = best(small, before)
        assert int(path.states.tokens_N[i]) == mine
        assert torch.allclose(path.states.hidden_ND[i], fresh.hidden_ND[0], atol=1e-8)
        assert torch.allclose(path.states.logits_NK[i], plain(small, before).float().sort(descending=True).values[:3])
        if mine == answer[i]:
            assert path.kinds_A[i] == Difference.IDENTICAL and i not in path.compared
            continue
        way = plain_onward(large, before, mine, ends, stop, longest)
        right = plain_comparison(answer[:i], answer[i:], way, ends, stop, longest)
        assert path.compared[i] == right
        kinds = {1: Difference.DIVERGENT, 0: Difference.NEUTRAL, -1: Difference.UNKNOWN}
        assert path.kinds_A[i] == kinds[odd(right)]
    assert sum(path.share(kind) for kind in Difference) == pytest.approx(1)


@every_pair
@settings(max_examples=4, deadline=None)
@given(st.integers(0, 1000))
def test_the_oracle_is_a_loop_without_caches(large, small, seed):
    rng = np.random.default_rng(seed)
    ends, prompt, ids = set(rng.integers(0, 11, 3).tolist()), prompt_of(rng), []
    found = follow(large, small, prompt, PathFollowing(odd, ends, (), 5), max_new_tokens=12)
    for token, by_large in zip(found.ids, found.by_large_N):
        before = prompt + ids
        theirs, mine = best(large, before), best(small, before)
        routed = False
        if theirs != mine:
            ways = [plain_onward(large, before, first, ends, (), 5) for first in (theirs, mine)]
            routed = odd(plain_comparison(ids, *ways, ends, (), 5)) != 0
        assert (by_large, token) == (routed, theirs if routed else mine)
        ids.append(token)


def test_a_label_belongs_to_the_token_that_is_written_and_not_to_the_one_that_is_read():
    """A model whose next id is fixed by the last one: the large counts up by one, the small one goes from 4 to 0 instead of 5."""
    large, small = counting({}), counting({4: 0})
    # The answer to "2" is 3 4 5 6 7; the small model's other token stands where the large one writes 5.
    rule = PathFollowing(lambda both: 1, ends={7, 3})
    path = rule.label(large, small, [2], [3, 4, 5, 6, 7], k=2)
    assert path.states.tokens_N.tolist() == [3, 4, 0, 6, 7]
    assert path.kinds_A.tolist() == [0, 0, 2, 0, 0]
    assert path.compared == {2: Comparison(context=(3,), large=(4, 5, 6, 7), small=(4, 0, 1, 2, 3), place=1)}
    assert examples([path]).divergent_N.tolist() == [False, False, True, False, False]


@pytest.mark.parametrize(("longest", "passes", "tokens"), [(8192, 3, 6), (3, 2, 5), (2, 1, 4), (1, 0, 0)])
def test_labelling_reads_no_more_than_it_must(longest, passes, tokens):
    large, small = counting({}), counting({4: 0})
    # Behind 2 3 4 0 the large model writes 1 2 3: it reads these four, then 1, then 2.
    path = PathFollowing(lambda both: 1, {7, 3}, longest=longest).label(large, small, [2], [3, 4, 5, 6, 7], k=2)
    sizes = [sum(weight.numel() for weight in model.parameters()) for model in (large, small)]
    assert path.ledger == Ledger(passes, tokens, tokens * sizes[0]) + Ledger(1, 5, 5 * sizes[1])


def test_what_two_mismatches_have_in_common_is_read_once():
    large, small = counting({}), counting({4: 0, 6: 0})
    path = PathFollowing(lambda both: 1, ends={1}).label(large, small, [2], [3, 4, 5, 6, 7], k=2)
    # The last mismatch takes 2 3 4 5 6 0 in one pass; the other is a part of that, but for its own token.
    assert sorted(path.compared) == [2, 4] and path.ledger.tokens - 5 == 6 + 1


def counting(instead):
    """A model in which each position sees itself alone: behind id i comes i + 1, or what `instead` says."""
    model = Transformer(vocab_size=9, width=18, layers=1, heads=1, tied=False)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
        model.norm.weight.fill_(1)
        model.embed.weight[:, :9] = torch.eye(9)
        for i in range(9):
            model.head.weight[instead.get(i, (i + 1) % 9), i] = 1
    return model


def test_where_the_token_ends_a_sentence_the_next_one_is_compared_too():
    large, small = counting({}), counting({4: 3})  # 3 ends a sentence
    path = PathFollowing(lambda both: 1, ends={3, 7}).label(large, small, [2], [3, 4, 5, 6, 7, 8], k=2)
    assert path.compared == {2: Comparison((3,), (4, 5, 6, 7), (4, 3, 4, 5, 6, 7), 1)}
    stopped = PathFollowing(lambda both: 1, ends={3, 7}, stop={5, 3}).label(large, small, [2], [3, 4, 5], k=2)
    assert stopped.compared == {2: Comparison((3,), (4, 5), (4, 3), 1)}


def test_a_continuation_ends_with_the_models_positions():
    large, small = counting({}), counting({4: 0})
    large.config = type(large.config)(**{**vars(large.config), "context": 6})
    path = PathFollowing(lambda both: 1, ends=()).label(large, small, [2], [3, 4, 5], k=2)
    assert path.compared[2].small == (3, 4, 0, 1, 2, 3)


def test_what_has_no_verdict_is_no_example_but_known_to_be_different():
    states = states_of(torch.eye(4), torch.arange(8.0).view(4, 2), k=1)
    path = LabelledPath(torch.arange(4), states, np.array([0, -1, 1, 2], np.int8), {}, Ledger())
    found = examples([path, path])
    assert found.divergent_N.tolist() == [False, False, True] * 2
    assert found.states.hidden_ND[:, 0].tolist() == [0, 4, 6] * 2 and found.states.tokens_N.tolist() == [0, 2, 3] * 2
    assert examples([path], "different").divergent_N.tolist() == [False, True, True, True]


@pytest.mark.parametrize(
    ("text", "said"),
    [("1", 1), ("0", 0), ("Of 3 cases. Output: 1", 1), ("OUTPUT\n0", 0), ("output 2", -1), ("1 output", 1), ("", -1), ("no", -1)],
)  # fmt: skip
def test_a_judges_words_are_read(text, said):
    assert verdict(text) == said


def test_reading_in_blocks_is_reading_at_once(monkeypatch):
    ids = np.random.default_rng(0).integers(0, 11, 60).tolist()
    whole = read_states(SMALL, ids, start=4, k=5)
    monkeypatch.setattr("tokenloom.predict.decode.r2r_routing.states._BLOCK", 7)
    parts = read_states(SMALL, ids, start=4, k=5)
    assert len(whole) == len(parts) == 57 and whole.tokens_N.tolist() == parts.tokens_N.tolist()
    assert torch.allclose(whole.hidden_ND, parts.hidden_ND) and torch.allclose(whole.entropy_N, parts.entropy_N)


# Router


def test_the_router_is_its_formula():
    judge = TokenRouter.of(SMALL, k=4, width=6, blocks=2, expansion=3).eval()
    states = read_states(SMALL, [3, 1, 4, 1, 5], start=1, k=5)
    w = {name: value.double() for name, value in judge.state_dict().items()}

    def linear(name, x):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def layer_norm(name, x):
        mean, var = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, correction=0)
        return (x - mean) / (var + 1e-5).sqrt() * w[f"{name}.weight"] + w[f"{name}.bias"]

    embedded = SMALL.get_input_embeddings().weight[states.tokens_N]
    top = linear("logits_in", states.logits_NK[:, :4].double())
    x = linear("first", linear("join", torch.cat([states.hidden_ND, embedded, top], 1)))
    for i in range(2):
        inner = linear(f"blocks.{i}.up", layer_norm(f"blocks.{i}.norm", x))
        x = x + linear(f"blocks.{i}.down", inner * (1 + torch.erf(inner / 2**0.5)) / 2)
    right = linear("last", layer_norm("norm", x))[:, 0]
    assert torch.allclose(judge.logits(states).double(), right, atol=1e-4)
    assert torch.allclose(judge(states), right.sigmoid(), atol=1e-4)


def test_the_published_router_has_56_million_weights():
    judge = TokenRouter(vocab_size=2, hidden=1536)
    assert round(sum(weight.numel() for weight in judge.parameters()) / 1e6) == 56
    assert (
        judge.first.weight.detach().std() == pytest.approx((2 / 1024) ** 0.5, rel=0.02) and not judge.first.bias.any()
    )


def test_a_normalised_router_does_not_see_the_scale_of_states():
    plain_router, normalised = router(), router(normalised=True)
    states = read_states(SMALL, [3, 1, 4, 1, 5], start=1, k=4)
    shifted = States(3 * states.hidden_ND + 2, states.tokens_N, states.logits_NK + 5, states.entropy_N)
    assert torch.allclose(normalised(states), normalised(shifted), atol=1e-4)
    assert not torch.allclose(plain_router(states), plain_router(shifted), atol=1e-2)


@pytest.mark.parametrize("part", ["hidden", "token", "logits"])
def test_a_router_reads_its_parts_only(part):
    judge = router(parts=[part])
    states = read_states(SMALL, [3, 1, 4, 1, 5], start=1, k=4)
    for other, values in {
        "hidden": {"hidden_ND": states.hidden_ND + 1}, "token": {"tokens_N": (states.tokens_N + 1) % 11},
        "logits": {"logits_NK": states.logits_NK.flip(0)},
    }.items():  # fmt: skip
        changed = States(**{**vars(states), **values})
        assert torch.equal(judge(states), judge(changed)) == (other != part)


def lessons(n=400, seed=0, share=0.2):
    """States whose first component tells which are divergent."""
    generator = torch.Generator().manual_seed(seed)
    divergent_N = torch.rand(n, generator=generator) < share
    hidden_ND = torch.randn(n, 8, generator=generator)
    hidden_ND[:, 0] += 3 * divergent_N
    tokens_N = torch.randint(0, 11, (n,), generator=generator)
    logits_NK = torch.randn(n, 4, generator=generator).sort(1, descending=True).values
    return Examples(States(hidden_ND, tokens_N, logits_NK, torch.zeros(n)), divergent_N)


def test_a_router_learns_and_keeps_the_weights_of_its_best_epoch():
    judge, held_out = router(), lessons(seed=1)
    embeddings_VD = judge.embeddings_VD.clone()
    training = train_router(judge, lessons(), held_out, lr=1e-2, batch=64, epochs=40, patience=3)
    assert quality(judge(held_out.states), held_out.divergent_N, 0.5).auc > 0.95
    assert training.best == int(np.argmin(training.held_out)) and len(training.losses) == training.best + 4
    weight = torch.tensor(training.pos_weight)
    kept = F.binary_cross_entropy_with_logits(
        judge.logits(held_out.states), held_out.divergent_N.float(), pos_weight=weight
    )
    assert float(kept.detach()) == pytest.approx(min(training.held_out), rel=1e-5)
    assert torch.equal(judge.embeddings_VD, embeddings_VD) and not judge.training
    assert torch.equal(embeddings_VD, SMALL.get_input_embeddings().weight.detach().float())


def test_the_loss_weighs_divergent_examples_by_the_others_and_the_factor():
    data = lessons(50)
    judge = router(dropout=0.0)
    p, y = judge(data.states).detach(), data.divergent_N.double()
    weight = 2 * float((1 - y).sum() / y.sum())
    right = float(-(weight * y * p.log() + (1 - y) * (1 - p).log()).mean())
    training = train_router(judge, data, data, lr=1e-12, batch=50, epochs=1, recall_factor=2.0)
    assert training.pos_weight == pytest.approx(weight) and training.losses[0] == pytest.approx(right, rel=1e-4)


def test_a_router_learns_with_dropout_and_is_judged_without():
    data, judge = lessons(50), router(dropout=0.9)
    training = train_router(judge, data, data, lr=1e-12, batch=50, epochs=1)
    weight = torch.tensor(training.pos_weight)
    right = F.binary_cross_entropy_with_logits(judge.logits(data.states), data.divergent_N.float(), pos_weight=weight)
    assert training.held_out[0] == pytest.approx(float(right.detach()), rel=1e-4)
    assert abs(training.losses[0] - float(right.detach())) > 1e-3


def test_weights_decay_apart_from_what_is_learnt():
    data, judges = lessons(50), [router(dropout=0.0) for _ in range(2)]
    before = judges[0].join.weight.detach().clone()
    for judge, decay in zip(judges, (0.0, 0.5)):
        train_router(judge, data, data, lr=1e-2, weight_decay=decay, batch=50, epochs=1)
    plainly, decayed = (judge.join.weight.detach() for judge in judges)
    assert torch.allclose(plainly - decayed, 1e-2 * 0.5 * before, atol=1e-7)


def test_the_same_seed_gives_the_same_router_and_leaves_torchs_own_generator_alone():
    def taught(seed):
        judge = router()
        train_router(judge, lessons(), lessons(seed=1), lr=1e-2, batch=64, epochs=3, seed=seed)
        return judge.join.weight

    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    first, again, other = taught(0), taught(0), taught(1)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_saved_router_is_the_same(tmp_path):
    judge = router(normalised=True, parts=["hidden", "token"])
    judge.save_pretrained(tmp_path)
    states = read_states(SMALL, [3, 1, 4, 1, 5], start=1, k=4)
    again = TokenRouter.from_pretrained(tmp_path)
    assert torch.equal(judge(states), again(states)) and again.settings == judge.settings
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(StoreError, match="SHA-256"):
        TokenRouter.from_pretrained(tmp_path)


# Thresholds and uncertainty

SCORES = st.lists(st.sampled_from([0.0, 0.005, 0.01, 0.2, 0.406, 0.5, 0.7, 0.99, 1.0]), min_size=1, max_size=30)


@settings(max_examples=100, deadline=None)
@given(SCORES, st.data(), st.sampled_from([0.0, 0.3, 0.5, 0.95, 1.0]))
def test_the_threshold_for_recall_is_the_best_of_all(scores, data, min_recall):
    divergent = data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)).filter(any))
    found = threshold_for_recall(torch.tensor(scores, dtype=torch.float64), torch.tensor(divergent), min_recall)

    def recall(value):
        return sum(s >= value for s, d in zip(scores, divergent) if d) / sum(divergent)

    values = [float(v) for v in np.linspace(0.01, 0.99, 100)]
    enough = [v for v in values if recall(v) >= min_recall]
    right = min(enough, key=lambda v: sum(s >= v for s in scores)) if enough else max(values, key=recall)
    assert found == right


@settings(max_examples=100, deadline=None)
@given(SCORES, st.floats(0, 1))
def test_the_threshold_for_a_rate_routes_no_more_and_none_lower_does(scores, rate):
    found = threshold_for_rate(torch.tensor(scores, dtype=torch.float64), rate)
    fitting = [v for v in {*scores, math.inf} if sum(s >= v for s in scores) <= rate * len(scores) + 1e-9]
    assert found == min(fitting)


def test_rounding_costs_a_budget_no_token():
    scores = torch.arange(100.0)
    assert 0.29 * 100 < 29 and int((scores >= threshold_for_rate(scores, 0.29)).sum()) == 29


@settings(max_examples=100, deadline=None)
@given(SCORES, st.data(), st.floats(0, 1))
def test_the_quality_of_scores_is_what_its_words_say(scores, data, threshold):
    divergent = data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores)))
    found = quality(torch.tensor(scores, dtype=torch.float64), torch.tensor(divergent), threshold)
    yes, no = ([s for s, d in zip(scores, divergent) if d is wanted] for wanted in (True, False))
    assert found.rate == pytest.approx(sum(s >= threshold for s in scores) / len(scores))
    assert found.recall == pytest.approx(np.mean([s >= threshold for s in yes])) if yes else math.isnan(found.recall)
    if yes and no:
        assert found.auc == pytest.approx(mannwhitneyu(yes, no).statistic / (len(yes) * len(no)))
    else:
        assert math.isnan(found.auc)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-20, 40, width=32), min_size=12, max_size=12))
def test_uncertainties_are_their_formulas(logits):
    states = states_of(torch.tensor([logits]), torch.zeros(1, 2), k=11)
    p = np.exp(np.array(logits) - max(logits))
    p /= p.sum()
    assert float(EntropyRouting()(states)[0]) == pytest.approx(-sum(x * math.log(x) for x in p if x > 0), abs=1e-9)
    a = np.array([max(x, 0.0) for x in sorted(logits, reverse=True)[:10]])
    s = a.sum()
    au = -sum(x / s * (digamma(x + 1) - digamma(s + 1)) for x in a) if s > 1e-300 else 0.0
    assert float(AleatoricRouting()(states)[0]) == pytest.approx(au, abs=1e-9)
    assert float(EpistemicRouting()(states)[0]) == pytest.approx(10 / (s + 10), abs=1e-12)


def test_impossible_ids_add_no_entropy():
    states = states_of(torch.tensor([[0.0, 0.0, -torch.inf]]), torch.zeros(1, 2), k=1)
    assert float(states.entropy_N[0]) == pytest.approx(math.log(2))


# Refusals


def test_vocabularies_are_compared_id_by_id():
    vocab = Vocabulary([b"a", b"b"], special=[b"<end>"])
    assert common_ids(vocab, vocab) == 3
    with pytest.raises(VocabularyError, match="id 1 is b'b' for the large model and b'c'"):
        common_ids(vocab, Vocabulary([b"a", b"c"], special=[b"<end>"]))
    with pytest.raises(VocabularyError, match="id 2 is"):
        common_ids(vocab, Vocabulary([b"a", b"b", b"<end>"]))
    with pytest.raises(VocabularyError, match="has 3 tokens and the small one 2"):
        common_ids(vocab, Vocabulary([b"a", b"b"]))


def test_ends_of_sentences_are_tokens_with_a_mark():
    assert sentence_ends(Vocabulary([b"a", b".\n", b" b!", b"x"])) == {1, 2}
    assert sentence_ends(Vocabulary([b"a", "。".encode()]), marks=["。"]) == {1}
    assert sentence_ends(Vocabulary([b"3.14", b'?!"', b"3"])) == {0, 1}


WIDE = tiny_model(3, vocab=13)
RULE = PathFollowing(lambda both: 0, ends={0})


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: R2R(router(), -0.1), "threshold=-0.1"),
        (lambda: R2R(router(), 1.1), "from 0 to 1, or infinity"),
        (lambda: R2R(router(), math.nan), "threshold=nan"),
        (lambda: R2R(EntropyRouting(), -1), "from 0 to infinity"),
        (lambda: R2R(EntropyRouting(), 1)(LARGE, SMALL, []), "the prompt is empty"),
        (lambda: follow(LARGE, SMALL, [], RULE), "the prompt is empty"),
        (lambda: R2R(EntropyRouting(), 1)(LARGE, SMALL, [11], max_new_tokens=2), "all from 0 to 10"),
        (lambda: R2R(EntropyRouting(), 1)(WIDE, SMALL, [1]), "the large model has 13 ids and the small one 11"),
        (lambda: R2R(EntropyRouting(), 1)(WIDE, SMALL, [1], shared=12), "shared=12"),
        (lambda: R2R(EntropyRouting(), 1)(LARGE, SMALL, [1], max_new_tokens=0), "max_new_tokens=0"),
        (lambda: R2R(EntropyRouting(), 1)(LARGE, SMALL, [1], max_new_tokens=128), "the large model has 128 positions"),
        (lambda: R2R(EntropyRouting(), 1)(LARGE, SMALL, [1], warp=Warp(1)), "generator=torch.Generator"),
        (lambda: R2R(router(LARGE), 0.5)(LARGE, SMALL, [1], max_new_tokens=2), "states of width 8; the router is for width 16"),
        (lambda: R2R(AleatoricRouting(12), 1)(LARGE, SMALL, [1], max_new_tokens=2), "k=12 logits are to be kept, but there are 11"),
        (lambda: AleatoricRouting(0), "k=0"),
        (lambda: EpistemicRouting(0), "k=0"),
        (lambda: router()(read_states(SMALL, [1], start=1, k=3)), "states with 3 logits; the router reads 4"),
        (lambda: EpistemicRouting()(read_states(SMALL, [1], start=1, k=3)), "of which k=10"),
        (lambda: router(WIDE)(States(torch.zeros(1, 16), torch.tensor([13]), torch.zeros(1, 4), torch.zeros(1))), "knows 13 ids"),
        (lambda: PathFollowing(lambda both: 0, ends=(), longest=0), "longest=0"),
        (lambda: RULE.label(LARGE, SMALL, [], [1]), "0 ids of a prompt"),
        (lambda: RULE.label(LARGE, SMALL, [1], []), "and 0 of an answer"),
        (lambda: RULE.label(WIDE, SMALL, [1], [1]), "both must have one tokenizer"),
        (lambda: PathFollowing(lambda both: 2, {0}).label(LARGE, SMALL, [1], list(range(11)), k=2), "the verifier said 2"),
        (lambda: examples([]), "no states to join"),
        (lambda: read_states(SMALL, [1], start=2), "start=2 of 1 ids"),
        (lambda: states_of(torch.zeros(1, 3), torch.zeros(1, 2), k=4), "k=4 logits"),
        (lambda: TokenRouter(vocab_size=3, hidden=0), "hidden=0"),
        (lambda: router(parts=["tokens"]), "they are some of"),
        (lambda: router(parts=[]), "they are some of"),
        (lambda: train_router(router(), lessons(share=0), lessons()), "0 of 400 examples are divergent"),
        (lambda: train_router(router(), lessons(share=2), lessons()), "400 of 400 examples are divergent"),
        (lambda: train_router(router(), lessons(), Examples(lessons().states[:0], torch.zeros(0))), "held out"),
        (lambda: train_router(router(), lessons(), lessons(), lr=0), "lr=0"),
        (lambda: threshold_for_recall(torch.ones(2), torch.zeros(2)), "no token is divergent"),
        (lambda: threshold_for_recall(torch.ones(2), torch.ones(3)), "2 scores for 3 labels"),
        (lambda: threshold_for_recall(torch.ones(2), torch.ones(2), 1.5), "min_recall=1.5"),
        (lambda: threshold_for_recall(2 * torch.ones(2), torch.ones(2)), "scores from 2.0 to 2.0"),
        (lambda: threshold_for_rate(torch.ones(2), 1.5), "rate=1.5"),
        (lambda: threshold_for_rate(torch.ones(0), 0.5), "one at least"),
        (lambda: threshold_for_rate(torch.tensor([math.nan]), 0.5), "none NaN"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(call, words):
    with pytest.raises(InvalidInput, match=words):
        call()


def test_another_kind_of_folder_is_refused(tmp_path):
    from tokenloom.core.pretrained import save_files

    save_files(tmp_path, "TokenRecycling", {})
    with pytest.raises(StoreError, match="holds a TokenRecycling"):
        TokenRouter.from_pretrained(tmp_path)
