"""How a running stage says how far it is: one small file beside the artifact, replaced at most twice a second, a shard's every ten."""

import json
import os
import time
from pathlib import Path
from typing import Any

INTERVAL, SHARD_INTERVAL = 0.5, 10.0
"""Seconds. Of a stage made in shards there are as many files as shards run, perhaps a thousand on one file system."""


class Progress:
    """Call it with what is done so far; the runner and the `status` of a cluster job read the file."""

    def __init__(self, file: Path):
        """A shard's file is `progress-K-of-N.json`."""
        self._file, self._interval = file, SHARD_INTERVAL if "-of-" in file.name else INTERVAL
        self._started = time.time()
        self._first: float | None = None
        self._next = 0.0

    def __call__(self, done: float, total: float | None = None, unit: str = "rows", **metrics: Any) -> None:
        """`done` of `total` units; `metrics` are short values worth seeing (loss, tokens/s)."""
        if self._first is None:
            self._first = done
        now = time.time()
        if now < self._next and done != total:
            return
        self._next = now + self._interval
        rate = (done - self._first) / max(now - self._started, 1e-9)
        state = {"done": done, "total": total, "unit": unit, "rate": rate, "metrics": metrics}
        scratch = self._file.with_suffix(".tmp")
        scratch.write_text(json.dumps(state))
        os.replace(scratch, self._file)


def read_progress(file: Path) -> dict[str, Any] | None:
    """The last state written, or None where there is none yet."""
    try:
        state: dict[str, Any] = json.loads(file.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return state
