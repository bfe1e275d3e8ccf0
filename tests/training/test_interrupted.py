"""A training that is asked to stop, or killed, goes on as if nothing had been."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

RECIPE = """
defaults: [base, _self_]
name: cut
stages:
  public: {{use: mini_public, rows: 60}}
  sft:
    {{use: sft, model: {model}, data: public, learning_rate: 1e-3, batch_size: 2, micro_batch_size: 2, max_length: 256,
     precision: float32, epochs: 3}}
"""


def test_two_interruptions_change_no_bit(tmp_path: Path) -> None:
    """`make interrupted` does it ten times."""
    command = [sys.executable, "-m", "tests.training.interrupted", "--times", "2", "--steps", "18"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "interrupted": 2, "steps": 18, "losses_equal": True, "weights_equal": True,
    }  # fmt: skip
    assert "SIGTERM at step" in done.stdout and "SIGKILL at step" in done.stdout


def test_a_run_says_how_to_go_on(model: Path, workdir: Path) -> None:
    """SIGTERM to the stage's process alone: the run ends with exit code 75, and the same command finishes it."""
    Path("cut.yaml").write_text(RECIPE.format(model=model))
    command = [sys.executable, "-m", "magpie_align", "recipe=cut.yaml"]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while steps(workdir) < 3 and run.poll() is None:
        time.sleep(0.02)
    (worker,) = workers(workdir)
    os.kill(worker, signal.SIGTERM)
    _, said = run.communicate(timeout=120)
    assert run.returncode == 75, said
    found = re.fullmatch(
        r"stage 'sft' left early as asked: a checkpoint holds (\d+) of 90 steps; the same command goes on from here",
        said.splitlines()[-1],
    )
    assert found and 3 <= int(found[1]) < 90
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    (folder,) = workdir.glob("store/sft-*")
    assert f"resuming from checkpoint-{found[1]}\n" in (folder / "log.txt").read_text()
    lines = [json.loads(line) for line in (folder / "data/training.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 91)) and all(line["loss"] > 0 for line in lines)
    speed = json.loads((folder / "manifest.json").read_text())["summary"]["speed"]
    assert 0 < speed["filled"] <= 1 and speed["tokens_per_second"] > 0 and speed["mfu"] is None


def steps(folder: Path) -> float:
    for file in folder.glob("store/sft-*/progress.json"):
        return float(json.loads(file.read_text())["done"])
    return 0


def workers(folder: Path) -> list[int]:
    """The processes of stages whose current folder this is."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            here = os.readlink(process / "cwd") == str(folder.resolve())
            if here and b"magpie_align.flow.worker" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found
