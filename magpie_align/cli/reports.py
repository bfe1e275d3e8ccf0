"""What a run shows at its end, and the verb report."""

import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from magpie_align.errors import ConfigError, suggest

if TYPE_CHECKING:
    from magpie_align.evaluation.leaderboard import Row
    from magpie_align.recipe import Plan


def report_store(args: list[str]) -> int:
    """The leaderboard of a whole store."""
    given = dict(arg.partition("=")[::2] for arg in args)
    unknown = sorted(given.keys() - {"store", "output"})
    if unknown:
        hint = suggest(unknown[0], ["store", "output", "recipe"])
        raise ConfigError(f"report without a recipe takes store=FOLDER and output=FOLDER, not '{unknown[0]}'{hint}")
    from magpie_align.stages._leaderboard import store_rows

    store = Path(given.get("store", "store"))
    if not store.is_dir():
        raise ConfigError(f"store: there is no folder '{store}'; give the one of your runs with store=FOLDER")
    _show_leaderboard(store_rows(store), Path(given.get("output", "runs/leaderboard")))
    return 0


def report(command: str, plan: "Plan") -> None:
    """The leaderboard of what a recipe has evaluated so far, and the page of what it has made."""
    from magpie_align.stages._leaderboard import report_rows

    rows = report_rows(plan.nodes)
    plan.recipe.output.mkdir(parents=True, exist_ok=True)
    print(f"page: {_write_page(plan, command)}")
    _show_leaderboard(rows, plan.recipe.output)


def _show_leaderboard(rows: "list[Row]", output: Path) -> None:
    from magpie_align.stages._leaderboard import leaderboard, write_leaderboard

    output.mkdir(parents=True, exist_ok=True)
    file = write_leaderboard(leaderboard(rows, everything=True), output)
    print(file.read_text())
    print(f"leaderboard: {file}")


def show_reports(plan: "Plan", command: str = "", only: str | None = None) -> None:
    """Copy each report (or only that of one stage) beside the recipe, print it, write the page of the run, name the report last.

    Where a recipe has several, each has a folder of its stage's name.
    """
    from magpie_align.pricing.verb import keep_costs

    output = plan.recipe.output
    reports = [node for node in plan.nodes if node.stage.produces == "report"]
    last = output
    for node in reports:
        if only in (None, node.name):
            folder = output if len(reports) == 1 else output / node.name
            shutil.copytree(node.artifact.data, folder, dirs_exist_ok=True)
            last = folder / "report.md"
            keep_costs(plan.nodes, plan.recipe.resources, plan.recipe.assume, last, output)
            print(f"\n{last.read_text()}")
    if last.suffix:
        print(f"page: {_write_page(plan, command)}")
    print(f"report: {last}" if last.suffix else f"done: {last}")


def _write_page(plan: "Plan", command: str) -> Path:
    """`report.html` beside the reports."""
    import json

    from magpie_align.report.html import Run, write_html
    from magpie_align.report.lineage import lineage

    recipe = plan.recipe
    command = command or shlex.join(["python", "-m", "magpie_align", f"recipe={recipe.output / 'recipe.yaml'}"])
    made = lineage({node.name: node.artifact.folder for node in plan.nodes if node.artifact.done})
    priced = recipe.output / "costs.json"
    costs = json.loads(priced.read_text()) if priced.is_file() else {}
    return write_html(Run(recipe.name, recipe.description, command, plan.composed, made, costs), recipe.output)
