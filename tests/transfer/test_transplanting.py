"""Rows and tables: the rest is the weighted sum that the method says, whatever the model, and refusals change nothing."""

import copy
import json

import numpy as np
import pytest
import scipy.sparse as sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_llama import NEW, OLD, TEXT, generator, llama, logits
from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel, LlamaForCausalLM

from tokenloom.core.errors import InvalidInput
from tokenloom.core.vocabulary import Vocabulary
from tokenloom.hosts import load_tokenizer
from tokenloom.hosts.json_tokenizer import JsonTokenizer
from tokenloom.tokenize.text.bpe import BPE
from tokenloom.transfer.composition import FVT, Mean, pieces_of, unshared
from tokenloom.transfer.rows import Origin, Rows, ragged_rows, shared_ids
from tokenloom.transfer.transplanting import special_roles, transplant


@pytest.mark.parametrize("tied", [True, False])
def test_a_permuted_vocabulary_permutes_the_logits(tied):
    order = np.random.default_rng(0).permutation(len(OLD.vocab))
    pairs = order, np.arange(order.size)
    model = llama(order.size, tied)
    ids = OLD.encode(TEXT).ids
    before = logits(model, ids)
    rows = Rows.copied(OLD.vocab, OLD.vocab, pairs)
    with torch.no_grad():
        for table in {id(t.weight): t for t in (model.get_input_embeddings(), model.get_output_embeddings())}.values():
            table.weight.data = rows.apply(table.weight, generator=generator())
    assert torch.equal(logits(model, np.argsort(order)[ids]), before[:, torch.as_tensor(order)])


def test_fvt_is_the_mean_of_the_pieces():
    model = llama(len(OLD.vocab), False)
    table = model.get_input_embeddings().weight.detach().clone()
    done = transplant(model, NEW, old=OLD, generator=generator())
    ids = unshared(NEW.vocab, shared_ids(OLD.vocab, NEW.vocab))
    assert ids.size > 5
    for i in ids.tolist():
        right = table[OLD.encode(NEW.vocab[i]).ids.astype(np.int64)].mean(0)
        assert torch.allclose(done.model.get_input_embeddings().weight[i], right, atol=1e-7), NEW.vocab[i]
    assert done.rows.counts() == {
        "copied": len(NEW.vocab) - ids.size,
        "composed": ids.size,
        "neighbours": 0,
        "drawn": 0,
    }


def test_an_output_bias_follows_and_what_is_saved_loads(tmp_path):
    torch.manual_seed(0)
    model = BertForMaskedLM(
        BertConfig(
            vocab_size=len(OLD.vocab), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        )
    ).eval()
    torch.nn.init.normal_(model.get_output_embeddings().bias)
    bias = model.get_output_embeddings().bias.detach().clone()
    done = transplant(model, NEW, old=OLD, generator=generator())
    assert torch.allclose(
        done.model.get_output_embeddings().bias.double(),
        torch.from_numpy(done.rows.weights @ bias.double().numpy()),
        atol=1e-6,
    )
    done.model.save_pretrained(tmp_path)
    again = BertForMaskedLM.from_pretrained(tmp_path).eval()
    ids = NEW.encode(TEXT).ids
    assert torch.equal(logits(again, ids), logits(done.model, ids))


def test_gpt2_with_learnt_positions_is_transplanted_too():
    torch.manual_seed(0)
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=len(OLD.vocab), n_embd=16, n_layer=1, n_head=2, n_positions=64)
    ).eval()
    done = transplant(model, NEW, old=OLD, generator=generator())
    assert done.model.get_input_embeddings().weight.data_ptr() == done.model.get_output_embeddings().weight.data_ptr()


def test_drawn_rows_are_those_of_the_table_and_of_the_seed():
    model = llama(len(OLD.vocab), True)
    table = model.get_input_embeddings().weight.detach().clone()
    rows = Rows.copied(OLD.vocab, NEW.vocab, (np.zeros(0, np.int64), np.zeros(0, np.int64)))
    drawn = rows.apply(table, generator=generator())
    assert torch.equal(drawn, rows.apply(table, generator=generator()))
    assert torch.allclose(drawn.std(0), table.std(0), rtol=0.3)
    mean = Mean()(OLD, NEW, shared_ids(OLD.vocab, NEW.vocab)).apply(table, generator=generator())
    unlike = unshared(NEW.vocab, shared_ids(OLD.vocab, NEW.vocab))
    assert torch.allclose(mean[unlike], table.mean(0).expand(unlike.size, -1), atol=1e-6)


