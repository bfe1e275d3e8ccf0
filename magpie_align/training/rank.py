"""One of the processes that train together: `python -m magpie_align.training.rank FOLDER`, started by torchrun.

See `magpie_align.training.processes` for what the folder holds.
"""

import json
import os
import pickle
import signal
import sys
import threading
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

from magpie_align.errors import AgainError, MagpieError
from magpie_align.flow.progress import Progress
from magpie_align.training.distributed import is_first, let_fsdp_run_on_cpus
from magpie_align.training.stopping import stoppable

_POLL = 0.2


def main(folder: Path) -> int:
    """Exit code 0 if the training ended or was interrupted as asked, 1 if it failed."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    threading.Thread(target=_heed, args=(folder / "stop",), daemon=True).start()
    os.environ.update(HF_HUB_DISABLE_PROGRESS_BARS="1", TQDM_DISABLE="1")
    warnings.filterwarnings(
        "ignore", r"`torch\.distributed\.\w+` is deprecated", FutureWarning
    )  # at every call of DeepSpeed's
    if not is_first():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        warnings.simplefilter("ignore")
    try:
        _say(folder, {"figures": _train(folder)})
        return 0
    except AgainError as interrupted:
        _say(folder, {"interrupted": str(interrupted)})
        return 0
    except MagpieError as error:
        problem = str(error)
    except Exception as error:
        problem = f"{type(error).__name__}: {error}".splitlines()[0]
        traceback.print_exc()
    (folder / f"failed-{os.environ['RANK']}.txt").write_text(problem)
    return 1


def _train(folder: Path) -> dict[str, Any]:
    import torch
    import torch.distributed as dist

    if not torch.cuda.is_available():
        let_fsdp_run_on_cpus()
    train, given = pickle.loads((folder / "job.pickle").read_bytes())
    progress = Progress(folder / "progress.json") if is_first() else _silent
    with stoppable():
        figures: dict[str, Any] = train(progress=progress, **given)
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
    return figures


def _silent(*_: Any, **__: Any) -> None:
    """The progress of all but the first."""


def _say(folder: Path, outcome: dict[str, Any]) -> None:
    if is_first():
        scratch = folder / "outcome.tmp"
        scratch.write_text(json.dumps(outcome, default=str))
        os.replace(scratch, folder / "outcome.json")


def _heed(stop: Path) -> None:
    """Turn the file that asks to stop, which is seen on every machine, into the signal that asks so."""
    while not stop.exists():
        time.sleep(_POLL)
    os.kill(os.getpid(), signal.SIGUSR1)


def _end_with_parent() -> None:
    """End at once when the process that started the training is gone: it holds the other end of our standard input."""
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
