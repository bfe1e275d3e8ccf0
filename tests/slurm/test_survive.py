"""What a cluster does to jobs: power loss, cancellation, the time limit, a shard that always fails, one that never gets on.

Each ends in the data of an undisturbed run on one machine, or in one clear statement.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from magpie_align.mini.tokenizer import build_tokenizer
from tests.slurm.cluster import Cluster, until
from tests.slurm.conftest import RECIPES, Desk

pytestmark = pytest.mark.slurm

SHARDS = f"recipe={RECIPES / 'shards.yaml'}"
SPEAKER = '''
"""Says what the scripted speaker says, so slowly, or in one array task so badly, as files beside it ask."""
import os
import time
from pathlib import Path

from magpie_align.mini.script import write


def speak(prompt, seed):
    here = Path(__file__).parent
    mine = os.environ.get("SLURM_ARRAY_TASK_ID", "none")
    if (here / "poisoned").exists() and (here / "poisoned").read_text() == mine:
        raise RuntimeError("the driver of this GPU is broken")
    if (here / "stuck").exists() and (here / "stuck").read_text() == mine:
        time.sleep(600)
    time.sleep(float((here / "pace").read_text()))
    return write(prompt, seed)
'''


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    build_tokenizer(folder, samples=2000)
    (folder / "config.json").write_text("{}")
    return folder


def furnish(folder: Path, teacher: Path, pace: float) -> None:
    shutil.copytree(teacher, folder / "teacher")
    (folder / "speaker.py").write_text(SPEAKER)
    (folder / "pace").write_text(str(pace))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, teacher: Path, cluster: Cluster) -> dict[str, str]:
    """The files of a run on one machine."""
    folder = tmp_path_factory.mktemp("undisturbed")
    furnish(folder, teacher, 0)
    Desk(folder, cluster).ok(SHARDS)
    return files(folder)


@pytest.fixture
def shards(desk: Desk, teacher: Path) -> Desk:
    furnish(desk.folder, teacher, 0.25)
    return desk


def files(folder: Path) -> dict[str, str]:
    found = folder.glob("store/*/data/*.parquet")
    return {str(f.relative_to(folder)): hashlib.sha256(f.read_bytes()).hexdigest() for f in found}


def rows_of(desk: Desk, task: int) -> int:
    """How many instructions one of three tasks has made."""
    for file in desk.folder.glob(f"store/instructions-*/progress-{task}-of-3.json"):
        done: int = json.loads(file.read_text())["done"]
        return done
    return 0


def hurry(desk: Desk) -> None:
    (desk.folder / "pace").write_text("0")


def ends_well(desk: Desk, undisturbed: dict[str, str]) -> None:
    until(lambda: not desk.active(), "the jobs to end")
    said = desk.ok("status", SHARDS)
    assert said.splitlines()[-1] == "2 stages: 2 done", said + desk.logs()
    assert files(desk.folder) == undisturbed


def test_power_loss_of_a_node(shards: Desk, undisturbed: dict[str, str], cluster: Cluster) -> None:
    shards.ok("submit", SHARDS, "launcher=small")
    until(lambda: rows_of(shards, 0) > 4, "rows of the first shard")
    job = shards.job("instructions_0")
    node = cluster.job(job)["NodeList"]
    cluster.power_off(node)
    try:
        until(lambda: cluster.job(job)["Restarts"] != "0", "the job to be queued again")
        hurry(shards)
        ends_well(shards, undisturbed)
    finally:
        cluster.power_on(node)
        until(lambda: cluster.nodes()[node] == "idle", "the node to come back")


def test_cancelled_and_submitted_again(shards: Desk, undisturbed: dict[str, str]) -> None:
    shards.ok("submit", SHARDS, "launcher=small")
    until(lambda: rows_of(shards, 0) > 4 and rows_of(shards, 1) > 4, "rows")
    said = shards.ok("status", SHARDS)
    assert re.search(r"instructions +│ running +│ \d+, \d+ +│ 2 running, 1 queued of 3 shards", said), said
    assert re.search(r"│ \d+/300 rows  [\d.]+/s  [\dhms ]+ left", said), said
    assert "cancelled 4 jobs" in shards.ok("cancel", SHARDS)
    until(lambda: not shards.active(), "the jobs to end")
    before = rows_of(shards, 0)
    assert "2 stages: 1 stopped, 1 waits" in shards.ok("status", SHARDS)
    hurry(shards)
    assert "4 jobs sent" in shards.ok("submit", SHARDS, "launcher=small")
    ends_well(shards, undisturbed)
    assert before > 4 and "failed" not in shards.logs()


def test_the_time_limit_is_met_with_all_work_saved(shards: Desk, undisturbed: dict[str, str], cluster: Cluster) -> None:
    """A job of a minute for rows of 75 s: Slurm warns it, it finishes what is open, queues again by itself, and goes on.

    Slurm warns up to a minute early, so this one is warned 10 to 40 s after its start.
    """
    given = ["launcher.shards=1", "launcher.light.time='1'", "launcher.signal_lead=20", "launcher.idle_starts=20"]
    shards.ok("submit", SHARDS, "launcher=small", *given)
    job = shards.job("instructions")
    log = shards.submission / "logs/instructions.log"
    until(lambda: log.exists() and "stage 'instructions' left early as asked: " in log.read_text(), "it to leave")
    until(lambda: cluster.job(job)["Restarts"] != "0", "it to queue again")
    assert "DUE TO TIME LIMIT" not in log.read_text()
    hurry(shards)
    ends_well(shards, undisturbed)


def test_a_shard_that_always_fails(shards: Desk, undisturbed: dict[str, str]) -> None:
    hurry(shards)
    (shards.folder / "poisoned").write_text("1")
    shards.ok("submit", SHARDS, "launcher=small")
    until(lambda: not shards.active(), "the jobs to end")
    said = shards.ok("status", SHARDS)
    assert (
        "instructions shard 1-of-3: stage 'instructions' failed: RuntimeError: the driver of this GPU is broken" in said
    )
    assert "2 done, 1 failed of 3 shards" in said and said.count("shard 1-of-3:") == 1
    assert "2 stages: 1 failed, 1 waits" in said
    (shards.folder / "poisoned").unlink()
    again = shards.ok("submit", SHARDS, "launcher=small")
    assert "instructions.shards (1 of 3)" in again and "4 jobs sent" in again
    ends_well(shards, undisturbed)


def test_a_failed_shard_is_sent_again_while_the_others_go_on(shards: Desk, undisturbed: dict[str, str]) -> None:
    (shards.folder / "poisoned").write_text("0")
    shards.ok("submit", SHARDS, "launcher=small")
    task = shards.job("instructions_0")
    until(lambda: (shards.submission / "failed/instructions@0-of-3").exists(), "the first shard to fail")
    until(lambda: f"{task} " not in shards.active(), "its task to be over")
    (shards.folder / "poisoned").unlink()
    again = shards.ok("submit", SHARDS, "launcher=small")
    assert "instructions.shards (1 of 3)" in again
    hurry(shards)
    ends_well(shards, undisturbed)


def test_a_job_that_gets_no_further_stops_asking(shards: Desk, cluster: Cluster) -> None:
    (shards.folder / "stuck").write_text("0")
    shards.ok("submit", SHARDS, "launcher=small", "launcher.idle_starts=1")
    worker: Callable[[], object] = lambda: list(shards.folder.glob("store/*/work/journal/chunk"))  # noqa: E731
    until(worker, "the first shard to begin")
    job = shards.job("instructions_0")
    cluster.run("scontrol", "requeue", job)
    until(lambda: cluster.job(job)["JobState"] == "FAILED", "the job to give up")
    said = shards.ok("status", SHARDS)
    assert (
        "instructions shard 0-of-3: the last 1 starts got no further than 0 rows, so it does not queue again" in said
    ), said
    shards.ok("cancel", SHARDS)
