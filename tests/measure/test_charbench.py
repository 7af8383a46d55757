"""The questions by brute force, the features token by token, the analyses on responders whose rule is known."""

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

import tokenloom as tl
from tokenloom.core.errors import InvalidInput
from tokenloom.core.segmentation import Segmentation
from tokenloom.measure.charbench import (
    COUNT_TASKS,
    FEATURES,
    INDEX_TASKS,
    TASKS,
    CharBench,
    Items,
    accuracy_by,
    calibrated,
    cut,
    effects,
    english_words,
    error_overlap,
    features,
    mean_correlations,
    mixed_case,
    number_scores,
    parse,
    rank_biserial,
    replies,
    score,
)
from tokenloom.measure.choice import score_options
from tokenloom.models import Transformer

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def invented(rng, count, lengths=range(4, 11)):
    """`count` different words of each length."""
    words = []
    for length in lengths:
        drawn = rng.integers(0, len(LETTERS), (2 * count, length))
        words += list(dict.fromkeys("".join(LETTERS[i] for i in row) for row in drawn))[:count]
    return words


def right(word, task, letter):
    match task:
        case "count_unique_chars":
            return len(set(word))
        case "count_character_frequency":
            return word.count(letter)
        case "find_first_occurrence":
            return word.index(letter)
        case _:
            return word.rindex(letter)


# -- items -------------------------------------------------------------------------------------------------------------


def test_every_answer_is_right_and_everything_is_balanced():
    words = invented(np.random.default_rng(0), 90)
    items = CharBench(80)(words, rng=np.random.default_rng(1))
    assert len(items) == 7 * 80
    for word, task, letter, answer in zip(items.words, items.tasks, items.letters, items.answers, strict=True):
        assert right(word, TASKS[task], letter) == answer, (word, TASKS[task], letter)
        assert (letter == "") == (TASKS[task] == "count_unique_chars")
        assert letter in word
    assert len(set(items.words)) == len(items)
    assert set(items.words) <= set(words)
    cells = np.unique(np.column_stack([items.lengths, items.tasks]), axis=0, return_counts=True)[1]
    assert cells.tolist() == [20] * 28


@given(st.lists(st.text("aAbé€𝄞", min_size=3, max_size=5), unique=True, min_size=30, max_size=60), st.integers(0, 99))
def test_answers_are_right_in_any_characters(words, seed):
    bench = CharBench(4, shortest=4, longest=4, english=False)
    if sum(len(word) == 4 for word in words) < 4:
        with pytest.raises(InvalidInput, match=r"there are \d words of length 4"):
            bench(words, rng=np.random.default_rng(seed))
        return
    items = bench(words, rng=np.random.default_rng(seed))
    for word, task, letter, answer in zip(items.words, items.tasks, items.letters, items.answers, strict=True):
        assert right(word, TASKS[task], letter) == answer


def test_the_character_is_that_at_a_uniform_position():
    words = [f"aaab{a}{b}"[:4] + a + b for a in LETTERS for b in LETTERS]  # aaab and two letters, 2,704 words
    items = CharBench(2704, shortest=6, longest=6)(words, rng=np.random.default_rng(0))
    asked = items[items.of("count_character_frequency")].letters
    # 3 of 6 positions hold an a, and each of the last two does in 1 of 52 words; the binomial spread is 0.02.
    assert np.mean(asked == "a") == pytest.approx(0.5 + 2 / 6 / 52, abs=0.08)


def test_the_same_seed_gives_the_same_benchmark_and_another_does_not():
    words = invented(np.random.default_rng(0), 20)
    one, same, other = (CharBench(16)(words, rng=np.random.default_rng(seed)) for seed in (3, 3, 4))
    for name in ("words", "tasks", "letters", "answers"):
        assert np.array_equal(getattr(one, name), getattr(same, name))
    assert not np.array_equal(one.words, other.words)


def test_the_benchmark_of_the_paper_has_175_000_questions():
    words = invented(np.random.default_rng(0), 25_000)
    items = CharBench()(words, rng=np.random.default_rng(42))
    assert len(items) == len(set(items.words)) == 175_000
    assert all(items.of(task).sum() == 43_750 for task in TASKS)


def test_words_of_texts_are_whole_runs_of_english_letters_in_their_case():
    texts = ["Null null NaN, nan's don’t x2 2x _a a_ naïve café", "none null-ness"]
    assert list(english_words(texts)) == ["Null", "null", "NaN", "nan", "s", "don", "t", "none", "ness"]
    words = ["null", "NULL", "None", "true", "nan1"[:3] + "n"]
    items = CharBench(4, shortest=4, longest=4)(words, rng=np.random.default_rng(0))
    assert set(items.words) < set(words)


