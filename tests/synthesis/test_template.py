"""The derived parts equal what each family's own chat template prints, as text and as token ids."""

from datetime import date

import pytest

from magpie_align.engines.template import TemplateSettings, derive
from magpie_align.errors import ConfigError
from magpie_align.records import Message, to_dicts
from tests.synthesis.families import BUILDERS, LLAMA3, LLAMA31, QWEN_SYSTEM, VICUNA_SYSTEM, byte_level, family

TABLE = {
    "llama-3": "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n",
    "qwen1.5": "<|im_start|>user\n",
    "qwen2.5": f"<|im_start|>system\n{QWEN_SYSTEM}<|im_end|>\n<|im_start|>user\n",
    "gemma": "<bos><start_of_turn>user\n",
    "phi-3": "<s><|user|>\n",
    "llama-2": "<s>[INST] ",
    "mistral": "<s>[INST] ",
    "vicuna": f"<s>{VICUNA_SYSTEM} USER: ",
    # The official entry lacks this line, which the chat template prints without being asked.
    "llama-3.1": "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nToday Date: 26 Jul 2024\n\n<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\n",
    # The official entry lacks the default system turn.
    "qwen2": "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n",
    # The official entry starts with <|startoftext|>, which the chat template does not print.
    "yi": "<|im_start|>user\n",
}
TODAY = {"strftime_now": date(2024, 7, 26).strftime}
NO_SYSTEM, SYSTEM_MOVES = {"gemma"}, {"mistral"}
TEXTS = [
    "What is 2+2?",
    "12345 eggs",
    "naïve café 😀🇫🇷",
    "def f(x):\n\treturn x\n\nf(1)",
    "如何写诗？",
    "(a) \\frac{1}{2}",
]
PADDED = ["\nstarts with a newline", "\n\n  two", " starts with a space", "ends with one ", "ends\n\n", "\t", ""]


def says(*texts: str, system: str | None = None) -> list[Message]:
    roles = ("user", "assistant")
    start = [] if system is None else [Message("system", system)]
    return [*start, *(Message(roles[n % 2], text) for n, text in enumerate(texts))]


def whole(tokenizer, messages) -> tuple[str, tuple[int, ...]]:
    text = tokenizer.apply_chat_template(to_dicts(messages), tokenize=False, add_generation_prompt=True, **TODAY)
    return text, tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


@pytest.mark.parametrize("name", TABLE)
def test_the_pre_query_template_is_the_one_of_the_paper(name):
    template = derive(family(name))
    assert template.pre_query_text() == TABLE[name]


@pytest.mark.parametrize("name", TABLE)
def test_there_is_one_bos_or_none_as_the_template_has_it(name):
    tokenizer = family(name)
    printed = TABLE[name].count(tokenizer.bos_token) if tokenizer.bos_token else 0
    for ids in (derive(tokenizer).pre_query, derive(tokenizer).response_prompt(says("hi"))):
        assert ids.count(tokenizer.bos_token_id) == printed <= 1


@pytest.mark.parametrize("text", TEXTS + PADDED)
@pytest.mark.parametrize("name", BUILDERS)
def test_a_prompt_is_token_for_token_the_whole_template(name, text):
    tokenizer = family(name)
    template = derive(tokenizer)
    for messages in (says(text), says(text, "Well.", text), says("Hi", text, "7")):
        assert (template.render(messages), template.response_prompt(messages)) == whole(tokenizer, messages)
    if name not in NO_SYSTEM and text == text.strip() != "":
        messages = says(text, system=f"Be {text}")
        assert (template.render(messages), template.response_prompt(messages)) == whole(tokenizer, messages)
    if name not in NO_SYSTEM | SYSTEM_MOVES and text == text.strip() != "":
        messages = says(text, "Well.", text, system="Be brief.")
        assert template.response_prompt(messages) == whole(tokenizer, messages)[1]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name", BUILDERS)
def test_question_prompts_begin_the_prompt_of_any_ordinary_text(name, text):
    tokenizer = family(name)
    template = derive(tokenizer)
    for history in ([], says("Hi", "Hello."), says("Hi", "Hello.", "How?", "So.")):
        ids = template.question_prompt(history)
        assert whole(tokenizer, [*history, Message("user", text)])[1][: len(ids)] == ids
        opening = template.render([*history, Message("user", "")]).removesuffix(template.suffix)
        assert "".join(tokenizer.decode(ids).split()) == "".join(opening.split())


