"""What the verbs say of costs: `plan` before a run, and every run at its end."""

import json
from collections.abc import Callable, Collection
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from magpie_align.flow.graph import Node
from magpie_align.pricing import price, show
from magpie_align.pricing.assume import Assume
from magpie_align.pricing.estimate import estimates
from magpie_align.pricing.resources import Resources

if TYPE_CHECKING:
    from rich.console import Console


def show_costs(
    console: "Console",
    nodes: list[Node],
    given: Resources | None,
    assume: Assume,
    *,
    named: Collection[str],
    whole: Callable[[], list[Node]] | None,
    probe: bool,
) -> list[str]:
    """Print what is done, predicted and measured, and what is still to run and its cost; a sentence for each stage that does not fit.

    `named` are the stages of the recipe itself, for the selections of push-down cost nothing worth a line; `whole` gives the graph
    without push-down, where there is any.
    """
    basis, chosen = price.choose(nodes, given, assume)
    if probe:
        basis = price.probed(nodes, basis, given)
    told, compared = estimates(nodes, basis), price.comparisons(nodes, basis)
    if compared:
        console.print(show.comparison_table(compared, basis.resources))
    if not all(one.done for one in told):
        console.print(show.cost_table([one for one in told if one.node.name in named], basis.resources))
        print("\n".join(show.summary(told, basis, chosen, estimates(whole(), basis) if whole else [])))
    return price.refusals(told)


def expected_seconds(nodes: list[Node], given: Resources | None, assume: Assume) -> dict[str, float]:
    """Stage -> seconds of work that it is predicted to take, the middle of the span; only those of which that is known."""
    basis, _ = price.choose(nodes, given, assume)
    return {one.node.name: (one.hours.low + one.hours.high) * 1800 for one in estimates(nodes, basis) if one.hours}


def keep_costs(nodes: list[Node], given: Resources | None, assume: Assume, report: Path, folder: Path) -> None:
    """What each stage was predicted to take and took: at the end of the report, and as `costs.json` in the run's folder."""
    basis, _ = price.choose(nodes, given, assume)
    compared = price.comparisons(nodes, basis)
    figures = {"resources": basis.resources.model_dump(), "stages": [asdict(one) for one in compared]}
    (folder / "costs.json").write_text(json.dumps(figures, indent=1) + "\n")
    with report.open("a") as file:
        file.write(f"\n{show.comparison_section(compared, basis.resources)}")