def test_questions_have_the_words_of_the_paper():
    items = Items(
        np.array(["Word"] * 4), np.arange(4, dtype=np.int8), np.array(["", "W", "o", "d"]), np.array([4, 1, 1, 3])
    )
    assert items.questions() == [
        "How many unique characters appear in the string 'Word'?",
        "How many times does the character 'W' appear in the string 'Word'?",
        "What is the index of the first occurrence of the character 'o' in the string 'Word'?\nStart counting from 0.",
        "What is the index of the last occurrence of the character 'd' in the string 'Word'?\nStart counting from 0.",
    ]
    for spelled in (False, True):
        for question, prompt in zip(items.questions(), items.prompts(spelled=spelled), strict=True):
            assert prompt.text.endswith("\nQuestion: " + question)
            assert prompt.word == "Word"
            assert ("W o r d" in prompt.text) == spelled
    assert [prompt.text for prompt in items.bare()] == ["Word"] * 4


# -- features ----------------------------------------------------------------------------------------------------------


def slow_features(item, prompt, seg):
    """Token by token, character by character."""
    word, task, answer = item
    start = len(prompt.before.encode())
    heads = [start + len(word[:k].encode()) for k in range(len(word))]
    end = start + len(word.encode())
    lengths, target = [], math.nan
    for a, b in zip(seg.offsets[:-1], seg.offsets[1:], strict=True):
        if min(b, end) > max(a, start):
            lengths.append(sum(a <= head < b for head in heads))
            if task in INDEX_TASKS and a <= heads[answer] < b:
                target = lengths[-1]
    assert sum(lengths) == len(word)
    return [len(word), answer, answer / len(word), len(lengths), len(word) / len(lengths), target]


@st.composite
def cut_prompts(draw):
    """Items of any characters, in prompts that are cut anywhere, with tokens that hold no byte."""
    words = draw(st.lists(st.text("aAbé€𝄞", min_size=4, max_size=4), unique=True, min_size=8, max_size=12))
    items = CharBench(8, shortest=4, longest=4, english=False)(
        words, rng=np.random.default_rng(draw(st.integers(0, 9)))
    )
    prompts = items.prompts() if draw(st.booleans()) else items.bare()
    segs = []
    for prompt in prompts:
        data = prompt.text.encode()
        cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=12)))
        near = len(prompt.before.encode())
        cuts = sorted(
            [*cuts, *(near + c for c in draw(st.lists(st.integers(-1, 8), max_size=5)) if 0 <= near + c <= len(data))]
        )
        segs.append(Segmentation([0] * (len(cuts) + 1), [0, *cuts, len(data)], data))
    return items, prompts, segs


@given(cut_prompts())
def test_features_are_those_found_token_by_token(case):
    items, prompts, segs = case
    table = features(items, prompts, segs)
    assert tuple(table) == FEATURES
    for i, (prompt, seg) in enumerate(zip(prompts, segs, strict=True)):
        item = str(items.words[i]), TASKS[items.tasks[i]], int(items.answers[i])
        np.testing.assert_array_equal([table[name][i] for name in FEATURES], slow_features(item, prompt, seg))


def test_a_token_of_the_prompt_counts_with_its_part_of_the_word():
    items = Items(np.array(["Word"]), np.array([2], np.int8), np.array(["r"]), np.array([2]))
    (prompt,) = items.prompts()
    data, start = prompt.text.encode(), len(prompt.before.encode())
    seg = Segmentation([0] * 3, [0, start - 1, start + 3, len(data)], data)  # 'Wor | d'?
    table = features(items, [prompt], [seg])
    assert (table["number_of_tokens"][0], table["target_token_length"][0]) == (2, 3)
    alone = features(items, items.bare(), [Segmentation([0, 0, 0], [0, 0, 1, 4], b"Word")])  # a word mark without bytes
    assert (alone["number_of_tokens"][0], alone["target_token_length"][0]) == (2, 3)


def test_only_the_tokens_of_the_word_are_split_further():
    tok = tl.load_tokenizer("tokenloom-en-16k")
    items = CharBench(4, shortest=7, longest=7)(
        ["thought", "through", "another", "nothing"], rng=np.random.default_rng(0)
    )
    prompts = items.prompts()
    look = tl.StochasTok(tok.vocab, proportion=8)
    plain, split = cut(prompts, tok), cut(prompts, tok, look=look, rng=np.random.default_rng(0))
    for prompt, before, after in zip(prompts, plain, split, strict=True):
        start = len(prompt.before.encode())
        assert after.is_refinement_of(before)
        assert len(after) > len(before)
        outside = [c for c in before.boundaries() if not start <= c <= start + 7]
        assert [c for c in after.boundaries() if not start <= c <= start + 7] == outside
    assert (features(items, prompts, split)["compression"] < features(items, prompts, plain)["compression"]).all()


