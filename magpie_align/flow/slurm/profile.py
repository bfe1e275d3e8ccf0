"""The cluster in words: what jobs ask Slurm for, and what is around the one command that each of them runs.

None of it decides what is made; so nothing here is part of a fingerprint.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from magpie_align.errors import suggest
from magpie_align.flow.stage import Stage
from magpie_align.settings import Settings

_TIME = re.compile(r"\d+(:\d\d){0,2}|\d+-\d\d?(:\d\d){0,2}")


def _time(value: object) -> object:
    """Minutes may be given as a number."""
    text = str(value)
    if not _TIME.fullmatch(text):
        raise ValueError("a time limit is MINUTES, HOURS:MINUTES:SECONDS or DAYS-HOURS, in quotes: '24:00:00'")
    return text


Time = Annotated[str, BeforeValidator(_time)]
Memory = Annotated[str, Field(pattern=r"^\d+[KMGT]?$")]


class Wish(Settings):
    """What the jobs of some stages ask for in place of the profile's own; what is left out stays as it is."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    nodes: int | None = Field(default=None, ge=1)
    gpus: int | None = Field(default=None, ge=0)
    cpus: int | None = Field(default=None, ge=1)
    memory: Memory | None = None
    time: Time | None = None
    shards: int | None = Field(default=None, ge=1)
    serve: list[str] | None = None
    """`vllm serve` over all nodes of the job, for a model that one node cannot hold: its words after `vllm serve`."""


class Profile(Settings):
    """`conf/launcher/slurm.yaml`, or a file of your own beside it. The first fields are for stages that hold a model."""

    kind: Literal["slurm"] = "slurm"
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    gpus: int = Field(8, ge=0)
    """A node."""
    gpu_type: str | None = None
    """As the cluster calls it: `h100`."""
    cpus: int = Field(64, ge=1)
    """A node."""
    memory: Memory = "0"
    """A node, such as 500G; 0 is all that the node has."""
    time: Time = "24:00:00"
    shards: int = Field(1, ge=1)
    """Into how many array tasks a stage is cut that can be."""
    concurrency: int = Field(16, ge=1)
    """How many tasks of one array run at once."""

    light: Wish = Wish(gpus=0, cpus=8, memory="32G", time="04:00:00")
    """Stages that read no model's weights and make none, and what completes an array."""
    stages: dict[str, Wish] = {}
    """Stage -> what it asks for in place of all that."""
    options: list[str] = []
    """Any other option of sbatch, verbatim: `--exclusive`."""

    setup: list[str] = []
    """Lines that every script runs first: `module load cuda/12.8`."""
    python: str | None = None
    """The Python of the jobs; that of `submit` where left out."""
    container: list[str] = []
    """Words in front of it: `apptainer exec --nv /shared/magpie.sif`."""
    srun: list[str] = []
    """More options of srun, for jobs of several nodes: `--container-image=/shared/magpie.sqsh`."""
    shared_scratch: str | None = None
    """A folder that all nodes see; Hugging Face's cache of models and data sets stands in it."""
    local_scratch: str | None = None
    """A folder of the node alone, such as /scratch or $TMPDIR; temporary files and compilers' caches go there."""

    signal_lead: int = Field(300, ge=20)
    """Seconds before the time limit at which a job is asked to save its work and to queue again; it must have left after half."""
    idle_starts: int = Field(3, ge=1)
    """After so many starts in a row that added no row and no step, a job fails instead of queueing again."""

    def asks(self, stage: str, light: bool) -> "Wish":
        """What a job of this stage asks for, nothing left out but what this cluster does not need."""
        asked = {name: getattr(self, name) for name in Wish.model_fields if name in Profile.model_fields} | {"nodes": 1}
        for wish in (self.light if light else None, self.stages.get(stage)):
            asked |= wish.model_dump(exclude_none=True) if wish else {}
        return Wish.model_validate(asked)

    def problems(self, stages: Mapping[str, Stage]) -> list[str]:
        """Sentences on what does not fit the stages of a recipe."""
        found = []
        for name, wish in self.stages.items():
            where = f"launcher.stages.{name}"
            if name not in stages:
                found.append(f"{where}: this recipe has no stage '{name}'{suggest(name, stages)}")
                continue
            stage, asked = stages[name], self.asks(name, light=False)
            if (wish.shards or 1) > 1 and not stage.sharded:
                found.append(f"{where}.shards: this stage is made in one piece; leave shards out")
            if (asked.nodes or 1) > 1 and not wish.serve and "distributed" not in type(stage).model_fields:
                found.append(
                    f"{where}.nodes: only a training, or a model that is served, spreads over nodes; leave nodes out"
                )
            if wish.serve and stage.sharded and asked.shards != 1:
                found.append(f"{where}.serve: one job asks the one server; add shards: 1")
        return found
