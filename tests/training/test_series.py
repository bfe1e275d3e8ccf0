"""What is counted of a training: tokens, padding, the arithmetic of a model."""

import pytest

from magpie_align.training.mfu import Cost, peak
from magpie_align.training.packing import collator
from magpie_align.training.series import count


def test_tokens_and_padding_are_counted() -> None:
    samples = [{"input_ids": [5] * n, "labels": [5] * n} for n in (3, 7, 2)]
    assert count(collator(0, packed=False)(samples)) == (12, 21, 9 + 49 + 4)
    row = {"input_ids": [5] * 12, "labels": [5] * 12, "seq_lengths": [3, 7, 2]}
    assert count(collator(0, packed=True)([row])) == (12, 12, 9 + 49 + 4)


@pytest.mark.parametrize("tied", [True, False])
def test_the_arithmetic_of_a_model(tied: bool) -> None:
    """A forward pass takes 2 a weight that is multiplied with, a backward pass twice that; PaLM, appendix B."""
    from transformers import LlamaConfig, LlamaForCausalLM

    hidden, layers, middle, words, kv = 16, 3, 24, 50, 8
    config = LlamaConfig(
        vocab_size=words, hidden_size=hidden, intermediate_size=middle, num_hidden_layers=layers, num_attention_heads=4,
        num_key_value_heads=kv // 4, tie_word_embeddings=tied,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    matrices = layers * (2 * hidden * hidden + 2 * hidden * kv + 3 * hidden * middle) + words * hidden
    attention = 12 * layers * hidden * (10 * 10 + 20 * 20)
    assert Cost(model)(30, 10 * 10 + 20 * 20) == 6 * matrices * 30 + attention
    for weight in model.model.layers.parameters():
        weight.requires_grad = False
    assert Cost(model)(30, 500) == (4 * (matrices - words * hidden) + 6 * words * hidden) * 30 + attention


def test_peaks_are_found_by_name() -> None:
    assert peak("NVIDIA H100 80GB HBM3", "bfloat16") == 989e12
    assert peak("NVIDIA H100 PCIe", "bfloat16") == 756e12
    assert peak("NVIDIA L40S", "bfloat16") == 362e12 and peak("NVIDIA L4", "bfloat16") == 121e12
    assert peak("NVIDIA A100-SXM4-80GB", "float32") is None and peak("cpu", "bfloat16") is None
