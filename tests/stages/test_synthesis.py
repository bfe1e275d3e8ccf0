"""The stages of synthesis as a recipe runs them: settings in, an artifact and its figures out."""

import json
from pathlib import Path

import pytest

from magpie_align.errors import ConfigError, StageError
from magpie_align.flow.progress import Progress
from magpie_align.flow.stage import Context
from magpie_align.recipe import check
from tests.curation.tables import run
from tests.stages.bench import Bench
from tests.synthesis.families import family
from tests.synthesis.speakers import EOT

GRID = [{"temperature": 1.0, "rows": 6}, {"temperature": 1.2, "rows": 4}]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    family("llama-3").save_pretrained(folder)
    (folder / "config.json").write_text("{}")
    return folder


@pytest.fixture
def bench(model, tmp_path) -> Bench:
    return Bench(model, tmp_path)


def test_from_probe_to_second_turn(bench):
    probe = bench.run("probe", "probe", grid=GRID)
    assert (probe.summary["verdict"], probe.summary["n"]) == ("yes", 10)
    made = bench.run("asked", "instructions", grid=GRID, probe="probe")
    assert (made.summary["rows"], made.summary["ok"], made.summary["probe"]) == (10, 10, "yes")
    template = made.summary["template"]
    assert template["pre_query"] == "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n"
    assert {row["pre_query_template"] for row in bench.rows("asked")} == {template["hash"]}
    bench.run("answered", "responses", "chatty", data="asked", max_tokens=200)
    chats = bench.run("chats", "turns", "chatty", data="answered", max_tokens=200)
    rows = bench.rows("chats")
    assert chats.summary["rows"] == len(rows) and chats.summary["rows"] + chats.summary["dropped"] == 10
    assert sum(chats.summary["chats"].values()) == 10
    assert all(row["turns"] == 2 and len(row["messages"]) == 4 for row in rows)
    assert {row["uuid"] for row in rows} <= {row["uuid"] for row in bench.rows("asked")}
    assert {row["input_revision"] for row in bench.rows("asked")} == {None}


def test_what_is_made_can_be_selected_from(bench):
    bench.run("asked", "instructions", grid=GRID)
    bench.run("answered", "responses", "chatty", data="asked", max_tokens=200)
    bench.run("chats", "turns", "chatty", data="answered", max_tokens=200, failed="keep")
    first, _ = run([bench.inputs["asked"]], where=["cell = 1", "len(instruction_edits) = 0"])
    assert len(first) == 4
    query = {"where": ["turns = 2"], "order_by": "length(response_2)", "limit": 3}
    second, _ = run([bench.inputs["chats"], bench.inputs["asked"]], **query)
    assert len(second) == 3 and second[0]["messages"][3]["role"] == "assistant"


def test_a_revision_is_the_hubs_commit_or_the_artifacts_fingerprint(tmp_path):
    inputs = {
        "org/m": Path("/cache/models--org--m/snapshots/0a1b"),
        "dpo": Path("/store/dpo-77aa/data"),
        "./m": tmp_path,
    }
    ctx = Context(tmp_path, tmp_path, inputs, Progress(tmp_path / "progress.json"))
    assert {ref: ctx.revision_of(ref) for ref in inputs} == {"org/m": "0a1b", "dpo": "77aa", "./m": None}


def test_chats_are_read_by_training(bench):
    pytest.importorskip("datasets")
    from magpie_align.training.data import conversations

    bench.run("asked", "instructions", grid=GRID)
    bench.run("answered", "responses", "chatty", data="asked", max_tokens=200)
    bench.run("chats", "turns", "chatty", data="answered", max_tokens=200, failed="keep")
    read = conversations(bench.inputs["chats"])
    assert {len(messages) for _, messages in read} <= {2, 4}


def test_a_bad_probe_stops_the_instructions_unless_told_otherwise(bench):
    probe = bench.run("probe", "probe", "fragments", grid=GRID)
    assert probe.summary["verdict"] == "no"
    assert json.loads((probe.out / "probe.json").read_text())["examples"][0]["fault"] == "fragment"
    with pytest.raises(StageError, match="the probe of 10 instructions says no: 100% fragment") as caught:
        bench.run("asked", "instructions", "fragments", grid=GRID, probe="probe")
    assert "\n" not in str(caught.value)
    made = bench.run("anyway", "instructions", "fragments", grid=GRID, probe="probe", despite_probe=True)
    assert made.summary["probe"].startswith("the probe of 10 instructions says no")


def test_a_template_of_ones_own_reaches_every_stage_that_prompts(bench):
    template = {"prefix": "<|begin_of_text|>Q: ", "suffix": f"{EOT}A: ", "stop": [EOT]}
    tagger = {"answer": "{input_quality}"}
    bench.run("asked", "instructions", "echo", grid=GRID, template=template)
    assert all("Q:" in row["instruction"] for row in bench.rows("asked"))
    bench.run("answered", "responses", "echo", data="asked", template=template, max_tokens=400)
    assert all("A:" in row["response"] for row in bench.rows("answered"))
    bench.run("tagged", "tags", "echo", data="asked", template=template, tagger=tagger)
    assert all("A:" in row["quality_status"] for row in bench.rows("tagged"))


def test_a_template_that_cannot_be_cut_is_refused_in_its_own_sentence(bench):
    template = {"chat_template": "{{ messages | length }}"}
    for name, kind, more in (("a", "instructions", {"grid": GRID}), ("b", "probe", {"grid": GRID})):
        with pytest.raises(ConfigError, match="does not print the text of a turn as it is"):
            bench.run(name, kind, template=template, **more)


def planned(**settings) -> list[str]:
    """What planning says of an instructions stage with these settings."""
    stages = {"asked": {"use": "instructions", "model": "org/model", "grid": GRID} | settings}
    try:
        check({"name": "x", "stages": stages})
    except ConfigError as error:
        return str(error).splitlines()
    return []


def test_what_can_be_known_is_refused_when_planning():
    scripted = {"kind": "scripted", "script": "a:b"}
    assert planned(first_token={"heat": 1.2, "no_heading": True}, engine={"kind": "transformers"}) == []
    (said,) = planned(first_token={"no_heading": True}, engine=scripted)
    assert said.startswith("stages.asked: the scripted engine cannot control the first token")
    (said,) = planned(first_token={"heat": 1.8}, engine={"kind": "transformers"})
    assert said.startswith("stages.asked: first_token.heat is 1.8, which takes temperature 1.2 to 2.16")
    (said,) = planned(probe="prob", engine=scripted)
    assert said.startswith("stages.asked.probe: needs the stage 'prob'")
    (said,) = planned(systems={"math": {"txt": "x"}})[:1]
    assert said == "stages.asked.systems.math.text: this setting has no default; give it a value"


def test_a_probe_decides_whether_not_what(workdir):
    probe = {"use": "probe", "model": "org/model", "grid": GRID}
    asked = {"use": "instructions", "model": "org/model", "grid": GRID}
    plain = check({"name": "x", "stages": {"asked": asked}})
    gated = check({"name": "x", "stages": {"probe": probe, "asked": asked | {"probe": "probe"}}})
    (alone,), (_, behind) = plain.nodes, gated.nodes
    assert alone.fingerprint == behind.fingerprint and list(behind.inputs) == ["probe"]
