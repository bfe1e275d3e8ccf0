"""A graph becomes the right jobs, whatever is made, in the queue, or failed already."""

import json
from pathlib import Path

import pytest

from magpie_align.errors import ConfigError
from magpie_align.flow.graph import Node
from magpie_align.flow.slurm.jobs import Job, doomed, plan_jobs
from magpie_align.flow.slurm.profile import Profile
from magpie_align.flow.slurm.queue import Live, Role, Tag
from magpie_align.recipe import load
from tests.conftest import RECIPES

FOUR = Profile(shards=4)


@pytest.fixture
def nodes(workdir: Path) -> dict[str, Node]:
    return {node.name: node for node in load(str(RECIPES / "cluster.yaml"), []).nodes}


def planned(nodes: dict[str, Node], live: list[Live] | None = None, profile: Profile = FOUR) -> dict[str, Job]:
    return {job.name: job for job in plan_jobs(nodes.values(), profile, live or [])}


def edges(jobs: dict[str, Job]) -> dict[str, set[str]]:
    return {name: set(job.after.names | job.after.ids) for name, job in jobs.items()}


def live(
    job: str, role: Role, node: Node, task: int | None = None, state: str = "PENDING", waits: str = "", of: int = 4
) -> Live:
    tag = Tag("00000000", "11111111", role, of, (node.artifact.folder.name,))
    return Live(job, task, state, "None", "0:00", "", frozenset(waits.split()), tag)


def made(node: Node) -> None:
    node.artifact.data.mkdir(parents=True)
    (node.artifact.folder / "manifest.json").write_text(json.dumps({"files": {}}))


def shard_made(node: Node, number: int, of: int = 4) -> None:
    node.artifact.work.mkdir(parents=True, exist_ok=True)
    (node.artifact.work / f"shard-{number}-of-{of}").touch()


def test_edges_are_those_of_the_graph(nodes: dict[str, Node]) -> None:
    assert edges(planned(nodes)) == {
        "base": set(),
        "benchmark": set(),
        "instructions.shards": {"base"},
        "instructions": {"instructions.shards"},
        "responses.shards": {"base", "instructions"},
        "responses": {"responses.shards"},
        "selected+few": {"responses"},
        "sft": {"base", "selected+few"},
        "eval_sft": {"benchmark", "sft"},
        "report": {"eval_sft"},
    }


def test_only_stages_that_hold_a_model_ask_for_gpus(nodes: dict[str, Node]) -> None:
    """The scripted engine reads a tokenizer alone."""
    jobs = planned(nodes)
    assert {name for name, job in jobs.items() if job.asks.gpus} == {"base", "sft", "eval_sft"}
    assert jobs["responses.shards"].shards == (0, 1, 2, 3) and jobs["responses"].shards == ()


def test_a_light_stage_shares_the_job_of_the_one_it_alone_needs(workdir: Path) -> None:
    small = {node.name: node for node in load(str(RECIPES / "small.yaml"), []).nodes}
    jobs = planned(small)
    assert [[node.name for node in job.nodes] for job in jobs.values()] == [["public", "some", "few"], ["preferences"]]
    apart = planned(small, profile=Profile.model_validate({"stages": {"some": {"time": "10"}}}))
    assert edges(apart) == {"public": set(), "preferences": set(), "some": {"public"}, "few": {"some"}}


def test_what_is_made_gets_no_job(nodes: dict[str, Node]) -> None:
    for name in ("base", "benchmark", "instructions"):
        made(nodes[name])
    shard_made(nodes["responses"], 1)
    jobs = planned(nodes)
    assert not {"base", "benchmark", "instructions", "instructions.shards"} & jobs.keys()
    assert jobs["responses.shards"].shards == (0, 2, 3) and edges(jobs)["responses.shards"] == set()


def test_what_is_in_the_queue_gets_no_second_job(nodes: dict[str, Node]) -> None:
    made(nodes["base"])
    queued = [live("70", "shards", nodes["instructions"], task) for task in range(4)]
    jobs = planned(nodes, [*queued, live("71", "finish", nodes["instructions"], waits="70")])
    assert not {"instructions", "instructions.shards"} & jobs.keys()
    assert edges(jobs)["responses.shards"] == {"71"}


def test_a_lost_finish_waits_for_the_tasks_that_still_run(nodes: dict[str, Node]) -> None:
    made(nodes["base"])
    shard_made(nodes["instructions"], 0)
    jobs = planned(nodes, [live("70", "shards", nodes["instructions"], task, "RUNNING") for task in (1, 2, 3)])
    assert "instructions.shards" not in jobs and edges(jobs)["instructions"] == {"70_1", "70_2", "70_3"}


def test_what_waits_for_a_failed_shard_is_sent_anew_with_that_shard(nodes: dict[str, Node]) -> None:
    made(nodes["base"])
    shard_made(nodes["instructions"], 0)
    running = [live("70", "shards", nodes["instructions"], task, "RUNNING") for task in (2, 3)]
    finish = live("71", "finish", nodes["instructions"], waits="70")
    behind = (
        live("72", "shards", nodes["responses"], 0, waits="71"),
        live("73", "finish", nodes["responses"], waits="72"),
    )
    queue = [*running, finish, *behind]
    lost = doomed(nodes.values(), queue)
    assert [one.id for one in lost] == ["71", "72_0", "73"]
    jobs = planned(nodes, [one for one in queue if one not in lost])
    assert jobs["instructions.shards"].shards == (1,)
    assert edges(jobs)["instructions"] == {"instructions.shards", "70_2", "70_3"}
    assert jobs["responses.shards"].shards == (0, 1, 2, 3)


def test_a_whole_array_dooms_nothing(nodes: dict[str, Node]) -> None:
    shard_made(nodes["instructions"], 0)
    running = [live("70", "shards", nodes["instructions"], task) for task in (1, 2, 3)]
    assert doomed(nodes.values(), [*running, live("71", "finish", nodes["instructions"], waits="70")]) == []


def test_other_shards_than_those_in_the_queue_are_refused(nodes: dict[str, Node]) -> None:
    running = [live("70", "shards", nodes["instructions"], 0, "RUNNING", of=16)]
    with pytest.raises(ConfigError) as error:
        planned(nodes, running)
    assert str(error.value) == (
        "stage 'instructions' is being made in 16 shards by job 70, and this asks for 4; keep shards=16, or `cancel` that first"
    )


def test_a_tag_survives_its_comment() -> None:
    tag = Tag("0a", "1b", "shards", 16, ("responses-00ff", "select-0123"))
    assert Tag.read(str(tag)) == tag
    assert Tag.read("anything else") is None and Tag.read("") is None
