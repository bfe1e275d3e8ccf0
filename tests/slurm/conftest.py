"""The cluster of this session, and recipes on it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.slurm.cluster import PATH, PROGRAMS, Cluster

RECIPES = Path(__file__).parents[1] / "recipes"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    missing = [name for name in PROGRAMS if not shutil.which(name, path=PATH)]
    if missing and not os.environ.get("CI"):
        pytest.skip(f"Slurm is not installed here (no {', '.join(missing)})")
    assert not missing, f"CI must install Slurm; missing: {missing}"
    started = Cluster()
    try:
        started.start()
        yield started
    finally:
        started.stop()


@dataclass(frozen=True)
class Desk:
    """Where a user of the cluster sits: a folder on the shared disk, and the commands."""

    folder: Path
    cluster: Cluster

    def magpie(self, *words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "magpie_align", *words]
        return subprocess.run(command, cwd=self.folder, env=self.cluster.environment, capture_output=True, text=True)

    def ok(self, *words: str) -> str:
        done = self.magpie(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def submission(self) -> Path:
        (found,) = self.folder.glob("runs/*/slurm/*/submission.json")
        return found.parent

    def active(self) -> str:
        """The jobs of this desk that are not over."""
        lines = self.cluster.run("squeue", "--noheader", "--array", "--format=%i %j %T %r %Z").splitlines()
        return "\n".join(line for line in lines if line.endswith(str(self.folder)))

    def job(self, name: str) -> str:
        """The id of a job of this desk: `sft`, or `responses_2` for a task of an array."""
        lines = self.cluster.run("squeue", "--noheader", "--array", "--format=%i %j %Z").splitlines()
        for job, title, folder in (line.split() for line in lines):
            stage, task = title.rpartition(".")[0].removesuffix(".shards"), job.partition("_")[2]
            if folder == str(self.folder) and name == (f"{stage}_{task}" if task else stage):
                return job
        raise AssertionError(f"no job {name} among:\n{self.active()}")

    def logs(self) -> str:
        return "".join(f"== {log.name}\n{log.read_text()}" for log in sorted(self.submission.glob("logs/*")))


SMALL_NODES = """
defaults: [slurm, _self_]
gpus: 1
cpus: 1
memory: 1G
shards: 3
concurrency: 2
signal_lead: 30
idle_starts: 10
light: {cpus: 1, memory: 1G}
"""


@pytest.fixture
def desk(cluster: Cluster, tmp_path: Path) -> Iterator[Desk]:
    """With a `conf/launcher/small.yaml` of its own, as a user would write it; its jobs end with the test."""
    file = tmp_path / "conf/launcher/small.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(SMALL_NODES)
    desk = Desk(tmp_path, cluster)
    yield desk
    left = [line.split()[0] for line in desk.active().splitlines()]
    if left:
        cluster.run("scancel", *left, check=False)
