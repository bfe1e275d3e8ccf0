"""From a recipe's YAML to a typed graph. The only module that imports Hydra.

A recipe is a YAML file in `recipes/` (the package's, or a `recipes/` folder where you are) composed from the groups in `conf/`.
Each entry of `stages:` says `use: KIND`, the name of a module in `magpie_align/stages/`, and that stage's settings; `seed`,
`engine` and `distributed` given at the top are inherited by every stage that has such a setting and does not give its own.
"""

import importlib
import pkgutil
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from magpie_align import stages as stage_package
from magpie_align.curation.pushdown import Needed
from magpie_align.engines import EngineSettings, resolve_kind
from magpie_align.errors import ConfigError, suggest
from magpie_align.flow.graph import Named, Node, build_graph, edge_problems
from magpie_align.flow.slurm.profile import Profile
from magpie_align.flow.stage import Stage
from magpie_align.flow.store import Store
from magpie_align.narrowing import column_problems, narrowed
from magpie_align.pricing.assume import Assume
from magpie_align.pricing.resources import Resources
from magpie_align.secrecy import secrets_in
from magpie_align.settings import Settings

_HERE = Path(__file__).resolve().parent
_INHERITED = ("seed", "engine", "distributed")


def packaged(folder: str) -> Path:
    """`conf`, `recipes` or `slurm`: inside an installed package, beside it in a source tree."""
    inside = _HERE / folder
    return inside if inside.is_dir() else _HERE.parent / folder


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


class Plan(Settings):
    """A recipe that has been checked as a whole, with its graph in an order in which it can run."""

    recipe: Recipe
    nodes: list[Any]
    composed: str
    """The recipe as composed, as YAML: what a run keeps beside its results."""
    needed: list[Any] = []
    """What push-down put in front of which stage."""
    engine: str
    """The engines of its stages, and why that one where it was left to `auto`."""

    @property
    def todo(self) -> list[Node]:
        return [node for node in self.nodes if not node.artifact.done]


def recipe_folders() -> list[Path]:
    """Where recipes are looked for, nearest first."""
    here = Path("recipes").resolve()
    return [f for f in dict.fromkeys((here, packaged("recipes"))) if f.is_dir()]


def recipe_files() -> dict[str, Path]:
    """Recipe name -> file. A recipe in the current folder hides a packaged one of the same name."""
    found: dict[str, Path] = {}
    for folder in recipe_folders():
        for file in sorted(folder.glob("*.yaml")):
            found.setdefault(file.stem, file)
    return found


def recipe_file(name: str) -> Path:
    """The file of a recipe given by name or by path. Raises ConfigError naming the nearest."""
    if name.endswith((".yaml", ".yml")):
        file = Path(name).resolve()
        if file.is_file():
            return file
        raise ConfigError(f"there is no recipe file {file}")
    known = recipe_files()
    if name not in known:
        raise ConfigError(f"there is no recipe '{name}'{suggest(name, known) or '; known are: ' + ', '.join(known)}")
    return known[name]


def load(name: str, overrides: list[str], try_engine: bool = False) -> Plan:
    """Compose, type and check a recipe. Raises ConfigError with every problem found, one a line."""
    from omegaconf import OmegaConf

    config = _compose(recipe_file(name), overrides)
    return check(OmegaConf.to_container(config, resolve=True), OmegaConf.to_yaml(config), try_engine)


def check(raw: Any, composed: str = "", try_engine: bool = False) -> Plan:
    """Type a composed recipe and build its graph. Raises ConfigError with every problem found, one a line.

    With `try_engine`, where stages still to run would use vLLM because it is installed, importing it is really tried first
    (some seconds), and they use transformers if that fails.
    """
    exposed = list(secrets_in(raw))
    if exposed:
        raise ConfigError("\n".join(exposed))
    try:
        recipe = Recipe.model_validate(raw)
    except ValidationError as error:
        raise ConfigError("\n".join(_sentences(error, Recipe, ""))) from None
    auto, reason = resolve_kind(EngineSettings())
    nodes, needed = _graph(recipe, auto)
    if try_engine and auto == "vllm" and any(_engine_kind(node) == "vllm" for node in nodes if not node.artifact.done):
        auto, reason = resolve_kind(EngineSettings(), probe=True)
        nodes, needed = _graph(recipe, auto)
    kinds = sorted({kind for node in nodes if (kind := _engine_kind(node))})
    said = [f"{kind} ({reason})" if kind == auto else kind for kind in kinds]
    engine = ", ".join(said) or "none"
    return Plan(recipe=recipe, nodes=nodes, composed=composed, needed=needed, engine=engine)


