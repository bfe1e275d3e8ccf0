"""The architecture of the miniature models: a small Llama with tied embeddings.

Few heads and plain attention: at these lengths both are markedly faster on a CPU than many heads and fused attention.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from magpie_align.mini.tokenizer import END_OF_TEXT
from magpie_align.settings import Settings

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerBase


class ModelSize(Settings):
    """Widths of the model; the default is about 2M parameters."""

    hidden: int = 192
    layers: int = 4
    heads: int = 3
    intermediate: int = 512
    positions: int = 512


def new_model(tokenizer: "PreTrainedTokenizerBase", size: ModelSize | None = None, seed: int = 0) -> "LlamaForCausalLM":
    """A model with fresh float32 weights, a function of (size, seed)."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    size = size or ModelSize()
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=size.hidden,
            intermediate_size=size.intermediate,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            num_key_value_heads=size.heads,
            max_position_embeddings=size.positions,
            tie_word_embeddings=True,
            attn_implementation="eager",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def save_model(model: "LlamaForCausalLM", tokenizer: "PreTrainedTokenizerBase", folder: Path) -> None:
    """A plain Hugging Face folder: safetensors, tokenizer, and a generation config that ends at a turn's end."""
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(END_OF_TEXT)]
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
