"""A recipe checked as a whole, with its graph."""

from collections.abc import Callable
from typing import Any

from magpie_align.curation.pushdown import Needed
from magpie_align.engines import EngineSettings, resolve_kind
from magpie_align.errors import ConfigError, suggest
from magpie_align.flow.graph import Named, Node, build_graph, edge_problems
from magpie_align.flow.store import Store
from magpie_align.narrowing import column_problems, narrowed
from magpie_align.recipe.compose import composed, sweep_composed
from magpie_align.recipe.typed import Recipe, typed_recipe, typed_stage
from magpie_align.secrecy import secrets_in
from magpie_align.settings import Settings


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


def load(name: str, overrides: list[str], try_engine: bool = False) -> Plan:
    """Compose, type and check a recipe. Raises ConfigError with every problem found, one a line."""
    return check(*composed(name, overrides), try_engine)


def sweep(name: str, overrides: list[str], run_one: Callable[[Plan], None], try_engine: bool) -> None:
    """A run for each combination of a sweep."""
    sweep_composed(name, overrides, lambda raw, text: run_one(check(raw, text, try_engine)))


def check(raw: Any, composed: str = "", try_engine: bool = False) -> Plan:
    """Type a composed recipe and build its graph. Raises ConfigError with every problem found, one a line.

    With `try_engine`, where stages still to run would use vLLM because it is installed, importing it is really tried first
    (some seconds), and they use transformers if that fails.
    """
    exposed = list(secrets_in(raw))
    if exposed:
        raise ConfigError("\n".join(exposed))
    recipe = typed_recipe(raw)
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
            typed[name] = typed_stage(name, settings, recipe, auto)
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
