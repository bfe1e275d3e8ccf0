"""What a tagger says is read strictly: three known labels in the form asked for, or nothing."""

import pytest
from pydantic import ValidationError

from magpie_align.curation.labels import CATEGORY, DIFFICULTY, QUALITY
from magpie_align.curation.tagger import Tagger

TAGGER = Tagger(
    system="Tag.", user="Label this: {instruction}", answer="{input_quality} / {difficulty} / {task_category}"
)


def test_every_label_is_read_back() -> None:
    for quality in QUALITY:
        for difficulty in DIFFICULTY:
            for category in CATEGORY:
                reply = f" {quality} / {difficulty} / {category}\n"
                assert TAGGER.parse(reply) == {
                    "input_quality": quality,
                    "difficulty": difficulty,
                    "task_category": category,
                }


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "good",
        "good / easy",
        "good / easy / Maths",
        "Good / easy / Math",
        "good / easy / Math / more",
        "It is good / easy / Math",
    ],
)
def test_anything_else_is_refused(reply: str) -> None:
    assert TAGGER.parse(reply) is None


def test_an_instruction_that_holds_braces_is_asked_as_it_is() -> None:
    system, user = TAGGER.messages("Explain {answer} and {instruction}.")
    assert (system.content, user.content) == ("Tag.", "Label this: Explain {answer} and {instruction}.")


def test_unknown_tag() -> None:
    with pytest.raises(ValidationError, match="there is no tag 'quality'; did you mean 'input_quality'"):
        Tagger(answer="{quality}")
