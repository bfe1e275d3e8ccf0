"""A scripted speaker of the language for engines without a model: a pure function of the prompt and a seed.

After a pre-query prefix it asks a question, after a user turn it answers (at times wrongly), and behind the tagging
system turn it tags.
"""

from random import Random

from magpie_align.mini.language import generate, parse
from magpie_align.mini.preferences import corrupt
from magpie_align.mini.tagging import TAG_SYSTEM, damage, true_tags
from magpie_align.mini.tokenizer import EOT, HEADER_END, HEADER_START

WRONG_SHARE = 0.08
DAMAGED_SHARE = 0.06
APOLOGY = "Sorry, I do not understand."
_USER = f"{HEADER_START}user{HEADER_END}\n\n"


def write(prompt_text: str, seed: int | None = None) -> str:
    """What follows `prompt_text`, the decoded prompt with its special tokens."""
    rng = Random(f"script {seed} {prompt_text}")
    instruction = prompt_text.rpartition(_USER)[2].partition(EOT)
    if not instruction[1]:
        return _instruction(rng)
    if TAG_SYSTEM in prompt_text:
        return true_tags(instruction[0]).render()
    return _response(rng, instruction[0])


def _instruction(rng: Random) -> str:
    text = generate(rng).instruction
    return damage(rng, text) if rng.random() < DAMAGED_SHARE else text


def _response(rng: Random, instruction: str) -> str:
    item = parse(instruction)
    if item is None:
        return APOLOGY
    return corrupt(rng, item) if rng.random() < WRONG_SHARE else item.answer
