"""Addition: every sum once, digits from the last, all tokenizations, and answers that are read after the question only."""

import re
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenloom.core.errors import InvalidInput
from tokenloom.core.vocabulary import Vocabulary
from tokenloom.measure.addition import Addition, number_vocabulary, solve, tokenizations

# Sums


@pytest.mark.parametrize("digits, count", [(1, 90), (2, 9_000), (3, 900_000)])
def test_the_two_parts_are_all_sums_once(digits, count):
    learn, held = Addition(digits).split(rng=np.random.default_rng(0))
    assert (learn.size, held.size) == (count * 9 // 10, count // 10)
    base = 10**digits
    both = np.sort(np.concatenate([learn, held]))
    assert np.array_equal(both, [a * base + b for a in range(base // 10, base) for b in range(base)])


def test_the_parts_are_drawn_by_the_generator():
    addition = Addition(2)
    (learn, held), (again, _) = (addition.split(rng=np.random.default_rng(0)) for _ in range(2))
    assert np.array_equal(learn, again)
    assert not np.array_equal(learn, addition.split(rng=np.random.default_rng(1))[0])
    assert held.mean() == pytest.approx(5_500, rel=0.05) and (np.diff(held) < 0).any()


@given(st.integers(1, 4), st.data())
def test_a_question_can_be_read_and_its_answer_is_the_sum_backwards(digits, data):
    addition = Addition(digits)
    number = data.draw(st.integers(10 ** (2 * digits - 1), 10 ** (2 * digits) - 1))
    a, b = re.fullmatch(r"\$(\d+)\+(\d+)=", addition.question(number)).groups()
    assert len(a) == digits and len(b) <= digits
    assert (a, b) == (str(int(a)), str(int(b)))  # no leading zeros
    assert int(a) * 10**digits + int(b) == number
    assert int(addition.answer(number)[::-1]) == int(a) + int(b)


def test_a_text_is_its_sums_in_order():
    assert Addition(3).text([123_045, 999_999, 100_000]) == "$123+45=861$999+999=8991$100+0=001"
    assert Addition(3).text([]) == ""


# Tokenizations


def by_all_cuts(vocab, text):
    """Try every set of cuts, few and early ones first."""
    found = []
    for count in range(len(text)):
        for inner in combinations(range(1, len(text)), count):
            cuts = (0, *inner, len(text))
            pieces = [text[a:b] for a, b in pairwise(cuts)]
            if all(piece in vocab for piece in pieces):
                found.append([vocab.id_of(piece) for piece in pieces])
    return found


@given(
    st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=6, unique=True),
    st.text("ab", min_size=1, max_size=7),
)
def test_all_tokenizations_are_found_once_and_in_order(tokens, text):
    vocab = Vocabulary([token.encode() for token in tokens])
    found = [ids.tolist() for ids in tokenizations(vocab, text.encode())]
    assert found == by_all_cuts(vocab, text.encode())


@pytest.mark.parametrize("digits, ways", [(1, 1), (2, 4), (3, 16)])
def test_a_question_has_a_way_for_every_cut_of_its_numbers(digits, ways):
    vocab = number_vocabulary(digits)
    question = Addition(digits).question(10 ** (2 * digits) - 1)
    found = tokenizations(vocab, question.encode())
    assert len(found) == len({tuple(ids) for ids in found}) == ways
    assert all(ids.dtype == np.int32 and vocab.decode(ids) == question.encode() for ids in found)
    assert len(found[0]) == 5 and len(found[-1]) == len(question)


def test_the_vocabulary_of_numbers_has_every_number_of_up_to_so_many_digits():
    vocab = number_vocabulary(3)
    tokens = set(vocab)
    assert len(vocab) == len(tokens) == 256 + 100 + 1000
    assert tokens == {bytes([b]) for b in range(256)} | {f"{n:02}".encode() for n in range(100)} | {
        f"{n:03}".encode() for n in range(1000)
    }


# Answers

torch = pytest.importorskip("torch", reason="needs the package 'torch'")

from tokenloom.models.batches import packs  # noqa: E402
from tokenloom.models.training import train  # noqa: E402
from tokenloom.models.transformer import Transformer  # noqa: E402

VOCAB = number_vocabulary(2)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def ids(text):
    return tokenizations(VOCAB, text.encode())[0]


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_answers_are_decoded_greedily_for_questions_of_any_length(batch):
    model = Transformer(vocab_size=len(VOCAB), width=16, layers=2, heads=2, context=32)
    with torch.no_grad():  # fresh weights say nearly the same everywhere
        for weight in model.parameters():
            weight *= 20 if weight.dim() == 2 else 1
    texts = ["$10+3=", "$47+85=", "$99+0="]
    questions = [way for text in texts for way in tokenizations(VOCAB, text.encode())]
    expected = []
    for question in questions:
        sequence = question.tolist()
        for _ in range(4):
            with torch.no_grad():
                sequence.append(int(model.eval()(torch.tensor([sequence]))[0, -1].argmax()))
        expected.append(VOCAB.decode(sequence[len(question) :]).split(b"$")[0].decode("ascii", "replace"))
    assert len({*expected}) > 1
    assert solve(model, questions, VOCAB, digits=2, batch=batch) == expected


def test_the_answer_is_what_follows_the_question_and_never_the_question():
    taught = {"$47+85=": "231", "$11+0=": "", "$12+3=": "15", "$10+90=": "001", "$33+33=": "666"}
    model = Transformer(vocab_size=len(VOCAB), width=32, layers=2, heads=2, context=32)
    examples = [
        (ids(question), np.concatenate([ids(answer), ids("$")]) if answer else ids("$"))
        for question, answer in taught.items()
    ]
    batches = packs(examples, length=32, batch=4, pad_id=0, rng=np.random.default_rng(0))
    train(model, batches, steps=60, warmup=5, lr=1e-2)
    answers = solve(model, [ids(question) for question in taught], VOCAB, digits=2)
    assert answers == [*taught.values()]
    # "11" would be right for 11 + 0 and stands in the question, "66" begins what was answered to 33 + 33.
    addition = Addition(2)
    right = [answer == addition.answer(n) for answer, n in zip(answers, [4785, 1100, 1203, 1090, 3333])]
    assert right == [True, False, False, True, False]


# Refusals


@pytest.mark.parametrize("digits", [0, -1, 10])
def test_a_number_of_digits_is_refused(digits):
    with pytest.raises(InvalidInput, match=f"digits={digits}; it must be 1 …"):
        Addition(digits)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, 2.0, float("nan"), 1e-9])
def test_a_share_that_leaves_a_part_empty_is_refused(share):
    with pytest.raises(InvalidInput, match="of 90 sums leaves one part empty"):
        Addition(1).split(rng=np.random.default_rng(0), held_out=share)


def test_what_the_vocabulary_cannot_write_has_no_tokenization():
    assert tokenizations(Vocabulary([b"a", b"ab"]), b"abc") == []
