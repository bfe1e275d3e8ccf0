"""What the user sees while a graph runs: bars on a terminal, plain lines elsewhere."""

import time
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from magpie_align.flow.graph import Node

State = dict[str, Any] | None
_QUIET = 15.0  # seconds between two plain lines on one stage


class View(Protocol):
    """Told of every event of a run."""

    def skip(self, node: Node) -> None: ...
    def start(self, node: Node) -> None: ...
    def update(self, node: Node, state: State) -> None: ...
    def finish(self, node: Node, seconds: float) -> None: ...
    def fail(self, node: Node, seconds: float) -> None: ...


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


class PlainView:
    """Lines for logs: start, a line now and then, end."""

    def __init__(self, console: Console):
        self._console = console
        self._next: dict[str, float] = {}

    def _say(self, text: str) -> None:
        self._console.print(f"[{time.strftime('%H:%M:%S')}] {text}", markup=False, highlight=False, soft_wrap=True)

    def skip(self, node: Node) -> None:
        self._say(f"{node.name}: already done")

    def start(self, node: Node) -> None:
        self._next[node.name] = time.monotonic() + _QUIET
        self._say(f"{node.name}: started")

    def update(self, node: Node, state: State) -> None:
        if state and time.monotonic() > self._next[node.name]:
            self._next[node.name] = time.monotonic() + _QUIET
            self._say(f"{node.name}: {describe(state)}")

    def finish(self, node: Node, seconds: float) -> None:
        self._say(f"done {result_line(node, seconds)}")

    def fail(self, node: Node, seconds: float) -> None:
        self._say(f"{node.name}: failed after {clock(seconds)}")


class LiveView:
    """A bar for each running stage; finished ones scroll up as lines."""

    def __init__(self, console: Console):
        columns = (SpinnerColumn(), TextColumn("{task.description:<20}"), BarColumn(bar_width=24), TimeElapsedColumn())
        self._bars = Progress(*columns, TextColumn("{task.fields[news]}"), console=console)
        self._tasks: dict[str, TaskID] = {}
        self._skipped = 0

    def __enter__(self) -> "LiveView":
        self._bars.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._bars.stop()

    def skip(self, node: Node) -> None:
        self._bars.console.print(f"[dim]= {node.name:<20} already done[/dim]", highlight=False)

    def start(self, node: Node) -> None:
        self._tasks[node.name] = self._bars.add_task(node.name, total=None, news="starting")

    def update(self, node: Node, state: State) -> None:
        if state:
            task = self._tasks[node.name]
            self._bars.update(task, completed=state["done"], total=state["total"], news=describe(state))

    def finish(self, node: Node, seconds: float) -> None:
        self._bars.remove_task(self._tasks.pop(node.name))
        self._bars.console.print(f"[green]✓[/green] {result_line(node, seconds)}", highlight=False)

    def fail(self, node: Node, seconds: float) -> None:
        self._bars.remove_task(self._tasks.pop(node.name))
        self._bars.console.print(f"[red]✗[/red] {node.name:<20} {clock(seconds):>7}", highlight=False)
