"""The verbs: run (default), plan, check, submit, status, cancel, stage, report, list.

Exit codes: 0 done, 1 a stage failed, 2 usage or configuration, 75 left early as asked, 130 interrupted.
"""

import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from magpie_align.errors import AGAIN, AgainError, ConfigError, MagpieError, suggest

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from magpie_align.evaluation.leaderboard import Row
    from magpie_align.flow.graph import Node
    from magpie_align.flow.table import Shard
    from magpie_align.recipe import Plan

USAGE = """\
usage: python -m magpie_align [VERB] recipe=NAME [key=value ...] [--multirun]

verbs
  run     make everything the recipe asks for that is not made yet (the default)
  plan    show the stages, their edges, what is done and what would run, and what it costs on `resources`; starts nothing,
          but with --probe the engine, for a minute, to measure how fast it is with the models that are on this machine
  check   prove on the tokenizer and data of every training that its tokens, masks and packing are right, and show first samples
  submit  send it to a Slurm cluster as jobs (launcher=slurm); with --dry-run print the scripts and commands
  status  what the jobs of the last submission are doing, how far, and why any failed
  cancel  stop them; what is made is kept
  stage   make one stage, its inputs being done: `stage NAME recipe=...`; with shard=K/N only part K (from 0) of N of its rows,
          in as many processes or on as many machines at once as you like; `run` or `stage` without shard then completes it
  report  the leaderboard: every evaluation in the store beside the paper's printed rows, where both were measured alike;
          with recipe=NAME only that recipe's, and report.html of what it has made; without it all there are
          (store=FOLDER, output=FOLDER)
  list    the recipes, and the kinds of stages they are written in

recipe=NAME names a file in recipes/, or give a path ending in .yaml.
key=value changes any setting of the recipe, and --multirun runs every combination of a sweep:

  python -m magpie_align recipe=quickstart
  python -m magpie_align plan recipe=sft_300k stages.sft.learning_rate=1e-5
  python -m magpie_align recipe=quickstart seed=0,1,2 --multirun
"""
VERBS = ("run", "plan", "check", "submit", "status", "cancel", "stage", "report", "list")
CLUSTER = ("submit", "status", "cancel")


def main(argv: list[str] | None = None) -> int:
    """Run one command line; returns its exit code."""
    args = sys.argv[1:] if argv is None else argv
    if not args or {"-h", "--help", "help"} & set(args):
        print(USAGE, end="")
        return 0 if args else 2
    try:
        return _dispatch(args)
    except ConfigError as error:
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return 2
    except AgainError as error:
        print(error, file=sys.stderr)
        return AGAIN
    except MagpieError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130


def _dispatch(args: list[str]) -> int:
    verb = args[0] if "=" not in args[0] and not args[0].startswith("-") else "run"
    if verb not in VERBS:
        raise ConfigError(f"there is no verb '{verb}'{suggest(verb, VERBS) or '; known are: ' + ', '.join(VERBS)}")
    rest = [a for a in args if a != verb]
    flags = {a for a in rest if a.startswith("-")}
    sweeps = {"--multirun", "-m"}
    known = {"submit": {"--dry-run"}, "status": set(), "cancel": set(), "plan": sweeps | {"--probe"}}.get(verb, sweeps)
    unknown = flags - known
    if unknown:
        raise ConfigError(f"there is no option '{min(unknown)}'; settings are given as key=value, see --help")
    if verb == "list":
        return _list()
    names = [a.partition("=")[2] for a in rest if a.startswith("recipe=")]
    if verb == "report" and not names and not flags:
        return _report_store(rest)
    if len(names) != 1:
        raise ConfigError(f"give exactly one recipe=NAME (given: {len(names)}); `list` shows the recipes there are")
    overrides = [a for a in rest if a not in flags and not a.startswith("recipe=")]
    command = "" if flags else shlex.join(["python", "-m", "magpie_align", *rest])
    known_acts: dict[str, Callable[[Plan], None]] = {
        "plan": _plan,
        "check": _check,
        "report": partial(_report, command),
    }
    act = known_acts.get(verb, partial(_run, command))
    if verb in CLUSTER:
        dry = {a for a in overrides if a in ("dry_run=true", "dry_run=false")} if verb == "submit" else set()
        act = partial(_cluster, verb, "--dry-run" in flags or "dry_run=true" in dry)
        overrides, flags = [a for a in overrides if a not in dry], set()
    if verb == "stage":
        if flags or not overrides or "=" in overrides[0]:
            raise ConfigError("name the stage: `stage NAME recipe=...`, and one combination of settings")
        own = {a.partition("=")[0]: a.partition("=")[2] for a in overrides if a.startswith(("shard=", "submission="))}
        act = partial(_stage, overrides[0], own)
        overrides = [a for a in overrides[1:] if a.partition("=")[0] not in own]
    bare = next((a for a in overrides if "=" not in a and not a.startswith("~")), None)
    if bare:
        raise ConfigError(f"'{bare}' is no setting; settings are given as key=value")
    from magpie_align.recipe import load, sweep

    if "--probe" in flags:
        act = partial(_plan, probe=True)
    if flags - {"--probe"}:
        sweep(names[0], overrides, act, try_engine=verb == "run")
    else:
        act(load(names[0], overrides, try_engine=verb in ("run", "stage")))
    return 0


