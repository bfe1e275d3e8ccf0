"""What makes artifacts: run, stage, and submit with its kin; and what is looked at before any of it starts."""

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from magpie_align.cli.reports import show_reports
from magpie_align.errors import AgainError, ConfigError, MagpieError, suggest

if TYPE_CHECKING:
    from magpie_align.flow.graph import Node
    from magpie_align.flow.table import Shard
    from magpie_align.recipe import Plan


def run(command: str, plan: "Plan") -> None:
    """Run the whole recipe. `command` is how it was asked for, or nothing where that asks for more than this run."""
    from magpie_align.flow.runner import run_graph
    from magpie_align.flow.view import clock, opened_view
    from magpie_align.pricing.verb import expected_seconds

    recipe = plan.recipe
    if recipe.launcher:
        raise ConfigError("launcher is for submit: `python -m magpie_align submit ...`; leave it out to run here")
    _check_folders(recipe.store, recipe.output, recipe.min_free_gb)
    externals = _find_externals(plan.todo)
    print(f"{recipe.name}: {len(plan.nodes)} stages, {len(plan.todo)} to run; engine {plan.engine}", flush=True)
    expected = expected_seconds(plan.nodes, recipe.resources, recipe.assume)
    started = time.monotonic()
    with opened_view(plan.nodes, expected, recipe.jobs) as view:
        run_graph(plan.nodes, recipe.jobs, view, externals.get)
    print(f"finished in {clock(time.monotonic() - started)}")
    (recipe.output / "recipe.yaml").write_text(plan.composed)
    show_reports(plan, command)


def on_cluster(verb: str, dry_run: bool, plan: "Plan") -> None:
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


def make_stage(name: str, own: dict[str, str], plan: "Plan") -> None:
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
        show_reports(plan, only=name)


def _node(name: str, plan: "Plan") -> "Node":
    known = {node.name: node for node in plan.nodes}
    if name not in known:
        raise ConfigError(f"this recipe has no stage '{name}'{suggest(name, known) or '; it has: ' + ', '.join(known)}")
    found: Node = known[name]
    return found


def _make(name: str, part: "Shard | None", plan: "Plan") -> None:
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
    view = PlainView()
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
