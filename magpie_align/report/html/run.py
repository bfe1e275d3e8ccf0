"""What a report is about: one run of a recipe, told by the manifests of the store alone."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from magpie_align.report.lineage import Made


@dataclass(frozen=True)
class Run:
    """A recipe's artifacts, parents first, and how they were asked for: the command, and the recipe as composed."""

    name: str
    description: str
    command: str
    composed: str
    made: list[Made]
    costs: dict[str, Any] = field(default_factory=dict)
    """What its stages were predicted to take and took, as `costs.json` has it."""

    @property
    def reports(self) -> list[Made]:
        """The result tables among its stages."""
        return [entry for entry in self.made if entry.kind == "report" and not entry.gone]

    @property
    def results(self) -> dict[str, list[dict[str, Any]]]:
        """Heading -> rows of scores: the tables of its report stages."""
        found: dict[str, list[dict[str, Any]]] = {}
        for report in self.reports:
            for heading, rows in (self.noted(report, "tables") or {}).items():
                title = f"{heading} of {report.name}" if heading in found else heading
                found[title] = rows
        return found

    def noted(self, entry: Made, name: str) -> Any:
        """What an artifact left as `NAME.json` in its data; None where it did not."""
        file = entry.folder / "data" / f"{name}.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None

    def at(self, folder: Path) -> Made | None:
        """The artifact in this folder, if it is one of the run's and the store still has it."""
        return next((entry for entry in self.made if entry.folder == folder and not entry.gone), None)

    def input(self, entry: Made, setting: str) -> Made | None:
        """The artifact that a setting of `entry` names; None where it names none, several, or something from outside."""
        named = entry.settings.get(setting)
        parent = entry.parents.get(named) if isinstance(named, str) else None
        return self.at(parent) if parent else None

    def inputs(self, entry: Made, setting: str) -> Iterator[tuple[str, Made]]:
        """(name to show, artifact) of a setting that maps names to stages."""
        named = entry.settings.get(setting)
        for shown, ref in named.items() if isinstance(named, dict) else ():
            parent = entry.parents.get(ref)
            found = self.at(parent) if parent else None
            if found:
                yield shown, found

    def before(self, entry: Made) -> Iterator[Made]:
        """`entry`, what its `data` was, what that was made of, and so on; stops where data has several sources or none."""
        step: Made | None = entry
        while step:
            yield step
            step = self.input(step, "data") or self.input(step, "vectors")
