"""Runs a graph: what is done is skipped, each other stage gets a process of its own, up to `jobs` at once.

A stage that joins its parent (see `Stage.joins`) shares its process.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from magpie_align.errors import AGAIN, AgainError, MagpieError, StageError
from magpie_align.flow.graph import Node
from magpie_align.flow.leave import Notice
from magpie_align.flow.progress import read_progress
from magpie_align.flow.view import View

if TYPE_CHECKING:
    from magpie_align.flow.table import Shard

_POLL = 0.05
_LAST = 20.0  # seconds for a worker that was asked to leave and has not


@dataclass
class _Job:
    nodes: list[Node]
    process: "subprocess.Popen[bytes]"
    file: Path
    started: float = field(default_factory=time.monotonic)
    leaving: bool = False

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def problem(self) -> MagpieError:
        """Why it did not finish, in the worker's own words where it had any."""
        note = self.file.with_suffix(".error")
        code = self.process.returncode
        said = note.read_text() if note.exists() else f"its process ended with {_ending(code)}"
        name, log = self.nodes[0].name, self.nodes[0].artifact.log
        if self.left:
            return AgainError(f"stage '{name}' left early as asked: {said}; the same command goes on from here")
        return StageError(f"stage '{name}' failed: {said} (log: {log})")

    def leave(self, notice: Notice) -> None:
        """Pass on that it should leave; once the grace is over, end it."""
        if notice.given and not self.leaving:
            self.leaving = True
            self.process.send_signal(signal.SIGUSR1)
        if notice.over:
            _stop([self], _LAST)

    @property
    def left(self) -> bool:
        """Whether it ended because it was asked to: by itself, before it could listen, or at the end of the grace."""
        code = self.process.returncode
        return code == AGAIN or (self.leaving and code not in (0, 1))

    def made(self) -> list[Node]:
        """Those of its stages that are done since last asked."""
        made = [n for n in self.nodes if (n.artifact.folder / "manifest.json").exists() and n.artifact.done]
        self.nodes = [n for n in self.nodes if n not in made]
        return made


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def run_graph(nodes: list[Node], jobs: int, view: View, locate: Callable[[str], Path | None]) -> None:
    """Make every node's artifact. `locate` turns an external model's name into its folder, if it is needed here.

    Raises StageError for the first stage that fails, once the others that were running have ended, and AgainError if it was
    asked to leave before all was made.
    """
    with (
        tempfile.TemporaryDirectory(prefix="magpie-") as scratch,
        _terminated_as_interrupt(),
        Notice().heard() as notice,
    ):
        done = [n for n in nodes if n.artifact.done]
        waiting = [n for n in nodes if n not in done]
        running: list[_Job] = []
        failure: MagpieError | None = None
        for node in done:
            view.skip(node)
        try:
            while running or (waiting and not failure and not notice.given):
                while not failure and not notice.given and len(running) < jobs:
                    nodes = _next(waiting, running, done)
                    if not nodes:
                        break
                    running.append(_start(nodes, Path(scratch), locate))
                    for node in nodes:
                        waiting.remove(node)
                        view.start(node)
                time.sleep(_POLL)
                for job in list(running):
                    job.leave(notice)
                    ended = job.process.poll() is not None
                    for node in job.made():
                        done.append(node)
                        view.finish(node, job.seconds)
                    for node in job.nodes:
                        view.update(node, read_progress(node.artifact.progress))
                    if ended:
                        running.remove(job)
                        for node in job.nodes:
                            view.fail(node, job.seconds)
                        if job.nodes:
                            failure = failure or job.problem()
        finally:
            _stop(running)
    if failure:
        raise failure
    if waiting:
        raise AgainError("left early as asked, between two stages; the same command goes on from here")


