"""A whole recipe through the cluster: what comes out is what a run on one machine makes."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, until
from tests.slurm.conftest import RECIPES, Desk

pytestmark = pytest.mark.slurm
LOOP = f"recipe={RECIPES / 'cluster.yaml'}"


def artifacts(folder: Path) -> set[str]:
    return {file.parent.name for file in folder.glob("store/*/manifest.json")}


def hashes(folder: Path) -> dict[str, str]:
    """Every data set's files, the weights and the report."""
    files = [f for kind in ("*.parquet", "*.safetensors", "report.md") for f in folder.glob(f"store/*/data/{kind}")]
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def test_the_whole_loop_makes_the_same(desk: Desk, cluster: Cluster) -> None:
    """Arrays, what completes them, a chain, a training whose node loses power, an evaluation, the report.

    Meanwhile the same recipe runs on this machine.
    """
    alone = desk.folder / "alone"
    alone.mkdir()
    assert "10 stages, 0 done" in desk.ok("submit", LOOP, "launcher=small")
    run = subprocess.Popen([sys.executable, "-m", "magpie_align", LOOP], cwd=alone, stdout=subprocess.DEVNULL)
    assert "0 jobs sent" in desk.ok("submit", LOOP, "launcher=small")
    training = desk.job("sft")
    until(lambda: list(desk.folder.glob("store/sft-*/work/checkpoints/*/trainer_state.json")), "a checkpoint", 600)
    node = cluster.job(training)["NodeList"]
    cluster.power_off(node)
    try:
        until(lambda: cluster.job(training)["Restarts"] == "1", "the training to be queued again", 100)
        until(lambda: not desk.active(), "the jobs to end", 600)
    finally:
        cluster.power_on(node)
        until(lambda: cluster.nodes()[node] == "idle", "the node to come back")
    assert run.wait() == 0
    said = desk.ok("status", LOOP)
    assert said.splitlines()[-1] == "10 stages: 10 done", said + desk.logs()
    assert "resuming from checkpoint" in next(desk.folder.glob("store/sft-*/log.txt")).read_text()
    assert artifacts(desk.folder) == artifacts(alone) and len(artifacts(alone)) == 10
    assert hashes(desk.folder) == hashes(alone)
    assert (desk.folder / "runs/cluster/report.md").read_text() == (alone / "runs/cluster/report.md").read_text()
    done = desk.ok("submit", LOOP, "launcher=small")
    assert "10 done; 0 jobs sent, 0 were in the queue already" in done
