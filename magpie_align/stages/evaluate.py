from typing import ClassVar

from magpie_align.engines import EngineSettings, problems, resolve_kind
from magpie_align.evaluation.harness import HarnessSettings
from magpie_align.flow.stage import Context, DataRef, ModelRef, Product, Stage, TasksRef


class Evaluate(Stage, HarnessSettings):
    """Scores a model with lm-evaluation-harness, on its own tasks or a recipe's, from the hub or from local files."""

    produces: ClassVar[Product] = "scores"
    version: ClassVar[int] = 2

    model: ModelRef
    benchmark: TasksRef | None = None
    data: DataRef | None = None
    """A folder of data sets in place of the hub's (see docs/evaluation.md)."""
    seed: int = 0
    engine: EngineSettings = EngineSettings()

    def problems(self) -> list[str]:
        kind, _ = resolve_kind(self.engine)
        if kind not in ("vllm", "transformers"):
            return [
                f"lm-eval runs through vllm or transformers, and the engine is {kind}; set engine.kind of this stage"
            ]
        both = ["data: the tasks of a benchmark bring their own data; leave data out"] * bool(
            self.data and self.benchmark
        )
        return problems(self.engine) + both

    def run(self, ctx: Context) -> None:
        from magpie_align.evaluation.harness import evaluate
        from magpie_align.evaluation.scored import write_scored

        own = ctx.path(self.benchmark) if self.benchmark else None
        data = ctx.path(self.data) if self.data else None
        scored = evaluate(ctx.path(self.model), own, data, self, self.engine, ctx.out, self.seed)
        write_scored(scored, ctx.out)
        shown = [one for one in scored if one.part_of is None]
        ctx.note(**{f"{one.score.task} {one.score.metric}": one.score.value for one in shown})