def _list() -> int:
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


def _plan(plan: "Plan", probe: bool = False) -> None:
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


def _check(plan: "Plan") -> None:
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


def _run(command: str, plan: "Plan") -> None:
    """Run the whole recipe. `command` is how it was asked for, or nothing where that asks for more than this run."""
    from contextlib import nullcontext

    from rich.console import Console

    from magpie_align.flow.runner import run_graph
    from magpie_align.flow.view import LiveView, PlainView, View, clock

    recipe = plan.recipe
    if recipe.launcher:
        raise ConfigError("launcher is for submit: `python -m magpie_align submit ...`; leave it out to run here")
    console = Console()
    _check_folders(recipe.store, recipe.output, recipe.min_free_gb)
    externals = _find_externals(plan.todo)
    print(f"{recipe.name}: {len(plan.nodes)} stages, {len(plan.todo)} to run; engine {plan.engine}", flush=True)
    view: View = LiveView(console) if console.is_terminal else PlainView(console)
    started = time.monotonic()
    with view if isinstance(view, LiveView) else nullcontext():
        run_graph(plan.nodes, recipe.jobs, view, externals.get)
    print(f"finished in {clock(time.monotonic() - started)}")
    (recipe.output / "recipe.yaml").write_text(plan.composed)
    _show_reports(plan, command)


def _cluster(verb: str, dry_run: bool, plan: "Plan") -> None:
    """Submit, or look after what was submitted."""
    from magpie_align import cluster

    if verb != "submit":
        {"status": cluster.status, "cancel": cluster.cancel}[verb](plan)
        return
    profile = cluster.profile_of(plan)
    if not dry_run:
        if profile.shared_scratch:
            os.environ.setdefault("HF_HOME", os.path.expandvars(f"{profile.shared_scratch}/huggingface"))
        _check_folders(plan.recipe.store, plan.recipe.output, plan.recipe.min_free_gb)
        _find_externals(plan.todo)
    cluster.submit(plan, dry_run)


def _stage(name: str, own: dict[str, str], plan: "Plan") -> None:
    """Make one stage, or one shard of it. A job of a `submission` counts its starts there, and leaves there why it failed."""
    from magpie_align.flow.slurm.submission import Attempt

    shard = own.get("shard")
    part = _shard(shard) if shard else None
    if "submission" not in own:
        _make(name, part, plan)
        return
    attempt = Attempt(Path(own["submission"]), name, str(part or ""))
    try:
        attempt.begin(_node(name, plan).artifact)
        _make(name, part, plan)
    except AgainError:
        raise
    except MagpieError as error:
        attempt.fail(str(error))
        raise
    if _node(name, plan).stage.produces == "report":
        (plan.recipe.output / "recipe.yaml").write_text(plan.composed)
        _show_reports(plan, only=name)


