"""The folder of a submission: what was submitted, exactly, and what came of its jobs.

Layout: `recipe.yaml` (every setting of every stage, frozen), `submission.json` (the artifacts it makes), `JOB.sh`, `logs/`,
`starts/` and `failed/` (one small file a stage or shard), `leave/` (wishes that a running job ends early).
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from magpie_align.errors import StageError
from magpie_align.flow.graph import Node
from magpie_align.flow.progress import read_progress
from magpie_align.flow.slurm.queue import store_mark
from magpie_align.flow.store import Artifact


@dataclass(frozen=True)
class Submission:
    """One frozen recipe on its way. `id` is the name of its folder and stands for all its settings."""

    folder: Path
    recipe: str
    store: str

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def frozen(self) -> Path:
        return self.folder / "recipe.yaml"

    def write(self, frozen: str, nodes: list[Node], idle_starts: int) -> None:
        """Make the folder. What is frozen in it is never changed: another recipe has another folder."""
        for part in ("logs", "starts", "failed", "leave"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        artifacts = {node.name: node.artifact.folder.name for node in nodes}
        about = {"recipe": self.recipe, "store": self.store, "idle_starts": idle_starts, "artifacts": artifacts}
        for name, text in (("recipe.yaml", frozen), ("submission.json", json.dumps(about, indent=2))):
            scratch = self.folder / f"{name}.tmp"
            scratch.write_text(text)
            os.replace(scratch, self.folder / name)

    def forgive(self, stage: str, shard: str) -> None:
        """Forget the failures and vain starts of what is submitted again."""
        for part in ("starts", "failed"):
            (self.folder / part / _key(stage, shard)).unlink(missing_ok=True)

    def failures(self, stage: str) -> dict[str, str]:
        """Shard (or an empty string) -> why it failed, for one stage."""
        found = {}
        for file in sorted(self.folder.glob(f"failed/{_key(stage, '')}*")):
            name, _, shard = file.name.partition("@")
            if name == stage:
                found[shard] = file.read_text()
        return found


def _key(stage: str, shard: str) -> str:
    return f"{stage}@{shard}" if shard else stage


def new_submission(output: Path, identity: str, recipe: str, store: Path) -> Submission:
    return Submission(output.resolve() / "slurm" / identity, recipe, store_mark(store))


def submissions(output: Path) -> list[Submission]:
    """Those of a recipe's output folder, the newest first."""
    found = sorted(output.resolve().glob("slurm/*/submission.json"), key=lambda f: f.stat().st_mtime, reverse=True)
    return [open_submission(file.parent) for file in found]


def open_submission(folder: Path) -> Submission:
    """Raises StageError where there is none."""
    about = _about(folder)
    return Submission(folder.resolve(), about["recipe"], about["store"])


def _about(folder: Path) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads((folder / "submission.json").read_text())
    except FileNotFoundError:
        raise StageError(f"{folder} is not the folder of a submission (it has no submission.json)") from None
    return about


@dataclass(frozen=True)
class Attempt:
    """One start of one stage, or of one shard of it, by a job."""

    folder: Path
    stage: str
    shard: str
    """`3-of-16`, or empty."""

    def begin(self, artifact: Artifact) -> None:
        """Count this start. Raises StageError where too many before it brought nothing, or the code has changed meanwhile."""
        about = _about(self.folder)
        submitted = about["artifacts"].get(self.stage)
        if submitted != artifact.folder.name:
            raise StageError(
                f"stage '{self.stage}' was submitted as {submitted} and would now be {artifact.folder.name}: the code or an input "
                "has changed since; submit again"
            )
        (self.folder / "failed" / _key(self.stage, self.shard)).unlink(missing_ok=True)
        if artifact.done:  # a job of several stages that was queued again comes by its first ones once more
            return
        file = self.folder / "starts" / _key(self.stage, self.shard)
        past = json.loads(file.read_text()) if file.exists() else {"starts": 0, "idle": 0, "best": 0}
        progress = read_progress(artifact.progress_of(self.shard))
        done = progress["done"] if progress else 0
        idle = 0 if done > past["best"] or not past["starts"] else past["idle"] + 1
        best = max(done, past["best"])
        file.write_text(json.dumps({"starts": past["starts"] + 1, "idle": idle, "best": best}))
        if idle >= about["idle_starts"]:
            unit = progress["unit"] if progress else "rows"
            raise StageError(
                f"the last {idle} starts got no further than {best:,.0f} {unit}, so it does not queue again; see what stops it in "
                f"{artifact.log}, then submit again"
            )

    def fail(self, reason: str) -> None:
        """Keep why, for `status`."""
        (self.folder / "failed" / _key(self.stage, self.shard)).write_text(reason)
