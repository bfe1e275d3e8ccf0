"""Runs a training in as many processes as its settings say: here where that is one, else by torchrun.

The processes share a folder of the stage's scratch, `work/processes`:

job.pickle     the function to call in each and its arguments
progress.json  how far the first process is
stop           appears when they are asked to save a checkpoint and end
outcome.json   what the function returned in the first process, or that it was interrupted
failed-N.txt   why process N failed, in a sentence
"""

import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from magpie_align.errors import AgainError, StageError
from magpie_align.flow.progress import read_progress
from magpie_align.training.distributed import Distributed
from magpie_align.training.stopping import Stop, stoppable

_POLL = 0.1
_PATIENCE = (
    120  # seconds that torchrun gives the others to end when one process has failed, or when it is signalled itself
)


def train_spread(
    train: Callable[..., dict[str, Any]], *, settings: Any, work: Path, progress: Any, **given: Any
) -> Any:
    """`train(settings=…, work=…, progress=…, **given)` in every process; returns what the first one returns.

    Raises StageError with the sentence of the process that failed first, and AgainError if they were asked to stop.
    """
    import torch

    distributed: Distributed = settings.distributed
    gpus = torch.cuda.device_count()
    if 0 < gpus < distributed.count():
        raise StageError(
            f"distributed.processes: {distributed.count()} processes were asked for and {gpus} GPUs are visible, of which each "
            "takes one; leave it at auto, or look at CUDA_VISIBLE_DEVICES"
        )
    alone = distributed.kind == "ddp" and distributed.nodes * distributed.count() == 1 and gpus <= 1
    if alone:
        with stoppable():
            return train(settings=settings, work=work, progress=progress, **given)
    folder = work / "processes"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "job.pickle").write_bytes(pickle.dumps((train, {"settings": settings, "work": work, **given})))
    with stoppable() as stop:
        stop.begun = True  # in the others
        code = _watch(_start(distributed, folder), folder, stop, progress)
    return _outcome(folder, code, stop)


def command(distributed: Distributed, folder: Path) -> list[str]:
    """The command that starts all processes, on all machines."""
    meeting = (
        ["--rdzv-backend=c10d", f"--rdzv-endpoint={distributed.rendezvous}", f"--rdzv-id={folder.stat().st_ino}"]
        if distributed.nodes > 1
        else ["--standalone"]
    )
    return [
        *(distributed.each_node if distributed.nodes > 1 else []),
        *(sys.executable, "-m", "torch.distributed.run", f"--nnodes={distributed.nodes}", *meeting),
        *(f"--nproc-per-node={distributed.count()}", f"--shutdown-timeout={_PATIENCE}"),
        "--signals-to-handle=SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1",
        *("-m", "magpie_align.training.rank", str(folder)),
    ]


def _start(distributed: Distributed, folder: Path) -> "subprocess.Popen[bytes]":
    threads = max(1, int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)) // distributed.count())
    environment = dict(os.environ) | {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"}
    # The processes hold the other end of their standard input, and end when this one is gone.
    return subprocess.Popen(command(distributed, folder), stdin=subprocess.PIPE, env=environment)


def _watch(process: "subprocess.Popen[bytes]", folder: Path, stop: Stop, progress: Any) -> int:
    """Pass on how far they are, and that they should stop, until they have ended; the exit code."""
    try:
        while process.poll() is None:
            time.sleep(_POLL)
            if stop.asked:
                (folder / "stop").touch()
            if state := read_progress(folder / "progress.json"):
                progress(state["done"], state["total"], unit=state["unit"], **state["metrics"])
        return process.returncode
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


def _outcome(folder: Path, code: int, stop: Stop) -> Any:
    """What the training came to. Torchrun ends the others when one has failed, which is no wish that they stop."""
    file = folder / "outcome.json"
    outcome = json.loads(file.read_text()) if file.exists() else {}
    if "figures" in outcome:
        return outcome["figures"]
    if "interrupted" in outcome and (stop.asked or code == 0):
        raise AgainError(outcome["interrupted"])
    failed = sorted(folder.glob("failed-*.txt"), key=lambda file: file.stat().st_mtime_ns)
    if stop.asked and not failed:
        raise AgainError("it had not begun")
    raise StageError(failed[0].read_text() if failed else f"its processes ended with exit code {code}")
