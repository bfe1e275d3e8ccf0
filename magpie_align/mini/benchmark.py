"""The benchmark of the miniature world as lm-eval tasks on local files.

    mini_gen   1000 questions answered freely, scored by exact match (95% interval about +-2.5 points)
    mini_mc    600 questions with four choices, scored by likelihood

Every question comes from the reserved share of the language, so none can occur in anything the models were trained on.
Each row keeps its skill, category and difficulty.
"""

import json
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any

from magpie_align.mini.language import Item, generate
from magpie_align.mini.preferences import corrupt
from magpie_align.mini.skills import SKILLS
from magpie_align.mini.tokenizer import END_OF_TEXT, EOT

TASKS = ("mini_gen", "mini_mc")
CHOICES = 4
Row = dict[str, Any]


def benchmark_items(name: str, seed: int, count: int) -> Iterator[Item]:
    """`count` different instructions from the reserved share, every skill in turn."""
    rng, seen = Random(f"benchmark {name} {seed}"), set[str]()
    for skill in cycle(SKILLS):
        if len(seen) == count:
            return
        while (item := generate(rng, (skill,), reserved=True)).instruction in seen:
            pass
        seen.add(item.instruction)
        yield item


def _row(item: Item) -> Row:
    return {
        "question": item.instruction,
        "answer": item.answer,
        "skill": item.skill,
        "category": item.category,
        "difficulty": item.difficulty,
        "language": item.language,
    }


def _choice_row(rng: Random, item: Item) -> Row:
    choices = {item.answer: None}
    while len(choices) < CHOICES:
        choices[corrupt(rng, item)] = None
    shuffled = rng.sample(tuple(choices), CHOICES)
    return _row(item) | {"choices": shuffled, "gold": shuffled.index(item.answer)}


def _task(name: str, data: Path, **fields: Any) -> Row:
    return {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data.resolve())}},
        "test_split": "test",
        "doc_to_text": "{{question}}",
        "target_delimiter": "",
        "num_fewshot": 0,
        "metadata": {"version": 1.0},
    } | fields


def _metric(name: str, **options: bool) -> Row:
    return {"metric": name, "aggregation": "mean", "higher_is_better": True} | options


def _generation_task(data: Path) -> Row:
    return _task(
        "mini_gen",
        data,
        output_type="generate_until",
        doc_to_target="{{answer}}",
        generation_kwargs={"until": [EOT, END_OF_TEXT], "max_gen_toks": 96, "do_sample": False},
        metric_list=[_metric("exact_match", ignore_case=False, ignore_punctuation=False)],
        filter_list=[{"name": "strip", "filter": [{"function": "remove_whitespace"}, {"function": "take_first"}]}],
    )


def _choice_task(data: Path) -> Row:
    return _task(
        "mini_mc",
        data,
        output_type="multiple_choice",
        doc_to_choice="choices",
        doc_to_target="gold",
        metric_list=[_metric("acc"), _metric("acc_norm")],
    )


def write_benchmark(folder: Path, seed: int = 0, generated: int = 1000, chosen: int = 600) -> tuple[str, ...]:
    """Write `mini_gen` and `mini_mc` (a JSONL and a YAML file each) into `folder`; returns the task names."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = Random(f"choices {seed}")
    rows = {
        "mini_gen": [_row(item) for item in benchmark_items("gen", seed, generated)],
        "mini_mc": [_choice_row(rng, item) for item in benchmark_items("mc", seed, chosen)],
    }
    for name, task in (("mini_gen", _generation_task), ("mini_mc", _choice_task)):
        data = folder / f"{name}.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows[name]), encoding="utf-8")
        (folder / f"{name}.yaml").write_text(json.dumps(task(data), indent=1) + "\n", encoding="utf-8")
    return TASKS
