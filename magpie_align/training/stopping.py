"""Stopping a training when asked by a signal: at the end of a step, all processes at the same one, with a checkpoint."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from magpie_align.errors import AgainError

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
        yield stop
    finally:
        _noted = None
        for number, handler in before.items():
            signal.signal(number, handler)


def agreed(trainer: Any, stop: Stop) -> bool:
    """Whether any of the processes was asked to stop; all of them get the same answer."""
    accelerator = trainer.accelerator
    if accelerator.num_processes == 1:
        return stop.asked
    import torch

    return bool(accelerator.reduce(torch.tensor(float(stop.asked), device=accelerator.device), "sum") > 0)
