"""Leaving early: SIGUSR1 says that the machine is wanted back soon, so nothing new is begun and what is begun is finished.

A worker hears the signal (`listen`) and its table stops handing out rows (`asked`); the work that is open is finished, and the
worker ends with exit code 75. The runner hears it too, or sees the file that MAGPIE_LEAVE names (a batch script of several nodes
cannot signal one process of each), and passes it on to its workers (`Notice`). MAGPIE_GRACE seconds later they must go.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

_wanted = threading.Event()
_LOOK = 1.0  # seconds between two looks for the file, which is on a shared disk


def listen() -> None:
    """From now on SIGUSR1 does not end this process, but `asked` says yes."""
    signal.signal(signal.SIGUSR1, lambda signum, frame: _wanted.set())


def asked() -> bool:
    """Whether this process was asked to leave."""
    return _wanted.is_set()


class Notice:
    """What a runner knows of the wish that it leaves."""

    def __init__(self) -> None:
        file, grace = os.environ.get("MAGPIE_LEAVE"), os.environ.get("MAGPIE_GRACE")
        self._file = Path(file) if file else None
        self._grace = float(grace) if grace else float("inf")
        self._since: float | None = None
        self._next = 0.0

    @property
    def given(self) -> bool:
        """Whether it was asked to leave, by signal or by file."""
        now = time.monotonic()
        if self._since is None and self._file and now > self._next:
            self._next = now + _LOOK
            if self._file.exists():
                self._since = now
        return self._since is not None

    @property
    def over(self) -> bool:
        """Whether the grace is over as well."""
        return self._since is not None and time.monotonic() - self._since > self._grace

    @contextmanager
    def heard(self) -> Iterator["Notice"]:
        """Hear SIGUSR1 meanwhile."""

        def hear(signum: int, frame: FrameType | None) -> None:
            self._since = self._since or time.monotonic()

        before = signal.signal(signal.SIGUSR1, hear)
        try:
            yield self
        finally:
            signal.signal(signal.SIGUSR1, before)
