"""A job as a batch script: what it asks for, the cluster's own lines, its stages, and the hand-written rest from `slurm/`."""

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from magpie_align.flow.slurm.jobs import Job
from magpie_align.flow.slurm.profile import Profile
from magpie_align.flow.slurm.queue import Tag
from magpie_align.flow.slurm.submission import Submission


def render(job: Job, submission: Submission, profile: Profile, bodies: Path) -> str:
    """The whole script. `bodies` is the folder `slurm/` of this project."""
    spread = (job.asks.nodes or 1) > 1
    body = "serve.sh" if job.asks.serve else "nodes.sh" if spread else None
    parts = [
        "#!/bin/bash",
        f"# {_title(job)}",
        *(f"#SBATCH {option}" for option in _options(job, submission, profile)),
        "",
        *profile.setup,
        *_environment(submission, profile),
        "",
        *([_text(bodies / body)] if body else []),
        *_work(job, submission, profile, body),
        "",
        _text(bodies / "work.sh"),
    ]
    return "\n".join(parts)


def _text(file: Path) -> str:
    """A body without its first line, which says what it is to shellcheck."""
    return file.read_text().partition("\n")[2].strip("\n") + "\n"


def _title(job: Job) -> str:
    names = ", ".join(node.name for node in job.nodes)
    if job.role == "shards":
        return f"{names}: {len(job.shards)} of {job.of} shards, each a task of this array"
    return f"{names}: what completes its {job.of} shards" if job.role == "finish" else names


def _options(job: Job, submission: Submission, profile: Profile) -> Iterator[str]:
    asks, name = job.asks, job.name
    tag = Tag(submission.id, submission.store, job.role, job.of, tuple(n.artifact.folder.name for n in job.nodes))
    yield f"--job-name={_quoted(f'{name}.{submission.recipe}')}"
    yield f"--comment={tag}"
    yield f"--chdir={_quoted(str(Path.cwd()))}"
    log = submission.folder / "logs" / (f"{name}-%a.log" if job.role == "shards" else f"{name}.log")
    yield f"--output={_quoted(str(log))}"
    yield from ("--open-mode=append", "--requeue", f"--signal=B:USR1@{profile.signal_lead}")
    for option in ("partition", "account", "qos", "constraint"):
        if value := getattr(asks, option):
            yield f"--{option}={_quoted(value)}"
    yield from (f"--nodes={asks.nodes}", "--ntasks-per-node=1", f"--cpus-per-task={asks.cpus}", f"--mem={asks.memory}")
    if asks.gpus:
        yield f"--gpus-per-node={f'{profile.gpu_type}:' if profile.gpu_type else ''}{asks.gpus}"
    yield f"--time={asks.time}"
    if job.role == "shards":
        yield f"--array={ranges(job.shards)}%{profile.concurrency}"
    yield from profile.options


def ranges(numbers: tuple[int, ...]) -> str:
    """`0-3,7`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def _quoted(text: str) -> str:
    """As sbatch reads it: words in double quotes where needed."""
    return text if shlex.quote(text) == text else f'"{text}"'


def _environment(submission: Submission, profile: Profile) -> Iterator[str]:
    if profile.shared_scratch:
        yield f'export HF_HOME="${{HF_HOME:-{profile.shared_scratch}/huggingface}}"'
    if profile.local_scratch:
        yield f'export TMPDIR="{profile.local_scratch}/magpie-$SLURM_JOB_ID"'
        yield 'export TRITON_CACHE_DIR="$TMPDIR/triton" VLLM_CACHE_ROOT="$TMPDIR/vllm"'
        yield 'mkdir -p "$TMPDIR"'
    yield f'export MAGPIE_LEAVE={shlex.quote(str(submission.folder / "leave"))}/"$SLURM_JOB_ID"'
    yield f"export MAGPIE_GRACE={profile.signal_lead // 2}"


def _work(job: Job, submission: Submission, profile: Profile, body: str | None) -> Iterator[str]:
    """The one command, or one for each stage of a chain."""
    python = [*profile.container, profile.python or sys.executable, "-m"]
    given = [f"recipe={submission.frozen}", f"submission={submission.folder}"]
    each_node = ["srun", "--ntasks-per-node=1", *profile.srun]
    before = "" if body or not profile.srun else f"{shlex.join(['srun', '--ntasks=1', *profile.srun])} "
    more = f' "shard=$SLURM_ARRAY_TASK_ID/{job.of}"' if job.role == "shards" else ""
    if body == "serve.sh":
        yield f"each_node=({shlex.join(each_node)})"
        yield f"server=({shlex.join([*python, 'vllm.entrypoints.cli.main', 'serve', *(job.asks.serve or [])])})"
        before = "served "
    if body == "nodes.sh":
        spread = f"stages.{job.nodes[0].name}.distributed"
        more += f' "{spread}.nodes=$SLURM_JOB_NUM_NODES" "{spread}.rendezvous=$MASTER_ADDR:$MASTER_PORT"'
        more += f" {shlex.quote(f'{spread}.each_node=[{_listed(each_node)}]')}" if profile.srun else ""
    yield f"magpie=({shlex.join([*python, 'magpie_align'])})"
    yield f"given=({shlex.join(given)})"
    yield "work() {"
    yield " &&\n".join(f'    {before}"${{magpie[@]}}" stage {node.name} "${{given[@]}}"{more}' for node in job.nodes)
    yield "}"


def _listed(words: list[str]) -> str:
    """A list as an override on the command line takes it."""
    return ",".join("'{}'".format(word.replace("'", "\\'")) for word in words)
