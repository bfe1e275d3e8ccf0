"""The benchmark's files are tasks lm-eval can load, on questions kept from training."""

import json

import pytest

from magpie_align.mini.benchmark import benchmark_items, write_benchmark
from magpie_align.mini.language import is_reserved, judge
from magpie_align.mini.skills import SKILLS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    assert write_benchmark(folder, seed=1, generated=170, chosen=85) == ("mini_gen", "mini_mc")
    return folder


def rows(folder, task):
    return [json.loads(line) for line in (folder / f"{task}.jsonl").read_text().splitlines()]


def test_questions_are_reserved_different_and_even_over_skills():
    items = list(benchmark_items("gen", 0, 1000))
    assert all(map(is_reserved, items))
    assert len({item.instruction for item in items}) == 1000
    assert {item.skill for item in items} == set(SKILLS)
    assert list(benchmark_items("gen", 0, 50)) == items[:50]
    assert list(benchmark_items("gen", 1, 50)) != items[:50]


def test_rows_hold_the_right_answer_and_one_right_choice(folder):
    assert all(judge(row["question"], row["answer"]).correct for row in rows(folder, "mini_gen"))
    for row in rows(folder, "mini_mc"):
        right = [judge(row["question"], choice).correct for choice in row["choices"]]
        assert right.index(True) == row["gold"] and sum(right) == 1 and len(right) == 4


def test_writing_twice_gives_the_same_rows(folder, tmp_path):
    write_benchmark(tmp_path, seed=1, generated=170, chosen=85)
    assert rows(tmp_path, "mini_mc") == rows(folder, "mini_mc")


def test_lm_eval_loads_the_tasks(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(folder), include_defaults=False)
    tasks = manager.load(["mini_gen", "mini_mc"])["tasks"]
    assert set(tasks) == {"mini_gen", "mini_mc"}
    for name, size in (("mini_gen", 170), ("mini_mc", 85)):
        documents = list(tasks[name].test_docs())
        assert len(documents) == size
        assert tasks[name].doc_to_text(documents[0]) == rows(folder, name)[0]["question"]
    assert tasks["mini_gen"].doc_to_target(documents[0]) == documents[0]["answer"]
