"""Whole recipes, through the real engines, as a user runs them."""

import json
import re
import subprocess
import sys
from pathlib import Path

from magpie_align.flow.table import count_rows
from tests.conftest import RECIPES

TINY = [
    "stages.base.steps=30",
    "stages.teacher.steps=40",
    "stages.public.rows=200",
    "stages.preferences.rows=400",
    "stages.instructions.grid=[{temperature: 1.0, rows: 120}, {temperature: 1.2, top_p: 0.99, rows: 80}]",
    "stages.responses.max_tokens=24",
    "stages.raw.where=[\"response <> ''\"]",
    "stages.raw.limit=150",
    "stages.selected.where=[\"response <> ''\"]",
    "stages.selected.limit=150",
    "stages.prompts.where=[]",
    "stages.prompts.data=public",
    "stages.prompts.labels=[]",
    "stages.prompts.limit=40",
    # So young a teacher writes no sense, and so young a model does not end its answers: a script does both.
    "+stages.candidates.engine={kind: scripted, script: 'magpie_align.mini.script:write'}",
    "stages.pairs.min_margin=0",
    "stages.benchmark.generated=40",
    "stages.benchmark.chosen=20",
]


def magpie(folder: Path, *args: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "magpie_align", *args], cwd=folder, capture_output=True, text=True)


def test_quickstart_at_its_smallest(tmp_path: Path) -> None:
    """Every stage of the quickstart with its own engines: vLLM generates, TRL trains, lm-eval scores."""
    done = magpie(tmp_path, "recipe=quickstart", *TINY)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "report: runs/quickstart/report.md"
    page = (tmp_path / "runs/quickstart/report.html").read_text()
    sections = ("result", "pipeline", "distributions", "map", "training", "questions", "browser", "settings")
    assert [name for name in sections if f'<section id="{name}">' not in page] == [] and len(page) < 5_000_000
    rows = json.loads((tmp_path / "runs/quickstart/results.json").read_text())
    models = {row["model"] for row in rows if row["task"] == "mini_gen"}
    assert models == {
        "base", "base + narrow public data", "base + Magpie raw", "base + Magpie selected", "base + Magpie selected + DPO", "teacher",
    }  # fmt: skip
    assert all(row["low"] <= row["value"] <= row["high"] and row["n"] for row in rows)
    (instructions,) = tmp_path.glob("store/instructions-*")
    manifest = json.loads((instructions / "manifest.json").read_text())
    assert manifest["summary"]["engine"]["engine"] == "vllm"
    assert count_rows(instructions / "data") == 200
    logs = "".join(log.read_text() for log in tmp_path.glob("store/evaluate-*/log.txt"))
    assert "vllm" in logs.lower()
    again = magpie(tmp_path, "recipe=quickstart", *TINY)
    assert again.returncode == 0 and "started" not in again.stdout
    told = magpie(tmp_path, "report", "recipe=quickstart", *TINY)
    assert told.returncode == 0 and "page: runs/quickstart/report.html" in told.stdout, told.stderr


def test_killed_synthesis_and_its_shards_are_the_same(tmp_path: Path) -> None:
    """Both steps in one process and in shards, killed four times; `make kill-resume` does it fifty times."""
    script = Path(__file__).with_name("kill_synthesis.py")
    done = subprocess.run([sys.executable, str(script), "--kills", "4"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) | {"rounds": 0} == {
        "engine": "scripted", "kills": 4, "rounds": 0, "files_equal": 77,
    }  # fmt: skip


def test_killed_and_resumed_data_is_the_same(tmp_path: Path) -> None:
    """The data half of the loop, killed five times; `make kill-resume` does it to the whole loop, twenty times."""
    script = Path(__file__).with_name("kill_resume.py")
    command = [sys.executable, str(script), "--recipe", str(RECIPES / "data.yaml"), "--kills", "5", "--seconds", "3"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["kills"] == 5
    assert len(re.findall(r"^kill \d: (?:runner|worker|both) in ", done.stdout, re.M)) == 5


def test_memory_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """At 10,000 rows; `make flat-memory` takes 100,000."""
    command = [sys.executable, str(Path(__file__).with_name("flat_memory.py")), "--rows", "10000"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
