from typing import ClassVar

from magpie_align.engines import EngineSettings, problems, resolve_kind
from magpie_align.evaluation.harness import HarnessSettings
from magpie_align.flow.stage import Context, ModelRef, Product, Stage, TasksRef


class Evaluate(Stage, HarnessSettings):
    """Scores a model with lm-evaluation-harness, on tasks of this recipe or its own."""

    produces: ClassVar[Product] = "scores"

    model: ModelRef
    benchmark: TasksRef | None = None
    seed: int = 0
    engine: EngineSettings = EngineSettings()

    def problems(self) -> list[str]:
        kind, _ = resolve_kind(self.engine)
        if kind not in ("vllm", "transformers"):
            return [
                f"lm-eval runs through vllm or transformers, and the engine is {kind}; set engine.kind of this stage"
            ]
        return problems(self.engine)

    def run(self, ctx: Context) -> None:
        from magpie_align.evaluation.harness import evaluate
        from magpie_align.records import write_scores

        folder = ctx.path(self.benchmark) if self.benchmark else None
        scores = evaluate(ctx.path(self.model), folder, self, self.engine, ctx.out / "samples", self.seed)
        write_scores(scores, ctx.out / "scores.json")
        ctx.note(**{f"{score.task} {score.metric}": score.value for score in scores})
