"""What can be wrong with an instruction that a model wrote from its bare pre-query template, told from the text alone."""

import re

from pydantic import Field

from magpie_align.engines.protocol import Completion
from magpie_align.engines.template import Template
from magpie_align.settings import Settings
from magpie_align.synthesis.sanitise import sanitise

ROLES = frozenset({"assistant", "user", "system", "model", "human"})
_ANSWER = re.compile(
    r"(sure|certainly|absolutely|of course|great question|as an ai|as a language model|i'm sorry|i am sorry|i apologi[sz]e|"
    r"i'd be happy to|i would be happy to|here (is|are|'s) |here's |当然|好的[,，]|抱歉|作为一个?人工智能)",
    re.IGNORECASE,
)
_CONTINUES = re.compile(r"[,.;:)\]}!?%、。，；：）]")
_WIDE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]")


class Limits(Settings):
    """The largest share of the sample, 0 to 1, that may have each fault."""

    error: float = Field(default=0.0, ge=0, le=1)
    empty: float = Field(default=0.05, ge=0, le=1)
    fragment: float = Field(default=0.1, ge=0, le=1)
    duplicated: float = Field(default=0.1, ge=0, le=1)
    wrong_role: float = Field(default=0.05, ge=0, le=1)
    over_long: float = Field(default=0.05, ge=0, le=1)
    unended: float = Field(default=0.05, ge=0, le=1)


def roles_of(template: Template) -> frozenset[str]:
    """The words by which this template, or any common one, names who speaks."""
    printed = re.findall(r"[^\W\d_]{4,}", f"{template.suffix} {template.follow_up or ''}".lower())
    return ROLES | frozenset(printed)


def fault(done: Completion, roles: frozenset[str], over_long: int) -> str | None:
    """`error`, `unended`, `empty`, `wrong_role`, `fragment`, `over_long` (more than so many tokens), or None."""
    text = sanitise(done.text).text
    if done.finish == "error":
        return "error"
    if done.finish == "length":
        return "unended"
    if not text:
        return "empty"
    if _is_answer(text, roles):
        return "wrong_role"
    if _is_fragment(text):
        return "fragment"
    return "over_long" if len(done.token_ids) > over_long else None


def _is_answer(text: str, roles: frozenset[str]) -> bool:
    """It opens as assistants do, or a line of it is only the name of a role."""
    lines = (line.strip().strip(":#*<>|[]").strip().lower() for line in text.splitlines())
    return bool(_ANSWER.match(text)) or any(line in roles for line in lines)


def _is_fragment(text: str) -> bool:
    """It goes on from something that is not there, says nothing, or is a single word."""
    if _CONTINUES.match(text) or not any(character.isalnum() for character in text):
        return True
    if _WIDE.search(text):
        return len(text) < 4
    return len(text.split()) < 2 and not any(character.isdigit() for character in text)