def _node(name: str, plan: "Plan") -> "Node":
    known = {node.name: node for node in plan.nodes}
    if name not in known:
        raise ConfigError(f"this recipe has no stage '{name}'{suggest(name, known) or '; it has: ' + ', '.join(known)}")
    found: Node = known[name]
    return found


def _make(name: str, part: "Shard | None", plan: "Plan") -> None:
    from rich.console import Console

    from magpie_align.flow.runner import run_graph, run_shard
    from magpie_align.flow.view import PlainView

    node = _node(name, plan)
    if part and not node.stage.sharded:
        raise ConfigError(f"stage '{name}' ({node.kind}) is made in one piece; leave shard out")
    waiting = [parent.name for parent in node.inputs.values() if not parent.artifact.done]
    if waiting:
        raise ConfigError(f"stage '{name}' needs {', '.join(waiting)}, not made yet; make that first")
    _check_folders(plan.recipe.store, plan.recipe.output, plan.recipe.min_free_gb)
    externals = _find_externals([node])
    view = PlainView(Console())
    if part and not node.artifact.done:
        run_shard(node, part, view, externals.get)
        print(f"done: shard {part.number}/{part.of} of {name}")
    else:
        run_graph([*node.inputs.values(), node], 1, view, externals.get)
        print(f"done: {node.artifact.folder}")


def _shard(text: str) -> "Shard":
    from magpie_align.flow.table import Shard

    number, _, of = text.partition("/")
    if not (number.isdigit() and of.isdigit() and int(number) < int(of)):
        raise ConfigError(f"shard={text}: write K/N, part K of N counted from 0, such as shard=0/16")
    return Shard(int(number), int(of))


def _check_folders(store: Path, output: Path, min_free_gb: float) -> None:
    for name, folder in (("store", store), ("output", output)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(13, "Permission denied")
        except OSError as error:
            raise ConfigError(
                f"{name}: cannot write to '{folder}' ({error.strerror}); give another folder with {name}=FOLDER"
            ) from None
    free = shutil.disk_usage(store).free / 1e9
    if free < min_free_gb:
        raise ConfigError(
            f"store: '{store}' has {free:.1f} GB free and this recipe asks for {min_free_gb:g} GB; "
            "free some, give another disk with store=FOLDER, or lower min_free_gb"
        )


def _find_externals(nodes: "list[Node]") -> dict[str, Path]:
    """Where every model and data set is that these stages need from outside; all that are missing are named at once."""
    from typing import get_args

    from magpie_align.engines.models import find_data, find_model
    from magpie_align.flow.stage import Reads

    wanted: dict[str, tuple[str, Reads]] = {}
    data: set[str] = set()
    for node in nodes:
        for field, value, ref in node.stage.refs():
            if value in node.externals:
                where, before = wanted.get(value, (f"stages.{node.name}.{field}", "nothing"))
                data |= {value} if ref.product == "data" else set()
                wanted[value] = (where, max(before, node.stage.reads(ref), key=get_args(Reads).index))
    found: dict[str, Path] = {}
    problems = []
    for value, (where, reads) in wanted.items():
        if reads == "nothing":
            continue
        try:
            found[value] = find_data(value) if value in data else find_model(value, weights=reads == "weights")
        except ConfigError as error:
            problems.append(f"{where}: {error}")
    if problems:
        raise ConfigError("\n".join(problems))
    return found


def _report_store(args: list[str]) -> int:
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


def _report(command: str, plan: "Plan") -> None:
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


def _show_reports(plan: "Plan", command: str = "", only: str | None = None) -> None:
    """Copy each report (or only that of one stage) beside the recipe, print it, write the page of the run, name the report last."""
    from magpie_align.pricing.verb import keep_costs

    last = plan.recipe.output
    for node in plan.nodes:
        if node.stage.produces == "report" and only in (None, node.name):
            for file in sorted(node.artifact.data.iterdir()):
                shutil.copy(file, plan.recipe.output / file.name)
            last = plan.recipe.output / "report.md"
            keep_costs(plan.nodes, plan.recipe.resources, plan.recipe.assume, last)
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
