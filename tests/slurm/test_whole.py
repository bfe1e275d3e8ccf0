"""A whole recipe through the cluster: what comes out is what a run on one machine makes."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.slurm.cluster import until
from tests.slurm.conftest import RECIPES, Desk

pytestmark = pytest.mark.slurm

LOOP = f"recipe={RECIPES / 'cluster.yaml'}"


def artifacts(folder: Path) -> set[str]:
    return {file.parent.name for file in folder.glob("store/*/manifest.json")}


def hashes(folder: Path) -> dict[str, str]:
    """Every data set's files and the report."""
    files = [*folder.glob("store/*/data/*.parquet"), *folder.glob("store/report-*/data/*")]
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_the_whole_loop_makes_the_same(desk: Desk) -> None:
    """Arrays, what completes them, a chain, a training, an evaluation, the report; meanwhile a run beside it on this machine."""
    alone = desk.folder / "alone"
    alone.mkdir()
    sent = desk.ok("submit", LOOP, "launcher=small")
    assert "10 stages, 0 done" in sent
    run = subprocess.Popen([sys.executable, "-m", "magpie_align", LOOP], cwd=alone, stdout=subprocess.DEVNULL)
    again = desk.ok("submit", LOOP, "launcher=small")
    assert "0 jobs sent" in again
    assert run.wait() == 0
    until(lambda: not desk.active(), "the jobs to end", 600)
    said = desk.ok("status", LOOP)
    assert said.splitlines()[-1] == "10 stages: 10 done", said + desk.logs()
    assert artifacts(desk.folder) == artifacts(alone) and len(artifacts(alone)) == 10
    assert hashes(desk.folder) == hashes(alone)
    assert (desk.folder / "runs/cluster/report.md").read_text() == (alone / "runs/cluster/report.md").read_text()
    done = desk.ok("submit", LOOP, "launcher=small")
    assert "10 done; 0 jobs sent, 0 were in the queue already" in done