@settings(max_examples=25)
@given(st.lists(st.lists(st.integers(0, 6), max_size=4), min_size=1, max_size=5), st.randoms())
def test_ragged_rows_are_the_dense_sums(lists, random):
    weights = [[random.random() for _ in one] for one in lists]
    dense = np.zeros((len(lists), 7))
    for k, (one, some) in enumerate(zip(lists, weights)):
        for column, weight in zip(one, some):
            dense[k, column] += weight
    made = ragged_rows([np.array(one, np.int64) for one in lists], [np.array(one) for one in weights], 7)
    assert np.allclose(made.toarray(), dense)


def test_tokens_of_other_notations_are_shared_by_their_bytes_and_specials_by_role():
    old = Vocabulary([b" the", b"a", b"\x80"], special=[b"<s>"], kinds=[0, 0, 1])
    new = Vocabulary([b"\x80", b" the", b"<s>"], special=[b"<bos>"])
    assert [ids.tolist() for ids in shared_ids(old, new, {3: 3})] == [[2, 0, 3], [0, 1, 3]]


def test_pieces_stand_inside_a_text_whatever_mark_a_tokenizer_puts_before_it(tmp_path):
    spm = pytest.importorskip("sentencepiece", reason="needs the extra hf: sentencepiece")
    (tmp_path / "text").write_text("\n".join(["the cat sat on the mat", "a mat is a mat"] * 20), encoding="utf-8")
    spm.SentencePieceTrainer.train(
        input=str(tmp_path / "text"), model_prefix=str(tmp_path / "m"), vocab_size=290, model_type="bpe",
        byte_fallback=True, character_coverage=1.0, minloglevel=2,
    )  # fmt: skip
    tok = load_tokenizer(tmp_path / "m.model")
    tokens = [b" mat", b"at", b" the", b"\xff"]
    for token, ids in zip(tokens, pieces_of(tok, tokens)):
        assert tok.vocab.decode(ids) == token


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: Rows(sparse.csr_array(np.array([[0.5, 0.6]])), np.zeros(1, np.uint8)), "sum to 1.1"),
        (lambda: Rows(sparse.csr_array(np.array([[2.0, -1.0]])), np.zeros(1, np.uint8)), "not negative"),
        (lambda: Rows(sparse.csr_array(np.eye(2)), np.full(2, Origin.DRAWN)), "0 for a drawn row"),
        (lambda: Rows(sparse.csr_array(np.eye(2)), np.zeros(3, np.uint8)), "3 origins"),
        (lambda: Rows.copied(OLD.vocab, NEW.vocab, shared_ids(OLD.vocab, NEW.vocab)).apply(torch.zeros(5, 2), generator=generator()), "has 5 rows"),
        (lambda: FVT()(OLD, NEW, shared_ids(OLD.vocab, NEW.vocab)).apply(torch.full((400, 2), torch.nan), generator=generator()), "not finite"),
        (lambda: transplant(torch.nn.Linear(2, 2), NEW, old=OLD, generator=generator()), "no input embeddings"),
        (lambda: transplant(llama(20, True), NEW, old=OLD, generator=generator()), "has 20 rows"),
        (lambda: transplant(llama(400, True), NEW, old=OLD, generator=generator(), roles={"king": 3}), "no role 'king'"),
        (lambda: shared_ids(OLD.vocab, NEW.vocab, {9999: 0}), "new id 9999"),
    ],
)  # fmt: skip
def test_transplants_refuse(call, said):
    with pytest.raises(InvalidInput, match=said):
        call()


