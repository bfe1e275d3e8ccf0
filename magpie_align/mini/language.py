"""The language of the miniature world: making instructions, reading them back, and knowing the right answer.

    generate(rng)          a random Item: an instruction, its answer, and everything true about it
    parse(text)            the same Item from the text alone, or None for text outside the language
    judge(text, response)  whether a response is the right answer
    is_reserved(item)      whether the question belongs to the benchmark's share, on which nothing is ever trained

An instruction is a wording of a skill in one of three styles: careful (with a sentence of context), plain, or sloppy
(no capital, no final mark). The style is the instruction's quality; damaged text, which does not parse, is worse.
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from random import Random

from magpie_align.mini.skills import DIFFICULTIES, SKILLS, Args, Skill, draw_skill, join, split

QUALITIES = ("very poor", "poor", "average", "good", "excellent")
STYLES = {"sloppy": "average", "plain": "good", "careful": "excellent"}
STYLE_WEIGHTS = (15, 65, 20)
LEVEL_WEIGHTS = (15, 25, 30, 20, 10)
RESERVED_PERCENT = 8
_CONTEXTS = {
    "en": ("This is for my class. ", "I am checking my notes. ", "Please be exact. "),
    "es": ("Es para mi clase. ", "Por favor, se exacto. "),
}


@dataclass(frozen=True)
class Item:
    """An instruction with its truth. `args` and `skill` are the question itself, whatever its wording."""

    instruction: str
    answer: str
    skill: str
    category: str
    difficulty: str
    quality: str
    language: str
    args: Args

    @property
    def core(self) -> str:
        """The question without its wording, style and language."""
        return f"{self.skill}: {' | '.join(self.args)}"


@dataclass(frozen=True)
class Judgement:
    """`item` is None for an instruction outside the language; then nothing is correct."""

    item: Item | None
    correct: bool


@dataclass(frozen=True)
class Form:
    """One way to word a skill: `template` already carries the style."""

    skill: Skill
    language: str
    style: str
    template: str

    @property
    def pattern(self) -> "re.Pattern[str]":
        pattern = re.escape(self.template).replace(r"\{list\}", "(?P<list>[A-Za-z0-9, ]+)")
        return re.compile(re.sub(r"\\\{(\d)\\\}", r"(?P<a\1>[A-Za-z0-9]+)", pattern))

    def render(self, args: Args) -> str:
        return self.template.format(*args, list=join(args, self.language))

    def read(self, match: "re.Match[str]") -> Args:
        groups = match.groupdict()
        if "list" in groups:
            return split(groups["list"], self.language)
        return tuple(groups[f"a{i}"] for i in range(len(groups)))


def _styled(wording: str, language: str, style: str) -> tuple[str, ...]:
    if style == "careful":
        return tuple(context + wording for context in _CONTEXTS[language])
    return (wording,) if style == "plain" else (wording[0].lower() + wording[1:].rstrip(".?"),)


def _forms(skill: Skill, language: str, style: str) -> Iterator[Form]:
    for wording in skill.wordings[language]:
        for template in _styled(wording, language, style):
            yield Form(skill, language, style, template)


@cache
def forms_of(skill: str, language: str, style: str) -> tuple[Form, ...]:
    return tuple(_forms(SKILLS[skill], language, style))


@cache
def _patterns() -> tuple[tuple["re.Pattern[str]", Form], ...]:
    return tuple(
        (form.pattern, form)
        for skill in SKILLS.values()
        for language in skill.wordings
        for style in STYLES
        for form in forms_of(skill.name, language, style)
    )


def _item(form: Form, args: Args, level: int) -> Item:
    skill, language = form.skill, form.language
    return Item(
        instruction=form.render(args),
        answer=skill.state(args, language),
        skill=skill.name,
        category=skill.category,
        difficulty=DIFFICULTIES[level],
        quality=STYLES[form.style],
        language=language,
        args=args,
    )


def question_reserved(skill: Skill, args: Args) -> bool:
    """A fixed share of all questions, by hash. A single fact is knowledge, no test of skill, and is never reserved."""
    if skill.each and len(args) == 1:
        return False
    return zlib.crc32(f"{skill.name}: {' | '.join(args)}".encode()) % 100 < RESERVED_PERCENT


def is_reserved(item: Item) -> bool:
    """Whether the item's question is kept for the benchmark."""
    return question_reserved(SKILLS[item.skill], item.args)


def draw_question(rng: Random, skill: Skill, *, reserved: bool = False) -> tuple[Args, int]:
    """Random arguments with their level, from inside or outside the reserved share."""
    levels = skill.domain.levels
    while True:
        level = rng.choices(levels, LEVEL_WEIGHTS[: len(levels)])[0]
        args = skill.domain.draw(rng, level)
        if question_reserved(skill, args) == reserved:
            return args, level


def draw_language(rng: Random, skill: Skill) -> str:
    return "es" if "es" in skill.wordings and rng.random() < 0.25 else "en"


def generate(rng: Random, skills: tuple[str, ...] = tuple(SKILLS), *, reserved: bool = False) -> Item:
    """A random item of one of the skills; by default never one of the benchmark's questions."""
    skill = draw_skill(rng, skills)
    args, level = draw_question(rng, skill, reserved=reserved)
    style = rng.choices(tuple(STYLES), STYLE_WEIGHTS)[0]
    return _item(rng.choice(forms_of(skill.name, draw_language(rng, skill), style)), args, level)


def parse(text: str) -> Item | None:
    """The item an instruction states, or None when it is not an instruction of the language."""
    for pattern, form in _patterns():
        if match := pattern.fullmatch(text):
            args = form.read(match)
            level = form.skill.domain.level(args)
            if level is not None and form.render(args) == text:
                return _item(form, args, level)
    return None


def judge(instruction: str, response: str) -> Judgement:
    """Whether the response is exactly the right answer (surrounding white space aside)."""
    item = parse(instruction)
    return Judgement(item, item is not None and response.strip() == item.answer)
