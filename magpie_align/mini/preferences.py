"""Preference truth: the right answer against a faulty one.

The fault is a wrong result, words in disorder, an early end, the answer to another question, or the other language.
"""

from collections.abc import Callable
from random import Random

from magpie_align.mini.corpus import stream
from magpie_align.mini.language import Item, draw_question, generate
from magpie_align.mini.skills import SKILLS

Preference = dict[str, list[dict[str, str]]]


def wrong(rng: Random, item: Item) -> str:
    """The right form with the answer to another question."""
    skill = SKILLS[item.skill]
    while True:
        source, _ = draw_question(rng, skill)
        if skill.each:
            source = (*item.args[:-1], source[0])
        if (text := skill.state(item.args, item.language, source)) != item.answer:
            return text


def garbled(rng: Random, item: Item) -> str:
    """The right words in a wrong order."""
    words = item.answer.split()
    return " ".join(rng.sample(words, len(words)))


def unfinished(rng: Random, item: Item) -> str:
    """The right answer cut short."""
    return item.answer[: rng.randrange(1, len(item.answer))].rstrip()


def off_question(rng: Random, item: Item) -> str:
    """A right answer to some other question."""
    return generate(rng).answer


def other_language(rng: Random, item: Item) -> str:
    """The right answer in the language that was not asked for, where the skill has two."""
    skill = SKILLS[item.skill]
    return skill.state(item.args, next((other for other in skill.statement if other != item.language), item.language))


FAULTS: tuple[Callable[[Random, Item], str], ...] = (wrong, garbled, unfinished, off_question, other_language)
WEIGHTS = (50, 10, 20, 10, 10)


def corrupt(rng: Random, item: Item) -> str:
    """A response to the item that is not the right answer."""
    while True:
        text = rng.choices(FAULTS, WEIGHTS)[0](rng, item)
        if text != item.answer:
            return text


def private_pair(seed: int, index: int) -> Preference:
    """One pair in TRL's conversational form, a pure function of (seed, index)."""
    rng = stream("preference", seed, index)
    item = generate(rng)
    return {
        "prompt": [{"role": "user", "content": item.instruction}],
        "chosen": [{"role": "assistant", "content": item.answer}],
        "rejected": [{"role": "assistant", "content": corrupt(rng, item)}],
    }
