"""The language reads back exactly what it writes, and its reserved share never leaks into training data."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie_align.mini import corpus, preferences
from magpie_align.mini.language import QUALITIES, generate, is_reserved, judge, parse, question_reserved
from magpie_align.mini.lexicon import CAPITALS
from magpie_align.mini.skills import DIFFICULTIES, SKILLS, join, split
from magpie_align.mini.tagging import CATEGORIES


@given(seed=st.integers(), skill=st.sampled_from(tuple(SKILLS)), reserved=st.booleans())
def test_parsing_what_was_generated_gives_the_same_item(seed, skill, reserved):
    item = generate(Random(seed), (skill,), reserved=reserved)
    assert parse(item.instruction) == item
    assert is_reserved(item) is reserved


@given(st.text(max_size=60))
def test_parse_takes_any_text_and_accepts_only_what_it_would_write(text):
    item = parse(text)
    assert item is None or item.instruction == text


@pytest.mark.parametrize(
    ("instruction", "answer"),
    [
        ("What is 12 + 30?", "12 + 30 = 42."),
        ("resta 4 de 19", "19 - 4 = 15."),
        ('Spell "lemon" from the end.', 'The word "lemon" backwards is "nomel".'),
        ("Busca el numero mayor: 3, 90 y 7.", "El mayor de 3, 90 y 7 es 90."),
        ("What is the capital of Peru and Japan?", "The capital of Peru is Lima. The capital of Japan is Tokyo."),
        ("Please be exact. Print the sum of 1 and 22 in Python.", "print(1 + 22)"),
        ("I must buy milk, bread and tea. Make a list.", None),
        ("I must buy juice, bread and tea. Make a list.", "1. juice\n2. bread\n3. tea"),
        ("What is 07 + 1?", None),
        ("What is 3 - 8?", None),
        ("Sort 4, 11 and 4 from low to high.", "In order: 4, 4, 11."),
        ("What is 100 + 1?", None),
        ("What is the capital of Narnia?", None),
        ("", None),
    ],
)
def test_answers_known_by_hand(instruction, answer):
    item = parse(instruction)
    assert (item.answer if item else None) == answer


def test_difficulty_follows_the_size_of_the_question():
    asked = ("1 + 2", "1 + 20", "11 + 21", "19 + 21")
    assert [parse(f"What is {pair}?").difficulty for pair in asked] == list(DIFFICULTIES[:4])


def test_quality_follows_the_style():
    texts = ("what is 1 + 2", "What is 1 + 2?", "Please be exact. What is 1 + 2?")
    assert [parse(text).quality for text in texts] == list(QUALITIES[2:])


def test_every_category_of_a_skill_is_one_of_the_papers():
    assert {skill.category for skill in SKILLS.values()} <= set(CATEGORIES)
    assert len({skill.category for skill in SKILLS.values()}) >= 8


def test_judge_wants_exactly_the_right_answer():
    assert judge("What is 12 + 30?", " 12 + 30 = 42.\n").correct
    assert not judge("What is 12 + 30?", "12 + 30 = 43.").correct
    assert judge("Hello there", "12 + 30 = 42.").item is None


@given(st.lists(st.sampled_from(("1", "22", "lemon")), min_size=1), st.sampled_from(("en", "es")))
def test_split_inverts_join(words, language):
    assert split(join(tuple(words), language), language) == tuple(words)


def test_no_training_stream_holds_a_reserved_question():
    pairs = [preferences.private_pair(0, i) for i in range(1500)]
    texts = list(corpus.teacher_instructions(0, 3000))
    texts += [corpus.public_item(0, i).instruction for i in range(1500)]
    texts += [pair["prompt"][0]["content"] for pair in pairs]
    items = [item for text in texts if (item := parse(text))]
    assert len(items) > 5000
    assert not any(map(is_reserved, items))


def test_documents_state_no_reserved_question():
    stated = {statement for i in range(1500) for _, statement in corpus.document(0, i)}
    reserved = [generate(Random(i), reserved=True) for i in range(1500)]
    unordered = [
        item for item in reserved if item.skill in ("add", "subtract", "count", "reverse", "uppercase", "largest")
    ]
    assert len(unordered) > 300
    assert not stated & {item.answer for item in unordered}


@pytest.mark.parametrize("name", SKILLS)
def test_about_a_twelfth_of_the_questions_of_every_skill_is_reserved(name):
    skill, rng = SKILLS[name], Random(name)
    drawn = {skill.domain.draw(rng, rng.choice(skill.domain.levels[1:])) for _ in range(3000)}
    share = sum(question_reserved(skill, args) for args in drawn) / len(drawn)
    assert 0.02 < share < 0.16


def test_a_single_fact_is_never_reserved():
    assert not any(question_reserved(SKILLS["capital"], (country,)) for country in CAPITALS)


def test_examples_depend_on_seed_and_index_alone():
    for example in (corpus.document, corpus.private_chat, corpus.public_chat, preferences.private_pair):
        assert example(3, 41) == example(3, 41)
        assert example(3, 41) != example(3, 42) != example(4, 42)


def test_public_chats_hold_only_the_narrow_skills():
    assert {corpus.public_item(0, i).skill for i in range(300)} == set(corpus.PUBLIC_SKILLS)


def test_pairs_prefer_the_right_answer():
    for index in range(400):
        pair = preferences.private_pair(1, index)
        prompt, chosen, rejected = (pair[key][0]["content"] for key in ("prompt", "chosen", "rejected"))
        assert judge(prompt, chosen).correct
        assert not judge(prompt, rejected).correct