def _engine_kind(node: Node) -> str | None:
    engine = getattr(node.stage, "engine", None)
    return engine.kind if isinstance(engine, EngineSettings) else None


def _graph(recipe: Recipe, auto: str) -> tuple[list[Node], list[Needed]]:
    problems: list[str] = []
    typed: Named = {}
    for name, settings in recipe.stages.items():
        try:
            typed[name] = _stage(name, settings, recipe, auto)
        except ConfigError as error:
            problems.append(str(error))
    for name, (_, stage) in typed.items():
        problems += [f"stages.{name}: {problem}" for problem in stage.problems()]
    problems += edge_problems(typed, recipe.stages.keys() - typed.keys())
    strange = [name for name in recipe.assume.tokens if name not in recipe.stages]
    problems += [
        f"assume.tokens.{name}: this recipe has no such stage{suggest(name, recipe.stages)}" for name in strange
    ]
    problems = problems or list(column_problems(typed))
    if problems:
        raise ConfigError("\n".join(problems))
    return (
        _pushed_down(typed, Store(recipe.store)) if recipe.pushdown else (build_graph(typed, Store(recipe.store)), [])
    )


def _pushed_down(typed: Named, store: Store) -> tuple[list[Node], list[Needed]]:
    """The graph in which stages make only what is needed; a stage whose rows are all made already is taken as it is."""
    stages, needed = narrowed(typed)
    nodes = build_graph(stages, store)
    if needed:
        made = {node.name for node in nodes if node.artifact.done}
        whole = {node.name for node in build_graph(typed, store) if node.artifact.done} - made
        if whole & {one.stage for one in needed}:
            stages, needed = narrowed(typed, whole)
            nodes = build_graph(stages, store)
    return nodes, needed


def unnarrowed(plan: Plan) -> list[Node]:
    """The graph of the same recipe without push-down: what it would make, and cost, in the paper's order."""
    auto, _ = resolve_kind(EngineSettings())
    return _graph(plan.recipe.model_copy(update={"pushdown": False}), auto)[0]


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


def _stage(name: str, settings: dict[str, Any], recipe: Recipe, auto: str) -> tuple[str, Stage]:
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


def _compose(file: Path, overrides: list[str]) -> Any:
    import yaml
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(config_dir=str(file.parent), version_base=None):
            return compose(file.stem, overrides=hydra_overrides(overrides))
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError(f"{file.name}: {' '.join(str(error).split())}") from None


def hydra_overrides(overrides: list[str]) -> list[str]:
    """The user's `key=value` as Hydra takes them, with `conf/` (a nearer one first) and the recipes on the search path.

    A plain key is sent as add-or-override, so that a misspelt one reaches our own check, which knows what it should have been.
    """
    groups = [folder for folder in dict.fromkeys((Path("conf").resolve(), packaged("conf"))) if folder.is_dir()]
    names = {f.name for folder in groups for f in folder.iterdir() if f.is_dir()}
    path = ",".join(f"file://{folder}" for folder in (*groups, *recipe_folders()))
    sent = [f"hydra.searchpath=[{path}]"]
    for text in overrides:
        key = text.partition("=")[0]
        plain = re.fullmatch(r"[\w.]+", key) and "=" in text and key.split("@")[0] not in names
        sent.append(f"++{text}" if plain and not key.startswith("hydra.") else text)
    return sent


def sweep(name: str, overrides: list[str], run_one: Callable[[Plan], None], try_engine: bool) -> None:
    """Hydra's own `--multirun`: a run for each combination, with whatever sweeper or launcher plug-in the user chose."""
    import sys

    import hydra
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import DictConfig, OmegaConf, open_dict

    file = recipe_file(name)
    given = {text.partition("=")[0] for text in overrides}

    def task(config: DictConfig) -> None:
        """One combination; its report goes to a folder of its own, named by its settings, unless `output` is given."""
        settings = [text.lstrip("+") for text in HydraConfig.get().overrides.task]
        with open_dict(config):
            config.pop("hydra", None)
            if "output" not in given:
                config.output = str(Path(config.output) / re.sub(r"[^\w.,=-]+", "_", ",".join(settings)))
        run_one(check(OmegaConf.to_container(config, resolve=True), OmegaConf.to_yaml(config), try_engine))

    folder = f"hydra.sweep.dir={Path('runs') / 'sweeps' / file.stem}"
    quiet = ["hydra/job_logging=disabled", "hydra/hydra_logging=disabled"]
    sys.argv = ["magpie_align", "--multirun", folder, *quiet, *hydra_overrides(overrides)]
    hydra.main(version_base=None, config_path=str(file.parent), config_name=file.stem)(task)()
