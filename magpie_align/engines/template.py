"""The pre-query template and everything around it, derived from a tokenizer's own chat template (paper, section 2).

    system[0] + S + system[1]              the start of a conversation under a system text S, up to the user's text
    prefix                                 the same without one: the pre-query template, the model's own default included
    prefix + U1 + suffix                   -> the prompt of a response
    prefix + U1 + assistant + A1 + follow_up   -> the prompt of the next question

`derive` finds these parts by rendering sentinel words and cutting the text around them; no model is known by name.
A chat template that cannot be cut is refused in one sentence, and `template:` in a recipe can set any part by hand.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import Field

from magpie_align.engines.encoding import Encoder, Part
from magpie_align.engines.rendering import Cut, cut, no_cut
from magpie_align.engines.tokenizer import end_ids, load_tokenizer
from magpie_align.errors import ConfigError
from magpie_align.records import Message
from magpie_align.settings import Settings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

FIRST_WORDS = ("Write", "how", "7", "请问")
"""Starts of ordinary questions. The ids of a prefix are those it has before all of them."""


class TemplateSettings(Settings):
    """The `template:` group of a recipe: parts given here, as text, replace what would be derived."""

    prefix: str | None = None
    suffix: str | None = None
    assistant: str | None = None
    """Between a user's text and the model's answer in the history; mostly the same as `suffix`."""
    follow_up: str | None = None
    """Between an answer and the user's next text."""
    system: tuple[str, str] | None = None
    """Around a system text at the start; the second part ends where the user's text begins."""
    stop: tuple[str, ...] | None = None
    """What ends a completion: special tokens by name, anything else as a stop string."""
    chat_template: str | None = None
    """A Jinja chat template to use in place of the tokenizer's own."""
    kwargs: dict[str, Any] = Field(default_factory=dict)
    """Variables for the chat template, such as `enable_thinking: false`."""
    date: str = "2024-07-26"
    """What a chat template that prints the date takes for today (year-month-day), so that prompts never change."""