def run_shard(node: Node, shard: "Shard", view: View, locate: Callable[[str], Path | None]) -> None:
    """Make one shard of one stage; its inputs must be done. Raises StageError if it fails, AgainError if asked to leave."""
    with (
        tempfile.TemporaryDirectory(prefix="magpie-") as scratch,
        _terminated_as_interrupt(),
        Notice().heard() as notice,
    ):
        job = _start([node], Path(scratch), locate, shard)
        view.start(node)
        progress = node.artifact.progress_of(str(shard))
        try:
            while job.process.poll() is None:
                time.sleep(_POLL)
                job.leave(notice)
                view.update(node, read_progress(progress))
        finally:
            _stop([job])
        made = shard.number in node.artifact.shards_done(shard.of)  # also where the signal met it on its way out
        if job.process.returncode and not made:
            view.fail(node, job.seconds)
            raise job.problem()


def _next(waiting: list[Node], running: list[_Job], done: list[Node]) -> list[Node]:
    """The next node to start, with the one that joins it; none if all must wait.

    Two nodes of one recipe may be the same artifact; then the second waits for the first.
    """
    made = {n.artifact.folder for n in done}
    busy = {n.artifact.folder for j in running for n in j.nodes}

    def ready(node: Node, made: set[Path]) -> bool:
        return node.artifact.folder not in busy and all(p.artifact.folder in made for p in node.inputs.values())

    first = next((n for n in waiting if ready(n, made)), None)
    if first is None:
        return []
    others = (n for n in waiting if n.artifact.folder != first.artifact.folder and first in n.inputs.values())
    joining = (n for n in others if ready(n, made | {first.artifact.folder}) and n.stage.joins(first.stage))
    return [first, *islice(joining, 1)]


def _start(
    nodes: list[Node], scratch: Path, locate: Callable[[str], Path | None], shard: "Shard | None" = None
) -> _Job:
    for node in nodes:
        node.artifact.folder.mkdir(parents=True, exist_ok=True)
        node.artifact.progress.unlink(missing_ok=True)
    job_file = scratch / f"{nodes[0].name}.json"
    job_file.write_text(json.dumps([task_description(node, locate, shard) for node in nodes]))
    with nodes[0].artifact.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "magpie_align.flow.worker", str(job_file), "--supervised"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=worker_environment(),
        )
    return _Job(nodes, process, job_file)


def task_description(
    node: Node, locate: Callable[[str], Path | None], shard: "Shard | None" = None
) -> dict[str, object]:
    """All that a worker needs to make this node, or one shard of it, as JSON."""
    kind = type(node.stage)
    inputs = {ref: str(parent.artifact.data.resolve()) for ref, parent in node.inputs.items()}
    inputs |= {ref: str(folder) for ref in node.externals if (folder := locate(ref))}
    origin = {ref: parent.artifact.folder.name for ref, parent in node.inputs.items()} | node.externals
    settings = node.stage.model_dump(mode="json")
    return {
        "stage": f"{kind.__module__}:{kind.__qualname__}",
        "settings": settings,
        "inputs": inputs,
        "artifact": str(node.artifact.folder.resolve()),
        "shard": [shard.number, shard.of] if shard else None,
        "manifest": {"kind": node.kind, "fingerprint": node.fingerprint, "settings": settings, "inputs": origin},
    }


def worker_environment() -> dict[str, str]:
    """Every worker may use every core, and its waiting threads sleep: busy waiting on shared cores costs a factor of 20."""
    defaults = {"OMP_NUM_THREADS": str(os.cpu_count() or 1), "OMP_WAIT_POLICY": "passive"}
    return defaults | {"TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"} | dict(os.environ)


def _stop(running: list[_Job], grace: float | None = None) -> None:
    """Ask the workers to end, and after a grace, by default that of their stage, make them; a second Ctrl-C does so at once."""
    for job in running:
        job.process.terminate()
    asked = time.monotonic()
    for job in running:
        own = max((node.stage.grace for node in job.nodes), default=0.0) if grace is None else grace
        try:
            job.process.wait(max(0.0, asked + own - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(job.process.pid, signal.SIGKILL)
            job.process.wait()


@contextmanager
def _terminated_as_interrupt() -> Iterator[None]:
    """SIGTERM ends a run as Ctrl-C does, so that no worker is left behind."""

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
