"""Small tokenizers in the manner of well-known families: their special tokens, their word splitting, their chat format.

Vocabularies are trained here on a few sentences; chat templates are short ones of our own in each family's format.
"""

import json
from functools import cache

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

TEXT = [
    "What is the sum of 12 and 30? user assistant system model",
    "Write a short poem about the quick brown fox, please.\n\nThanks USER: ASSISTANT: [INST] [/INST] <<SYS>>",
    "A chat between a curious user and an artificial intelligence assistant.\ndef f(x):\n\treturn x",
]
LLAMA3_SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

LOOP = "{%% for m in messages %%}%s{%% endfor %%}{%% if add_generation_prompt %%}%s{%% endif %%}"
LLAMA3 = "{{ bos_token }}" + LOOP % (
    "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim + '<|eot_id|>' }}",
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}",
)
LLAMA31 = (
    "{{ bos_token }}{% set first = messages[0].role == 'system' %}<|start_header_id|>system<|end_header_id|>\n\n"
    "Today Date: {{ date_string if date_string is defined else strftime_now('%d %b %Y') }}\n\n"
    "{{ messages[0].content | trim if first else '' }}<|eot_id|>"
    + LOOP
    % (
        "{% if m.role != 'system' %}"
        "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content | trim + '<|eot_id|>' }}{% endif %}",
        "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}",
    )
)
CHATML = LOOP % (
    "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}",
    "{{ '<|im_start|>assistant\n' }}",
)
QWEN_SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
QWEN25 = (
    "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\n"
    + QWEN_SYSTEM
    + "<|im_end|>\n' }}{% endif %}"
    + CHATML
)
QWEN2 = QWEN25.replace(QWEN_SYSTEM, "You are a helpful assistant.")
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    + LOOP
    % (
        "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\n' + m.content | trim + "
        "'<end_of_turn>\n' }}",
        "{{ '<start_of_turn>model\n' }}",
    )
)
PHI3 = "{{ bos_token }}" + LOOP % (
    "{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}",
    "{{ '<|assistant|>\n' }}",
)
LLAMA2 = (
    "{% set has = messages[0].role == 'system' %}"
    "{% for m in (messages[1:] if has else messages) %}"
    "{% set text = '<<SYS>>\n' + messages[0].content + '\n<</SYS>>\n\n' + m.content if has and loop.first else m.content %}"
    "{% if m.role == 'user' %}{{ bos_token + '[INST] ' + text | trim + ' [/INST]' }}"
    "{% else %}{{ ' ' + text | trim + ' ' + eos_token }}{% endif %}{% endfor %}"
)
MISTRAL = (
    "{% set has = messages[0].role == 'system' %}{{ bos_token }}"
    "{% for m in (messages[1:] if has else messages) %}"
    "{% if m.role == 'user' %}{{ '[INST] ' + (messages[0].content + '\n\n' if has and loop.last else '') + m.content "
    "+ '[/INST]' }}{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"
)
VICUNA_SYSTEM = "A chat between a curious user and an artificial intelligence assistant."
VICUNA = (
    "{% set has = messages[0].role == 'system' %}{{ bos_token }}"
    "{{ (messages[0].content if has else '" + VICUNA_SYSTEM + "') + ' ' }}"
    "{% for m in (messages[1:] if has else messages) %}"
    "{% if m.role == 'user' %}{{ 'USER: ' + m.content }}{% else %}{{ ' ASSISTANT: ' + m.content + eos_token }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ ' ASSISTANT:' }}{% endif %}"
)
THINKING = CHATML.replace(
    "{{ '<|im_start|>assistant\n' }}",
    "{{ '<|im_start|>assistant\n' + ('<think>\n\n</think>\n\n' if enable_thinking is false else '') }}",
)


def byte_level(specials: list[AddedToken | str], template: str, bos: str | None, eos: str, split: str | None = None):
    """A byte-level BPE, with Llama-3's word splitting or another's."""
    core = Tokenizer(models.BPE())
    pattern = pre_tokenizers.Split(Regex(split or LLAMA3_SPLIT), behavior="isolated")
    levels = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.pre_tokenizer = pre_tokenizers.Sequence([pattern, levels])
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        TEXT * 4, trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False)
    )
    return _finish(core, specials, template, bos, eos)


def pieces(specials: list[AddedToken | str], template: str, bos: str, eos: str, legacy: bool = False):
    """A SentencePiece-like BPE with byte fallback; `legacy` marks a word start after every special token too."""
    core = Tokenizer(models.BPE(unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    core.train_from_iterator(
        TEXT * 4, trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>"], show_progress=False)
    )
    state = json.loads(core.to_str())
    vocabulary = state["model"]["vocab"]
    for byte in range(256):
        vocabulary.setdefault(f"<0x{byte:02X}>", len(vocabulary))
    state["model"]["byte_fallback"] = True
    core = Tokenizer.from_str(json.dumps(state))
    if legacy:
        core.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        core.pre_tokenizer = None
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return _finish(core, specials, template, bos, eos)


def _finish(core, specials, template, bos, eos):
    tokens = [AddedToken(s, special=True, normalized=False) if isinstance(s, str) else s for s in specials]
    core.add_special_tokens([t for t in tokens if t.special])
    core.add_tokens([t for t in tokens if not t.special])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, bos_token=bos, eos_token=eos)
    tokenizer.chat_template = template
    return tokenizer


HEADERS = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
IM = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
PHI = [
    AddedToken(f"<|{n}|>", special=True, normalized=False, rstrip=True) for n in ("user", "assistant", "system", "end")
]
THINK = [
    AddedToken("<think>", special=False, normalized=False),
    AddedToken("</think>", special=False, normalized=False),
]
TURNS = ["<bos>", "<eos>", AddedToken("<start_of_turn>", special=False, normalized=False), "<end_of_turn>"]

BUILDERS = {
    "llama-3": lambda: byte_level(HEADERS, LLAMA3, "<|begin_of_text|>", "<|end_of_text|>"),
    "llama-3.1": lambda: byte_level(HEADERS, LLAMA31, "<|begin_of_text|>", "<|end_of_text|>"),
    "qwen1.5": lambda: byte_level(IM, CHATML, None, "<|endoftext|>"),
    "qwen2": lambda: byte_level(IM, QWEN2, None, "<|endoftext|>"),
    "qwen2.5": lambda: byte_level(IM, QWEN25, None, "<|im_end|>"),
    "qwen3": lambda: byte_level([*IM, *THINK], THINKING, None, "<|im_end|>"),
    "gemma": lambda: pieces(TURNS, GEMMA, "<bos>", "<eos>"),
    "phi-3": lambda: pieces(["<s>", "</s>", *PHI], PHI3, "<s>", "</s>", legacy=True),
    "llama-2": lambda: pieces(["<s>", "</s>"], LLAMA2, "<s>", "</s>"),
    "mistral": lambda: pieces(["<s>", "</s>", "[INST]", "[/INST]"], MISTRAL, "<s>", "</s>"),
    "yi": lambda: pieces(["<|startoftext|>", *IM], CHATML, "<|startoftext|>", "<|im_end|>", legacy=True),
    "vicuna": lambda: pieces(["<s>", "</s>"], VICUNA, "<s>", "</s>", legacy=True),
}


@cache
def family(name: str) -> PreTrainedTokenizerFast:
    return BUILDERS[name]()
