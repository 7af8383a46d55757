"""Laws of dynamic tokenization: no merge changes nothing, what is not merged keeps its row, a search of all lists is exact."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig, BertModel, Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM

from tokenloom.core.errors import InvalidInput
from tokenloom.core.segmentation import Ragged
from tokenloom.core.vocabulary import Vocabulary
from tokenloom.hosts import load_tokenizer
from tokenloom.hosts.json_tokenizer import JsonTokenizer
from tokenloom.measure.scoring import log_probs
from tokenloom.models.hypernetwork import Hypernetwork
from tokenloom.tokenize.text.batch_merging import BatchMerging
from tokenloom.tokenize.text.bpe import BPE
from tokenloom.transfer.dynamic_tokenization import (
    DynamicTokenization,
    HypernetworkEmbedder,
    LargeVocabulary,
    ModelRows,
    NeighbourIndex,
    PieceMean,
    RowCache,
    RowTeaching,
    TokenRows,
    extend_vocabulary,
    recall,
)
from tokenloom.transfer.dynamic_tokenization.embedders import padded
from tokenloom.transfer.dynamic_tokenization.pieces import LongestMatch, spelled_pieces
from tokenloom.transfer.dynamic_tokenization.teaching import splittable

TEXT = "the cat sat on the mat and the dog sat on the log; unbelievable, believable, table "
TOK = BPE(300)([TEXT * 20])
V = len(TOK.vocab)
OTHER = "that cot sits; the unbelted log tables"
BATCH = TOK.encode_batch([TEXT, OTHER, "catalog"])


@pytest.fixture(autouse=True)
def one_thread():
    """Matrices as small as here are slower on several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def llama(tied=True):
    torch.manual_seed(1)
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=V, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
                    tie_word_embeddings=tied, bos_token_id=V - 1, eos_token_id=V - 1)
    ).eval()  # fmt: skip


def gemma():
    torch.manual_seed(1)
    return Gemma3ForCausalLM(
        Gemma3TextConfig(vocab_size=V, hidden_size=16, intermediate_size=32, num_hidden_layers=2, head_dim=8,
                         num_attention_heads=2, num_key_value_heads=1, sliding_window=64, pad_token_id=0)
    ).eval()  # fmt: skip


def dynamic(model, **kwargs):
    return DynamicTokenization(model, BatchMerging(TOK.vocab, **kwargs), PieceMean(ModelRows(model), TOK))


@torch.no_grad()
def logits(model, ids):
    return model(input_ids=torch.as_tensor(np.asarray(ids, np.int64))[None]).logits[0]


# -- reading -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [llama(True), llama(False), gemma()], ids=["tied", "untied", "scaled"])
def test_no_merge_changes_no_logit(model):
    for k, ids in enumerate(BATCH):
        read = dynamic(model)(BATCH[k : k + 1], 0)
        with torch.no_grad():
            assert torch.equal(model(**read.inputs).logits[0], logits(model, ids))


@pytest.mark.parametrize("model", [llama(True), llama(False), gemma()], ids=["tied", "untied", "scaled"])
@pytest.mark.parametrize("merges", [1, 5, None])
def test_rows_are_those_of_the_model_or_the_mean_of_the_pieces(model, merges):
    read = dynamic(model)(BATCH, merges)
    assert read.merged.merges >= 1 and read.merged.new
    table = model.get_input_embeddings()
    for embeds, mask, ids in zip(read.inputs_embeds, read.attention_mask, read.merged.ids, strict=True):
        assert mask.sum() == len(ids)
        for row, i in zip(embeds, ids.tolist(), strict=False):
            if i < V:
                assert torch.equal(row, table(torch.tensor(i)))
            else:
                pieces = TOK.encode(read.merged.new[i - V]).ids.astype(np.int64)
                assert torch.allclose(row, table(torch.from_numpy(pieces)).mean(0), atol=1e-6)


