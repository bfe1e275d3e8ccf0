"""A byte-level BPE tokenizer of 1024 entries with a Llama-3 chat template.

The split is Llama-3's, which keeps the newline pair of a header one token whatever follows, so that prefix + query +
suffix is exactly the templated chat. Two additions: one token a digit, and quoted words spelled letter by letter.
"""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from magpie_align.mini.language import generate
from magpie_align.mini.tagging import TAG_SYSTEM, true_tags

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

BOS, END_OF_TEXT, EOT, PAD = "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|pad|>"
HEADER_START, HEADER_END = "<|start_header_id|>", "<|end_header_id|>"
SPECIAL_TOKENS = (BOS, END_OF_TEXT, HEADER_START, HEADER_END, EOT, PAD)
CHAT_TEMPLATE = """{{- bos_token }}
{%- for message in messages %}
{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
{%- if message['role'] == 'assistant' %}
{%- generation %}{{- message['content'] | trim + '<|eot_id|>' }}{%- endgeneration %}
{%- else %}
{{- message['content'] | trim + '<|eot_id|>' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}"""
_QUOTED_LETTER = r'[a-zA-Z](?=[a-zA-Z]*")'
_LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _sample_texts(seed: int, count: int) -> Iterator[str]:
    rng = Random(f"tokenizer {seed}")
    for _ in range(count):
        item = generate(rng)
        yield item.instruction
        yield item.answer
        yield true_tags(item.instruction).render()
    for role in ("system", "user", "assistant"):
        yield from [f"{role}\n\n"] * count
    yield from [TAG_SYSTEM] * (count // 10)


def build_tokenizer(
    folder: Path, seed: int = 0, vocab_size: int = 1024, samples: int = 6000
) -> "PreTrainedTokenizerFast":
    """Train the tokenizer on texts of the language and save it in `folder`."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    splits = [pre_tokenizers.Split(Regex(rx), "isolated") for rx in (_QUOTED_LETTER, r"\d", _LLAMA3_SPLIT)]
    bpe.pre_tokenizer = pre_tokenizers.Sequence([*splits, pre_tokenizers.ByteLevel(False, use_regex=False)])
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(_sample_texts(seed, samples), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=BOS,
        eos_token=EOT,
        pad_token=PAD,
        model_max_length=512,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )
    tokenizer.save_pretrained(folder)
    return tokenizer
