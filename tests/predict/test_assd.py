"""ASSD writes what sequential sampling writes: its law is worked out by following everything that chance can do."""

from collections import Counter
from itertools import islice, product

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the package 'torch'")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from scipy.stats import chisquare  # noqa: E402

from tokenloom.core.errors import InvalidInput  # noqa: E402
from tokenloom.core.schedule import Schedule  # noqa: E402
from tokenloom.models.training import train  # noqa: E402
from tokenloom.models.two_stream import TwoStream  # noqa: E402
from tokenloom.predict.decode import assd  # noqa: E402
from tokenloom.predict.decode.assd import (  # noqa: E402
    ASSD,
    AnySubsetObjective,
    MaskRates,
    fill_at_once,
    fill_one_by_one,
    subsets,
)
from tokenloom.predict.decode.sampling import Warp  # noqa: E402

MASK = 2  # not the last id, so that nothing depends on its place
TOKENS = (0, 1, 3)
# Texts, and orders in which blanks are filled: ascending, and another one.
PROMPTS = {
    "blanks between": ([0, MASK, MASK, 3, MASK, MASK], None),
    "a blank at the start": ([MASK, 1, MASK, MASK, 1, 1, MASK], None),
    "only the end is known": ([MASK, MASK, MASK, MASK, 3], None),
    "nothing is known": ([MASK, MASK, MASK], None),
    "another order": ([MASK, 0, 3, MASK, 0, MASK, MASK], [4, 1, 2, 6, 0, 5, 3]),
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small(seed=0, vocab_size=4, mask_id=MASK, double=True, context=16):
    """Random weights, large enough that tokens depend on each other."""
    generator = torch.Generator().manual_seed(seed)
    model = TwoStream(
        vocab_size=vocab_size, mask_id=mask_id, width=16, layers=2, heads=2, context=context, generator=generator
    )
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 2:
                weight.mul_(12)
    return (model.double() if double else model).requires_grad_(False)


def outcomes(process):
    """Every way in which a process that draws can end, with its probability: {end: probability}."""
    found, waiting = Counter(), [[]]
    while waiting:
        path, made, weight = waiting.pop(), 0, 1.0

        def draw(p_V):
            nonlocal made, weight
            assert abs(float(p_V.sum()) - 1) < 1e-9
            if made == len(path):  # noqa: B023
                first, *others = p_V.nonzero()[:, 0].tolist()
                waiting.extend([*path, other] for other in others)  # noqa: B023
                path.append(first)  # noqa: B023
            token = path[made]  # noqa: B023
            made, weight = made + 1, weight * float(p_V[token])
            return token

        found[process(draw)] += weight
    return found


class Remembering(assd._Text):
    """Asks the network the same question only once."""

    answers: dict

    def ask(self, count, guesses=()):
        question = (tuple(self.ids_N), tuple(self.order_N), count, tuple(guesses), self.warp)
        if question not in self.answers:
            self.answers[question] = super().ask(count, guesses)
        else:
            self.ledger += assd.Ledger(forward_passes=1)
        return self.answers[question]


def started(model, ids, order, answers, warp=assd.PLAIN):
    kind = type("Text", (Remembering,), {"answers": answers})
    return kind(model, *assd._checked(model, ids, None if order is None else np.array(order)), warp)


def law(model, ids, order, rule, answers, warp=assd.PLAIN):
    """Of all blanks, in the order in which they are filled: {tokens: probability}, by rounds that are each followed exhaustively."""
    whole, at = Counter(), {(): 1.0}
    start = started(model, ids, order, answers, warp)
    blanks = len(start.ids_N) - start.known
    while at:
        written = min(at, key=len)
        weight = at.pop(written)
        if len(written) == blanks:
            whole[written] += weight
            continue

        def one_round(draw, written=written):
            text = started(model, ids, order, answers, warp)
            text.write(written)
            return tuple(rule(text, draw))

        for tokens, probability in outcomes(one_round).items():
            after = written + tokens
            at[after] = at.get(after, 0.0) + weight * probability
    return whole


def rule_of(settings):
    return settings._drafted_by_network if settings.draft == "self" else settings._drafted_by_bigrams


def steps(order_N, known):
    """As the network wants them: 0 is what is given."""
    return torch.from_numpy(Schedule.any_subset(order_N, known=known).step_N)[None] + (known == 0)


def joint(model, ids, order):
    """The model's own law of the blanks, from the whole factorisation of each filling: {tokens: probability}."""
    text = started(model, ids, order, {})
    fillings = list(product(TOKENS, repeat=len(ids) - text.known))
    rows = np.stack([text.with_guesses(filling) for filling in fillings])
    step = steps(text.order_N, text.known)
    scores = model.scores(torch.from_numpy(rows), step.expand(len(rows), -1))
    return dict(zip(fillings, scores.sum(1).exp().tolist()))


def distance(one, other):
    """Total variation."""
    return sum(abs(one.get(end, 0.0) - other.get(end, 0.0)) for end in one.keys() | other.keys()) / 2


# The law


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("draft", ["self", "bigram"])
def test_what_is_written_has_the_joint_law_of_the_model(prompt, draft):
    ids, order = PROMPTS[prompt]
    model, answers = small(seed=len(prompt)), {}
    truth = joint(model, ids, order)
    assert abs(sum(truth.values()) - 1) < 1e-12
    for k in (1, 2, 3, 4, 5):
        found = law(model, ids, order, rule_of(ASSD(k, draft)), answers)
        assert distance(found, truth) < 1e-10, (prompt, draft, k)


def test_filling_all_at_once_fails_the_same_test():
    far = []
    for prompt, (ids, order) in PROMPTS.items():
        model = small(seed=len(prompt))
        found = law(model, ids, order, lambda text, draw: [draw(p) for p in text.ask(9)], {})
        assert abs(sum(found.values()) - 1) < 1e-12
        far.append(distance(found, joint(model, ids, order)))
    assert min(far) > 0.02, far


@pytest.mark.parametrize("draft", ["self", "bigram"])
def test_the_whole_process_has_that_law_too_with_what_it_keeps_from_round_to_round(draft):
    """Not round by round and without remembered answers: keys and values are those of the run itself."""
    model, ids = small(seed=5), [MASK, 3, MASK, MASK]

    def run(draw):
        text = assd._Text(model, *assd._checked(model, ids, None), assd.PLAIN)
        while text.known < 4:
            text.write(rule_of(ASSD(2, draft))(text, draw))
        return tuple(text.ids_N[[0, 2, 3]].tolist())

    assert distance(outcomes(run), joint(model, ids, None)) < 1e-10


@pytest.mark.parametrize("draft", ["self", "bigram"])
@pytest.mark.parametrize("warp", [Warp(0.5), Warp(1.5, top_k=2), Warp(top_p=0.6), Warp(0.0)], ids=str)
def test_a_warp_changes_the_law_as_it_does_that_of_sequential_sampling(draft, warp):
    ids, order = PROMPTS["blanks between"]
    model, answers = small(seed=3), {}
    truth = law(model, ids, order, lambda text, draw: [draw(text.ask(1)[0])], answers, warp)
    assert distance(law(model, ids, order, rule_of(ASSD(3, draft, warp)), answers, warp), truth) < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("draft", ["self", "bigram"])
def test_fifty_thousand_draws_fit_the_joint_law(draft, monkeypatch):
    ids, order = PROMPTS["blanks between"]
    model = small(seed=7)
    monkeypatch.setattr(assd, "_Text", type("Text", (Remembering,), {"answers": {}}))
    truth, generator = joint(model, ids, order), torch.Generator().manual_seed(0)
    expected = np.array(list(truth.values())) * 50_000

    def fit(fill):
        found = Counter(
            tuple(fill(model, ids, generator=generator).ids_N[[1, 2, 4, 5]].tolist()) for _ in range(50_000)
        )
        observed = np.array([found[end] for end in truth])
        rare = expected < 5  # together, as the approximation wants
        pooled = [np.append(counts[~rare], counts[rare].sum()) for counts in (observed, expected)]
        return chisquare(*pooled).pvalue

    assert fit(ASSD(3, draft)) > 0.001
    assert fit(fill_at_once) < 1e-9  # the test can fail


# Calls


@st.composite
def texts(draw, vocab_size=12, mask_id=11):
    length = draw(st.integers(2, 14))
    blank = draw(st.lists(st.booleans(), min_size=length, max_size=length))
    tokens = draw(st.lists(st.integers(0, vocab_size - 2), min_size=length, max_size=length))
    return [mask_id if hidden else token for hidden, token in zip(blank, tokens)]


def fresh(seed):
    return torch.Generator().manual_seed(seed)


@given(texts(), st.integers(1, 6), st.sampled_from(["self", "bigram"]), st.integers(0, 99))
def test_there_are_never_more_calls_than_tokens(ids, k, draft, seed):
    found = ASSD(k, draft)(small(seed, 12, 11, double=False), ids, generator=fresh(seed))
    blank = np.array(ids) == 11
    assert found.calls <= blank.sum()
    assert (found.ids_N[~blank] == np.array(ids)[~blank]).all()
    assert (found.ids_N != 11).all()
    assert (found.rounds_N[~blank] == 0).all()
    assert found.tokens_per_round.sum() == blank.sum()
    if draft == "self" and k > 1:
        assert (found.tokens_per_round[:-1] >= 2).all()
        assert found.calls == sum(1 if left == 1 else 2 for left in _left(found))
    if draft == "bigram":
        assert found.calls == len(found.tokens_per_round)


def _left(found):
    """Blanks before each round."""
    return np.cumsum(found.tokens_per_round[::-1])[::-1]


@given(texts(), st.integers(2, 6), st.integers(0, 99))
@settings(max_examples=50)
def test_both_calls_give_the_first_guess_the_same_probability(ids, k, seed):
    """Lemma 1, in every round, in single precision."""
    gaps = []

    class Watched(assd._Text):
        def ask(self, count, guesses=()):
            p_KV = super().ask(count, guesses)
            if guesses:
                gaps.append(float((self.first_V - p_KV[0]).abs().max()))
            self.first_V = p_KV[0]
            return p_KV

    model = small(seed, 12, 11, double=False)
    text, generator = Watched(model, *assd._checked(model, ids, None), assd.PLAIN), fresh(seed)
    while text.known < len(ids):
        text.write(ASSD(k)._drafted_by_network(text, lambda p_V: assd.drawn(p_V, generator)))
    assert max(gaps, default=0.0) < 1e-6


@given(texts(), st.integers(0, 99))
@settings(max_examples=50)
def test_one_guess_a_round_is_sequential_sampling_on_the_same_stream(ids, seed):
    model = small(seed, 12, 11)
    one, other = ASSD(1)(model, ids, generator=fresh(seed)), fill_one_by_one(model, ids, generator=fresh(seed))
    assert one.ids_N.tolist() == other.ids_N.tolist()
    assert one.rounds_N.tolist() == other.rounds_N.tolist()
    assert one.ledger == other.ledger
    assert one.calls == ids.count(11)


@given(texts(), st.integers(0, 99))
@settings(max_examples=50)
def test_sequential_sampling_draws_from_the_scores_of_the_model(ids, seed):
    model = small(seed, 12, 11)
    found, generator, row = fill_one_by_one(model, ids, generator=fresh(seed)), fresh(seed), np.array(ids)
    order = np.argsort(row == 11, kind="stable")
    known = int((row != 11).sum())
    step = steps(order, known)
    for rank in range(known, len(ids)):
        # Later tokens are still masks in the row; no query sees them.
        p_V = model.predictions(torch.from_numpy(row)[None], step)[0, order[rank]].softmax(-1)
        row[order[rank]] = assd.drawn(p_V, generator)
    assert found.ids_N.tolist() == row.tolist()


@pytest.mark.parametrize("draft", ["self", "bigram"])
def test_what_was_read_is_read_once(draft):
    ids = [11] * 12 + [3, 4]
    found = ASSD(3, draft)(small(1, 12, 11), ids, generator=fresh(0))
    queries = found.calls * 3
    # The text once; guesses that were turned down, and a query or more where fewer blanks were left, aside.
    assert found.ledger.tokens <= 14 + queries + 3 * len(found.tokens_per_round)
    assert found.ledger.activated_parameters == found.ledger.tokens * sum(
        p.numel() for p in small(1, 12, 11).parameters()
    )


def test_all_at_once_is_one_call():
    found = fill_at_once(small(1, 12, 11), [11, 4, 11, 11], generator=fresh(0))
    assert (found.calls, found.rounds_N.tolist()) == (1, [1, 0, 1, 1])


def test_without_blanks_nothing_is_called():
    for fill in (ASSD(), ASSD(draft="bigram"), fill_one_by_one, fill_at_once):
        found = fill(small(), [0, 3, 1], generator=fresh(0))
        assert (found.ids_N.tolist(), found.calls, found.tokens_per_round.tolist()) == ([0, 3, 1], 0, [])


def test_an_order_is_kept():
    ids, order = [11, 5, 11, 11, 5, 11], [4, 1, 5, 2, 0, 3]
    found = fill_one_by_one(small(1, 12, 11), ids, generator=fresh(0), order_N=np.array(order))
    assert found.rounds_N.tolist() == [3, 0, 2, 4, 0, 1]


def test_the_same_seed_writes_the_same_text():
    ids = [11, 2] * 7
    one, same, other = (ASSD()(small(1, 12, 11), ids, generator=fresh(seed)).ids_N.tolist() for seed in (1, 1, 2))
    assert one == same != other


# Drafts and their verification


@given(texts().filter(lambda ids: 0 < ids.count(11) < len(ids)), st.integers(0, 99))
@settings(max_examples=20)
def test_a_draft_knows_what_a_mask_of_all_that_is_left_in_one_step_lets_it_know(ids, seed):
    """The draft mask of the authors: all unknown tokens in one last step, in which none sees another."""
    model = small(seed, 12, 11)
    text = assd._Text(model, *assd._checked(model, ids, None), assd.PLAIN)
    schedule = Schedule.any_subset(text.order_N, known=text.known)
    filled = fill_one_by_one(model, ids, generator=fresh(seed)).ids_N
    while text.known < len(ids):
        n = int(schedule.step_N[text.order_N[text.known]])
        # What stands in the blanks must not matter: they hold a text here, and nothing there.
        step = torch.from_numpy(schedule.until(n).step_N)[None]
        p_NV = model.predictions(torch.from_numpy(filled)[None], step)[0].softmax(-1)
        assert (text.ask(99) - p_NV[text.order_N[text.known :]]).abs().max() < 1e-12
        text.write([filled[text.order_N[text.known]]])


def test_bigrams_are_counted_in_what_is_known():
    ids = [5, 1, 11, 1, 2, 11, 1, 3, 1, 2, 11]
    text = assd._Text(small(1, 12, 11), *assd._checked(small(1, 12, 11), ids, None), assd.PLAIN)

    def counts(guesses):
        return {i: round(p, 3) for i, p in enumerate(text.bigrams(guesses).tolist()) if p}

    assert counts([]) == {2: 0.667, 3: 0.333}  # behind 1: 2, 3 and 2
    # The second blank stands behind a 2, and nothing is known behind a 2: 5, 1, 1, 2, 1, 3, 1, 2 by themselves.
    assert counts([7]) == {1: 0.5, 2: 0.25, 3: 0.125, 5: 0.125}
    text.write([1])  # 5, 1, 1, 1, 2, ...
    assert counts([]) == {1: 0.556, 2: 0.222, 3: 0.111, 5: 0.111}
    assert round(text.bigrams([]).sum().item(), 12) == 1


def test_a_blank_is_no_left_neighbour():
    model, order = small(1, 12, 11), np.array([1, 3, 4, 2, 0])
    for order_N in (None, order):  # the first of the text; the one behind a blank
        text = assd._Text(model, *assd._checked(model, [11, 3, 11, 3, 5], order_N), assd.PLAIN)
        assert {i: round(p, 3) for i, p in enumerate(text.bigrams([]).tolist()) if p} == (
            {3: 0.667, 5: 0.333} if order_N is None else {5: 1.0}
        )
    text = assd._Text(model, *assd._checked(model, [11, 11, 11, 5, 5], np.array([3, 4, 2, 1, 0])), assd.PLAIN)
    assert text.bigrams([])[5] == 1


def test_a_guess_may_be_the_left_neighbour_of_the_next():
    ids = [4, 5, 4, 11, 11]
    text = assd._Text(small(1, 12, 11), *assd._checked(small(1, 12, 11), ids, None), assd.PLAIN)
    assert text.bigrams([5])[4] == 1
    assert text.bigrams([4])[5] == 1


def test_a_guess_stays_with_the_ratio_and_the_residual_takes_its_place():
    p, q = torch.tensor([[0.5, 0.3, 0.2]]).double(), torch.tensor([[0.2, 0.4, 0.4]]).double()
    asked = []

    def turned_down(p_V):
        asked.append([round(x, 6) for x in p_V.tolist()])
        return [0, 2][len(asked) - 1]

    assert assd._verified([0], p, q, turned_down) == [2]
    assert asked == [[0.6, 0.4], [0.0, 0.333333, 0.666667]]  # stays with 0.2 / 0.5; (q - p)+ = 0, 0.1, 0.2
    asked.clear()
    assert assd._verified([1], p, q, turned_down) == [1]
    assert asked == []  # more likely than it was drafted: nothing to draw


# Training


@given(st.integers(2, 40), st.integers(0, 9), st.integers(0, 200))
def test_windows_have_as_many_blanks_as_the_rate_says(length, seed, step):
    rates = MaskRates(steps=100)
    source = subsets(np.arange(50), length=length, batch=5, rates=rates, rng=np.random.default_rng(seed))
    source.given = step
    batch = next(iter(source))
    when, labels = batch["positions"], batch["labels"]
    blanks = (when > 0).sum(1)
    low, high = rates(step)
    assert blanks.unique().numel() == 1
    assert max(1, int(low * length)) <= blanks[0] <= max(1, int(high * length))
    assert bool((when == 0).any())
    assert [sorted(row[row > 0].tolist()) for row in when] == [list(range(1, int(blanks[0]) + 1))] * 5
    assert [row[row > 0].tolist() for row in when] == [list(range(1, int(blanks[0]) + 1))] * 5  # ascending
    assert torch.equal(labels[:, 1:][when > 0], batch["input_ids"][when > 0])
    assert (labels[:, 0] == -100).all() and (labels[:, 1:][when == 0] == -100).all()


def test_rates_of_one_step_are_spread():
    rates = MaskRates(start=0.1, low=0.1, high=0.9, steps=1)
    source = subsets(np.arange(2000), length=1000, batch=1, rates=rates, accumulate=4, rng=np.random.default_rng(0))
    source.given = 4
    shares = [float((batch["positions"] > 0).float().mean()) for batch, _ in zip(source, range(8))]
    parts = [int((share - 0.1) / 0.2) for share in shares]
    assert parts == [0, 1, 2, 3, 0, 1, 2, 3]


def test_batches_go_on_from_a_state():
    def made():
        return subsets(np.arange(99), length=9, batch=2, rates=MaskRates(steps=4), rng=np.random.default_rng(0))

    whole, source, second = list(islice(made(), 6)), made(), made()
    assert len(list(islice(source, 4))) == 4
    second.load_state_dict(source.state_dict())
    rest = list(islice(second, 2))
    assert all(torch.equal(a[name], b[name]) for a, b in zip(whole[4:], rest) for name in a)


def test_the_loss_is_the_mean_over_blanks_of_what_scores_say():
    model = small(2, 12, 11, double=False).requires_grad_(True)
    batch = next(
        iter(
            subsets(np.arange(11).repeat(9), length=8, batch=3, rates=MaskRates(steps=1), rng=np.random.default_rng(1))
        )
    )
    scores = model.scores(batch["input_ids"], batch["positions"]).detach()
    expected = -float(scores.sum() / (batch["positions"] > 0).sum())
    result = train(AnySubsetObjective(model), [batch], steps=1, warmup=0)
    assert abs(result.losses[0] - expected) < 1e-5


def test_a_model_learns_text_in_any_order():
    text = np.tile(np.array([0, 1, 2, 3, 4, 5]), 40)
    model = TwoStream(vocab_size=7, mask_id=6, width=32, layers=2, heads=2, context=12)
    source = subsets(text, length=12, batch=16, rates=MaskRates(steps=100), rng=np.random.default_rng(0))
    train(AnySubsetObjective(model), source, steps=200, lr=1e-2, warmup=10)
    ids = [6, 6, 5, 6, 6, 6, 6, 6, 6, 6, 6, 6]  # one token says all
    for fill in (ASSD(4), ASSD(4, "bigram"), fill_one_by_one):
        assert fill(model, ids, generator=fresh(0)).ids_N.tolist() == [3, 4, 5, 0, 1, 2, 3, 4, 5, 0, 1, 2]


# Refusals


@pytest.mark.parametrize(
    "ids, order, words",
    [
        ([], None, r"shape \(0,\)"),
        ([[1, 11]], None, r"shape \(1, 2\)"),
        ([0.5, 1.0], None, "float64"),
        ([1] * 17, None, "1 to 16 of them"),
        ([1, 12], None, "ids from 1 to 12; the model has 0 to 11"),
        ([-1, 11], None, "ids from -1 to 11"),
        ([1, 11, 2], [0, 1, 1], "no permutation of the 3 positions"),
        ([1, 11, 2], [0, 2], "no permutation of the 3 positions"),
        ([1, 11, 2], [0.0, 2.0, 1.0], "no permutation of the 3 positions"),
        ([1, 11, 2], [0, 1, 2], "position 1 is a blank, id 11, but the order has it among the 2 known ones"),
    ],
)
def test_texts_that_cannot_be_filled_are_refused(ids, order, words):
    for fill in (ASSD(), fill_one_by_one, fill_at_once):
        with pytest.raises(InvalidInput, match=words):
            fill(small(1, 12, 11), ids, generator=fresh(0), order_N=None if order is None else np.array(order))


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: ASSD(0), "k=0; it must be at least 1"),
        (lambda: ASSD(draft="trigram"), "draft='trigram'; it must be 'self' or 'bigram'"),
        (lambda: ASSD()(small(), [0, MASK], generator=0), "generator is 0"),
        (lambda: MaskRates(start=0.9), "0 < start <= low <= high < 1"),
        (lambda: MaskRates(high=1.0), "0 < start <= low <= high < 1"),
        (lambda: MaskRates(steps=0), "steps of at least 1"),
        (lambda: subsets(np.arange(9), length=4, batch=2, rates=MaskRates(), rng=np.random.default_rng(0), accumulate=0), "accumulate=0"),
        (lambda: AnySubsetObjective(small())(torch.tensor([[0, MASK]]), positions=torch.tensor([[0, 1]])), "id 2, which is the mask"),
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(make, words):
    with pytest.raises(InvalidInput, match=words):
        make()