@torch.no_grad()
def test_padding_on_either_side_leaves_the_last_token_alone():
    model = llama()
    reader = dynamic(model)
    for side in ("left", "right"):
        read = reader(BATCH, 3, padding=side)
        whole = model(**read.inputs, position_ids=read.position_ids).logits
        for k, ids in enumerate(read.merged.ids):
            filled = read.attention_mask[k].bool()
            alone = model(inputs_embeds=read.inputs_embeds[k][filled][None]).logits[0, -1]
            assert torch.allclose(whole[k][filled][-1], alone, atol=1e-5)
            assert filled[-1 if side == "left" else 0] and filled.sum() == len(ids)
    assert torch.equal(read.inputs_embeds[2, -1], model.get_input_embeddings().weight[V - 1]), "the end of text pads"


@torch.no_grad()
def test_an_encoder_reads_merged_tokens_with_its_special_ones():
    torch.manual_seed(0)
    model = BertModel(
        BertConfig(vocab_size=V, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    ).eval()
    batch = Ragged.of([[V - 1, *ids, V - 1] for ids in BATCH])
    read = dynamic(model)(batch, 0)
    ids = torch.zeros(read.attention_mask.shape, dtype=torch.long)
    for k, one in enumerate(batch):
        ids[k, : len(one)] = torch.from_numpy(one.astype(np.int64))
    wanted = model(input_ids=ids, attention_mask=read.attention_mask).last_hidden_state
    found = model(**read.inputs).last_hidden_state
    kept = read.attention_mask.bool()
    assert torch.allclose(found[kept], wanted[kept], atol=1e-5)
    merged = dynamic(model)(batch)
    assert merged.inputs_embeds.shape[1] < ids.shape[1]
    assert all(one[0] == one[-1] == V - 1 for one in merged.merged.ids)


def test_scores_without_merges_are_those_of_the_model():
    model, prompts = llama(), TOK.encode_batch([TEXT, OTHER])
    continuations = TOK.encode_batch([" and the dog", "s sat"])
    found = dynamic(model).score(prompts, continuations, 0)
    whole = [np.concatenate(pair) for pair in zip(prompts, continuations, strict=True)]
    for ours, right in zip(found, log_probs(model, whole, prompts.lengths), strict=True):
        assert np.allclose(ours, right, atol=1e-5)


@torch.no_grad()
def test_scores_after_merges_are_of_the_unmerged_continuation():
    model, prompts = llama(), TOK.encode_batch([TEXT, OTHER])
    continuations = TOK.encode_batch([" and the dog", "s sat"])
    reader = dynamic(model)
    read = reader(prompts, 4)
    found = reader.score(prompts, continuations, 4)
    assert [len(one) for one in found] == continuations.lengths.tolist()
    table = model.get_input_embeddings().weight
    embeds = torch.cat([read.inputs_embeds[1][: len(read.merged.ids[1])], table[continuations[1].astype(np.int64)]])
    right = model(inputs_embeds=embeds[None]).logits[0].log_softmax(-1)
    first = len(read.merged.ids[1]) - 1
    for k, i in enumerate(continuations[1].tolist()):
        assert found[1][k] == pytest.approx(float(right[first + k, i]), abs=1e-5)


def test_a_model_generates_after_merged_prompts_in_its_own_vocabulary():
    model = llama()
    read = dynamic(model)(BATCH, 4, padding="left")
    made = model.generate(**read.inputs, max_new_tokens=4, do_sample=False, pad_token_id=V - 1)
    assert made.shape == (3, 4) and (made < V).all()


# -- rows --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [True, False])
def test_a_token_of_the_vocabulary_has_its_own_rows(tied):
    model = llama(tied)
    made = PieceMean(ModelRows(model), TOK)([b" cat", b" the", b"q"])
    ids = [TOK.vocab.id_of(token) for token in (b" cat", b" the", b"q")]
    assert torch.equal(made.input, model.get_input_embeddings().weight[ids])
    assert torch.equal(made.output, model.get_output_embeddings().weight[ids])


@pytest.mark.parametrize("tied", [True, False])
@torch.no_grad()
def test_a_hypernetwork_reads_pieces_and_leaves_longer_tokens_to_the_mean(tied):
    model = llama(tied)
    rows = ModelRows(model)
    mean = PieceMean(rows, TOK)
    hypernetwork = Hypernetwork(source=16 if tied else 32, width=8, heads=2, layers=1, pieces=3)
    embed = HypernetworkEmbedder(hypernetwork, mean)
    short, long = b" catlog", b"qqqqqq"
    made = embed([short, long])
    pieces = TOK.encode(short).ids.astype(np.int64)
    assert 2 <= len(pieces) <= 3 < len(TOK.encode(long).ids)
    tables = [model.get_input_embeddings().weight, model.get_output_embeddings().weight]
    source = torch.cat([table[pieces] for table in (tables[:1] if tied else tables)], -1)
    wanted = hypernetwork.eval()(source[None], torch.ones(1, len(pieces), dtype=torch.bool)).rows[0]
    assert torch.allclose(made.input[0], wanted[:16], atol=1e-6)
    assert torch.allclose(made.output[0], wanted[-16:], atol=1e-6)
    assert torch.equal(made.input[1], mean([long]).input[0])
    assert torch.equal(embed([long]).input, mean([long]).input)


class Counted:
    """Rows that are random, but always the same for a token; remembers what it was asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, tokens):
        self.asked += tokens
        rows = [np.random.default_rng(list(token)).normal(size=4) for token in tokens]
        return TokenRows(torch.tensor(np.array(rows)), torch.tensor(-np.array(rows)))


@settings(max_examples=60)
@given(st.lists(st.lists(st.integers(0, 9), max_size=8), max_size=12), st.integers(1, 6))
def test_a_cache_keeps_the_tokens_used_last_and_never_drops_those_at_hand(calls, capacity):
    embed = Counted()
    cache, kept = RowCache(embed, capacity), []  # the twin: a list, the token used longest ago first
    for call in calls:
        tokens = [bytes([65 + k]) for k in call]
        different = list(dict.fromkeys(tokens))
        if len(different) > capacity:
            with pytest.raises(InvalidInput, match=f"the cache holds {capacity}"):
                cache(tokens)
            continue
        before = len(embed.asked)
        missing = [token for token in different if token not in kept]
        kept = [t for t in kept if t not in different] + [t for t in different if t not in missing] + missing
        kept = kept[-capacity:]
        made = cache(tokens)
        assert embed.asked[before:] == missing
        assert all(token in cache for token in different) and len(cache) == len(kept) <= capacity
        assert all(token in cache for token in kept)
        right = Counted()(tokens)
        if tokens:
            assert torch.equal(made.input, right.input) and torch.equal(made.output, right.output)


def test_a_cache_before_an_embedder_changes_nothing():
    model = llama()
    plain = dynamic(model)
    cached = DynamicTokenization(model, plain.merging, RowCache(plain.embedder, 50))
    for _ in range(2):
        assert torch.equal(cached(BATCH, 6).inputs_embeds, plain(BATCH, 6).inputs_embeds)
    assert cached.embedder.made < cached.embedder.asked


def test_a_merging_that_needs_more_rows_than_a_cache_holds_is_refused():
    model = llama()
    with pytest.raises(InvalidInput, match="the cache holds 1"):
        DynamicTokenization(model, BatchMerging(TOK.vocab), RowCache(PieceMean(ModelRows(model), TOK), 1))(BATCH)


# -- pieces ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(min_size=1, max_size=4), min_size=1, max_size=8, unique=True), st.binary(max_size=20))
def test_the_longest_match_is_the_longest(tokens, data):
    vocab = Vocabulary(tokens)
    wanted, at = [], 0
    while at < len(data):
        begins = [token for token in tokens if data.startswith(token, at)]
        if not begins:
            with pytest.raises(InvalidInput, match=f"byte {at} of"):
                LongestMatch(vocab)(data)
            return
        wanted.append(max(begins, key=len))
        at += len(wanted[-1])
    assert [vocab[i] for i in LongestMatch(vocab)(data).tolist()] == wanted


def test_the_end_of_a_word_has_the_pieces_of_an_end_of_a_word():
    vocab = {"[UNK]": 0, "aff": 1, "##aff": 2, "##able": 3, "##a": 4, "a": 5}
    word_piece = {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": None,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "vocab": vocab, "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100},
    }  # fmt: skip
    tok = JsonTokenizer(word_piece, "word-piece")
    found = spelled_pieces(tok, [b" affable", b"affable"], LongestMatch(tok.vocab))
    assert [ids.tolist() for ids in found] == [[1, 3], [2, 3]]


def test_pieces_become_a_table():
    ids, valid = padded([np.array([5, 6]), np.array([7])])
    assert ids.tolist() == [[5, 6], [7, 0]] and valid.tolist() == [[True, True], [True, False]]


# -- teaching ----------------------------------------------------------------------------------------------------------


def additive():
    """A model of which the row of a token is a fixed mixture of the rows of its bytes: not their mean, but learnable."""
    model = llama()
    rng = np.random.default_rng(0)
    single = {bytes([k]): rng.normal(size=16) for k in range(256)}
    turn = np.linalg.qr(rng.normal(size=(16, 16)))[0]
    table = np.zeros((V, 16))
    for i in range(V):
        total = np.zeros(16)
        for byte in TOK.vocab[i]:
            total = turn @ total + single[bytes([byte])]
        table[i] = total / np.linalg.norm(total)
    with torch.no_grad():
        model.get_input_embeddings().weight.copy_(torch.from_numpy(table))
    return model


def test_a_taught_hypernetwork_tells_the_rows_it_was_shown():
    rows = ModelRows(additive())
    hypernetwork = Hypernetwork(source=16, width=32, heads=2, layers=1, pieces=3)
    losses = RowTeaching(100, batch=32, more=(0.7, 0.3))(hypernetwork, rows, TOK.vocab, rng=np.random.default_rng(0))
    assert losses[-10:].mean() < 0.3 * losses[:10].mean()


def test_teaching_is_the_same_for_the_same_seed_and_never_asks_for_what_is_held_back():
    rows, known = ModelRows(additive()), splittable(TOK.vocab)
    made = []
    for _ in range(2):
        one = Hypernetwork(source=16, width=8, heads=2, layers=1, pieces=4)
        RowTeaching(3, batch=8)(one, rows, TOK.vocab, rng=np.random.default_rng(7), tokens=known[:20])
        made.append(one.leave.weight)
    assert torch.equal(*made)
    with pytest.raises(InvalidInput, match="must be splittable"):
        RowTeaching(1)(one, rows, TOK.vocab, rng=np.random.default_rng(0), tokens=np.array([0]))


# -- a large vocabulary ------------------------------------------------------------------------------------------------


def test_an_extended_tokenizer_is_the_larger_one():
    texts = [TEXT * 20, OTHER * 3]
    small, large = BPE(290, special=())(texts), BPE(330, special=())(texts)
    assert extend_vocabulary(small, texts, 330) == large.vocab[290:]


def large(tied=True, tokens=(b" catlog", b" the cat", b"ttt")):
    model = llama(tied)
    return model, LargeVocabulary.of(model, TOK.vocab, list(tokens), PieceMean(ModelRows(model), TOK), block=2)


@pytest.mark.parametrize("tied", [True, False])
def test_rows_of_a_large_vocabulary_begin_with_those_of_the_model(tied):
    model, vocabulary = large(tied)
    assert torch.equal(vocabulary.input[:V], model.get_input_embeddings().weight)
    assert torch.equal(vocabulary.output[:V], model.get_output_embeddings().weight)
    pieces = TOK.encode(b"ttt").ids.astype(np.int64)
    assert torch.allclose(vocabulary.output[-1], model.get_output_embeddings().weight[pieces].mean(0))
    assert vocabulary.vocab[V + 1] == b" the cat" and vocabulary.vocab.kinds[V - 1] == TOK.vocab.kinds[V - 1]


def test_a_text_is_cut_by_the_longest_token_inside_words():
    _, vocabulary = large()
    ids = vocabulary.encode("a catlog the cat \ud800")
    tokens = [vocabulary.vocab[i] for i in ids.tolist()]
    assert b"".join(tokens) == "a catlog the cat \ud800".encode("utf-8", "surrogatepass")
    assert b" catlog" in tokens and b" the cat" not in tokens, "no token goes beyond a word"


@pytest.mark.parametrize("tied", [True, False])
def test_without_new_tokens_the_model_says_what_it_always_says(tied):
    model, vocabulary = large(tied, ())
    prompt = TOK.encode("the cat").ids
    ids = torch.from_numpy(prompt.astype(np.int64))[None]
    mask = torch.ones_like(ids)
    made = model.generate(ids, attention_mask=mask, max_new_tokens=8, do_sample=False, pad_token_id=0)[
        0, ids.shape[1] :
    ]
    stop = [V - 1]
    assert vocabulary.generate(model, prompt, new=8, stop=stop).tolist() == made.tolist()


def test_drawn_tokens_are_those_that_min_p_leaves():
    model, vocabulary = large()
    prompt = TOK.encode("the cat").ids
    with torch.no_grad():
        embeds = vocabulary.input[torch.from_numpy(prompt.astype(np.int64))]
        hidden = model.base_model(inputs_embeds=embeds[None]).last_hidden_state[0, -1]
        scores, order = (vocabulary.output @ hidden / 0.05).topk(10)
    weights = scores.softmax(0)
    weights = torch.where(weights >= 0.1 * weights[0], weights, 0)
    weights /= weights.sum()
    counts = torch.zeros(10)
    for seed in range(300):
        generator = torch.Generator().manual_seed(seed)
        made = vocabulary.generate(model, prompt, new=1, temperature=0.05, generator=generator)
        counts[order.tolist().index(int(made[0]))] += 1
    assert (counts[weights == 0] == 0).all() and (weights > 0).sum() > 1
    assert torch.allclose(counts / 300, weights, atol=0.12)


def neighbours():
    return pytest.importorskip("faiss", reason="pip install 'tokenloom[transfer]'")


def test_a_search_of_all_lists_is_exact():
    neighbours()
    rng = np.random.default_rng(0)
    rows, queries = rng.normal(size=(400, 8)), rng.normal(size=(30, 8))
    index = NeighbourIndex(rows, lists=10, searched=10)
    cosines = queries @ (rows / np.linalg.norm(rows, axis=1, keepdims=True)).T
    assert index.search(queries, 1)[:, 0].tolist() == cosines.argmax(1).tolist()
    wanted = np.argsort(-cosines, axis=1)[:, :20]
    assert (np.sort(index.search(queries, 20)) == np.sort(wanted)).all()
    by_cosine, by_product = recall(index, rows, queries, 20)
    assert by_cosine == 1.0 and by_product < 1.0
    by_product = NeighbourIndex(rows, cosine=False, lists=10, searched=10)
    wanted = np.argsort(-(queries @ rows.T), axis=1)[:, :20]
    assert (np.sort(by_product.search(queries, 20)) == np.sort(wanted)).all()
    assert recall(by_product, rows, queries, 20)[1] == 1.0
    index.searched = 1
    assert recall(index, rows, queries, 20)[0] < 1
    assert (index.search(queries, 300) == -1).any(), "one list has no 300 rows"
    index.searched = 11
    with pytest.raises(InvalidInput, match="searched=11"):
        index.search(queries, 1)


def test_an_index_over_all_lists_generates_what_comparing_all_rows_does():
    neighbours()
    model, vocabulary = large()
    index = NeighbourIndex(vocabulary.output, lists=5, searched=5)
    prompt = TOK.encode("the cat sat").ids
    wanted = vocabulary.generate(model, prompt, new=12).tolist()
    found = vocabulary.generate(model, prompt, new=12, index=index, candidates=len(vocabulary.vocab))
    assert found.tolist() == wanted
    index = NeighbourIndex(vocabulary.output, cosine=False, lists=5, searched=5)
    assert vocabulary.generate(model, prompt, new=12, index=index, candidates=1).tolist() == wanted


def refusals():
    model, vocabulary = large()
    mean = PieceMean(ModelRows(model), TOK)
    prompt = [1, 2]
    return [
        (lambda: dynamic(model)(Ragged.of([]), 1), "0 sequences"),
        (lambda: dynamic(model)(Ragged.of([[1], []]), 1), "none may be empty"),
        (lambda: dynamic(model)(BATCH, -1), "merges=-1"),
        (lambda: dynamic(model).score(BATCH, BATCH[:1]), "3 prompts and 1 continuations"),
        (lambda: DynamicTokenization(torch.nn.Linear(2, 2), BatchMerging(TOK.vocab), mean), "no input embeddings"),
        (lambda: DynamicTokenization(model, BatchMerging(Vocabulary([b"a"] * 999)), mean), "has 292 rows"),
        (lambda: HypernetworkEmbedder(Hypernetwork(source=5, width=4), mean), "have 16 values"),
        (lambda: RowCache(mean, 0), "capacity=0"),
        (lambda: RowTeaching(0), "steps=0"),
        (lambda: RowTeaching(1, more=(0.5,)), "sum to 1"),
        (lambda: RowTeaching(1)(Hypernetwork(source=16, width=4, pieces=2), ModelRows(model), TOK.vocab,
                                rng=np.random.default_rng(0)), "lessons of 4 pieces"),
        (lambda: RowTeaching(1)(Hypernetwork(source=5, width=4), ModelRows(model), TOK.vocab,
                                rng=np.random.default_rng(0)), "but the hypernetwork 5"),
        (lambda: extend_vocabulary(TOK, [TEXT], 10), "size=10"),
        (lambda: extend_vocabulary(TOK, [], 400), "no text"),
        (lambda: vocabulary.generate(model, [], new=1), "0 ids"),
        (lambda: vocabulary.generate(model, [9999], new=1), "id 9999"),
        (lambda: vocabulary.generate(model, prompt, new=1, temperature=1.0), "generator="),
        (lambda: LargeVocabulary(TOK.vocab, vocabulary.input, vocabulary.output), "292 ids, but 295"),
    ]  # fmt: skip


@pytest.mark.parametrize("k", range(18))
def test_what_cannot_be_done_is_refused(k):
    call, words = refusals()[k]
    with pytest.raises(InvalidInput, match=words):
        call()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: NeighbourIndex(np.eye(4), lists=5, searched=1), "lists=5 and 4 rows"),
        (lambda: NeighbourIndex(np.full((4, 2), np.nan), lists=1, searched=1), "not finite"),
        (lambda: NeighbourIndex(np.eye(4), lists=1, searched=1).search(np.eye(4), 5), "k=5"),
        (lambda: large()[1].generate(large()[0], [1], new=1, index=NeighbourIndex(np.eye(16), lists=1, searched=1)),
         "over 16 rows"),
    ],
)  # fmt: skip
def test_an_index_that_does_not_fit_is_refused(call, words):
    neighbours()
    with pytest.raises(InvalidInput, match=words):
        call()


def test_a_model_with_an_output_bias_gets_no_large_vocabulary():
    model = llama(False)
    model.lm_head.bias = torch.nn.Parameter(torch.zeros(V))
    with pytest.raises(InvalidInput, match="without a bias"):
        LargeVocabulary.of(model, TOK.vocab, [b"ttt"], PieceMean(ModelRows(model), TOK))


def test_the_bytes_of_a_text_are_read_by_a_model_of_bytes():
    tok = load_tokenizer("bytes")
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=len(tok.vocab), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    ).eval()  # fmt: skip
    reader = DynamicTokenization(model, BatchMerging(tok.vocab, "word"), PieceMean(ModelRows(model), tok))
    read = reader(tok.encode_batch(["aaa bbb aaa"]))
    assert read.merged.ids.lengths.tolist() == [3]
