"""The questions of lm-eval tasks, told bare; and scores without the touched ones."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from magpie_align.errors import StageError
from magpie_align.evaluation.items import task_items
from magpie_align.evaluation.scored import Scored, write_scored
from magpie_align.evaluation.untouched import Touched, read_touched, untouched_scores
from magpie_align.mini.benchmark import write_benchmark
from magpie_align.records import Score
from tests.realdata import REALDATA, gsm8k, mmlu, needs_realdata


def task(folder: Path, name: str, data: Path, **settings: object) -> None:
    """A task of lm-eval on a local file, in the layout that `evaluate` takes."""
    kind = "csv" if data.suffix == ".csv" else "json"
    fields = {
        "task": name,
        "dataset_path": kind,
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(fields | settings))


@needs_realdata
def test_questions_of_real_tasks(tmp_path: Path) -> None:
    lettered = "{{question}}\nA. {{choice0}}\nB. {{choice1}}\nC. {{choice2}}\nD. {{choice3}}\nAnswer:"
    task(
        tmp_path,
        "math",
        REALDATA / "gsm8k/test.jsonl.gz",
        doc_to_text="Question: {{question}}\nAnswer:",
        doc_to_target="{{answer}}",
        output_type="generate_until",
    )
    task(
        tmp_path,
        "mmlu",
        REALDATA / "mmlu/test/anatomy_test.csv",
        doc_to_text=lettered,
        doc_to_choice=["A", "B", "C", "D"],
        doc_to_target="answer",
        output_type="multiple_choice",
    )
    items = list(task_items({"math": None, "mmlu": 5}, tmp_path))
    math, anatomy = ([item for item in items if item.task == name] for name in ("math", "mmlu"))
    assert [item.text for item in math] == [row["question"] for row in gsm8k()]
    assert [item.item for item in math] == [str(i) for i in range(1319)]
    assert [item.text for item in anatomy] == [row["question"] for row in mmlu()[100 : 100 + len(anatomy)]]


def write(file: Path, *rows: object) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_a_task_without_a_bare_question_is_asked_as_it_asks(tmp_path: Path) -> None:
    data = write(tmp_path / "d.jsonl", {"query": "The cat sat", "choices": ["down.", "up."], "gold": 0})
    task(
        tmp_path,
        "a",
        data,
        doc_to_text="{{query}}",
        doc_to_choice="choices",
        doc_to_target="gold",
        output_type="multiple_choice",
    )
    (item,) = task_items({"a": None}, tmp_path)
    assert (item.text, item.choices) == ("The cat sat", ("down.", "up."))


def test_lettered_choices_are_read_from_the_question(tmp_path: Path) -> None:
    data = write(tmp_path / "d.jsonl", {"question": "Which?", "choices": ["one", "two"], "answer": 1})
    task(
        tmp_path,
        "a",
        data,
        doc_to_text="{{question}} ...",
        doc_to_choice=["A", "B"],
        doc_to_target="answer",
        output_type="multiple_choice",
    )
    (item,) = task_items({"a": None}, tmp_path)
    assert (item.text, item.choices) == ("Which?", ("one", "two"))


def test_the_items_of_the_miniature_are_those_of_its_benchmark(tmp_path: Path) -> None:
    write_benchmark(tmp_path, 0, generated=20, chosen=10)
    items = list(task_items({"mini_gen": 0, "mini_mc": 0}, tmp_path))
    rows = [
        json.loads(line)
        for name in ("mini_gen", "mini_mc")
        for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()
    ]
    assert [item.text for item in items] == [row["question"] for row in rows]
    assert [item.choices for item in items] == [tuple(row.get("choices", ())) for row in rows]


def test_tasks_that_cannot_be_read(tmp_path: Path) -> None:
    task(
        tmp_path, "a", tmp_path / "none.jsonl", doc_to_text="{{x}}", doc_to_target="{{x}}", output_type="generate_until"
    )
    with pytest.raises(StageError, match="the tasks a cannot be read: "):
        list(task_items({"a": None}, tmp_path))
    with pytest.raises(StageError, match="has no task 'b'"):
        list(task_items({"b": None}, tmp_path))


KEY = {"harness": "lm-eval", "shots": 0, "questions": "sha256:1"}


def evaluation(folder: Path) -> Path:
    """Two tasks, 6 of 10 right each, the group of both, and a mean of scores."""
    items = {task: {f"{task}/{i}": float(i < 6) for i in range(10)} for task in ("quiz", "other")}
    both = {"both": items["quiz"] | items["other"]} | items
    scored = [Scored(Score("", task, "acc", 0.6, 0, 1, len(values)), KEY, values) for task, values in both.items()]
    write_scored([*scored, Scored(Score("", "all", "mean", 0.6, 0, 1, 20), KEY)], folder)
    return folder


def test_touched_questions_are_left_out_of_the_scores(tmp_path: Path) -> None:
    folder = tmp_path / "touched"
    folder.mkdir()
    touched = [
        {"task": task, "item": item, "text": "?"} for task, item in (("quiz", "0"), ("quiz", "1"), ("more", "2"))
    ]
    write(folder / "items.jsonl", *touched)
    (folder / "sought.json").write_text('{"quiz": [], "other": [], "more": []}')
    scored, left_out = untouched_scores(evaluation(tmp_path), read_touched(folder))
    found = {one.score.task: (one.score.value, one.score.n) for one in scored}
    assert found == {"both": (pytest.approx(10 / 18), 18), "quiz": (0.5, 8), "other": (0.6, 10)}
    assert left_out == {"both": 2, "quiz": 2, "other": 0}
    both, quiz, other = (one.key for one in scored)
    assert other == {**KEY, "without": "questions in the training data"}
    assert len({key["questions"] for key in (both, quiz, other)}) == 3


def test_scores_that_cannot_be_given(tmp_path: Path) -> None:
    nothing = Touched({}, set(), {"quiz": set(), "other": set()})
    with pytest.raises(StageError, match="every question of 'quiz' is touched by the training data"):
        untouched_scores(evaluation(tmp_path), replace(nothing, items={"quiz": {str(i) for i in range(10)}}))
    with pytest.raises(StageError, match="nobody looked for the questions of 'other' in the training data"):
        untouched_scores(evaluation(tmp_path), replace(nothing, sought={"quiz": set()}))
    write_scored([Scored(Score("", "all", "mean", 0.6, 0, 1, 20), KEY)], tmp_path)
    with pytest.raises(
        StageError, match="keeps no values of single questions; name a stage that evaluates on questions"
    ):
        untouched_scores(tmp_path, nothing)
    with pytest.raises(StageError, match="does not tell what was looked for .no sought.json.; name a stage"):
        read_touched(tmp_path)
