"""What the README shows is true."""

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from magpie_align.cli import main
from magpie_align.recipe import load, packaged, stage_kinds

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_its_recipe_plans(workdir: Path) -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", README, re.S)
    (workdir / "recipes").mkdir()
    (workdir / "recipes/mine.yaml").write_text(text)
    assert [node.name for node in load("mine", []).nodes][-1] == "sft"


def test_its_mistakes_get_the_answers_it_shows(refused: Callable[..., list[str]]) -> None:
    (command, answers) = re.findall(r"\$ python -m magpie_align (recipe=.*)\n((?:    error: .*\n)+)", README)[0]
    assert refused(*command.split()) == [line.strip().removeprefix("error: ") for line in answers.splitlines()]


def test_its_commands_exist(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planned = [
        line.split("magpie_align ")[1].split("#")[0] for line in README.splitlines() if "-m magpie_align plan" in line
    ]
    assert planned
    for command in planned:
        assert main(shlex.split(command)) == 0
    for target in re.findall(r"^    make (\S+)", README, re.M):
        subprocess.run(["make", "-n", "-C", str(ROOT), target], check=True, capture_output=True)


def test_every_kind_of_stage_is_used_by_a_recipe() -> None:
    folders = (packaged("recipes"), packaged("conf"), ROOT / "tests/recipes")
    text = "\n".join(file.read_text() for folder in folders for file in folder.rglob("*.yaml"))
    assert [kind for kind in stage_kinds() if not re.search(rf"use: {kind}\b", text)] == []
