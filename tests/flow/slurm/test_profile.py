"""A cluster's profile is typed, refused in one sentence a mistake, and found where a user keeps it."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from magpie_align.cli import main
from magpie_align.flow.slurm.profile import Profile
from magpie_align.flow.slurm.script import ranges
from tests.conftest import RECIPES

Refused = Callable[..., list[str]]
LOOP = f"recipe={RECIPES / 'cluster.yaml'}"


def test_a_stage_may_ask_for_something_else() -> None:
    profile = Profile.model_validate(
        {"partition": "gpu", "gpus": 8, "light": {"partition": "cpu", "gpus": 0}, "stages": {"sft": {"nodes": 4}}}
    )
    assert profile.asks("sft", light=False).model_dump(include={"partition", "gpus", "nodes"}) == {
        "partition": "gpu", "gpus": 8, "nodes": 4,
    }  # fmt: skip
    assert profile.asks("select", light=True).model_dump(include={"partition", "gpus", "nodes"}) == {
        "partition": "cpu", "gpus": 0, "nodes": 1,
    }  # fmt: skip


@pytest.mark.parametrize("given", ["90", "24:00:00", "2-12", "1-00:30:00"])
def test_time_limits(given: str) -> None:
    assert Profile(time=given).time == given


def test_mistakes_are_named_all_at_once(refused: Refused) -> None:
    said = refused(
        "submit", LOOP, "launcher=slurm", "launcher.partitoin=gpu", "launcher.time=tomorrow", "launcher.memory=lots"
    )
    assert said == [
        "launcher.memory: string should match pattern '^\\d+[KMGT]?$' (given: 'lots')",
        "launcher.time: a time limit is MINUTES, HOURS:MINUTES:SECONDS or DAYS-HOURS, in quotes: '24:00:00' (given: 'tomorrow')",
        "launcher.partitoin: there is no such setting; did you mean 'partition'?",
    ]


def test_stages_that_do_not_fit(refused: Refused) -> None:
    wishes = "launcher.stages={stf: {gpus: 1}, selected: {shards: 4}, report: {nodes: 2}}"
    assert refused("submit", LOOP, "launcher=slurm", wishes) == [
        "launcher.stages.stf: this recipe has no stage 'stf'; did you mean 'sft'?",
        "launcher.stages.selected.shards: this stage is made in one piece; leave shards out",
        "launcher.stages.report.nodes: only a training, or a model that is served, spreads over nodes; leave nodes out",
    ]


def test_a_cluster_is_for_submit_alone(refused: Refused) -> None:
    assert refused("submit", LOOP) == [
        "submit needs a cluster: launcher=slurm, or a conf/launcher/NAME.yaml of your own"
    ]
    assert refused(LOOP, "launcher=slurm") == [
        "launcher is for submit: `python -m magpie_align submit ...`; leave it out to run here"
    ]
    assert refused("status", LOOP, "--dry-run") == [
        "there is no option '--dry-run'; settings are given as key=value, see --help"
    ]


def test_a_profile_of_ones_own(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It lies in ./conf/launcher, and what it asks for stands in the scripts; nothing is sent or written."""
    (workdir / "conf/launcher").mkdir(parents=True)
    (workdir / "conf/launcher/ours.yaml").write_text(
        "defaults: [slurm, _self_]\npartition: batch\nsetup: [module load cuda/12.8]\nshards: 20\nconcurrency: 5\n"
        "stages: {responses: {shards: 2, time: '30'}}\nlocal_scratch: $SCRATCH\n"
    )
    assert main(["submit", LOOP, "launcher=ours", "dry_run=true"]) == 0
    said = capsys.readouterr().out
    texts = dict(re.findall(r"^### \S*/(\S+)\.sh\n(.*?)(?=^### )", said, re.M | re.S))
    assert (
        "#SBATCH --array=0-19%5" in texts["instructions.shards"]
        and "#SBATCH --array=0-1%5" in texts["responses.shards"]
    )
    assert "#SBATCH --time=30" in texts["responses.shards"] and "#SBATCH --time=04:00:00" in texts["responses"]
    for text in texts.values():
        assert "#SBATCH --partition=batch" in text and "\nmodule load cuda/12.8\n" in text
        assert 'export TMPDIR="$SCRATCH/magpie-$SLURM_JOB_ID"' in text
        assert not re.search(r"learning_rate|temperature|batch_size", text)
    assert {path.name for path in workdir.iterdir()} == {"conf"}


def test_ranges_are_short() -> None:
    assert ranges((0, 1, 2, 3, 7, 9, 10)) == "0-3,7,9-10"
