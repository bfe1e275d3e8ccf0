from collections import Counter
from typing import ClassVar

from pydantic import Field

from magpie_align.engines import EngineSettings, Sampling, open_engine, problems
from magpie_align.engines.template import TemplateSettings
from magpie_align.flow.stage import Context, ModelRef, Product, RowsRef, Stage
from magpie_align.settings import Runtime


class Responses(Stage):
    """Step 2: a model answers each instruction through its full chat template; with `samples` > 1, several times."""

    version: ClassVar[int] = 2
    produces: ClassVar[Product] = "rows"

    model: ModelRef
    data: RowsRef
    samples: int = Field(1, gt=0)
    temperature: float = Field(0.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    repetition_penalty: float = Field(1.0, gt=0)
    max_tokens: int = Field(4096, gt=0)
    template: TemplateSettings = TemplateSettings()
    seed: int = 0
    engine: EngineSettings = EngineSettings()
    chunk: Runtime[int] = Field(1000, gt=0)

    def problems(self) -> list[str]:
        found = problems(self.engine, {"tokens"})
        if self.samples > 1 and self.temperature == 0:
            found.append(
                f"samples is {self.samples} at temperature 0, which gives the same response each time; raise it"
            )
        return found

    def run(self, ctx: Context) -> None:
        from magpie_align.engines.template import load_template
        from magpie_align.flow.table import count_rows, read_rows
        from magpie_align.synthesis.responses import SCHEMA, write_responses

        model, data = str(ctx.path(self.model)), ctx.path(self.data)
        total = count_rows(data) * self.samples
        table = ctx.table(total, SCHEMA, self.chunk)
        template = load_template(model, self.template, self.engine.trust_remote_code)
        engine = open_engine(self.engine, model)
        for done in write_responses(
            engine,
            template,
            read_rows(data),
            table,
            samples=self.samples,
            seed=self.seed,
            sampling=Sampling(
                self.temperature, self.top_p, self.max_tokens, repetition_penalty=self.repetition_penalty
            ),
            generator=ctx.name_of(self.model),
        ):
            ctx.progress(done, total)
        engine.close()
        table.close()
        ctx.note(
            rows=total, **Counter(r["response_status"].split(":")[0] for r in read_rows(ctx.out, ["response_status"]))
        )
        ctx.note(engine=engine.provenance)
