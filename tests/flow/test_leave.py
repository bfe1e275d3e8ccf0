"""Asked to leave, by signal or by file, a run finishes what is open, saves all, and says so with exit code 75."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from magpie_align.mini.tokenizer import build_tokenizer
from tests.conftest import RECIPES

SPEAKER = """
import time
from pathlib import Path
from magpie_align.mini.script import write


def speak(prompt, seed):
    time.sleep(float((Path(__file__).parent / "pace").read_text()))
    return write(prompt, seed)
"""


@pytest.fixture
def slow(workdir: Path) -> Path:
    """A folder in which instructions take 40 seconds, unless `pace` is changed."""
    build_tokenizer(workdir / "teacher", samples=500)
    (workdir / "teacher/config.json").write_text("{}")
    (workdir / "speaker.py").write_text(SPEAKER)
    (workdir / "pace").write_text("0.7")
    return workdir


def start(*words: str, **environment: str) -> "subprocess.Popen[str]":
    few = "stages.instructions.grid=[{temperature: 1.0, rows: 80}]"
    command = [sys.executable, "-m", "magpie_align", *words, f"recipe={RECIPES / 'shards.yaml'}", few]
    return subprocess.Popen(command, env=os.environ | environment, stderr=subprocess.PIPE, text=True)


def done(folder: Path, name: str) -> int:
    for file in folder.glob(f"store/instructions-*/{name}.json"):
        rows: int = json.loads(file.read_text())["done"]
        return rows
    return 0


def by_signal(run: "subprocess.Popen[str]", folder: Path) -> None:
    run.send_signal(signal.SIGUSR1)


def by_file(run: "subprocess.Popen[str]", folder: Path) -> None:
    (folder / "leave").touch()


@pytest.mark.parametrize(
    ("words", "file", "ask"),
    [
        (["stage", "instructions", "shard=0/2"], "progress-0-of-2", by_file),
        (["stage", "instructions"], "progress", by_signal),
    ],
)
def test_what_is_open_is_finished_and_kept(
    words: list[str], file: str, ask: Callable[["subprocess.Popen[str]", Path], None], slow: Path
) -> None:
    run = start(*words, MAGPIE_LEAVE=str(slow / "leave"))
    while done(slow, file) < 3:
        assert run.poll() is None
        time.sleep(0.1)
    ask(run, slow)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 75 and "left early as asked" in said
    journals = [line for f in slow.glob("store/*/work/journal/*.jsonl") for line in f.read_text().splitlines()]
    log = next(slow.glob("store/instructions-*/log.txt")).read_text()
    rows = int(log.partition("left early with ")[2].split()[0])
    sealed = len(list(slow.glob("store/*/data/*.parquet"))) * 20
    assert len(journals) + sealed == rows >= 3 + 7, "the eight rows of the engine's window were open"
    (slow / "pace").write_text("0")
    (slow / "leave").unlink(missing_ok=True)
    again = start(*words)
    assert again.wait() == 0


def test_who_does_not_leave_in_time_is_ended(slow: Path) -> None:
    (slow / "pace").write_text("30")
    run = start("stage", "instructions", MAGPIE_GRACE="0.5")
    while not list(slow.glob("store/*/work/journal/chunk")):
        time.sleep(0.1)
    run.send_signal(signal.SIGUSR1)
    assert run.wait(40) == 75