# -- answers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "number"),
    [("7", 7), (" 10\n", 10), ("-1", -1), ("+2", 2), ("07", 7), ("", None), ("7.", None), ("7 8", None), ("1_0", None),
     ("seven", None), ("٣", None), ("9" * 16, None), ("nan", None)],
)  # fmt: skip
def test_a_reply_is_a_whole_number_or_invalid(reply, number):
    assert parse(reply) == number


def test_scores_count_what_is_invalid_or_missing_as_wrong():
    items = Items(
        np.array(["abcd", "abca", "aaaa", "abca", "bcda"]),
        np.array([0, 0, 1, 2, 3], np.int8),
        np.array(["", "", "a", "a", "a"]),
        np.array([4, 3, 4, 0, 3]),
    )
    assert score(items, np.array([4, 5, math.nan, math.nan, 10**30])).invalid.tolist() == [
        False,
        False,
        True,
        True,
        False,
    ]
    scores = score(items, ["4", "5", None, "none", 10**400])
    assert scores.correct.tolist() == [True, False, False, False, False]
    assert scores.invalid.tolist() == [False, False, True, True, False]
    assert (scores.overall.n, scores.overall.accuracy) == (5, 0.2)
    assert scores.overall.stderr == pytest.approx(math.sqrt(0.2 * 0.8 / 5))
    assert scores.by_task["count_unique_chars"].accuracy == 0.5
    assert scores.bias["count_unique_chars"] == 2
    assert math.isnan(scores.bias["count_character_frequency"])  # its one reply is missing: no number, no bias
    assert tuple(scores.bias) == COUNT_TASKS


def test_a_spelling_oracle_is_perfect_and_a_constant_answer_scores_its_base_rate():
    items = CharBench(40)(invented(np.random.default_rng(2), 40), rng=np.random.default_rng(3))
    asked = zip(items.words, items.tasks, items.letters, strict=True)
    oracle = score(items, [str(right(word, TASKS[task], letter)) for word, task, letter in asked])
    assert oracle.overall.accuracy == 1
    constant = score(items, np.full(len(items), 3))
    assert constant.overall.accuracy == np.mean(items.answers == 3)
    assert error_overlap(constant.correct, constant.correct) == 1
    assert error_overlap(oracle.correct, constant.correct) == 0
    assert math.isnan(error_overlap(oracle.correct, oracle.correct))


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1))
def test_overlap_is_that_of_the_sets_of_errors(pairs):
    left, right_ = np.array(pairs).T
    a, b = ({i for i, ok in enumerate(side) if not ok} for side in (left, right_))
    expected = len(a & b) / len(a | b) if a | b else math.nan
    assert error_overlap(left, right_) == pytest.approx(expected, nan_ok=True)


def model_of(vocab):
    import torch

    return Transformer(
        vocab_size=vocab, width=16, layers=2, heads=2, context=32, generator=torch.Generator().manual_seed(1)
    )


def huge(model):
    """The same with larger weights, so that its answers differ."""
    import torch

    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(8)
    return model


