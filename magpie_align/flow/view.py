"""What the user sees while a graph runs: a live view on a terminal, plain lines in notebooks, CI logs and the files of Slurm jobs."""

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from magpie_align.flow.graph import Node
from magpie_align.flow.outlook import Outlook

State = dict[str, Any] | None
_QUIET = 15.0  # seconds between two plain lines on one stage
_WHOLE = 60.0  # between two on how far the whole is
_SAMPLE = 100  # characters of a sample in a plain line


class View(Protocol):
    """Told of every event of a run."""

    def skip(self, node: Node) -> None: ...
    def start(self, node: Node) -> None: ...
    def update(self, node: Node, state: State) -> None: ...
    def finish(self, node: Node, seconds: float) -> None: ...
    def fail(self, node: Node, seconds: float) -> None: ...


@contextmanager
def opened_view(nodes: list[Node], expected: Mapping[str, float], jobs: int) -> Iterator[View]:
    """The view that fits where the output goes. `expected` is stage -> seconds that it was predicted to take."""
    outlook = Outlook(nodes, expected, jobs)
    # Not what rich takes for a terminal: it obeys FORCE_COLOR, which CI sets for files.
    if not sys.stdout.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        yield PlainView(outlook)
        return
    from magpie_align.flow.live import LiveView

    with LiveView(outlook) as live:
        yield live


def describe(state: State) -> str:
    """`1,200/3,000 rows  410/s  4s left  loss 0.62`, or an empty string before the first news."""
    if not state:
        return ""
    done, total, rate = state["done"], state["total"], state["rate"]
    words = [f"{done:,.0f}/{total:,.0f} {state['unit']}" if total else f"{done:,.0f} {state['unit']}"]
    if rate > 0:
        words.append(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s")
        if total:
            words.append(f"{clock((total - done) / rate)} left")
    words += [f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in state["metrics"].items()]
    return "  ".join(words)


def clock(seconds: float) -> str:
    """`7s`, `3m 05s`, `2h 10m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def result_line(node: Node, seconds: float) -> str:
    """What a finished stage says: its name, its time, and the figures that it noted."""
    figures = node.artifact.manifest.get("summary", {})
    short = [
        f"{k} {v:,.4g}" if isinstance(v, float) else f"{k} {v}"
        for k, v in figures.items()
        if not isinstance(v, (dict, list))
    ]
    return f"{node.name:<20} {clock(seconds):>7}  {'  '.join(short)}".rstrip()


def outlook_line(outlook: Outlook) -> str:
    """`7 of 31 stages, about 12m 30s left`"""
    left = outlook.left()
    return outlook.count() + (f", about {clock(left)} left" if left is not None and left >= 1 else "")


class PlainView:
    """Lines for logs: start, a line now and then, end; and now and then how far the whole is, if `outlook` is of a whole recipe."""

    def __init__(self, outlook: Outlook | None = None):
        self._outlook = outlook
        self._next: dict[str, float] = {}
        self._next_whole = time.monotonic() + _WHOLE

    def _say(self, text: str) -> None:
        print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)

    def skip(self, node: Node) -> None:
        self._say(f"{node.name}: already done")
        if self._outlook:
            self._outlook.skip(node)

    def start(self, node: Node) -> None:
        self._next[node.name] = time.monotonic() + _QUIET
        self._say(f"{node.name}: started")
        if self._outlook:
            self._outlook.start(node)

    def update(self, node: Node, state: State) -> None:
        if self._outlook:
            self._outlook.update(node, state)
        if state and time.monotonic() > self._next[node.name]:
            self._next[node.name] = time.monotonic() + _QUIET
            sample = state.get("sample", "")
            shown = f"  last: {sample[:_SAMPLE]}" if sample else ""
            self._say(f"{node.name}: {describe(state)}{shown}")

    def finish(self, node: Node, seconds: float) -> None:
        self._say(f"done {result_line(node, seconds)}")
        if self._outlook:
            self._outlook.finish(node, seconds)
            if self._outlook.done or time.monotonic() > self._next_whole:
                self._next_whole = time.monotonic() + _WHOLE
                self._say(outlook_line(self._outlook))

    def fail(self, node: Node, seconds: float) -> None:
        self._say(f"{node.name}: failed after {clock(seconds)}")
        if self._outlook:
            self._outlook.fail(node)
