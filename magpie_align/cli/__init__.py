"""The verbs: run (default), plan, check, submit, status, cancel, stage, report, push, list.

Exit codes: 0 done, 1 a stage failed, 2 usage or configuration, 75 left early as asked, 130 interrupted.

show        what looks without making anything
work        what makes artifacts, here or on a cluster
reports     what a run shows at its end, and the leaderboard
push        what leaves the machine
"""

import shlex
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from magpie_align.cli.push import push
from magpie_align.cli.reports import report, report_store
from magpie_align.cli.show import check, show_list, show_plan
from magpie_align.cli.work import make_stage, on_cluster, run
from magpie_align.errors import AGAIN, AgainError, ConfigError, MagpieError, suggest

if TYPE_CHECKING:
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
  push    show what its releases would send to the hub, where their `push` says, private unless `private: false`; with --yes
          send it
  list    the recipes, and the kinds of stages they are written in

recipe=NAME names a file in recipes/, or give a path ending in .yaml.
key=value changes any setting of the recipe, and --multirun runs every combination of a sweep:

  python -m magpie_align recipe=quickstart
  python -m magpie_align plan recipe=sft_300k stages.sft.learning_rate=1e-5
  python -m magpie_align recipe=quickstart seed=0,1,2 --multirun
"""
VERBS = ("run", "plan", "check", "submit", "status", "cancel", "stage", "report", "push", "list")
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
    own = {"submit": {"--dry-run"}, "status": set(), "cancel": set(), "push": {"--yes"}, "plan": sweeps | {"--probe"}}
    known = own.get(verb, sweeps)
    unknown = flags - known
    if unknown:
        raise ConfigError(f"there is no option '{min(unknown)}'; settings are given as key=value, see --help")
    if verb == "list":
        return show_list()
    names = [a.partition("=")[2] for a in rest if a.startswith("recipe=")]
    if verb == "report" and not names and not flags:
        return report_store(rest)
    if len(names) != 1:
        raise ConfigError(f"give exactly one recipe=NAME (given: {len(names)}); `list` shows the recipes there are")
    overrides = [a for a in rest if a not in flags and not a.startswith("recipe=")]
    command = "" if flags else shlex.join(["python", "-m", "magpie_align", *rest])
    known_acts: dict[str, Callable[[Plan], None]] = {
        "plan": show_plan,
        "check": check,
        "report": partial(report, command),
        "push": partial(push, "--yes" in flags),
    }
    act = known_acts.get(verb, partial(run, command))
    if verb in CLUSTER:
        dry = {a for a in overrides if a in ("dry_run=true", "dry_run=false")} if verb == "submit" else set()
        act = partial(on_cluster, verb, "--dry-run" in flags or "dry_run=true" in dry)
        overrides, flags = [a for a in overrides if a not in dry], set()
    if verb == "stage":
        if flags or not overrides or "=" in overrides[0]:
            raise ConfigError("name the stage: `stage NAME recipe=...`, and one combination of settings")
        how = {a.partition("=")[0]: a.partition("=")[2] for a in overrides if a.startswith(("shard=", "submission="))}
        act = partial(make_stage, overrides[0], how)
        overrides = [a for a in overrides[1:] if a.partition("=")[0] not in how]
    bare = next((a for a in overrides if "=" not in a and not a.startswith("~")), None)
    if bare:
        raise ConfigError(f"'{bare}' is no setting; settings are given as key=value")
    from magpie_align.recipe import load, sweep

    if "--probe" in flags:
        act = partial(show_plan, probe=True)
    if flags - {"--probe", "--yes"}:
        sweep(names[0], overrides, act, try_engine=verb == "run")
    else:
        act(load(names[0], overrides, try_engine=verb in ("run", "stage")))
    return 0