@pytest.fixture(scope="module")
def models():
    transformers = pytest.importorskip("transformers", reason="pip install 'tokenloom[hf]'")
    import torch

    config = transformers.LlamaConfig(
        vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        max_position_embeddings=64,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = transformers.LlamaForCausalLM(config)
    return huge(model_of(40)), huge(theirs)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("shared", [0, 5])
def test_scores_of_numbers_are_those_of_whole_forward_passes(models, which, shared):
    rng = np.random.default_rng(shared)
    head = rng.integers(0, 40, shared)
    prompts = [np.concatenate([head, rng.integers(0, 40, n)]) for n in (3, 1, 7, 3, 2, 9)]
    ids = [31, 3, 17, 22]
    scores, tokens = number_scores(models[which], prompts, ids, batch=4)
    np.testing.assert_allclose(
        scores, score_options(models[which], prompts, [[[i] for i in ids]] * 6), rtol=1e-4, atol=1e-4
    )
    assert len(set(scores.argmax(1))) > 1
    assert tokens <= shared + 4 * 9 + 2 * 3


def test_calibration_takes_off_what_a_group_is_told_alike():
    scores, groups = np.random.default_rng(0).normal(size=(9, 4)), np.array([0, 1, 0, 2, 1, 0, 1, 0, 1])
    bias = np.array([[9.0, 0, 0, -3], [0, 5, 0, 0], [0, 0, 0, 8]])
    fair = calibrated(scores, groups)
    np.testing.assert_allclose(fair, calibrated(scores + bias[groups], groups), atol=1e-12)
    for group in range(3):
        np.testing.assert_allclose(fair[groups == group].mean(0), 0, atol=1e-12)
    assert (fair[3] == 0).all()  # alone in its group, an item cannot be told from what is always said


@pytest.mark.parametrize("which", [0, 1])
def test_replies_are_those_of_one_forward_pass_per_id(models, which):
    import torch

    from tokenloom.models.training import logits_of

    rng = np.random.default_rng(0)
    prompts = [rng.integers(0, 40, n) for n in (4, 2, 4, 6)]
    slow = []
    for prompt in prompts:
        ids = torch.tensor(prompt)[None]
        with torch.no_grad():
            for _ in range(5):
                ids = torch.cat([ids, logits_of(models[which].eval(), {"input_ids": ids})[:, -1:].argmax(-1)], 1)
        slow.append(ids[0, len(prompt) :].tolist())
    assert [reply.tolist() for reply in replies(models[which], prompts, new=5)] == slow
    stop = slow[0][2]
    stopped = [reply.tolist() for reply in replies(models[which], prompts, new=5, stop=[stop])]
    assert stopped == [reply[: reply.index(stop)] if stop in reply else reply for reply in slow]


# -- analyses ----------------------------------------------------------------------------------------------------------


def planted(seed, per_length=240):
    """Items, their features under random cuts, and a responder that finds characters in longer tokens less often."""
    rng = np.random.default_rng(seed)
    items = CharBench(per_length)(invented(rng, per_length), rng=rng)
    segs = []
    for word in items.words:
        inner = np.flatnonzero(rng.random(len(word) - 1) < 0.4) + 1
        segs.append(Segmentation([0] * (inner.size + 1), [0, *inner, len(word)], word.encode()))
    table = features(items, items.bare(), segs)
    chance = 0.9 - 0.08 * np.nan_to_num(table["target_token_length"], nan=2)
    return items, table, rng.random(len(items)) < chance


def test_a_planted_effect_of_token_length_is_found_with_its_sign():
    items, table, correct = planted(0)
    found = effects(items, table, correct)
    for task in INDEX_TASKS:
        effect = found[task]["target_token_length"]
        for kind in (effect.pearson, effect.partial, effect.within):
            assert kind.n == 420
            assert kind.high < 0, kind
        assert effect.rank_biserial < -0.1
    for task in COUNT_TASKS:  # here nothing was planted
        assert "target_token_length" not in found[task]
        assert found[task]["number_of_tokens"].partial.low < 0 < found[task]["number_of_tokens"].partial.high


def test_effects_are_pearsons_r_and_what_least_squares_leaves():
    items, table, correct = planted(1, 40)
    found = effects(items, table, correct)
    for task in TASKS:
        here = items.of(task)
        y = correct[here].astype(float)
        gold, length = table["gold"][here], table["word_length"][here]
        groups = np.array([f"{g} {n}" for g, n in zip(gold, length, strict=True)])
        for name, effect in found[task].items():
            x = table[name][here]
            assert effect.pearson.r == pytest.approx(scipy.stats.pearsonr(x, y).statistic)
            if name in ("number_of_tokens", "target_token_length"):
                base = np.column_stack([np.ones(x.size), gold, length])
                left = [v - base @ np.linalg.lstsq(base, v, rcond=None)[0] for v in (x, y)]
                assert effect.partial.r == pytest.approx(np.corrcoef(*left)[0, 1])
                left = [v - np.array([v[groups == g].mean() for g in groups]) for v in (x, y)]
                assert effect.within.r == pytest.approx(np.corrcoef(*left)[0, 1])
            u = scipy.stats.mannwhitneyu(x[y == 1], x[y == 0]).statistic
            assert effect.rank_biserial == pytest.approx(2 * u / (y.sum() * (1 - y).sum()) - 1)


def test_what_does_not_vary_is_left_out_of_the_mean_over_models():
    items, table, correct = planted(2, 8)
    found = [effects(items, table, c) for c in (correct, np.ones(len(items), bool), ~correct)]
    everything_right = found[1]["find_first_occurrence"]["word_length"]
    assert math.isnan(everything_right.pearson.r)
    assert math.isnan(everything_right.rank_biserial)
    means = mean_correlations(found)
    assert means["find_first_occurrence"]["word_length"] == pytest.approx(0, abs=1e-12)
    assert math.isnan(mean_correlations(found[1:2])["find_first_occurrence"]["word_length"])
    first = found[0]["find_last_occurrence"]["compression"].pearson.r
    assert mean_correlations(found[:2])["find_last_occurrence"]["compression"] == first


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=2))
def test_rank_biserial_is_the_difference_of_two_chances(pairs):
    values, correct = np.array([v for v, _ in pairs]), np.array([c for _, c in pairs])
    if correct.all() or not correct.any():
        assert math.isnan(rank_biserial(values, correct))
        return
    slow = np.mean([np.sign(a - b) for a in values[correct] for b in values[~correct]])
    assert rank_biserial(values, correct) == pytest.approx(slow)


