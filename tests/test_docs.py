"""What the docs show is true: their recipes plan, their commands are taken, and the reference is the settings'."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from magpie_align.cli import VERBS, main
from magpie_align.recipe import load

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
GUIDES = ("tutorial.md", "howto.md")
COMMAND = re.compile(r"^    (?:\S*/)?python -m magpie_align (.*)$", re.M)


def commands(page: Path) -> list[str]:
    return COMMAND.findall(page.read_text(encoding="utf-8"))


@pytest.fixture
def written(workdir: Path) -> Path:
    """The recipes that the docs show, where a reader would put them."""
    (workdir / "recipes").mkdir()
    (workdir / "chats.jsonl").write_text('{"messages": [{"role": "user", "content": "a"}]}\n')
    for page in PAGES:
        for name, text in re.findall(
            r"```yaml\n# recipes/(\w+)\.yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.S
        ):
            (workdir / "recipes" / f"{name}.yaml").write_text(text)
    return workdir


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.name)
def test_commands_are_taken(page: Path, written: Path) -> None:
    """`plan` and `list` are run. What would start work is composed, typed and checked, as it is before it starts."""
    for line in commands(page):
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


@pytest.mark.parametrize("name", GUIDES)
def test_what_wants_a_gpu_says_so(name: str, written: Path) -> None:
    """A command of the guides that would start work on weights from outside is marked."""
    for line in commands(ROOT / "docs" / name):
        words = shlex.split(line, comments=True)
        if words[0] in ("plan", "list") or "recipe=quickstart" in words:
            continue
        assert "# GPUs" in line or "needs no GPU" in line, line


def test_links_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "README.md"]:
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
