"""A stand to run single stages on: settings in, an artifact out, no recipe around it."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from magpie_align.flow.progress import Progress
from magpie_align.flow.stage import Context
from magpie_align.flow.table import read_rows, write_rows
from magpie_align.recipe import stage_class


class Stand:
    """Runs stages one by one, each artifact in a folder of its own under `root`; inputs are known by name."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.inputs: dict[str, Path] = {}

    def give(self, name: str, rows: list[dict[str, Any]], parts: int = 1) -> str:
        """Put rows where a stage can take them, in so many files."""
        folder = self.root / f"given-{name}" / "data"
        write_rows(folder, pa.Table.from_pylist(rows), -(-len(rows) // parts))
        self.inputs[name] = folder
        return name

    def run(self, name: str, kind: str, /, **settings: Any) -> Context:
        return self._run(name, kind, settings, again=False)

    def again(self, name: str, kind: str, /, **settings: Any) -> Context:
        """Run once more where an earlier run was cut off or failed."""
        return self._run(name, kind, settings, again=True)

    def _run(self, name: str, kind: str, settings: dict[str, Any], again: bool) -> Context:
        stage = stage_class(kind).model_validate(settings)
        assert stage.problems() == []
        externals = {ref: Path(ref).expanduser() for _, ref, _ in stage.refs() if "/" in ref and ref not in self.inputs}
        folder = self.root / f"{kind}-{name}"
        for part in ("data", "work"):
            (folder / part).mkdir(parents=True, exist_ok=again)
        ctx = Context(folder / "data", folder / "work", self.inputs | externals, Progress(folder / "progress.json"))
        stage.run(ctx)
        self.inputs[name] = ctx.out
        return ctx

    def rows(self, name: str) -> list[dict[str, Any]]:
        return list(read_rows(self.inputs[name]))
