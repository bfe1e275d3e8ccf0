"""How a running stage says how far it is: one small file beside the artifact, replaced at most twice a second, a shard's every ten."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

INTERVAL, SHARD_INTERVAL = 0.5, 10.0
"""Seconds. Of a stage made in shards there are as many files as shards run, perhaps a thousand on one file system."""
_LONGEST = 300  # characters of a sample


class Progress:
    """Call it with what is done so far; the runner and the `status` of a cluster job read the file."""

    def __init__(self, file: Path):
        """A shard's file is `progress-K-of-N.json`."""
        self._file, self._interval = file, SHARD_INTERVAL if "-of-" in file.name else INTERVAL
        self._first: tuple[float, float] | None = None
        self._next = 0.0

    def __call__(
        self,
        done: float,
        total: float | None = None,
        unit: str = "rows",
        sample: Callable[[], str] | None = None,
        **metrics: Any,
    ) -> None:
        """`done` of `total` units; `sample` gives the text of the last of them, and `metrics` are short values worth seeing
        (loss, tokens/s).
        """
        now = time.time()
        if self._first is None:
            self._first = (now, done)  # what came before, such as loading a model, says nothing of the rate
        if now < self._next and done != total:
            return
        self._next = now + self._interval
        began, first = self._first
        rate = (done - first) / (now - began) if now > began else 0.0
        state: dict[str, Any] = {"done": done, "total": total, "unit": unit, "rate": rate, "metrics": metrics}
        state |= {"sample": one_line(sample())} if sample else {}
        scratch = self._file.with_suffix(".tmp")
        scratch.write_text(json.dumps(state))
        os.replace(scratch, self._file)


def one_line(text: str) -> str:
    """The start of a text as it can be shown on a terminal: on one line, and with nothing that would steer it."""
    line = " ".join(text[: 4 * _LONGEST].split())
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line)
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."


def read_progress(file: Path) -> dict[str, Any] | None:
    """The last state written, or None where there is none yet."""
    try:
        state: dict[str, Any] = json.loads(file.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return state
