"""A whole recipe through the cluster: what comes out is what a run on one machine makes."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, until
from tests.slurm.conftest import RECIPES, Desk

pytestmark = pytest.mark.slurm
LOOP = f"recipe={RECIPES / 'cluster.yaml'}"
TWO_NODES = "launcher.stages={sft: {nodes: 2}}"


def artifacts(folder: Path) -> set[str]:
    return {file.parent.name for file in folder.glob("store/*/manifest.json")}


def hashes(folder: Path) -> dict[str, str]:
    """Every data set's files, and the report."""
    files = [f for kind in ("*.parquet", "report.md") for f in folder.glob(f"store/*/data/{kind}")]
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def loss(folder: Path) -> float:
    """Of the training."""
    (manifest,) = folder.glob("store/sft-*/manifest.json")
    found: float = json.loads(manifest.read_text())["summary"]["loss"]
    return found


def test_the_whole_loop_makes_the_same(desk: Desk, cluster: Cluster) -> None:
    """Arrays, what completes them, a chain, a training on two nodes one of which loses power, an evaluation, the report.

    Meanwhile the same recipe runs on this machine, its training in one process.
    """
    alone = desk.folder / "alone"
    alone.mkdir()
    assert "9 stages, 0 done; 10 jobs sent" in desk.ok("submit", LOOP, "launcher=small", TWO_NODES)
    run = subprocess.Popen([sys.executable, "-m", "magpie_align", LOOP], cwd=alone, stdout=subprocess.DEVNULL)
    assert "0 jobs sent, 10 were in the queue" in desk.ok("submit", LOOP, "launcher=small", TWO_NODES)
    training = desk.job("sft")
    until(lambda: list(desk.folder.glob("store/sft-*/work/checkpoints/*/trainer_state.json")), "a checkpoint")
    first, second = cluster.run("scontrol", "show", "hostnames", cluster.job(training)["NodeList"]).split()
    cluster.power_off(second)
    try:
        until(lambda: cluster.job(training)["Restarts"] != "0", "the training to be queued again")
        until(lambda: not desk.active(), "the jobs to end")
    finally:
        cluster.power_on(second)
        until(lambda: cluster.nodes()[second] == "idle", "the node to come back")
    assert run.wait() == 0
    said = desk.ok("status", LOOP)
    assert said.splitlines()[-1] == "9 stages: 9 done", said + desk.logs()
    assert "resuming from checkpoint" in next(desk.folder.glob("store/sft-*/log.txt")).read_text()
    assert artifacts(desk.folder) == artifacts(alone) and len(artifacts(alone)) == 9
    assert hashes(desk.folder) == hashes(alone)
    assert loss(desk.folder) == pytest.approx(loss(alone), rel=1e-3)
    made = [f"runs/cluster/{name}" for name in ("report.md", "report.html", "results.json", "recipe.yaml")]
    assert all((folder / name).exists() for folder in (desk.folder, alone) for name in made)
    done = desk.ok("submit", LOOP, "launcher=small")
    assert "9 done; 0 jobs sent, 0 were in the queue already" in done
