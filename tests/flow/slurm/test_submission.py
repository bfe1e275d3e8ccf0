"""What was submitted is what runs; starts that bring nothing are counted."""

import json
from pathlib import Path

import pytest

from magpie_align.cluster import frozen
from magpie_align.errors import StageError
from magpie_align.flow.progress import Progress
from magpie_align.flow.slurm.submission import Attempt, Submission, new_submission, open_submission
from magpie_align.flow.store import Artifact
from magpie_align.recipe import load


@pytest.mark.parametrize("recipe", ["quickstart", "sft_300k", "air_dpo_100k", "reasoning_150k"])
def test_a_frozen_recipe_makes_the_very_same(recipe: str, workdir: Path) -> None:
    plan = load(recipe, ["seed=5"])
    (workdir / "frozen.yaml").write_text(frozen(plan))
    again = load("frozen.yaml", [])
    assert {node.name: node.artifact.folder.resolve() for node in again.nodes} == {
        node.name: node.artifact.folder.resolve() for node in plan.nodes
    }
    assert [node.stage for node in again.nodes] == [node.stage for node in plan.nodes]


def test_a_text_that_looks_like_an_interpolation_stays_text(workdir: Path) -> None:
    plan = load("quickstart", ["stages.report.title='a \\${name}'"])
    (workdir / "frozen.yaml").write_text(frozen(plan))
    titles = [
        {node.name: node.stage for node in made.nodes}["report"].title for made in (plan, load("frozen.yaml", []))
    ]
    assert titles == ["a ${name}", "a ${name}"]


@pytest.fixture
def submission(workdir: Path) -> Submission:
    plan = load("quickstart", [])
    made = new_submission(Path("runs/quickstart"), "0123abcd", "quickstart", plan.recipe.store)
    made.write(frozen(plan), plan.nodes, idle_starts=2)
    return made


def artifact(submission: Submission) -> Artifact:
    names = json.loads((submission.folder / "submission.json").read_text())["artifacts"]
    found = Artifact(Path("store") / names["responses"])
    found.folder.mkdir(parents=True, exist_ok=True)
    return found


def test_a_submission_is_found_again(submission: Submission) -> None:
    assert open_submission(submission.folder) == submission
    with pytest.raises(StageError, match="is not the folder of a submission"):
        open_submission(Path("runs"))


def test_starts_without_a_new_row_come_to_an_end(submission: Submission) -> None:
    made, attempt = artifact(submission), Attempt(submission.folder, "responses", "3-of-16")
    attempt.begin(made)
    Progress(made.progress_of("3-of-16"))(120, 1000)
    attempt.begin(made)  # 120 rows more
    attempt.begin(made)  # no row more
    with pytest.raises(StageError) as error:
        attempt.begin(made)
    assert str(error.value).startswith(
        "the last 2 starts got no further than 120 rows, so it does not queue again; see"
    )
    Attempt(submission.folder, "responses", "4-of-16").begin(made)  # another shard has its own count
    submission.forgive("responses", "3-of-16")
    attempt.begin(made)


def test_what_is_made_may_be_started_for_ever(submission: Submission) -> None:
    """A chain of stages that is queued again begins with what it has made already."""
    made, attempt = artifact(submission), Attempt(submission.folder, "responses", "")
    made.data.mkdir()
    made.finish({})
    for _ in range(5):
        attempt.begin(made)


def test_a_failure_is_kept_until_the_next_start(submission: Submission) -> None:
    attempt = Attempt(submission.folder, "responses", "3-of-16")
    attempt.fail("the disk is full")
    assert submission.failures("responses") == {"3-of-16": "the disk is full"}
    assert submission.failures("resp") == {}
    attempt.begin(artifact(submission))
    assert submission.failures("responses") == {}


def test_changed_code_is_noticed(submission: Submission) -> None:
    with pytest.raises(
        StageError, match="stage 'responses' was submitted as responses-.* and would now be responses-00ff"
    ):
        Attempt(submission.folder, "responses", "").begin(Artifact(Path("store/responses-00ff")))
