"""Stopping a training when asked by a signal: at the end of a step, all processes at the same one, with a checkpoint.

What tables do of themselves (see `magpie_align.flow.leave`) a training does by a checkpoint, for SIGTERM as well.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magpie_align.errors import AgainError
from magpie_align.flow import leave
from magpie_align.training.checkpoints import declare_whole
from magpie_align.training.distributed import Distributed, is_first, prove_spread

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


@dataclass
class Stop:
    """Whether one of the signals has come. Before it has `begun` there is nothing to save, and a signal ends it at once."""

    asked: bool = False
    begun: bool = False


_noted: Stop | None = None


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Take note of SIGTERM and SIGUSR1 in place of being ended by them; within another `stoppable`, it is that one's note.

    Raises AgainError out of whatever is being done when a signal comes before it has begun. A thread that is not the main one
    cannot take note.
    """
    global _noted
    if _noted is not None or threading.current_thread() is not threading.main_thread():
        yield _noted or Stop()
        return
    stop = _noted = Stop()

    def ask(*_: Any) -> None:
        stop.asked = True
        if not stop.begun:
            raise AgainError("it had not begun")

    before = {number: signal.signal(number, ask) for number in SIGNALS}
    try:
        if leave.asked():
            ask()
        yield stop
    finally:
        _noted = None
        for number, handler in before.items():
            signal.signal(number, handler)


def conduct(trainer: Any, distributed: Distributed, stop: Stop) -> Any:
    """A callback that stops when asked, says which checkpoints are whole, and proves first that the training is spread as asked."""
    from transformers import TrainerCallback

    class Conduct(TrainerCallback):  # type: ignore[misc]
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            prove_spread(trainer, distributed)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            stop.asked = _agreed(trainer, stop)
            if state.global_step >= state.max_steps:
                control.should_save = False  # the model itself is saved at once
            elif stop.asked:
                control.should_save = control.should_training_stop = True

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            trainer.accelerator.wait_for_everyone()
            if is_first():
                declare_whole(Path(args.output_dir) / f"checkpoint-{state.global_step}", distributed)

    return Conduct()


def _agreed(trainer: Any, stop: Stop) -> bool:
    """Whether any of the processes was asked to stop; all of them get the same answer."""
    accelerator = trainer.accelerator
    if accelerator.num_processes == 1:
        return stop.asked
    import torch

    return bool(accelerator.reduce(torch.tensor(float(stop.asked), device=accelerator.device), "sum") > 0)
