from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from magpie_align.engines import EngineSettings, problems
from magpie_align.engines.template import TemplateSettings
from magpie_align.flow.stage import Context, DataRef, ModelRef, Product, Reads, Ref, Stage, TasksRef
from magpie_align.settings import Runtime
from magpie_align.stages._fill import fill
from magpie_align.synthesis.sampling import Answers

if TYPE_CHECKING:
    from magpie_align.evaluation.question_sets import Question


class Outputs(Stage, Answers):
    """A model answers the questions of AlpacaEval, Arena-Hard, WildBench or MT-Bench, for a judge; decoded as the paper does."""

    sharded: ClassVar[bool] = True
    produces: ClassVar[Product] = "rows"

    model: ModelRef
    questions: DataRef | None = None
    """A file of the published question set, or its hub id."""
    config: str | None = None
    split: str | None = None
    files: str | None = None
    benchmark: TasksRef | None = None
    """In place of `questions`: a benchmark of this recipe, whose `tasks` are answered freely."""
    tasks: list[str] = []
    category: str | None = None
    """Ask the questions of this category alone."""
    limit: int | None = Field(None, gt=0)
    """Ask only the first so many, for a quick look: another question set, so in no column with the whole one."""
    repetition_penalty: float = Field(1.2, gt=0)
    temperatures: dict[str, float] = {}
    """Category -> temperature, where it is another."""
    max_errors: float = Field(0.0, ge=0, le=1)
    """The share of questions that may end in an error, such as one too long for the model; judged as empty answers."""
    template: TemplateSettings = TemplateSettings()
    seed: int = 0
    engine: EngineSettings = EngineSettings()
    chunk: Runtime[int] = Field(100, gt=0)

    def problems(self) -> list[str]:
        if (self.questions is None) == (self.benchmark is None) or bool(self.tasks) != (self.benchmark is not None):
            return ["give either questions (a published set), or benchmark and tasks (of this recipe), and not both"]
        return problems(self.engine, set() if self.engine.chat else {"tokens"})

    def reads(self, ref: Ref) -> Reads:
        return self.engine.reads if ref.product == "model" else ref.reads

    def _questions(self, ctx: Context) -> "list[Question]":
        from magpie_align.stages._questions import benchmark_questions, read_questions

        if self.benchmark:
            return benchmark_questions(ctx.path(self.benchmark), self.tasks, self.category, self.limit)
        assert self.questions
        return read_questions(ctx, self.questions, self.config, self.split, self.files, self.category, self.limit)

    def run(self, ctx: Context) -> None:
        from magpie_align.engines.template import load_template
        from magpie_align.evaluation.answering import Answering, write_outputs
        from magpie_align.evaluation.outputs import SCHEMA
        from magpie_align.stages._questions import sum_up

        questions = self._questions(ctx)
        served = self.engine.chat
        model = self.model if served else str(ctx.path(self.model))
        table = ctx.table(len(questions), SCHEMA, self.chunk)
        template = None if served else load_template(model, self.template, self.engine.trust_remote_code)
        step = Answering(
            template, questions, table, self.sampling, self.temperatures, self.seed, ctx.name_of(self.model)
        )
        if fill(ctx, table, self.engine, model, lambda engine: write_outputs(engine, step), shows=("answers",)):
            heat = ", ".join(f"{name} {value:g}" for name, value in sorted(self.temperatures.items()))
            decoding = {
                "temperature": f"{self.temperature:g}; {heat}" if heat else self.temperature,
                "top_p": self.top_p,
                "repetition_penalty": self.repetition_penalty,
                "max_tokens": self.max_tokens,
            }
            sum_up(ctx, decoding, self.max_errors)
