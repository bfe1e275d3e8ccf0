from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from magpie_align.engines import EngineSettings, problems
from magpie_align.engines.template import TemplateSettings
from magpie_align.flow.stage import Columns, Context, ModelRef, Product, Reads, Ref, RowsRef, Stage
from magpie_align.settings import Runtime
from magpie_align.stages._fill import fill, opened, remember, sample_of, whole
from magpie_align.stages.instructions import Instructions
from magpie_align.synthesis.sampling import Answers

if TYPE_CHECKING:
    from magpie_align.synthesis.responses import Answering

CHAT = ("instruction", "response")


class Responses(Stage, Answers):
    """Step 2: a model answers each instruction through its full chat template; with `samples` > 1, several times."""

    version: ClassVar[int] = 3
    sharded: ClassVar[bool] = True
    produces: ClassVar[Product] = "rows"

    model: ModelRef
    data: RowsRef
    samples: int = Field(1, gt=0)
    template: TemplateSettings = TemplateSettings()
    seed: int = 0
    engine: EngineSettings = EngineSettings()
    chunk: Runtime[int] = Field(1000, gt=0)
    join: Runtime[bool] = True
    """Answer in one process with the stage that writes the instructions, as they come, where model and engine are the same."""

    def problems(self) -> list[str]:
        found = problems(self.engine, set() if self.engine.chat else {"tokens"})
        if self.samples > 1 and self.temperature == 0:
            found.append(
                f"samples is {self.samples} at temperature 0, which gives the same response each time; raise it"
            )
        return found

    def made_columns(self) -> Columns:
        text = ("response", "response_edits", "response_status", "response_stop", "response_tokens", "response_length")
        made = ("sample", *text, "response_seed", "response_generator")
        return Columns(made, carries=("uuid", "instruction"), cost=4, copies=self.samples > 1)

    def reads(self, ref: Ref) -> Reads:
        return self.engine.reads

    def run(self, ctx: Context) -> None:
        from magpie_align.flow.table import count_rows, read_rows
        from magpie_align.synthesis.responses import write_responses

        data = ctx.path(self.data)
        step = self._step(ctx, count_rows(data))
        step.backlog = step.table.wanted(read_rows(data, start=step.table.first // self.samples), self.samples)
        model = self.model if self.engine.chat else str(ctx.path(self.model))
        if fill(ctx, step.table, self.engine, model, lambda engine: write_responses(engine, step), shows=CHAT):
            self._sum_up(ctx)

    def joins(self, parent: Stage) -> bool:
        return (
            self.join
            and isinstance(parent, Instructions)
            and (parent.model, parent.engine) == (self.model, self.engine)
        )

    def run_joined(self, ctx: Context, parent: Stage, parent_ctx: Context, parent_done: Callable[[], None]) -> None:
        from magpie_align.synthesis.responses import write_both

        assert isinstance(parent, Instructions)
        asking = parent.step(parent_ctx)
        step = self._step(ctx, asking.table.total)
        both = (asking.table, parent_ctx, CHAT[:1]), (step.table, ctx, CHAT)
        owed = [True]

        def finish_parent() -> None:
            if owed and asking.table.done == asking.table.total:
                owed.clear()
                asking.table.close()
                whole(parent_ctx)
                parent.sum_up(parent_ctx)
                parent_done()

        with opened(parent_ctx, self.engine, str(ctx.path(self.model)), parent.needs) as engine:
            remember(ctx, engine.provenance)
            for _ in write_both(engine, asking, step):
                for table, told, shows in both:
                    told.progress(table.done, table.total, sample=sample_of(table, shows))
                finish_parent()
        finish_parent()
        step.table.close()
        whole(ctx)
        self._sum_up(ctx)

    def _step(self, ctx: Context, instructions: int) -> "Answering":
        from magpie_align.engines.template import load_template
        from magpie_align.synthesis.responses import SCHEMA, Answering

        served = self.engine.chat
        return Answering(
            None if served else load_template(str(ctx.path(self.model)), self.template, self.engine.trust_remote_code),
            ctx.table(instructions * self.samples, SCHEMA, self.chunk),
            self.samples,
            self.seed,
            self.sampling,
            generator=ctx.name_of(self.model),
            backlog=iter(()),
        )

    def _sum_up(self, ctx: Context) -> None:
        from magpie_align.flow.tally import tally

        found, tokens = tally(ctx.out, "response_status", "response_tokens")
        ctx.note(rows=found.total(), **found, tokens=tokens)
