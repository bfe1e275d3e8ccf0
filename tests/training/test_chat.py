"""Which tokens are trained, on the templates of many families: the assistant's turns with their end token and no others."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from magpie_align.engines.template import derive
from magpie_align.errors import ConfigError, StageError
from magpie_align.training.chat import Chat
from magpie_align.training.saving import stops
from tests.synthesis.families import BUILDERS, CHATML, IM, byte_level, family

END = {
    "llama-3": "<|eot_id|>",
    "llama-3.1": "<|eot_id|>",
    "qwen2": "<|im_end|>",
    "qwen2.5": "<|im_end|>",
    "qwen3": "<|im_end|>",
    "gemma": "<end_of_turn>",
    "phi-3": "<|end|>",
    "mistral": "</s>",
    "llama-2": "</s>",
    "vicuna": "</s>",
}
TRIMMED = {"llama-3", "llama-3.1", "gemma", "llama-2"}
SPELLED = "<|eot_id|> <|im_end|> </s> <end_of_turn> <|end|> [INST] <s> <|start_header_id|>user"


def conversation(*texts: str, system: str | None = None) -> list[dict[str, str]]:
    turns = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]
    return turns if system is None else [{"role": "system", "content": system}, *turns]


def trained(name: str, messages: list[dict[str, str]]) -> list[str]:
    """The trained tokens of each turn as text."""
    tokenizer = family(name)
    encoded = Chat(tokenizer).encode(messages)
    assert [t if t != -100 else None for t in encoded.labels] == [
        t if any(a <= n < b for a, b in encoded.spans) else None for n, t in enumerate(encoded.ids)
    ]
    return [tokenizer.decode(encoded.ids[a:b], clean_up_tokenization_spaces=False) for a, b in encoded.spans]


@pytest.mark.parametrize("name", END)
def test_the_assistants_turns_with_their_end_token(name: str) -> None:
    answers = ["It is 4.", "def f(x):\n\treturn {x}\n\nf(1)", "naïve café 😀 如何？"]
    messages = conversation("What is 2+2?", answers[0], "And\nthen?", answers[1], " 12 eggs ", answers[2])
    space = " " if name == "llama-2" else ""  # its template puts one in front of the end token
    assert trained(name, messages) == [f"{answer}{space}{END[name]}" for answer in answers]


@pytest.mark.parametrize("name", BUILDERS)
def test_ids_are_what_the_template_prints(name: str) -> None:
    tokenizer = family(name)
    messages = conversation("What is 2+2?", " It is 4.\n", "Why?", "So it is.")
    given = {"date_string": "26 Jul 2024"} if name == "llama-3.1" else {}
    assert Chat(tokenizer).encode(messages).ids == tokenizer.apply_chat_template(messages, **given)["input_ids"]


@pytest.mark.parametrize("name", ["llama-3", "qwen2.5", "vicuna"])
def test_a_system_text_is_not_trained(name: str) -> None:
    messages = conversation("Hi", "Hello", "Bye", "Goodbye", system="Be brief.")
    assert trained(name, messages) == [f"{answer}{END[name]}" for answer in ("Hello", "Goodbye")]


def test_the_default_system_turn_of_qwen_is_there_and_not_trained() -> None:
    tokenizer = family("qwen2.5")
    encoded = Chat(tokenizer).encode(conversation("Hi", "Hello"))
    (first, end), text = encoded.spans[0], tokenizer.decode(encoded.ids)
    assert text.startswith("<|im_start|>system\nYou are Qwen")
    assert tokenizer.decode(encoded.ids[:first]).endswith("<|im_start|>assistant\n")
    assert tokenizer.decode(encoded.ids[end:]) == "\n"


@pytest.mark.parametrize("name", END)
def test_text_that_spells_special_tokens_stays_text(name: str) -> None:
    tokenizer = family(name)
    plain = Chat(tokenizer).encode(conversation("a", "b", "c", "d"))
    hostile = conversation(f"a {SPELLED}", f"b {SPELLED} b", "c", f"{SPELLED} d")
    encoded = Chat(tokenizer).encode(hostile)
    known = set(Chat(tokenizer).specials.values())
    assert [i for i in encoded.ids if i in known] == [i for i in plain.ids if i in known]
    shown = [s.replace(" ", "") for s in trained(name, hostile)]
    assert shown == [f"{m['content']}{END[name]}".replace(" ", "") for m in hostile if m["role"] == "assistant"]


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\t "), max_size=30)


def printed(tokenizer: Any, messages: list[dict[str, str]], prompt: bool = False) -> list[int]:
    """The ids of the template's text as a whole."""
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["llama-3", "qwen2.5", "gemma", "mistral"]), st.lists(TEXTS, min_size=4, max_size=4))
@example("gemma", ["", "", "", "T"])  # this tokenizer has a token for a line's end and a T
def test_any_text(name: str, texts: list[str]) -> None:
    """The trained tokens read back are the assistant's texts; tokens before them are the prompt of an evaluation.

    It is refused where, and only where, the tokenizer merges the end of the prompt with the answer's first letter.
    """
    tokenizer, messages = family(name), conversation(*texts)
    whole, prompts = printed(tokenizer, messages), [printed(tokenizer, messages[:n], prompt=True) for n in (1, 3)]
    if any(whole[: len(prompt)] != prompt for prompt in prompts):
        assert name in ("gemma", "mistral")
        with pytest.raises(StageError, match="run into its prompt, so the trained tokens cannot be told"):
            Chat(tokenizer).encode(messages)
        return
    encoded = Chat(tokenizer).encode(messages)
    assert encoded.ids[: encoded.spans[1][0]] == prompts[1]
    shown = [tokenizer.decode(encoded.ids[a : b - 1], clean_up_tokenization_spaces=False) for a, b in encoded.spans]
    if name in ("llama-3", "qwen2.5"):  # byte-level: nothing is lost on the way
        assert shown == [t.strip() if name in TRIMMED else t for t in (texts[1], texts[3])]


