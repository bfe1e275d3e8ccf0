"""Runs a graph: what is done is skipped, each other stage gets a process of its own, up to `jobs` at once."""

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
from pathlib import Path
from types import FrameType

from magpie_align.errors import StageError
from magpie_align.flow.graph import Node
from magpie_align.flow.progress import read_progress
from magpie_align.flow.view import View

_POLL = 0.05
_GRACE = 20.0  # seconds a worker has to save its state when the run is interrupted


@dataclass
class _Job:
    node: Node
    process: "subprocess.Popen[bytes]"
    file: Path
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def problem(self) -> str:
        """Why it failed, in the worker's own words where it had any."""
        note = self.file.with_suffix(".error")
        code = self.process.returncode
        said = note.read_text() if note.exists() else f"its process ended with {_ending(code)}"
        return f"stage '{self.node.name}' failed: {said} (log: {self.node.artifact.log})"


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def run_graph(nodes: list[Node], jobs: int, view: View, locate: Callable[[str], Path]) -> None:
    """Make every node's artifact. `locate` turns an external model's name into its folder.

    Raises StageError for the first stage that fails, once the others that were running have ended.
    """
    with tempfile.TemporaryDirectory(prefix="magpie-") as scratch, _terminated_as_interrupt():
        done = [n for n in nodes if n.artifact.done]
        waiting = [n for n in nodes if n not in done]
        running: list[_Job] = []
        failure: str | None = None
        for node in done:
            view.skip(node)
        try:
            while running or (waiting and not failure):
                for node in _ready(waiting, running, done, jobs if not failure else 0):
                    waiting.remove(node)
                    running.append(_start(node, Path(scratch), locate))
                    view.start(node)
                time.sleep(_POLL)
                for job in list(running):
                    if job.process.poll() is None:
                        view.update(job.node, read_progress(job.node.artifact.progress))
                        continue
                    running.remove(job)
                    if job.process.returncode == 0:
                        done.append(job.node)
                        view.finish(job.node, job.seconds)
                    else:
                        failure = failure or job.problem()
                        view.fail(job.node, job.seconds)
        finally:
            _stop(running)
    if failure:
        raise StageError(failure)


def _ready(waiting: list[Node], running: list[_Job], done: list[Node], jobs: int) -> list[Node]:
    """The next nodes to start. Two nodes of one recipe may be the same artifact; then the second waits for the first."""
    made = {n.artifact.folder for n in done}
    busy = {j.node.artifact.folder for j in running}
    ready = []
    for node in waiting:
        if len(busy) >= jobs:
            break
        if node.artifact.folder not in busy and all(p.artifact.folder in made for p in node.inputs.values()):
            ready.append(node)
            busy.add(node.artifact.folder)
    return ready


def _start(node: Node, scratch: Path, locate: Callable[[str], Path]) -> _Job:
    node.artifact.folder.mkdir(parents=True, exist_ok=True)
    node.artifact.progress.unlink(missing_ok=True)
    job_file = scratch / f"{node.name}.json"
    job_file.write_text(json.dumps(job_description(node, locate)))
    with node.artifact.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "magpie_align.flow.worker", str(job_file), "--supervised"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=worker_environment(),
        )
    return _Job(node, process, job_file)


def job_description(node: Node, locate: Callable[[str], Path]) -> dict[str, object]:
    """All that a worker needs to make this node, as JSON."""
    kind = type(node.stage)
    inputs = {ref: str(parent.artifact.data.resolve()) for ref, parent in node.inputs.items()}
    inputs |= {ref: str(locate(ref)) for ref in node.externals}
    origin = {ref: parent.artifact.folder.name for ref, parent in node.inputs.items()} | node.externals
    settings = node.stage.model_dump(mode="json")
    return {
        "stage": f"{kind.__module__}:{kind.__qualname__}",
        "settings": settings,
        "inputs": inputs,
        "artifact": str(node.artifact.folder.resolve()),
        "manifest": {"kind": node.kind, "fingerprint": node.fingerprint, "settings": settings, "inputs": origin},
    }


def worker_environment() -> dict[str, str]:
    """Every worker may use every core, and its waiting threads sleep: busy waiting on shared cores costs a factor of 20."""
    defaults = {"OMP_NUM_THREADS": str(os.cpu_count() or 1), "OMP_WAIT_POLICY": "passive"}
    return defaults | {"TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"} | dict(os.environ)


def _stop(running: list[_Job]) -> None:
    """Ask the workers to end, and after a grace make them."""
    for job in running:
        job.process.terminate()
    deadline = time.monotonic() + _GRACE
    for job in running:
        try:
            job.process.wait(max(0.0, deadline - time.monotonic()))
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