@dataclass(frozen=True)
class Template:
    """The parts of a chat as text, and prompts made of them as token ids.

    Raises ConfigError from `question_prompt` and `response_prompt` where the chat template has no such shape.
    """

    prefix: str
    suffix: str
    assistant: str | None
    follow_up: str | None
    system: tuple[str, str] | None
    stop_ids: tuple[int, ...]
    """Ids that end an instruction or a response: ends of text, ends of a turn, headers of the next."""
    question_stop: tuple[str, ...]
    """Stop strings for instructions, where the template ends a user's turn in plain text; mostly empty."""
    response_stop: tuple[str, ...]
    trim: Mapping[str, str]
    """Per role, how the template strips its text: `strip`, `lstrip`, `rstrip` or empty."""
    default_system: str | None
    """The system text that `question_prompt` uses where it is given none."""
    refusals: Mapping[str, str]
    """Why `follow_up`, `system` or both together (`system_follow_up`) are not to be had."""
    encoder: Encoder = field(repr=False, compare=False)

    @cached_property
    def hash(self) -> str:
        """16 hex digits that change with any part."""
        parts = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "encoder"}
        text = json.dumps({key: value for key, value in parts.items() if key != "refusals"}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @cached_property
    def pre_query(self) -> tuple[int, ...]:
        """The pre-query template as ids: all that step 1 of the paper gives the model."""
        return self.question_prompt()

    def pre_query_text(self, system: str | None = None) -> str:
        """The text in front of the user's first text, under a system text if one is given or set."""
        return "".join(part.text for part in self._start(system if system is not None else self.default_system))

    def question_prompt(self, history: Sequence[Message] = (), system: str | None = None) -> tuple[int, ...]:
        """Ids after which the model writes what the user asks next.

        `history` is empty or ends with an answer; `system` replaces the template's default system text.
        """
        turns, said = _split_system(history)
        system = system if system is not None else said if said is not None else self.default_system
        if len(turns) % 2:
            raise ConfigError("question_prompt: the history must end with an answer, but its last turn is the user's")
        ids = self._up_to_next_word(self._parts([*turns, Message("user", "")], system)[:-1])
        if not ids:
            raise ConfigError(
                "the chat template prints nothing in front of the user's text, so there is no pre-query template; "
                "set `template.prefix`"
            )
        return ids

    def response_prompt(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Ids after which the model answers the last of `messages`, the user's. The first may be a system message."""
        turns, system = _split_system(messages)
        if len(turns) % 2 == 0:
            raise ConfigError("response_prompt: the messages must end with the user's turn")
        return self.encoder.encode([*self._parts(turns, system), Part(self.suffix)])

    def refuse(self, *, turns: int = 1, system: bool = False) -> str | None:
        """Why conversations of so many questions, with a system text or not, cannot be made; None if they can."""
        if system and self.system is None:
            return self.refusals["system"]
        if turns > 1 and (self.follow_up is None or self.assistant is None):
            return self.refusals["follow_up"]
        return self.refusals.get("system_follow_up") if system and turns > 1 else None

    def render(self, messages: Sequence[Message]) -> str:
        """The text of `response_prompt`; equals what the chat template itself prints."""
        turns, system = _split_system(messages)
        return "".join(part.text for part in [*self._parts(turns, system), Part(self.suffix)])

    def _parts(self, turns: Sequence[Message], system: str | None) -> list[Part]:
        reason = self.refuse(turns=(len(turns) + 1) // 2, system=system is not None)
        if reason:
            raise ConfigError(reason)
        parts = self._start(system)
        for n, turn in enumerate(turns):
            if turn.role != ("user", "assistant")[n % 2]:
                raise ConfigError(f"turn {n + 1} of a conversation is the {turn.role}'s; user and assistant take turns")
            if n:
                parts.append(Part((self.assistant if n % 2 else self.follow_up) or ""))
            parts.append(self._said(turn))
        return parts

    def _start(self, system: str | None) -> list[Part]:
        if system is None:
            return [Part(self.prefix)]
        if self.system is None:
            raise ConfigError(self.refusals["system"])
        return [Part(self.system[0]), self._said(Message("system", system)), Part(self.system[1])]

    def _said(self, turn: Message) -> Part:
        how = self.trim.get(turn.role, "")
        return Part(getattr(turn.content, how)() if how else turn.content, said=True)

    def _up_to_next_word(self, parts: list[Part]) -> tuple[int, ...]:
        """The ids that `parts` have in front of any ordinary text: a space that melts into a word is left to it."""
        continued = [self.encoder.encode([*parts, Part(word, said=True)]) for word in FIRST_WORDS]
        shortest = min(map(len, continued))
        alike = next((n for n in range(shortest) if len({ids[n] for ids in continued}) > 1), shortest)
        shown = self.encoder.decode(continued[0][:alike])
        kept = "".join(shown.split()) == "".join("".join(part.text for part in parts).split())
        return continued[0][:alike] if kept else self.encoder.encode(parts)


def derive(
    tokenizer: "PreTrainedTokenizerBase",
    system: str | None = None,
    overrides: TemplateSettings | None = None,
    end_ids: Iterable[int] = (),
) -> Template:
    """The template of a tokenizer.

    `system` steers the questions alone (paper, section 2): responses take one only from their own messages.
    `end_ids` are the ids that the model's generation config lists. Raises ConfigError, saying what to override.
    """
    given = overrides or TemplateSettings()
    found = _override(_cut_or_given(tokenizer, given), given)
    encoder = Encoder(tokenizer, found.text())
    own_end = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    template = Template(
        prefix=found.prefix,
        suffix=found.suffix,
        assistant=found.assistant,
        follow_up=found.follow_up,
        system=found.system,
        stop_ids=tuple(dict.fromkeys([*own_end, *end_ids, *encoder.special_ids(found.turn_ends())])),
        question_stop=_stop_strings(encoder, found.suffix),
        response_stop=_stop_strings(encoder, found.follow_up or ""),
        trim=found.trim,
        default_system=system,
        refusals=found.refusals,
        encoder=encoder,
    )
    template = template if given.stop is None else _with_stops(template, given.stop)
    if system is not None and template.system is None:
        raise ConfigError(template.refusals["system"])
    return template


def load_template(
    model_path: str, overrides: TemplateSettings | None = None, trust_remote_code: bool = False
) -> Template:
    """The template of a model folder or hub id. Raises ConfigError, as `derive` does, or where there is no tokenizer."""
    tokenizer = load_tokenizer(model_path, trust_remote_code=trust_remote_code)
    return derive(tokenizer, overrides=overrides, end_ids=end_ids(tokenizer, model_path))


def _cut_or_given(tokenizer: "PreTrainedTokenizerBase", given: TemplateSettings) -> Cut:
    try:
        return cut(tokenizer, given)
    except ConfigError as error:
        if given.prefix is None or given.suffix is None:
            raise
        return no_cut(str(error))


def _override(found: Cut, given: TemplateSettings) -> Cut:
    names = ("prefix", "suffix", "assistant", "follow_up", "system")
    chosen = {name: getattr(given, name) for name in names if getattr(given, name) is not None}
    if {"prefix", "suffix"} <= set(chosen) and "assistant" not in chosen:
        chosen["assistant"] = chosen["suffix"]
    return replace(found, **chosen)


def _stop_strings(encoder: Encoder, after: str) -> tuple[str, ...]:
    """What follows a text in plain characters, if no special token stands between."""
    text = encoder.before_special(after)
    return (text,) if text else ()


def _with_stops(template: Template, stops: tuple[str, ...]) -> Template:
    ids = tuple(i for stop in stops for i in template.encoder.special_ids(stop))
    strings = tuple(stop for stop in stops if not template.encoder.special_ids(stop))
    return replace(template, stop_ids=ids, question_stop=strings, response_stop=strings)


def _split_system(messages: Sequence[Message]) -> tuple[Sequence[Message], str | None]:
    if messages and messages[0].role == "system":
        return messages[1:], messages[0].content
    return messages, None
