"""From a graph to jobs: arrays for stages that can be cut, a job to complete each, a job for any other stage, and their edges.

A stage that a job in the queue makes already gets none, and what needs it waits for that job. A light stage that alone needs
another light one shares its job.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from magpie_align.errors import ConfigError
from magpie_align.flow.graph import Node
from magpie_align.flow.slurm.profile import Profile, Wish
from magpie_align.flow.slurm.queue import Live, Role


@dataclass(frozen=True)
class After:
    """What a job waits for: jobs of this submission by name, and jobs in the queue by id."""

    names: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()

    def __or__(self, other: "After") -> "After":
        return After(self.names | other.names, self.ids | other.ids)


@dataclass(frozen=True)
class Job:
    """One job: several nodes one after another, or the shards `shards` of `of` of one node."""

    name: str
    role: Role
    nodes: tuple[Node, ...]
    asks: Wish
    light: bool
    after: After
    shards: tuple[int, ...] = ()
    of: int = 0


def plan_jobs(nodes: Iterable[Node], profile: Profile, live: list[Live]) -> list[Job]:
    """The jobs to send, each after those it waits for. Raises ConfigError where a stage is being made in other shards."""
    todo = [node for node in nodes if not node.artifact.done]
    plan = _Plan(profile, todo, live)
    for node in todo:
        plan.add(node)
    return plan.jobs


def doomed(nodes: Iterable[Node], live: list[Live]) -> list[Live]:
    """Jobs in the queue that will never start: a shard they wait for has failed while others of its array go on."""
    found: set[str] = set()
    for node in nodes:
        mine = [one for one in live if node.artifact.folder.name in one.tag.artifacts]
        for end in (one for one in mine if one.tag.role == "finish"):
            tasks = {one.task for one in mine if one.tag.role == "shards"}
            if not end.running and len(tasks | node.artifact.shards_done(end.tag.of)) < end.tag.of:
                found.add(end.id)
    while more := {name for one in live if one.waits & found for name in (one.id, one.job)} - found:
        found |= more  # an array is waited for by its own number
    return [one for one in live if one.id in found]


def is_light(node: Node, profile: Profile) -> bool:
    """Whether a stage reads no model's weights and makes none, nor has a server started beside it."""
    wish, stage = profile.stages.get(node.name), node.stage
    weights = any(ref.product == "model" and stage.reads(ref) == "weights" for _, _, ref in stage.refs())
    return not (weights or stage.produces == "model" or (wish and wish.serve))


@dataclass
class _Plan:
    profile: Profile
    todo: list[Node]
    live: list[Live]
    jobs: list[Job] = field(default_factory=list)
    ends: dict[str, After] = field(default_factory=dict)
    """Artifact -> the job at whose end it is made."""

    def add(self, node: Node) -> None:
        name = node.artifact.folder.name
        whole = [one for one in self.live if name in one.tag.artifacts and one.tag.role != "shards"]
        if name in self.ends or whole:
            self.ends.setdefault(name, After(ids=frozenset(one.id for one in whole)))
            return
        parents = (self.ends.get(parent.artifact.folder.name) for parent in node.inputs.values())
        after = After()
        for end in parents:
            after |= end or After()
        light = is_light(node, self.profile)
        asks = self.profile.asks(node.name, light)
        of = asks.shards or 1
        if node.stage.sharded and of > 1:
            self._cut(node, asks, light, of, after)
        elif not self._joined(node, asks, light, after):
            self._send(Job(node.name, "stage", (node,), asks, light, after))

    def _send(self, job: Job) -> None:
        self.jobs.append(job)
        if job.role != "shards":
            self.ends[job.nodes[-1].artifact.folder.name] = After(names=frozenset([job.name]))

    def _cut(self, node: Node, asks: Wish, light: bool, of: int, after: After) -> None:
        """An array of the shards that are neither done nor in the queue, and the job that completes the stage."""
        tasks = [one for one in self.live if one.tag.artifacts == (node.artifact.folder.name,)]
        other = next((one for one in tasks if one.tag.of != of), None)
        if other:
            raise ConfigError(
                f"stage '{node.name}' is being made in {other.tag.of} shards by job {other.job}, and this asks for {of}; "
                f"keep shards={other.tag.of}, or `cancel` that first"
            )
        mine = {one.task for one in tasks}
        missing = tuple(k for k in range(of) if k not in mine | node.artifact.shards_done(of))
        ends = After(ids=frozenset(one.id for one in tasks))
        if missing:
            array = Job(f"{node.name}.shards", "shards", (node,), asks, light, after, missing, of)
            self._send(array)
            ends |= After(names=frozenset([array.name]))
        self._send(Job(node.name, "finish", (node,), self.profile.asks("", light=True), True, ends, of=of))

    def _joined(self, node: Node, asks: Wish, light: bool, after: After) -> bool:
        """Whether it went into the job of the one stage it waits for, of which it is the only user."""
        before = next((job for job in self.jobs if after == After(names=frozenset([job.name]))), None)
        if not (light and before and before.light and before.role == "stage" and before.asks == asks):
            return False
        last = before.nodes[-1].artifact.folder.name
        users = [n for n in self.todo if last in {p.artifact.folder.name for p in n.inputs.values()}]
        if [n.artifact.folder.name for n in users] != [node.artifact.folder.name]:
            return False
        both = replace(before, name=f"{before.name}+{node.name}", nodes=(*before.nodes, node))
        self.jobs[self.jobs.index(before)] = both
        end = After(names=frozenset([both.name]))
        self.ends = {made: end if was == after else was for made, was in self.ends.items()}
        self.ends[node.artifact.folder.name] = end
        return True
