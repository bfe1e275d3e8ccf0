"""Published questions as files in the layout and the columns that lm-eval's tasks expect of the hub's data sets."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path

from tests.realdata import REALDATA, gsm8k, truthfulqa

SUBJECTS = ("anatomy", "virology")
GROUP = """\
group: mmlu_two
task: [mmlu_anatomy, mmlu_virology]
aggregate_metric_list: [{metric: acc, weight_by_size: true}]
metadata: {version: 1}
"""


def write(file: Path, rows: Iterable[object]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_data(folder: Path, items: int) -> Path:
    """GSM8K and TruthfulQA, two subjects of MMLU of different sizes and a group of them; `items` of each at most."""
    for split in ("train", "test"):
        write(folder / f"openai/gsm8k/main/{split}.jsonl", gsm8k(split)[:items])
    for n, subject in enumerate(SUBJECTS):
        for split in ("dev", "test"):
            with (REALDATA / f"mmlu/{split}/{subject}_{split}.csv").open(newline="") as stream:
                rows = [_mmlu(row) for row in csv.DictReader(stream)]
            write(folder / f"cais/mmlu/{subject}/{split}.jsonl", rows[: max(5, items - 3 * n)])
    write(folder / "truthfulqa_mc2/validation.jsonl", [_truthful(row) for row in truthfulqa()[:items]])
    (folder / "two.yaml").write_text(GROUP)
    return folder


def _mmlu(row: dict[str, str]) -> dict[str, object]:
    return {
        "question": row["question"],
        "choices": [row[f"choice{i}"] for i in range(4)],
        "answer": int(row["answer"]),
    }


def _truthful(row: dict[str, dict[str, int]]) -> dict[str, object]:
    targets = {
        name: {"choices": list(row[name]), "labels": list(row[name].values())}
        for name in ("mc1_targets", "mc2_targets")
    }
    return {"question": row["question"], **targets}
