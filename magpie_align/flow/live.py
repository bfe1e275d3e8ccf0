"""The view of a run on a terminal: a bar and the last sample for each running stage, and under them how far the whole is."""

from collections.abc import Iterator

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from magpie_align.flow.graph import Node
from magpie_align.flow.outlook import Outlook
from magpie_align.flow.view import State, clock, describe, outlook_line, result_line


class LiveView:
    """Finished stages scroll up as lines; what is below them is drawn anew, and gone at the end."""

    def __init__(self, outlook: Outlook):
        self._outlook = outlook
        columns = (SpinnerColumn(), TextColumn("{task.description:<20}"), BarColumn(bar_width=24), TimeElapsedColumn())
        self._bars = Progress(*columns, TextColumn("{task.fields[news]}"))
        self._tasks: dict[str, TaskID] = {}
        self._samples: dict[str, str] = {}
        self._live = Live(console=Console(), get_renderable=self._drawn, refresh_per_second=4, transient=True)

    def __enter__(self) -> "LiveView":
        self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()

    def _drawn(self) -> Group:
        return Group(self._bars, *self._last(), Text(f"  {self._whole()}", style="bold"))

    def _last(self) -> Iterator[Text]:
        for name, sample in self._samples.items():
            yield Text(f"  {name}: {sample}", style="dim", no_wrap=True, overflow="ellipsis")

    def _whole(self) -> str:
        return f"{outlook_line(self._outlook)}, {clock(self._outlook.elapsed)} so far"

    def _say(self, text: str) -> None:
        self._live.console.print(text, highlight=False)

    def skip(self, node: Node) -> None:
        self._outlook.skip(node)
        self._say(f"[dim]= {node.name:<20} already done[/dim]")

    def start(self, node: Node) -> None:
        self._outlook.start(node)
        self._tasks[node.name] = self._bars.add_task(node.name, total=None, news="starting")

    def update(self, node: Node, state: State) -> None:
        if state:
            self._outlook.update(node, state)
            task = self._tasks[node.name]
            self._bars.update(task, completed=state["done"], total=state["total"], news=escape(describe(state)))
            if state.get("sample"):
                self._samples[node.name] = state["sample"]

    def _drop(self, node: Node) -> None:
        self._bars.remove_task(self._tasks.pop(node.name))
        self._samples.pop(node.name, None)

    def finish(self, node: Node, seconds: float) -> None:
        self._outlook.finish(node, seconds)
        self._drop(node)
        self._say(f"[green]✓[/green] {escape(result_line(node, seconds))}")

    def fail(self, node: Node, seconds: float) -> None:
        self._outlook.fail(node)
        self._drop(node)
        self._say(f"[red]✗[/red] {node.name:<20} {clock(seconds):>7}")
