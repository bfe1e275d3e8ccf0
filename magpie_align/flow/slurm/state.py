"""What each stage of a submission is doing: from the store what is made, from the queue what runs, from the submission what failed."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from magpie_align.flow.graph import Node
from magpie_align.flow.progress import read_progress
from magpie_align.flow.slurm.queue import Live
from magpie_align.flow.slurm.submission import Submission
from magpie_align.flow.view import describe


@dataclass(frozen=True)
class StageState:
    """One line of `status`. `word` is done, running, queued, failed, waits or stopped; `detail` is for people."""

    name: str
    word: str
    jobs: str = ""
    detail: str = ""
    progress: str = ""
    problems: tuple[str, ...] = ()


def stage_states(nodes: list[Node], live: list[Live], submission: Submission) -> list[StageState]:
    """The state of each stage, in the graph's order."""
    return [_state(node, live, submission) for node in nodes]


def _state(node: Node, live: list[Live], submission: Submission) -> StageState:
    if node.artifact.done:
        return StageState(node.name, "done")
    mine = [one for one in live if node.artifact.folder.name in one.tag.artifacts]
    ready = all(parent.artifact.done for parent in node.inputs.values())
    failed = submission.failures(node.name)
    problems = tuple(f"{node.name}{f' shard {k}' if k else ''}: {why}" for k, why in failed.items())
    jobs = ", ".join(sorted({one.job for one in mine}, key=int))
    running = [one for one in mine if one.running] if ready else []
    word = "running" if running else "queued" if mine else "failed" if failed else "stopped" if ready else "waits"
    detail = _shards(node, mine, failed) or ", ".join(sorted({one.reason for one in mine if not one.running}))
    return StageState(node.name, word, jobs, detail, progress(node, running), problems)


def _shards(node: Node, mine: list[Live], failed: dict[str, str]) -> str:
    """`3 running, 10 queued, 2 done, 1 failed of 16 shards`, or an empty string for a stage that is not cut."""
    tasks = [one for one in mine if one.tag.role == "shards"]
    sizes = [one.tag.of for one in mine if one.tag.role != "stage"] + [int(k.rpartition("-")[2]) for k in failed if k]
    if not sizes:
        return ""
    of = sizes[0]
    running = sum(one.running for one in tasks)
    counts = {"running": running, "queued": len(tasks) - running}
    counts |= {"done": len(node.artifact.shards_done(of)), "failed": len(failed)}
    return ", ".join(f"{n} {word}" for word, n in counts.items() if n) + f" of {of} shards"


def progress(node: Node, running: list[Live]) -> str:
    """Rows or steps done, rate and time left, over all shards; what has not begun counts as large as the others are."""
    tasks = {f"{one.task}-of-{one.tag.of}" for one in running if one.task is not None}
    of = next((one.tag.of for one in running if one.task is not None), 0)
    if not of:
        return describe(read_progress(node.artifact.progress)) if running else ""
    known: dict[str, dict[str, Any]] = {}
    for k in range(of):
        state = read_progress(node.artifact.progress_of(f"{k}-of-{of}"))
        if state:
            known[f"{k}-of-{of}"] = state
    sized = [state["total"] for state in known.values() if state["total"]]
    if not sized:
        return ""
    done, total = sum(state["done"] for state in known.values()), sum(sized) * of / len(sized)
    rate = sum(state["rate"] for key, state in known.items() if key in tasks)
    return describe({"done": done, "total": total, "unit": "rows", "rate": rate, "metrics": {}})


def summary(states: list[StageState]) -> str:
    """`14 stages: 9 done, 1 running, 4 queued`."""
    counts = Counter(state.word for state in states)
    return f"{len(states)} stages: " + ", ".join(f"{n} {word}" for word, n in counts.items())
