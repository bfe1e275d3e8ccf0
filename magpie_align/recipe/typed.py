"""A recipe's settings as types: its top level, and each stage by its own kind's; every problem is one sentence."""

import importlib
import pkgutil
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from magpie_align import stages as stage_package
from magpie_align.errors import ConfigError, suggest
from magpie_align.flow.slurm.profile import Profile
from magpie_align.flow.stage import Stage
from magpie_align.pricing.assume import Assume
from magpie_align.pricing.resources import Resources
from magpie_align.settings import Settings

_INHERITED = ("seed", "engine", "distributed")


class Recipe(Settings):
    """The top level of a recipe. Stages stay raw here; each is checked against its own kind's settings."""

    name: str
    description: str = ""
    seed: int = 0
    engine: dict[str, Any] = {}
    """The settings of EngineSettings, for every stage that has an engine; a stage's own come first."""
    distributed: dict[str, Any] = {}
    store: Path = Path("store")
    """Where artifacts are kept; recipes that share it share what they have in common."""
    output: Path = Path("runs")
    """Where this run leaves its reports and the recipe as composed; `conf/base.yaml` makes it `runs/NAME`."""
    jobs: int = Field(1, ge=1)
    """Stages made at the same time."""
    min_free_gb: float = Field(1.0, ge=0)
    """A run does not start with less free disk than this."""
    resources: Resources | None = None
    """What `plan` prices; the GPUs of this machine if left out, or else the paper's."""
    assume: Assume = Assume()
    """What `plan` cannot know of the data."""
    pushdown: bool = True
    """Make only what the selections behind it may still want; the rows they select stay the same."""
    launcher: Profile | None = None
    """The cluster that `submit` sends jobs to."""
    stages: dict[str, dict[str, Any]]
    """Name -> `use: KIND` and its settings."""


def typed_recipe(raw: Any) -> Recipe:
    """Raises ConfigError with every problem of the top level."""
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        raise ConfigError("\n".join(_sentences(error, Recipe, ""))) from None


@cache
def stage_kinds() -> dict[str, str]:
    """Stage kind -> module, for every module in `magpie_align/stages/`."""
    found = (m.name for m in pkgutil.iter_modules(stage_package.__path__))
    return {name: f"{stage_package.__name__}.{name}" for name in found if not name.startswith("_")}


@cache
def stage_class(kind: str) -> type[Stage]:
    """The one Stage that the module of this kind defines."""
    module = importlib.import_module(stage_kinds()[kind])
    found = [
        c
        for c in vars(module).values()
        if isinstance(c, type) and issubclass(c, Stage) and c.__module__ == module.__name__
    ]
    (stage,) = found
    return stage


def typed_stage(name: str, settings: dict[str, Any], recipe: Recipe, auto: str) -> tuple[str, Stage]:
    """(kind, stage) of one entry of `stages`; `auto` is the engine where it is left open. Raises ConfigError."""
    given = dict(settings)
    kind = given.pop("use", None)
    if kind not in stage_kinds():
        hint = suggest(str(kind), stage_kinds()) or "; known are: " + ", ".join(stage_kinds())
        raise ConfigError(f"stages.{name}.use: there is no stage kind '{kind}'{hint}")
    cls = stage_class(kind)
    for field in _INHERITED:
        if field in cls.model_fields:
            given[field] = _inherit(getattr(recipe, field), given.get(field))
    if "engine" in given and isinstance(given["engine"], dict) and given["engine"].get("kind", "auto") == "auto":
        given["engine"] = given["engine"] | {"kind": auto}
    try:
        return kind, cls.model_validate(given)
    except ValidationError as error:
        raise ConfigError("\n".join(_sentences(error, cls, f"stages.{name}."))) from None


def _inherit(general: Any, own: Any) -> Any:
    if isinstance(general, dict) and isinstance(own, dict):
        return {**general, **own}
    return general if own is None else own


def _sentences(error: ValidationError, cls: type[Settings], prefix: str) -> list[str]:
    """One sentence a problem: its path, what is wrong, and the nearest known key for a misspelt one."""
    lines = []
    for item in error.errors():
        path = prefix + ".".join(str(p) for p in item["loc"])
        if item["type"] == "extra_forbidden":
            fields = _fields_at(cls, item["loc"][:-1])
            hint = suggest(str(item["loc"][-1]), fields) or "; known are: " + ", ".join(fields)
            lines.append(f"{path}: there is no such setting{hint}")
        elif item["input"] == "???" or item["type"] == "missing":
            lines.append(f"{path}: this setting has no default; give it a value")
        else:
            reason = item["msg"].removeprefix("Value error, ")
            lines.append(f"{path}: {reason[0].lower() + reason[1:]} (given: {item['input']!r})")
    return lines


def _fields_at(cls: Any, path: tuple[Any, ...]) -> list[str]:
    """The settings that exist where `path` leads, through nested settings."""
    for step in path:
        info = getattr(cls, "model_fields", {}).get(step)
        if info is not None:
            inner = [info.annotation, *getattr(info.annotation, "__args__", ())]
            cls = next((c for c in inner if isinstance(c, type) and issubclass(c, Settings)), cls)
    return list(getattr(cls, "model_fields", ()))
