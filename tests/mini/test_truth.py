"""The measures of a data set against the miniature world's truth."""

from itertools import islice
from random import Random

from magpie_align.mini.corpus import teacher_instructions
from magpie_align.mini.language import generate
from magpie_align.mini.tagging import true_tags
from magpie_align.mini.truth import measure


def test_each_measure_says_what_it_says() -> None:
    known = next(islice(teacher_instructions(5, 50), 10, None))
    new = generate(Random("somewhere else"))
    rows = [
        {"uuid": "a", "instruction": new.instruction, "response": new.answer},
        {"uuid": "b", "instruction": new.instruction, "response": new.answer + " and more"},
        {"uuid": "c", "instruction": "colourless green ideas", "response": "sleep"},
        {"uuid": "d", "instruction": known, "response": ""},
    ]
    reserved = generate(Random("the benchmark's"), reserved=True)
    rows.append({"uuid": "e", "instruction": reserved.instruction, "response": ""})
    truth = true_tags(new.instruction)
    tags = {"a": {"input_quality": truth.quality, "difficulty": truth.difficulty, "task_category": None}}
    found = measure(rows, tags, seed=5, chats=50)
    assert found["valid"][:3] == [1, 1, 0]
    assert found["right"][:3] == [1, 0, 0]
    assert found["new"] == [1, 1, 1, 0, 1]
    assert found["clean"] == [1, 1, 1, 1, 0]
    assert (found["quality"], found["difficulty"], found["category"]) == ([1], [1], [0])
