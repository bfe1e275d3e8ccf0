"""What looks without making anything: list, plan, check."""

import sys
from functools import partial
from typing import TYPE_CHECKING

from magpie_align.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from magpie_align.recipe import Plan


def show_list() -> int:
    import inspect

    import yaml
    from rich.console import Console
    from rich.table import Table

    from magpie_align.recipe import recipe_files, stage_class, stage_kinds

    console = Console()
    table = Table("recipe", "what it does", title="Recipes", title_justify="left")
    for name, file in recipe_files().items():
        table.add_row(name, " ".join(str((yaml.safe_load(file.read_text()) or {}).get("description", "")).split()))
    console.print(table)
    table = Table("use:", "makes", "what it does", title="Stages", title_justify="left")
    for kind in stage_kinds():
        stage = stage_class(kind)
        table.add_row(kind, stage.produces, (inspect.getdoc(stage) or "").splitlines()[0])
    console.print(table)
    return 0


def show_plan(plan: "Plan", probe: bool = False) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table("stage", "kind", "from", "state", "fingerprint", title=plan.recipe.name, title_justify="left")
    for node in plan.nodes:
        sources = ", ".join([*node.inputs, *node.externals]) or "-"
        state = "[green]done[/green]" if node.artifact.done else "to run"
        table.add_row(node.name, node.kind, sources, state, node.fingerprint)
    console.print(table)
    if plan.needed:
        console.print(_landings(plan))
    problems = _price(plan, console, probe)
    print(
        f"{len(plan.nodes)} stages, {len(plan.nodes) - len(plan.todo)} done, {len(plan.todo)} to run; engine {plan.engine}"
    )
    if problems:
        raise ConfigError("\n".join(problems))


def _price(plan: "Plan", console: "Console", probe: bool) -> list[str]:
    from magpie_align.pricing.verb import show_costs
    from magpie_align.recipe import unnarrowed

    recipe, whole = plan.recipe, partial(unnarrowed, plan) if plan.needed else None
    given = (plan.nodes, recipe.resources, recipe.assume)
    return show_costs(console, *given, named=recipe.stages, whole=whole, probe=probe)


def _landings(plan: "Plan") -> "Table":
    """Where push-down applies each predicate: in front of which stages, for which selections."""
    from rich.table import Table
    from rich.text import Text

    table = Table("before", "only rows that pass", "as wanted by", title="Push-down", title_justify="left")
    for one in plan.needed:
        predicates = Text("\n".join(condition.text for condition in one.where))
        table.add_row(one.stage, predicates, ", ".join(one.wanted_by))
    return table


def check(plan: "Plan") -> None:
    """The gate of every training, on what is made so far."""
    from rich.console import Console

    from magpie_align.engines.models import find_model
    from magpie_align.errors import StageError
    from magpie_align.training.examine import examine, trainings

    console = Console()
    nodes = trainings(plan.nodes)
    results = [examine(node, partial(find_model, weights=False), console) for node in nodes]
    failed = [node.name for node, (_, wrong) in zip(nodes, results, strict=True) if wrong]
    if failed:
        raise StageError(f"checks failed in: {', '.join(failed)}")
    made = sum(count for count, _ in results)
    print(
        f"{made} checks passed, {sum(not count for count, _ in results)} of {len(nodes)} trainings could not be checked yet"
    )