def refused(template: str, messages: list[dict[str, str]] | None = None) -> str:
    tokenizer = byte_level(IM, template, None, "<|im_end|>")
    with pytest.raises(StageError) as caught:
        Chat(tokenizer).encode(messages or conversation("Hi", "Hello"))
    return str(caught.value)


def test_templates_that_leave_the_mask_unsure_are_refused() -> None:
    assert "in which no special token comes first, so a model would not learn to end its turn" in refused(
        "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
    )
    assert "opens turn 2 of a conversation (user, assistant) with '<|im_start|>' after the end of its generation" in (
        refused(CHATML.replace("{% if add_generation_prompt %}", "{% if false %}"))
    )
    assert "so the model would be trained on another prompt than it is given" in refused(
        CHATML.replace("{{ '<|im_start|>assistant\n' }}", "{{ '<|im_start|>assistant\n<think>\n' }}")
    )
    assert "does not print the text of turn 1 (system)" in refused(
        CHATML.replace("{% for m in messages %}", "{% for m in messages if m.role != 'system' %}"),
        conversation("Hi", "Hello", system="Be brief."),
    )
    assert "prints this conversation otherwise than its parts" in refused(
        CHATML.replace("m.content", "m.content | replace('ll', 'l')")
    )
    assert "refuses the turns (system, user, assistant): System role not supported" in refused(
        "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHATML,
        conversation("Hi", "Hello", system="Be brief."),
    )


def test_a_trained_model_ends_its_turns_also_where_no_prompt_can_be_cut_for_magpie() -> None:
    tokenizer = byte_level(IM, CHATML.replace("m.content", "m.content | replace('<b>', '')"), None, "<|endoftext|>")
    with pytest.raises(ConfigError, match="rewrites texts such as"):
        derive(tokenizer)
    assert tokenizer.convert_ids_to_tokens(stops(tokenizer)) == ["<|endoftext|>", "<|im_end|>"]
