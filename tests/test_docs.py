"""What the docs show is true: their recipes plan, their commands are taken, and the reference is the settings'."""

import importlib.util
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
import yaml

from magpie_align.cli import VERBS, main
from magpie_align.recipe import load

ROOT = Path(__file__).parents[1]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]
PROGRAMS = ("python", ".venv/bin/python", "make", "hf", "vllm", "sbatch", "srun", "pip", "git", "export")
OURS = re.compile(r"(?:\.venv/bin/)?python -m magpie_align (.*)", re.S)
MARKS = ("GPUs", "needs no GPU", "Slurm", "sends")
"""Words of a comment that say why no test runs a command: what it wants, or that it sends something away."""


def commands(page: Path) -> Iterator[str]:
    """Every line that stands apart as a command, with the lines that continue it and its comment."""
    text = re.sub(r"\\\n\s*", "", page.read_text(encoding="utf-8"))
    for line in text.splitlines():
        if line.startswith("    ") and line.split()[:1] and line.split()[0] in PROGRAMS:
            yield line.strip()


def ours(page: Path) -> list[str]:
    return [found[1] for line in commands(page) if (found := OURS.fullmatch(line))]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)


@pytest.fixture
def written(workdir: Path) -> Path:
    """The recipes that the docs show, where a reader would put them."""
    (workdir / "recipes").mkdir()
    (workdir / "chats.jsonl").write_text('{"messages": [{"role": "user", "content": "a"}]}\n')
    for name in ("Meta-Llama-3-70B-Instruct",):
        (workdir / name).mkdir()
        (workdir / name / "config.json").write_text("{}")
    for page in PAGES:
        for text in blocks(page, "yaml"):
            if named := re.match(r"# recipes/(\w+)\.yaml\n", text):
                (workdir / "recipes" / f"{named[1]}.yaml").write_text(text)
    return workdir


@pytest.mark.parametrize("page", [page for page in PAGES if ours(page)], ids=lambda page: page.name)
def test_commands_are_taken(page: Path, written: Path) -> None:
    """`plan` and `list` are run. What would start work is composed, typed and checked, as it is before it starts."""
    for line in ours(page):
        words = shlex.split(line, comments=True)
        verb = words[0] if "=" not in words[0] else "run"
        assert verb in VERBS, line
        if verb in ("plan", "list") and "--probe" not in words:
            assert main(words) == 0, line
            continue
        names = [word.removeprefix("recipe=") for word in words if word.startswith("recipe=")]
        if verb == "report" and not names:
            continue  # it reads a store, and there is none
        (name,) = names
        given = [word for word in words if "=" in word and not word.startswith(("recipe=", "shard="))]
        # Of a sweep the first combination.
        plan = load(name, [word.partition(",")[0] for word in given] if "--multirun" in words else given)
        if verb == "stage":
            assert words[1] in {node.name for node in plan.nodes}, line


@pytest.mark.parametrize("page", [page for page in PAGES if list(commands(page))], ids=lambda page: page.name)
def test_a_command_that_no_test_runs_says_what_it_wants(page: Path) -> None:
    """Run are here `plan` and `list`, and in tests of their own quickstart, `check`, `report` and what `make` makes."""
    for line in commands(page):
        words = shlex.split(line, comments=True)
        comment = line.partition(" #")[2]
        if words[0] == "make":
            subprocess.run(["make", "-n", "-C", str(ROOT), words[1]], check=True, capture_output=True)
        elif not (found := OURS.fullmatch(line)):
            assert "GPUs" in comment or "network" in comment, line
        elif found[1].split()[0] not in ("plan", "list", "report") and not re.search(r"recipe=quickstart\b", line):
            assert any(mark in comment for mark in MARKS) or "--dry-run" in words, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_is_fenced_is_what_it_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """YAML is YAML, and queries run on a store; there is no other language."""
    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r"^```(\w+)", text, re.M)) <= {"yaml", "sql"}
    for block in blocks(page, "yaml"):
        assert isinstance(yaml.safe_load(block), (dict, list)), block
    monkeypatch.chdir(tmp_path)
    (tmp_path / "store/select-1/data").mkdir(parents=True)
    duckdb.sql("COPY (SELECT 1.5 AS instruct_reward) TO 'store/select-1/data/part-000000.parquet'")
    assert [duckdb.sql(block).fetchall() for block in blocks(page, "sql")] in ([], [[(1.5,)]])


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_reference_is_that_of_the_settings() -> None:
    spec = importlib.util.spec_from_file_location("make_reference", ROOT / "docs/make_reference.py")
    assert spec and spec.loader
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    text = made.reference()
    assert (ROOT / "docs/reference.md").read_text(encoding="utf-8") == text, "run `make reference`"
    assert "| `learning_rate` |" in text and "### `use: instructions`" in text
