"""The tagger's fixed form and the scripted speaker."""

from random import Random

import pytest

from magpie_align.mini.language import QUALITIES, generate, judge, parse
from magpie_align.mini.script import APOLOGY, write
from magpie_align.mini.tagging import TAG_SYSTEM, Tags, damage, parse_tags, true_tags

USER = "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n"
ASK = "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
TAGGER = f"<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n{TAG_SYSTEM}<|eot_id|>" + USER[17:]


def test_tags_read_back_what_was_rendered():
    for seed in range(200):
        tags = true_tags(generate(Random(seed)).instruction)
        assert parse_tags(tags.render()) == tags


@pytest.mark.parametrize(
    "text", ["", "good", "good / medium", "good / medium / Maths", "fine / medium / Math", "a / b / c / d"]
)
def test_other_text_is_no_tag(text):
    assert parse_tags(text) is None


def test_damaged_instructions_are_of_low_quality():
    texts = [damage(Random(i), generate(Random(i)).instruction) for i in range(400)]
    broken = [true_tags(text) for text in texts if parse(text) is None]
    assert len(broken) > 300
    assert {tags.quality for tags in broken} == set(QUALITIES[:2])
    assert {(tags.difficulty, tags.category) for tags in broken} == {("very easy", "Others")}


def test_the_script_asks_after_the_bare_prefix():
    asked = [write(USER, seed) for seed in range(300)]
    assert asked == [write(USER, seed) for seed in range(300)]
    assert len(set(asked)) > 270
    assert 0.88 < sum(parse(text) is not None for text in asked) / len(asked) < 1


def test_the_script_answers_mostly_right():
    questions = [generate(Random(i)).instruction for i in range(300)]
    right = [judge(question, write(USER + question + ASK, 0)).correct for question in questions]
    assert 0.85 < sum(right) / len(right) < 1
    assert write(USER + "Gibberish" + ASK) == APOLOGY


def test_the_script_asks_again_after_an_answered_turn():
    second = write(f"{USER}What is 1 + 2?{ASK}1 + 2 = 3.<|eot_id|>{USER[17:]}", 2)
    assert parse(second)


def test_the_script_tags_behind_the_system_turn():
    assert parse_tags(write(f"{TAGGER}What is 1 + 2?{ASK}")) == Tags("good", "very easy", "Math")
