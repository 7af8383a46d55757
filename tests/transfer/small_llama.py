"""What tests of transplants share: two vocabularies of one text, and a small Llama."""

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tokenloom.tokenize.text.bpe import BPE
from tokenloom.transfer.rows import shared_ids

TEXT = "the cat sat on the mat and the dog sat on the log; unbelievable, believable, table "
OLD, NEW = BPE(300)([TEXT * 20]), BPE(330)([TEXT[::-1] * 5 + TEXT * 20])
PAIRS = shared_ids(OLD.vocab, NEW.vocab)


def generator():
    return torch.Generator().manual_seed(0)


def llama(size, tied=True):
    torch.manual_seed(1)
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=size, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
                    tie_word_embeddings=tied, bos_token_id=256, eos_token_id=256)
    ).eval()  # fmt: skip


def logits(model, ids):
    with torch.no_grad():
        return model(input_ids=torch.as_tensor(np.asarray(ids, np.int64))[None]).logits[0]
