"""`plan --probe`: a real engine, measured on this machine with the model that a recipe names."""

from collections.abc import Callable
from pathlib import Path

import pytest

from magpie_align.cli import main
from magpie_align.pricing import probe
from magpie_align.recipe import load

RECIPE = """
defaults: [base, _self_]
name: here
engine: {{kind: transformers}}
resources: {{gpu: cpu, count: 2}}
assume: {{tokens: {{instructions: 10, responses: 20}}}}
stages:
  instructions: {{use: instructions, model: {model}, max_tokens: 20, grid: [{{temperature: 1.0, rows: 3000000}}]}}
  responses:    {{use: responses, model: {model}, data: instructions, max_tokens: 20}}
"""


@pytest.fixture
def recipe(model_path: str, workdir: Path) -> str:
    (workdir / "here.yaml").write_text(RECIPE.format(model=model_path))
    return "recipe=here.yaml"


def test_what_is_measured_here_is_priced_with(
    recipe: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "REQUESTS", 32)
    monkeypatch.setattr(probe, "NEW", 16)
    assert main(["plan", recipe]) == 0
    before = capsys.readouterr().out
    assert main(["plan", recipe, "--probe"]) == 0
    after = capsys.readouterr().out

    def hours(out: str) -> str:
        return next(line for line in out.splitlines() if line.startswith("responses ") and "3M" in line)

    assert hours(before) != hours(after) and "unknown" not in hours(after)
    assert "measured here: " in after and "measured here: " not in before
    assert not Path("store").exists()


def test_the_measurement_is_of_the_work_it_says(model_path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice the tokens take longer, and the time is that of all tokens though some answers end early."""
    settings = load("air_3m", ["engine.kind=transformers"]).nodes[1].stage.engine  # type: ignore[attr-defined]
    monkeypatch.setattr(probe, "REQUESTS", 16)
    times = []
    for new in (8, 64):
        monkeypatch.setattr(probe, "NEW", new)
        times.append(probe.run(Path(model_path), settings.model_copy(update={"max_model_len": None}), 300))
    assert 0 < times[0] < times[1]


def test_models_that_are_not_here_cannot_be_probed(refused: Callable[..., list[str]]) -> None:
    said = refused("plan", "recipe=air_3m", "--probe", "engine.kind=transformers", "resources=cpu")
    assert said == [
        "--probe measures models that are on this machine, and of those this recipe generates with "
        "(meta-llama/Meta-Llama-3-8B-Instruct) none is"
    ]


def test_another_machine_cannot_be_probed(refused: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    (said,) = refused("plan", "recipe=air_3m", "--probe", "resources=h100")
    assert "and resources.gpu is h100; leave resources out, or probe there" in said


def test_the_probe_is_a_matter_of_plan(refused: Callable[..., list[str]]) -> None:
    assert refused("run", "recipe=air_3m", "--probe") == [
        "there is no option '--probe'; settings are given as key=value, see --help"
    ]
