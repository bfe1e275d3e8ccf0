"""A small finished run, written by hand into a store: so every figure of its report is known beforehand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from magpie_align.flow.table import write_parquet
from magpie_align.report.html import Run
from magpie_align.report.lineage import Made, lineage

HOSTILE = [
    "</script><script>window.ran = 1</script>",
    '<img src=x onerror="window.ran = 2"><svg onload="window.ran = 3">',
    "<!--<script>window.ran = 4//--></textarea><iframe src='javascript:parent.ran = 5'>",
    "\u202egnp.exe\u202c and \u2066isolated\u2069 \u200b\x07 bell",
    "{{ 7 * 7 }} {% for x in y %} ${window.ran = 6} `ls` ' \" & &amp; &lt;b&gt;",
    "long " + "x" * 1_000_000,
    "بيتا مرحبا \U0001f469\u200d\U0001f52c 中文 \x00\x1b[31m \ufeff \ufffd",
]
"""Texts that must be shown as they are, and do nothing."""


def artifact(store: Path, kind: str, number: int, inputs: dict[str, Path], **manifest: Any) -> Path:
    """A folder of the store with its manifest; the content is the caller's to write into `data/`."""
    folder = store / f"{kind}-{number:016x}"
    (folder / "data").mkdir(parents=True)
    told = {"kind": kind, "settings": {}, "inputs": {name: path.name for name, path in inputs.items()}, "seconds": 2.0}
    told |= {"finished": "2026-01-01T00:00:00+0000", "versions": {"magpie_align": "0.1.0"}, "summary": {}} | manifest
    (folder / "manifest.json").write_text(json.dumps(told))
    return folder


def rows(folder: Path, found: list[dict[str, Any]]) -> Path:
    write_parquet(pa.Table.from_pylist(found), folder / "data" / "part-000000.parquet")
    return folder


def finished(store: Path, texts: list[str], count: int = 60) -> dict[str, Path]:
    """Stage -> artifact: `count` instructions, every third of poor quality and so not selected, one model trained and scored.

    `texts` are the first instructions, and the responses to them; they are of good quality.
    """
    names = [f"row-{number:03d}" for number in range(count)]
    asked = [texts[n] if n < len(texts) else f"Add {n} and {n + 1}." for n in range(count)]
    poor = [n >= len(texts) and n % 3 == 0 for n in range(count)]
    made: dict[str, Path] = {}
    made["instructions"] = rows(
        artifact(store, "instructions", 1, {}, summary={"rows": count}),
        [
            {"uuid": names[n], "instruction": asked[n], "instruction_status": "ok", "instruction_stop": "stop"}
            | {"temperature": 1.0 if n % 2 else 1.2, "top_p": 1.0, "input_generator": "teacher"}
            for n in range(count)
        ],
    )
    made["responses"] = rows(
        artifact(store, "responses", 2, {"instructions": made["instructions"]}, settings={"data": "instructions"}),
        [
            {
                "uuid": names[n],
                "instruction": asked[n],
                "response": asked[n] if n < len(texts) else f"It is {2 * n + 1}.",
            }
            | {"response_status": "ok", "response_stop": "length" if n % 10 == 9 else "stop"}
            for n in range(count)
        ],
    )
    made["tags"] = rows(
        artifact(store, "tags", 3, {"instructions": made["instructions"]}, settings={"data": "instructions"}),
        [
            {
                "uuid": names[n],
                "input_quality": "poor" if poor[n] else "good",
                "task_category": "Math" if n % 2 else "Others",
            }
            | {"quality_generator": "a tagger"}
            for n in range(count)
        ],
    )
    made["vectors"] = artifact(
        store, "embed", 4, {"instructions": made["instructions"]}, settings={"data": "instructions"}
    )
    rows(made["vectors"], [{"uuid": name, "text_key": "k"} for name in names])
    np.save(
        made["vectors"] / "data" / "part-000000.npy",
        np.random.default_rng(0).normal(size=(count, 8)).astype(np.float16),
    )
    step = {"predicate": "input_quality >= 'average'", "came": count, "kept": count - sum(poor), "missing": 0}
    made["selected"] = rows(
        artifact(
            store, "select", 5, {"responses": made["responses"], "tags": made["tags"]},
            settings={"data": "responses", "labels": ["tags"], "where": [step["predicate"]]}, summary={"rows": step["kept"], "funnel": [step]},
        ),
        [{"uuid": names[n], "instruction": asked[n], "response": "r"} for n in range(count) if not poor[n]],
    )  # fmt: skip
    made["base"] = artifact(store, "mini_base", 6, {})
    made["sft"] = artifact(
        store,
        "sft",
        7,
        {"base": made["base"], "selected": made["selected"]},
        settings={"model": "base", "data": "selected"},
    )
    lines = [json.dumps({"step": n, "loss": 2 / n, "epoch": n / 9, "note": "x"}) for n in range(1, 6)]
    (made["sft"] / "data" / "training.jsonl").write_text("\n".join(lines) + "\n")
    for number, (name, model, right) in enumerate(
        (("eval_base", "base", [0, 0, 1, 0]), ("eval_sft", "sft", [1, 0, 0, 1]))
    ):
        made[name] = artifact(store, "evaluate", 8 + number, {model: made[model]}, settings={"model": model})
        _evaluated(made[name] / "data", right, texts)
    shown = {"base": "eval_base", "base + SFT": "eval_sft"}
    made["report"] = artifact(
        store, "report", 10, {ref: made[ref] for ref in shown.values()}, settings={"title": "A run", "models": shown}
    )
    rows_of = [
        json.loads((made[ref] / "data" / "scores.json").read_text())[0] | {"model": name} for name, ref in shown.items()
    ]
    line = {"model": "base + SFT", "score": "50.0 [0.0, 100.0]", "source": "here", "verdict": "inconclusive"}
    column = {"title": "sums exact_match", "key": {"shots": 0}, "lines": [line], "apart": ["shots is 0"], "answers": []}
    told = {
        "run": "base + SFT",
        "other": "base",
        "task": "sums",
        "metric": "exact_match",
        "words": "no difference shown",
    }
    for name, content in (
        ("tables", {"Models": rows_of}),
        ("leaderboard", [column]),
        ("comparisons", [told | {"difference": 0.25, "low": -0.5, "high": 1.0}]),
    ):
        (made["report"] / "data" / f"{name}.json").write_text(json.dumps(content))
    return made


