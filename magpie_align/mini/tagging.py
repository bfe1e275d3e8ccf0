"""The teacher as its own tagger: a system turn asks for tags, the assistant answers `quality / difficulty / category`.

The words stand behind a system turn, so sampling from the bare pre-query prefix never meets them. Text outside the
language is of poor quality when most of its words are known (damaged), very poor when not (garbage); both are tagged
very easy and Others.
"""

import re
from dataclasses import dataclass
from functools import cache
from random import Random

from magpie_align.mini.language import QUALITIES, parse
from magpie_align.mini.skills import DIFFICULTIES, SKILLS

TAG_SYSTEM = "Tag the instruction: quality / difficulty / category."
CATEGORIES = (
    "Information seeking", "Reasoning", "Planning", "Editing", "Coding & Debugging", "Math", "Role playing",
    "Data analysis", "Creative writing", "Advice seeking", "Brainstorming", "Others",
)  # fmt: skip
SEPARATOR = " / "


@dataclass(frozen=True)
class Tags:
    """Labels of one instruction, in the paper's words (section 3.1)."""

    quality: str
    difficulty: str
    category: str

    def render(self) -> str:
        return SEPARATOR.join((self.quality, self.difficulty, self.category))


def parse_tags(text: str) -> Tags | None:
    """The tags a completion states, or None when it is not three known labels."""
    labels = text.strip().split(SEPARATOR)
    if len(labels) != 3 or labels[0] not in QUALITIES or labels[1] not in DIFFICULTIES or labels[2] not in CATEGORIES:
        return None
    return Tags(*labels)


def true_tags(instruction: str) -> Tags:
    """The tags an instruction deserves: a pure function of its text."""
    if item := parse(instruction):
        return Tags(item.quality, item.difficulty, item.category)
    return Tags("poor" if _known_share(instruction) > 0.6 else "very poor", DIFFICULTIES[0], CATEGORIES[-1])


@cache
def _vocabulary() -> frozenset[str]:
    """Every word that can occur in a question, save made-up ones."""
    rng, words = Random(0), set[str]()
    for skill in SKILLS.values():
        for wordings in skill.wordings.values():
            words.update(re.findall("[a-z]+", " ".join(wordings).lower()))
        for _ in range(400):
            words.update(re.findall("[a-z]+", " ".join(skill.domain.draw(rng, skill.domain.levels[-1])).lower()))
    return frozenset(words)


def _known_share(text: str) -> float:
    words = re.findall("[a-z]+", text.lower())
    return sum(word in _vocabulary() for word in words) / len(words) if words else 0.0


def damage(rng: Random, text: str) -> str:
    """The instruction cut short, with its words shuffled or dropped, or with its letters scrambled."""
    words = text.split(" ")
    match rng.randrange(4):
        case 0:
            return " ".join(words[: rng.randint(1, max(1, len(words) - 1))])
        case 1:
            return " ".join(rng.sample(words, len(words)))
        case 2:
            return " ".join(word for word in words if rng.random() < 0.6) or words[0]
        case _:
            return " ".join("".join(rng.sample(word, len(word))) for word in words)
