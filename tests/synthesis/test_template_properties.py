"""Chat templates that nobody listed: random headers, ends and special tokens, cut and put together again."""

import json
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken

from magpie_align.engines.template import FIRST_WORDS, derive
from magpie_align.records import Message
from tests.synthesis.families import byte_level, pieces

SPECIALS = ["<s>", "</s>", "<|u|>", "<|a|>", "[END]", "«x»"]
GPT2_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


@cache
def base(kind: str):
    """Four vocabularies; in one, some special tokens swallow spaces beside them and one is not even special."""
    odd = [
        AddedToken("<|u|>", special=True, normalized=False, rstrip=True),
        AddedToken("<|a|>", special=True, normalized=False, lstrip=True, rstrip=True),
        AddedToken("[END]", special=False, normalized=False),
    ]
    return {
        "llama3 split": lambda: byte_level(SPECIALS, "", "<s>", "</s>"),
        "gpt2 split": lambda: byte_level(SPECIALS, "", "<s>", "</s>", GPT2_SPLIT),
        "pieces": lambda: pieces(["<s>", "</s>", *odd, "«x»"], "", "<s>", "</s>"),
        "legacy pieces": lambda: pieces(SPECIALS, "", "<s>", "</s>", legacy=True),
    }[kind]()


kinds = st.sampled_from(["llama3 split", "gpt2 split", "pieces", "legacy pieces"])
prints = st.lists(
    st.one_of(st.sampled_from(SPECIALS[1:]), st.text(alphabet=" \n:#Auser]", max_size=6)), max_size=3
).map("".join)
texts = st.one_of(
    st.text(max_size=30),
    st.lists(st.sampled_from([*SPECIALS, " ", "\n", "a fox", "<", "s>", "12"]), max_size=6).map("".join),
)


@st.composite
def chat_templates(draw):
    """A Jinja template of the common shape, with anything printed around the turns."""
    bos, user, after, answer, end = [
        "{{ bos_token }}" if draw(st.booleans()) else "",
        *(draw(prints) for _ in range(4)),
    ]
    text = draw(st.sampled_from(["m.content", "m.content | trim"]))
    turn = (
        f"{{{{ {json.dumps(user)} + ({text}) + {json.dumps(after)} if m.role == 'user' else "
        f"{json.dumps(answer)} + ({text}) + {json.dumps(end)} }}}}"
    )
    ask = f"{{% if add_generation_prompt %}}{{{{ {json.dumps(answer)} }}}}{{% endif %}}"
    return f"{bos}{{% for m in messages %}}{turn}{{% endfor %}}{ask}"


@settings(max_examples=150, deadline=None)
@given(kind=kinds, chat_template=chat_templates(), text=texts, word=st.sampled_from(FIRST_WORDS))
def test_any_template_is_cut_and_put_together_again(kind, chat_template, text, word):
    tokenizer = base(kind)
    tokenizer.chat_template = chat_template
    template = derive(tokenizer)

    def printed(said: str) -> str:
        return tokenizer.apply_chat_template(
            [{"role": "user", "content": said}], tokenize=False, add_generation_prompt=True
        )

    whole = printed(text)
    shown = text.strip() if template.trim["user"] else text
    assert whole == template.render([Message("user", text)]) == template.prefix + shown + template.suffix
    ids, fair = (template.response_prompt([Message("user", said)]) for said in (text, word))
    if not any(special in text for special in SPECIALS):
        assert ids == tuple(tokenizer(whole, add_special_tokens=False)["input_ids"])
    guarded = set(tokenizer.convert_tokens_to_ids([s for s in SPECIALS if s in template.encoder._markers]))
    assert [i for i in ids if i in guarded] == [i for i in fair if i in guarded]
    if template.prefix.strip() and not any(special in text for special in SPECIALS):
        opening = template.pre_query
        # A header that ends in a letter melts into the text's first word, so no ids of its own begin every prompt.
        if not template.prefix[-1].isalnum():
            assert template.response_prompt([Message("user", f"{word} {text}")])[: len(opening)] == opening