@pytest.mark.parametrize("name", BUILDERS)
def test_encoding_stretch_by_stretch_agrees_with_encoding_the_whole(name):
    """The way taken for texts that spell special tokens gives the same ids on texts that do not."""
    template = derive(family(name))
    for text in TEXTS:
        parts = [*template._parts(says(text, text, text), None)]
        assert template.encoder._encode_apart(parts) == template.encoder.encode(parts)


@pytest.mark.parametrize("name", BUILDERS)
def test_text_that_spells_special_tokens_stays_text(name):
    tokenizer = family(name)
    template = derive(tokenizer)
    clean = template.response_prompt(says("a fox"))
    for marker in template.encoder._markers:
        for text in (f"a {marker} fox", marker, f"{marker}{marker}", f"a{marker}"):
            ids = template.response_prompt(says(text))
            assert [i for i in ids if i in tokenizer.added_tokens_decoder and i in template.encoder._ids] == [
                i for i in clean if i in template.encoder._ids
            ]
            assert marker in tokenizer.decode(ids, skip_special_tokens=False)
    injected = template.response_prompt(says("a", f"b {template.suffix}", f"c{template.follow_up}d"))
    fair = template.response_prompt(says("a", "b", "c"))
    assert sum(i in template.encoder._ids for i in injected) == sum(i in template.encoder._ids for i in fair)


@pytest.mark.parametrize(
    ("name", "stops", "strings"),
    [
        ("llama-3", {"<|end_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"}, ()),
        ("qwen2.5", {"<|im_end|>", "<|im_start|>"}, ()),
        ("gemma", {"<eos>", "<end_of_turn>", "<start_of_turn>"}, ()),
        ("phi-3", {"</s>", "<|end|>", "<|assistant|>", "<|user|>"}, ()),
        ("mistral", {"</s>", "[INST]", "[/INST]"}, ()),
        ("llama-2", {"</s>", "<s>"}, ("[/INST]",)),
        ("vicuna", {"</s>"}, ("ASSISTANT:",)),
    ],
)
def test_stops_are_the_ends_of_a_turn(name, stops, strings):
    tokenizer = family(name)
    template = derive(tokenizer)
    assert set(tokenizer.convert_ids_to_tokens(template.stop_ids)) == stops
    assert (template.question_stop, template.response_stop) == (strings, ())


def test_the_generation_configs_end_ids_are_stops_too():
    tokenizer = family("qwen1.5")
    assert derive(tokenizer, end_ids=[7, tokenizer.eos_token_id]).stop_ids[:2] == (tokenizer.eos_token_id, 7)


def test_a_system_text_steers_the_questions_and_not_the_responses():
    tokenizer = family("qwen2.5")
    template = derive(tokenizer, system="You teach maths.")
    text = "<|im_start|>system\nYou teach maths.<|im_end|>\n<|im_start|>user\n"
    assert template.pre_query_text() == text
    assert template.pre_query == tuple(tokenizer(text, add_special_tokens=False)["input_ids"])
    assert QWEN_SYSTEM in template.render(says("hi"))
    assert "Chat on." in tokenizer.decode(template.question_prompt(says("a", "b"), system="Chat on."))


def test_a_template_without_system_turns_refuses_one():
    with pytest.raises(ConfigError, match="a system text cannot be given: .*System role not supported; set the part"):
        derive(family("gemma"), system="You teach maths.")
    template = derive(family("gemma"))
    with pytest.raises(ConfigError, match="a system text cannot be given"):
        template.response_prompt(says("hi", system="Be brief."))
    assert template.refuse(turns=3) is None
    assert template.refuse(system=True) == template.refusals["system"]


def test_a_system_text_that_moves_in_later_turns_is_refused_there_only():
    template = derive(family("mistral"))
    assert template.refuse(system=True) is None
    assert "moves or drops the system text" in template.refuse(system=True, turns=2)


def test_a_date_never_changes_the_prompt():
    tokenizer = family("llama-3.1")
    given = TemplateSettings(date="2025-01-02")
    assert "02 Jan 2025" in derive(tokenizer, overrides=given).prefix
    assert derive(tokenizer).hash == derive(tokenizer).hash != derive(tokenizer, overrides=given).hash
    named = TemplateSettings(kwargs={"date_string": "today"})
    assert "Today Date: today" in derive(tokenizer, overrides=named).prefix


def test_template_variables_reach_the_chat_template():
    off = derive(family("qwen3"), overrides=TemplateSettings(kwargs={"enable_thinking": False}))
    assert off.suffix == "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    assert off.assistant == "<|im_end|>\n<|im_start|>assistant\n"
    assert "<think>" not in derive(family("qwen3")).suffix


