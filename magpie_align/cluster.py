"""The verbs submit, status and cancel: a recipe's graph on a Slurm cluster."""

import shlex
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from magpie_align.errors import ConfigError, StageError
from magpie_align.flow.graph import Node
from magpie_align.flow.slurm import queue
from magpie_align.flow.slurm.jobs import Job, doomed, plan_jobs
from magpie_align.flow.slurm.profile import Profile
from magpie_align.flow.slurm.script import render
from magpie_align.flow.slurm.state import stage_states, summary
from magpie_align.flow.slurm.submission import Submission, new_submission, submissions
from magpie_align.flow.store import fingerprint, locked
from magpie_align.recipe import Plan, load, packaged


def frozen(plan: Plan) -> str:
    """The recipe with every setting of every stage written out, what push-down put in among them: it composes to itself."""
    recipe = plan.recipe
    stages = {node.name: {"use": node.kind} | node.stage.model_dump(mode="json") for node in plan.nodes}
    places = {"store": str(recipe.store.resolve()), "output": str(recipe.output.resolve())}
    spread = {"engine", "distributed", "launcher", "stages"}  # they stand in each stage, or are submit's
    kept = recipe.model_dump(mode="json", exclude=spread, exclude_none=True) | places
    return yaml.safe_dump(_literal(kept | {"pushdown": False, "stages": stages}), sort_keys=False, width=120)


def _literal(value: Any) -> Any:
    """So that `${` in a text stays what it is."""
    if isinstance(value, str):
        return value.replace("${", "\\${")
    if isinstance(value, dict):
        return {k: _literal(v) for k, v in value.items()}
    return [_literal(v) for v in value] if isinstance(value, list) else value


def profile_of(plan: Plan) -> Profile:
    """The cluster to submit to. Raises ConfigError where none is given or it does not fit the recipe."""
    profile = plan.recipe.launcher
    if profile is None:
        raise ConfigError("submit needs a cluster: launcher=slurm, or a conf/launcher/NAME.yaml of your own")
    problems = profile.problems({node.name: node.stage for node in plan.nodes})
    if problems:
        raise ConfigError("\n".join(problems))
    return profile


def submit(plan: Plan, dry_run: bool) -> None:
    """Send the jobs of what is not made and not in the queue yet; with `dry_run` print them, and send and write nothing."""
    profile, text = profile_of(plan), frozen(plan)
    submission = new_submission(plan.recipe.output, fingerprint(text)[:8], plan.recipe.name, plan.recipe.store)
    bodies = packaged("slurm")
    if dry_run:
        try:
            live = queue.live_jobs(submission.store)
        except (ConfigError, StageError):
            print("### no Slurm answers here: as for an empty queue")
            live = []
        _show(plan_jobs(plan.nodes, profile, live), submission, profile, bodies)
        return
    with ExitStack() as held:
        held.enter_context(locked(plan.recipe.store / "submit.lock"))
        live = queue.live_jobs(submission.store)
        vain = doomed(plan.nodes, live)
        jobs = plan_jobs(plan.nodes, profile, [one for one in live if one not in vain])
        queue.cancel(one.id for one in vain)
        submission.write(text, plan.nodes, profile.idle_starts)
        _send(jobs, submission, profile, bodies)
    waiting = sum(not node.artifact.done for node in plan.nodes)
    print(
        f"{plan.recipe.name}: {len(plan.nodes)} stages, {len(plan.nodes) - waiting} done; {len(jobs)} jobs sent, "
        f"{len({one.job for one in live} - {one.job for one in vain})} were in the queue already"
    )
    print(f"submission: {submission.folder}")


def _send(jobs: list[Job], submission: Submission, profile: Profile, bodies: Path) -> None:
    """Submit in order, so that each finds the ids of those it waits for."""
    ids: dict[str, str] = {}
    for job in jobs:
        script = submission.folder / f"{job.name}.sh"
        script.write_text(render(job, submission, profile, bodies))
        for node in job.nodes:
            for shard in [f"{k}-of-{job.of}" for k in job.shards] or [""]:
                submission.forgive(node.name, shard)
        ids[job.name] = queue.send(script, sorted(job.after.ids | {ids[name] for name in job.after.names}))
        print(f"job {ids[job.name]:>8}  {job.name}{f' ({len(job.shards)} of {job.of})' if job.shards else ''}")


def _show(jobs: list[Job], submission: Submission, profile: Profile, bodies: Path) -> None:
    """Each script, then the commands as a shell would run them, each job's id in a variable of its name."""
    for job in jobs:
        print(f"### {submission.folder / f'{job.name}.sh'}\n{render(job, submission, profile, bodies)}")
    print("### commands")
    for job in jobs:
        after = sorted(job.after.ids) + [f"${_variable(name)}" for name in sorted(job.after.names)]
        words = queue.command(str(submission.folder / f"{job.name}.sh"), after)
        print(f"{_variable(job.name)}=$({' '.join(w if '$' in w else shlex.quote(w) for w in words)})")


def _variable(name: str) -> str:
    return "job_" + "".join(c if c.isalnum() else "_" for c in name)


def status(plan: Plan) -> None:
    """The graph of the recipe's newest submission with the state of each stage, and why what failed did."""
    from rich.console import Console
    from rich.table import Table

    newest, nodes = _newest(plan)
    states = stage_states(nodes, queue.live_jobs(newest.store), newest)
    table = Table(
        "stage", "state", "jobs", "", "progress", title=f"{newest.recipe} ({newest.id})", title_justify="left"
    )
    for state in states:
        table.add_row(state.name, state.word, state.jobs, state.detail, state.progress)
    console = Console()
    Console(width=None if console.is_terminal else 160).print(table)  # a log has no width to be folded into
    for problem in (problem for state in states for problem in state.problems):
        print(problem)
    print(summary(states))
    if any(state.word in ("failed", "stopped") for state in states):
        print(f"`submit` again sends what is missing, and only that; logs: {newest.folder / 'logs'}")


def cancel(plan: Plan) -> None:
    """Stop every job that this recipe's submissions sent; what is made stays."""
    _newest(plan)
    names = {one.id for one in submissions(plan.recipe.output)}
    mine = [one for one in queue.live_jobs(queue.store_mark(plan.recipe.store)) if one.tag.submission in names]
    queue.cancel({one.job for one in mine})
    print(f"cancelled {len({one.job for one in mine})} jobs; what is made is kept, and `submit` goes on from there")


def _newest(plan: Plan) -> tuple[Submission, list[Node]]:
    found = submissions(plan.recipe.output)
    if not found:
        raise StageError(
            f"nothing of this recipe was submitted from here: {plan.recipe.output / 'slurm'} holds no submission"
        )
    return found[0], load(str(found[0].frozen), []).nodes
