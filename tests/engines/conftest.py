"""A tiny random Llama with a tokenizer trained on the spot, saved as a real model folder once a session."""

import os
from pathlib import Path

import pytest

# Before torch is imported: busy-waiting threads on shared cores make these tests 20 times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

WORDS = ["What is the sum of 12 and 30?", "the quick brown fox jumps over the lazy dog", "Write a short poem."]
SPECIALS = ["<s>", "</s>", "<|user|>", "<|end|>"]
MAX_LEN = 128


@pytest.fixture(scope="session")
def tokenizer():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=SPECIALS, initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(WORDS * 4, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>")


@pytest.fixture(scope="session")
def model_path(tokenizer, tmp_path_factory) -> str:
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    folder: Path = tmp_path_factory.mktemp("tiny_llama")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=MAX_LEN,
        bos_token_id=0,
        eos_token_id=1,
        initializer_range=0.2,
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(bos_token_id=0, eos_token_id=[1, 3], temperature=0.3, do_sample=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
