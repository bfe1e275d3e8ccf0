"""Published data beside the project, read in place; tests that need it are skipped where it is absent."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

REALDATA = Path(__file__).resolve().parents[2] / "shared" / "realdata"

needs_realdata = pytest.mark.skipif(not REALDATA.is_dir(), reason="there is no ../shared/realdata beside the project")


def gsm8k(split: str = "test") -> list[dict[str, Any]]:
    name = {"test": "test", "train": "train_first400"}[split]
    with gzip.open(REALDATA / f"gsm8k/{name}.jsonl.gz", "rt") as stream:
        return [json.loads(line) for line in stream]


def mmlu() -> list[dict[str, str]]:
    """The test questions of all the subjects there are."""
    rows: list[dict[str, str]] = []
    for file in sorted((REALDATA / "mmlu/test").glob("*.csv")):
        with file.open(newline="") as stream:
            rows += csv.DictReader(stream)
    return rows


def truthfulqa() -> list[dict[str, Any]]:
    with gzip.open(REALDATA / "truthfulqa/mc_task.json.gz", "rt") as stream:
        rows: list[dict[str, Any]] = json.load(stream)
    return rows


def ifeval(kind: str) -> list[dict[str, Any]]:
    """The responses of Mistral-7B-Instruct-v0.3 with their published verdicts, `strict` or `loose`."""
    with gzip.open(REALDATA / f"ifeval/Mistral-7B-Instruct-v0.3__{kind}.jsonl.gz", "rt") as stream:
        return [json.loads(line) for line in stream]


def ifeval_questions() -> list[dict[str, Any]]:
    with gzip.open(REALDATA / "ifeval/input_data.jsonl.gz", "rt") as stream:
        return [json.loads(line) for line in stream]