def test_any_part_can_be_given_by_hand():
    official = TABLE["llama-3"]
    template = derive(family("llama-3.1"), overrides=TemplateSettings(prefix=official))
    assert template.pre_query_text() == official
    assert template.follow_up == "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
    template = derive(family("llama-3"), overrides=TemplateSettings(stop=("<|eot_id|>", "\n")))
    assert (len(template.stop_ids), template.question_stop) == (1, ("\n",))
    given = TemplateSettings(prefix="<|im_start|>", suffix="<|im_end|>", system=("S:", "U:"))
    assert derive(family("qwen2"), system="x", overrides=given).pre_query_text() == "S:xU:"


def test_a_tokenizer_without_a_chat_template_needs_its_parts_by_hand():
    tokenizer = byte_level(["</s>"], "", None, "</s>")
    tokenizer.chat_template = None
    with pytest.raises(ConfigError, match="set the part by hand under `template:`"):
        derive(tokenizer)
    template = derive(tokenizer, overrides=TemplateSettings(prefix="Q: ", suffix="\nA:"))
    assert template.render(says("hi")) == "Q: hi\nA:"
    assert template.question_stop == ("A:",)
    assert "set the part by hand" in template.refuse(turns=2)
    by_hand = TemplateSettings(chat_template=LLAMA3)
    assert derive(tokenizer, overrides=by_hand).prefix.startswith("<|start_header_id|>user")


@pytest.mark.parametrize(
    ("chat_template", "message"),
    [
        ("{{ messages[0].content | upper }}", "does not print the text of a turn as it is"),
        ("{{ messages[0].content }}{{ messages[0].content }}", "prints the text of a turn 2 times"),
        ("U:{{ messages[0].content | replace(' ', '') }}", "rewrites the user's text"),
        ("U:{{ messages[0].content[:40] }}:", None),
        ("U:{{ messages[0].content | replace('+', '-') }}", "rewrites texts such as"),
        (
            "U:{{ messages[0].content }}{{ 'N' if messages[0].content[0] in ' 1' else 'A' }}",
            "depending on what it says",
        ),
        ("{{ raise_exception('Only tool calls here.') }}", r"refuses the turns \(user\): Only tool calls here; set"),
        ("{% if %}", "refuses the turns"),
    ],
)
def test_templates_that_cannot_be_cut_are_refused_in_one_sentence(chat_template, message):
    tokenizer = byte_level(["</s>"], chat_template, None, "</s>")
    if message is None:
        assert derive(tokenizer).follow_up is None
        return
    with pytest.raises(ConfigError, match=message) as caught:
        derive(tokenizer)
    assert "\n" not in str(caught.value)
    assert "`template:`" in str(caught.value)


def test_a_template_for_one_turn_refuses_a_second():
    tokenizer = byte_level(["</s>"], "U:{{ messages[0].content }} A:", None, "</s>")
    template = derive(tokenizer)
    assert template.response_prompt(says("hi"))
    with pytest.raises(ConfigError, match="a second turn cannot be made"):
        template.question_prompt(says("hi", "hello"))


def test_a_template_that_starts_with_the_text_has_no_pre_query_template():
    template = derive(byte_level(["</s>"], "{{ messages[0].content }}</s>", None, "</s>"))
    with pytest.raises(ConfigError, match="prints nothing in front of the user's text"):
        _ = template.pre_query


def test_turns_out_of_order_are_refused():
    template = derive(family("llama-3"))
    with pytest.raises(ConfigError, match="history must end with an answer"):
        template.question_prompt(says("hi"))
    with pytest.raises(ConfigError, match="must end with the user's turn"):
        template.response_prompt(says("hi", "hello"))
    with pytest.raises(ConfigError, match="turn 2 of a conversation is the user's"):
        template.response_prompt([Message("user", "a")] * 3)


def test_the_hash_changes_with_any_part():
    tokenizer = family("llama-3")
    variants = [{}, {"prefix": "x"}, {"suffix": "x"}, {"follow_up": "x"}, {"stop": ("x",)}, {"system": ("x", "y")}]
    hashes = {derive(tokenizer, overrides=TemplateSettings(**v)).hash for v in variants}
    hashes.add(derive(tokenizer, system="x").hash)
    assert len(hashes) == len(variants) + 1
    assert LLAMA31 != LLAMA3
