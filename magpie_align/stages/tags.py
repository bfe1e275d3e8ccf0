from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from magpie_align.curation.tagger import Tagger
from magpie_align.engines import Engine, EngineSettings, capabilities, problems
from magpie_align.engines.template import TemplateSettings
from magpie_align.flow.stage import Columns, Context, ModelRef, Product, Reads, Ref, RowsRef, Stage
from magpie_align.settings import Runtime
from magpie_align.stages._fill import fill


class Tags(Stage):
    """A tagger model labels each instruction: quality, difficulty, category, all at once or a stage for each."""

    version: ClassVar[int] = 2
    sharded: ClassVar[bool] = True
    produces: ClassVar[Product] = "rows"

    model: ModelRef
    data: RowsRef
    tagger: Tagger
    template: TemplateSettings = TemplateSettings()
    seed: int = 0
    """Of the retries; the first try is greedy."""
    engine: EngineSettings = EngineSettings()
    chunk: Runtime[int] = Field(1000, gt=0)

    def problems(self) -> list[str]:
        return problems(self.engine, set() if self.engine.chat else {"tokens"})

    def made_columns(self) -> Columns:
        who = [f"{topic}_{what}" for topic in self.tagger.topics for what in ("generator", "status")]
        return Columns((*self.tagger.columns, *who), carries=("uuid",), cost=3)

    def reads(self, ref: Ref) -> Reads:
        return self.engine.reads

    def run(self, ctx: Context) -> None:
        from magpie_align.curation.tags import schema, write_tags
        from magpie_align.engines.template import load_template
        from magpie_align.flow.table import count_rows, read_rows

        data, served = ctx.path(self.data), self.engine.chat
        model = self.model if served else str(ctx.path(self.model))
        table = ctx.table(count_rows(data), schema(self.tagger), self.chunk)
        template = None if served else load_template(model, self.template, self.engine.trust_remote_code)
        rows, name = read_rows(data, start=table.first), ctx.name_of(self.model)

        def write(engine: Engine) -> Iterable[int]:
            return write_tags(engine, template, self.tagger, rows, table, name=name, seed=self.seed)

        if fill(ctx, table, self.engine, model, write, shows=self.tagger.columns):
            status = f"{self.tagger.topics[0]}_status"
            failed = sum(row[status] != "ok" for row in read_rows(ctx.out, [status]))
            held = self.tagger.structured and "structured" in capabilities(self.engine)
            ctx.note(rows=table.total, failed=failed, structured=held)