def test_accuracy_by_value_leaves_out_items_without_one():
    values = np.array([2, 1, math.nan, 2, 2])
    table = accuracy_by(values, np.array([True, False, True, True, False]))
    assert {value: (a.n, a.accuracy) for value, a in table.items()} == {1: (1, 0), 2: (3, pytest.approx(2 / 3))}
    assert table[2].stderr == pytest.approx(math.sqrt(2 / 9 / 3))


def test_case_is_mixed_where_both_cases_of_what_is_asked_occur():
    words = ["Anna", "Anna", "ANNA", "Anna", "Anna", "a12a"]
    tasks = np.array([0, 1, 0, 2, 3, 2], np.int8)
    items = Items(np.array(words), tasks, np.array(["", "n", "", "a", "n", "1"]), np.zeros(6, np.int64))
    assert mixed_case(items).tolist() == [True, True, False, True, False, False]


# -- refusals ----------------------------------------------------------------------------------------------------------


def make(words=("null", "nine", "note", "noon"), per_length=4, **settings):
    return CharBench(per_length, **{"shortest": 4, "longest": 4, **settings})(words, rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: make(per_length=6), "per_length=6; 4 tasks share it"),
        (lambda: make(per_length=0), "per_length=0"),
        (lambda: make(shortest=5), "shortest=5, longest=4"),
        (lambda: make(["null", "nine", "note", "note"]), "3 words of length 4; give more words"),
        (lambda: make(["null", "nine", "note", "naïv"]), "'naïv' is not of letters a-z and A-Z alone"),
        (lambda: make(["nul1", "nine", "note", "noon"]), "'nul1' is not of letters"),
        (lambda: make(["nul\0", "nine", "note", "noon"], english=False), "zero character"),
        (lambda: make().of("spelling"), "no task 'spelling'; there are count_unique_chars"),
        (lambda: score(make(), ["1"]), "1 replies to 4 items"),
        (lambda: score(make()[:0], []), "0 replies to 0 items"),
        (lambda: effects(make(), {}, np.ones(3, bool)), r"shape \(3,\), but there are 4 items"),
        (lambda: features(make(), make().bare(), []), "4 items, 4 prompts, 0 segmentations"),
        (lambda: features(make(), make().bare(), cut(make().prompts(), BYTES)), "do not have 'n...' at byte 0"),
        (lambda: cut(make().bare(), BYTES, look=lambda seg, rng: seg), "look= draws at random"),
        (lambda: cut(make().bare(), BYTES, look=lambda seg, rng: seg[1:], rng=np.random.default_rng(0)), "may only split"),
        (lambda: cut(make().bare(), object()), "a object gives no offsets"),
        (lambda: number_scores(model_of(9), [], [1]), "0 prompts, 1 candidates"),
        (lambda: number_scores(model_of(9), [np.array([1])], []), "1 prompts, 0 candidates"),
        (lambda: number_scores(model_of(9), [np.array([], int)], [1, 3]), "a prompt is empty"),
        (lambda: number_scores(model_of(9), [np.array([9])], [1, 3]), "holds id 9"),
        (lambda: number_scores(model_of(9), [np.array([1])], [1, 9]), "id 9"),
        (lambda: number_scores(model_of(9), [np.array([9, 1]), np.array([9, 2])], [1]), "id 9"),
        (lambda: replies(model_of(9), [np.array([1])], new=0), "new=0"),
        (lambda: replies(model_of(9), [np.array([], int)], new=1), "is empty"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(call, words):
    with pytest.raises(InvalidInput, match=words):
        call()


BYTES = tl.load_tokenizer("bytes")
