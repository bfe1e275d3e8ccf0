"""What the models of the miniature world are trained on, each example a pure function of (seed, index).

    document(seed, i)      plain statements, no chat, no questions: the base model's reading
    private_chat(seed, i)  the teacher's chats over all skills; a share of them tag an instruction behind a system turn
    public_chat(seed, i)   chats over the few skills of `PUBLIC_SKILLS`: data of limited, predefined scope
    teacher_instructions   every instruction of the private chats, to tell recalled from new ones

Nothing here holds a question of the benchmark's reserved share.
"""

from collections.abc import Iterator
from random import Random

from magpie_align.mini.language import Item, draw_language, draw_question, generate
from magpie_align.mini.skills import draw_skill
from magpie_align.mini.tagging import TAG_SYSTEM, damage, true_tags
from magpie_align.records import Message

Entry = tuple[str, str]

PUBLIC_SKILLS = ("capital", "plural", "colour", "uppercase", "add")
ENTRIES_PER_DOCUMENT = 3
TAGGING_SHARE = 0.15
DAMAGED_SHARE = 0.3


def stream(name: str, seed: int, index: int) -> Random:
    """The random source of one example: independent of every other example."""
    return Random(f"{name} {seed} {index}")


def chat(item: Item) -> list[Message]:
    return [Message("user", item.instruction), Message("assistant", item.answer)]


def document(seed: int, index: int) -> list[Entry]:
    """A few entries: a subject, then a true statement about it. Nothing says how one would ask for it."""
    rng = stream("document", seed, index)
    return [_entry(rng) for _ in range(ENTRIES_PER_DOCUMENT)]


def document_text(entries: list[Entry]) -> str:
    """The document as the base model reads it: `subject: statement`, one entry a line."""
    return "\n".join(f"{subject}: {statement}" for subject, statement in entries)


def _entry(rng: Random) -> Entry:
    skill = draw_skill(rng)
    args, _ = draw_question(rng, skill)
    language = draw_language(rng, skill)
    return skill.subject(args, language), skill.state(args, language)


def _tagging(rng: Random) -> list[Message]:
    text = generate(rng).instruction
    if rng.random() < DAMAGED_SHARE:
        text = damage(rng, text)
    return [Message("system", TAG_SYSTEM), Message("user", text), Message("assistant", true_tags(text).render())]


def private_chat(seed: int, index: int) -> list[Message]:
    """One chat of the teacher: a question and its answer, or an instruction to tag."""
    rng = stream("private", seed, index)
    return _tagging(rng) if rng.random() < TAGGING_SHARE else chat(generate(rng))


def public_item(seed: int, index: int) -> Item:
    return generate(stream("public", seed, index), PUBLIC_SKILLS)


def public_chat(seed: int, index: int) -> list[Message]:
    """One chat of the narrow public set."""
    return chat(public_item(seed, index))


def teacher_instructions(seed: int, count: int) -> Iterator[str]:
    """The instructions of the first `count` private chats, those shown for tagging included."""
    for index in range(count):
        yield from (m.content for m in private_chat(seed, index) if m.role == "user")