def test_a_refused_transplant_changes_nothing():
    model = llama(20, True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(InvalidInput):
        transplant(model, NEW, old=OLD, generator=generator())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("tied", [True, False])
def test_tables_are_tied_where_they_are_one_whatever_the_configuration_says(tied, tmp_path):
    model, (old_ids, new_ids) = llama(len(OLD.vocab), False), shared_ids(OLD.vocab, NEW.vocab)
    model.config.tie_word_embeddings = not tied
    if tied:
        model.lm_head.weight = model.model.embed_tokens.weight
    before = logits(model, [old_ids[0], old_ids[9]])[:, old_ids]
    done = transplant(model, NEW, old=OLD, generator=generator())
    done.model.save_pretrained(tmp_path)
    for made in (done.model, LlamaForCausalLM.from_pretrained(tmp_path).eval()):
        assert torch.equal(logits(made, [new_ids[0], new_ids[9]])[:, new_ids], before)
        tables = made.get_input_embeddings().weight, made.get_output_embeddings().weight
        assert (tables[0].data_ptr() == tables[1].data_ptr()) == tied == made.config.tie_word_embeddings


def test_an_output_with_fewer_rows_than_the_input_is_refused_and_nothing_changes():
    model = llama(len(OLD.vocab), False)
    model.lm_head = torch.nn.Linear(16, 20, bias=False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(InvalidInput, match="the table has 20 rows"):
        transplant(model, NEW, old=OLD, generator=generator())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_positions_that_count_from_padding_keep_its_id():
    from transformers import XLMRobertaConfig, XLMRobertaModel

    model = XLMRobertaModel(
        XLMRobertaConfig(
            vocab_size=400, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        )
    )
    with pytest.raises(InvalidInput, match="id of padding, 1"):
        transplant(model, NEW, old=OLD, generator=generator(), roles={"pad": 5})


def test_roles_come_from_an_object_that_tells_them():
    class Told:
        eos_token_id = 7

    assert special_roles(Told(), OLD.vocab)["eos"] == 7


def test_a_token_with_a_byte_that_the_old_vocabulary_lacks_has_no_pieces():
    small = load_tokenizer(
        JsonTokenizer('{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}}', "small")
    )
    assert [ids.tolist() for ids in pieces_of(small, [b"ab", b"\xc0", b"b"])] == [[0, 1], [], [1]]


def test_fvt_draws_what_the_old_vocabulary_cannot_write(tmp_path):
    BPE(270)(["the cat sat"]).save(tmp_path / "all.json")
    file = json.loads((tmp_path / "all.json").read_text(encoding="utf-8"))
    del file["model"]["vocab"]["\u00c0"]  # the byte C0 in GPT-2's alphabet
    (tmp_path / "some.json").write_text(json.dumps(file), encoding="utf-8")
    old, new = load_tokenizer(tmp_path / "some.json"), BPE(300)(["the cat sat on the mat " * 5])
    rows = FVT()(old, new, shared_ids(old.vocab, new.vocab))
    assert [new.vocab[i] for i in np.flatnonzero(rows.drawn).tolist()] == [b"\xc0"]
    mat = rows.weights[[new.vocab.id_of(b" mat")]].toarray()[0]
    assert mat[old.encode(" mat").ids].tolist() == [1 / old.encode(" mat").ids.size] * old.encode(" mat").ids.size


def special_model(**ids):
    """A model whose tokenizer has two special tokens, of which its configuration says what they are for."""
    old = BPE(302, special=["<|im_start|>", "<|im_end|>"])([TEXT * 20])
    model = llama(len(old.vocab))
    for role, i in ids.items():
        setattr(model.config, f"{role}_token_id", i)
    return old, model


def test_the_configuration_of_the_model_tells_the_roles():
    old, model = special_model()
    start, end = old.vocab.special_ids.tolist()
    model.config.bos_token_id, model.config.eos_token_id = end, [start, end]
    table = model.get_input_embeddings().weight.detach().clone()
    new = BPE(310, special=["<s>", "</s>"])([TEXT * 20])
    done = transplant(model, new, old=old, generator=generator())
    after = done.model.get_input_embeddings().weight
    assert torch.equal(after[new.vocab.id_of(b"<s>")], table[end])
    assert torch.equal(after[new.vocab.id_of(b"</s>")], table[start])
    assert (done.model.config.bos_token_id, done.model.config.eos_token_id) == (
        new.vocab.id_of(b"<s>"),
        new.vocab.id_of(b"</s>"),
    )


def test_a_role_that_the_new_tokenizer_lacks_is_taken_by_another():
    old, model = special_model(pad=300)
    done = transplant(model, NEW, old=old, generator=generator())
    end = NEW.vocab.id_of(b"<|endoftext|>")
    assert (done.model.config.pad_token_id, done.model.config.eos_token_id) == (end, end)


def test_a_special_token_with_the_spelling_of_an_old_one_keeps_its_row_whatever_its_role():
    old = BPE(303, special=["<|endoftext|>", "<|im_start|>", "<|im_end|>"])([TEXT * 20])
    text, start, end = old.vocab.special_ids.tolist()
    model = llama(len(old.vocab))
    model.config.bos_token_id, model.config.eos_token_id = start, end
    new = BPE(310, special=["<|endoftext|>", "</s>"])([TEXT * 20])
    for roles, row in (({}, text), ({"eos": new.vocab.special_ids[0]}, end)):
        done = transplant(copy.deepcopy(model), new, old=old, generator=generator(), roles=roles)
        found = done.rows.weights[[int(new.vocab.special_ids[0])]]
        assert found.indices.tolist() == [row]


@pytest.mark.parametrize("named", [None, "bos", "eos"])
def test_one_token_for_beginning_and_end_has_the_row_of_the_end_unless_the_beginning_is_asked_for(named):
    old, new = (BPE(310, special=special)([TEXT * 20]) for special in (["<s>", "</s>"], ["<|endoftext|>"]))
    only = int(new.vocab.special_ids[0])
    roles = {} if named is None else {named: only}
    done = transplant(llama(len(old.vocab)), new, old=old, generator=generator(), roles=roles)
    expected = old.vocab.id_of(b"<s>" if named == "bos" else b"</s>")
    assert done.rows.weights[[only]].indices.tolist() == [expected]