def _evaluated(folder: Path, right: list[int], texts: list[str]) -> None:
    mean = sum(right) / len(right)
    score = {
        "model": "",
        "task": "sums",
        "metric": "exact_match",
        "value": mean,
        "low": 0.0,
        "high": 1.0,
        "n": len(right),
    }
    (folder / "scores.json").write_text(json.dumps([score]))
    (folder / "samples").mkdir()
    asked = [*texts[: len(right)], *(f"Add {n} and {n + 1}." for n in range(20, 20 + len(right)))][: len(right)]
    lines = [
        {
            "doc_id": n,
            "doc": {"question": asked[n]},
            "target": "t",
            "metrics": ["exact_match"],
            "exact_match": float(value),
        }
        | {"arguments": [["prompt", {}]], "filtered_resps": [f"said {n}"]}
        for n, value in enumerate(right)
    ]
    (folder / "samples" / "sums.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    verdicts = [
        {"question": f"sums/{n}", "part": 1, "repeat": 0, "seat": "B", "value": 0.25, "text": text, "failure": None}
        for n, text in enumerate(asked)
    ]
    (folder / "judgments.jsonl").write_text("".join(json.dumps(line) + "\n" for line in verdicts))


COSTS = {
    "stages": [
        {"name": "responses", "predicted_rows": [60, 60], "rows": 60, "predicted_seconds": [1.0, 90.0], "seconds": 2.0},
        {"name": "base", "predicted_rows": None, "rows": None, "predicted_seconds": None, "seconds": 2.0},
    ]
}


def run_of(made: dict[str, Path], **told: Any) -> Run:
    given = {
        "name": "small",
        "description": "",
        "command": "python -m magpie_align recipe=small",
        "composed": "name: small\n",
    }
    return Run(**(given | told), made=lineage(made))


def entry_of(run: Run, name: str) -> Made:
    return next(entry for entry in run.made if entry.name == name)
