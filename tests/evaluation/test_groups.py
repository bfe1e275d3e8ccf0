"""The groups of conf/evaluation name tasks that the installed lm-eval has, and metrics that these report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from magpie_align.evaluation.published import published_rows
from magpie_align.evaluation.tasks import leaves, load_tasks
from magpie_align.recipe import packaged
from tests.evaluation.lm_eval_files import write

GROUPS = {file.stem: yaml.safe_load(file.read_text()) for file in packaged("conf").glob("evaluation/*.yaml")}
SHOTS = {
    "mmlu": 5, "arc_challenge": 25, "hellaswag": 10, "truthfulqa_mc2": 0, "winogrande": 5, "gsm8k": 5, "mmlu_redux_generative": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def known() -> Mapping[str, Any]:
    from lm_eval.tasks import TaskManager

    return TaskManager().task_index


def metrics(name: str, known: Mapping[str, Any]) -> set[str]:
    """As our scores are named: with the filter where a task has several."""
    config = known[name].cfg or {}
    of_group = {one["metric"] for one in config.get("aggregate_metric_list") or ()}
    found = set()
    for leaf in leaves(name, known):
        filters = [one["name"] for one in known[leaf].cfg.get("filter_list") or ()]
        for metric in (one["metric"] for one in known[leaf].cfg["metric_list"]):
            found |= {f"{metric} {one}" for one in filters} if len(filters) > 1 else {metric}
    return {metric for metric in found if not of_group or metric.split(" ")[0] in of_group}


def test_the_papers_tasks_and_shots() -> None:
    assert GROUPS["paper"]["tasks"] == SHOTS
    printed = {
        (p.task, p.key["shots"]) for p in published_rows() if p.source.endswith("table 3") and p.metric != "mean"
    }
    assert printed == set(SHOTS.items())
    assert GROUPS["table3"]["defaults"] == ["paper", "_self_"]


def test_every_name_is_in_the_registry(known: Mapping[str, Any]) -> None:
    for group in GROUPS.values():
        for name in group.get("tasks", {}):
            assert list(leaves(name, known)), name
    assert len(list(leaves("mmlu", known))) == len(list(leaves("mmlu_redux_generative", known))) == 57
    assert len(list(leaves("leaderboard_bbh", known))) == 24


def test_every_metric_is_reported(known: Mapping[str, Any]) -> None:
    wanted = [score for group in GROUPS.values() for mean in group.get("means", {}).values() for score in mean]
    wanted += [f"{p.task} {p.metric}" for p in published_rows() if p.key.get("harness") and p.metric != "mean"]
    assert len(wanted) == 7 + 6 + 7 * 11
    for score in wanted:
        task, _, metric = score.partition(" ")
        assert metric in metrics(task, known), score


def test_groups_are_weighted_by_questions(known: Mapping[str, Any]) -> None:
    for name in ("mmlu", "mmlu_redux_generative", "leaderboard_bbh", "leaderboard_gpqa", "leaderboard_musr"):
        assert all(one["weight_by_size"] for one in known[name].cfg["aggregate_metric_list"])


ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "allenai/ai2_arc/ARC-Challenge": ("test train", {
        "id": "1", "question": "Which is hot?", "choices": {"text": ["ice", "fire"], "label": ["A", "B"]}, "answerKey": "B"}),
    "Rowan/hellaswag/data": ("validation train", {
        "activity_label": "Running", "ctx_a": "A man runs.", "ctx_b": "he", "endings": ["stops.", "He stops [title] then."], "label": "0"}),
    "allenai/winogrande/winogrande_xl": ("validation train", {
        "sentence": "The cup is in the box because _ is small.", "option1": "the cup", "option2": "the box", "answer": "1"}),
    "mmlu_redux_anatomy_generative": ("test", {"question": " Which bone? ", "choices": ["a", "b", "c", "d"], "answer": 2}),
    "leaderboard_math_algebra_hard": ("test train", {
        "problem": "What is 1/2 + 0?", "solution": "It is $\\boxed{\\frac{1}{2}}$.", "level": "Level 5", "type": "Algebra"}),
}  # fmt: skip


def test_tasks_of_the_groups_read_local_files(tmp_path: Path) -> None:
    for folder, (splits, row) in ROWS.items():
        for split in splits.split():
            write(tmp_path / folder / f"{split}.jsonl", [row] * 6)
    asked = {"arc_challenge": 2, "hellaswag": 1, "winogrande": 1, "mmlu_redux_anatomy_generative": 0}
    loaded = load_tasks(asked | {"leaderboard_math_algebra_hard": None}, data=tmp_path)
    tasks = loaded.tasks
    shots = {name: task.config.num_fewshot for name, task in tasks.items()}
    assert shots == asked | {"leaderboard_math_algebra_hard": 4}
    assert all(len(task.eval_docs) == 6 for task in tasks.values())
    docs = {name: task.eval_docs[0] for name, task in tasks.items()}
    arc, hella, wino, redux, math = tasks.values()
    assert arc.doc_to_text(docs["arc_challenge"]) == "Question: Which is hot?\nAnswer:"
    assert hella.doc_to_choice(docs["hellaswag"]) == ["stops.", "He stops. then."]
    assert wino.doc_to_choice(docs["winogrande"])[1] == "The cup is in the box because the box"
    assert redux.doc_to_target(docs["mmlu_redux_anatomy_generative"]) == "C"
    found = math.process_results(docs["leaderboard_math_algebra_hard"], ["The answer is $0.5$."])
    assert found["exact_match"] == 1
    assert list(math.aggregation()) == ["exact_match"]
