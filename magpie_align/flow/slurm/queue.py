"""What Slurm knows and is told: squeue, sbatch, scancel. The queue is the register of who makes what.

Each job carries in its comment what it makes (`Tag`), so that any later `submit`, of any recipe over the same store, sees it.
Accounting is not needed: a job that Slurm has forgotten is judged by what it left in the store.
"""

import os
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from magpie_align.errors import ConfigError, StageError
from magpie_align.flow.store import fingerprint

Role = Literal["stage", "shards", "finish"]
"""A job makes whole stages, or shards of one as array tasks, or completes one whose shards are done."""

_MARK = "magpie"
_FIELDS = "%F|%K|%T|%r|%M|%N|%E|%k"  # array's or job's id, task, state, reason, time used, nodes, dependency, comment


@dataclass(frozen=True)
class Tag:
    """What a job makes, as its comment."""

    submission: str
    store: str
    role: Role
    of: int
    artifacts: tuple[str, ...]

    def __str__(self) -> str:
        return ":".join((_MARK, self.submission, self.store, self.role, str(self.of), "+".join(self.artifacts)))

    @staticmethod
    def read(comment: str) -> "Tag | None":
        """None for a job that is not of this project."""
        match comment.split(":"):
            case [mark, submission, store, ("stage" | "shards" | "finish") as role, of, artifacts] if mark == _MARK:
                return Tag(submission, store, role, int(of), tuple(artifacts.split("+")))
        return None


@dataclass(frozen=True)
class Live:
    """A job, or one task of an array, that Slurm still means to run or is running."""

    job: str
    task: int | None
    state: str
    reason: str
    used: str
    nodes: str
    waits: frozenset[str]
    """The jobs that must succeed first."""
    tag: Tag

    @property
    def id(self) -> str:
        return self.job if self.task is None else f"{self.job}_{self.task}"

    @property
    def running(self) -> bool:
        return self.state in ("RUNNING", "COMPLETING", "CONFIGURING")

    @property
    def doomed(self) -> bool:
        """Waits for a job that has failed; Slurm is about to remove it."""
        return self.reason == "DependencyNeverSatisfied"


def store_mark(root: Path) -> str:
    """Stands for a store in a tag."""
    return fingerprint(str(root.resolve()))[:8]


def live_jobs(store: str) -> list[Live]:
    """This user's jobs over this store that are not over. Raises StageError if Slurm does not answer."""
    found = []
    for line in _call("squeue", "--me", "--noheader", "--array", f"--format={_FIELDS}").splitlines():
        job, task, state, reason, used, nodes, waits, comment = line.strip().split("|", 7)
        tag = Tag.read(comment)
        if tag and tag.store == store:
            number = int(task) if task.isdigit() else None
            first = frozenset(re.findall(r"\d+(?:_\d+)?", waits))
            found.append(Live(job, number, state, reason, used, nodes, first, tag))
    return [one for one in found if not one.doomed]


def send(script: Path, after: Iterable[str]) -> str:
    """Submit a batch script that starts when all of `after` have succeeded; returns its id."""
    return _call(*command(str(script), after)).split(";")[0].strip()


def command(script: str, after: Iterable[str]) -> list[str]:
    """The words that submit a script. What waits for a job that fails is removed, not left pending for ever."""
    wait = ":".join(after)
    edge = [f"--dependency=afterok:{wait}", "--kill-on-invalid-dep=yes"] if wait else []
    return ["sbatch", "--parsable", *edge, script]


def cancel(ids: Iterable[str]) -> None:
    """Stop jobs, running or not."""
    wanted = sorted(ids)
    if wanted:
        _call("scancel", *wanted)


def _call(*words: str) -> str:
    inside = ("SLURM_", "SBATCH_", "SRUN_")  # a job's own variables would become options of the jobs it sends
    kept = {k: v for k, v in os.environ.items() if not k.startswith(inside) or k == "SLURM_CONF"}
    try:
        done = subprocess.run(words, env=kept, capture_output=True, text=True)
    except FileNotFoundError:
        raise ConfigError(
            f"there is no {words[0]} on this machine; run this on a login node of the Slurm cluster"
        ) from None
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise StageError(f"Slurm refused `{' '.join(words)}`: {said}")
    return done.stdout
