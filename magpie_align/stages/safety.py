from collections import Counter
from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from magpie_align.engines import Engine, EngineSettings, Sampling, problems
from magpie_align.engines.template import TemplateSettings
from magpie_align.flow.stage import Columns, Context, ModelRef, Product, Reads, Ref, RowsRef, Stage
from magpie_align.settings import Runtime
from magpie_align.stages._fill import fill

LLAMA_GUARD_2 = tuple(f"S{n}" for n in range(1, 12))


class Safety(Stage):
    """A guard model says of each instruction and response whether they are safe, and if not in what way."""

    sharded: ClassVar[bool] = True
    produces: ClassVar[Product] = "rows"

    model: ModelRef
    data: RowsRef
    categories: tuple[str, ...] = LLAMA_GUARD_2
    max_tokens: int = Field(64, gt=0)
    template: TemplateSettings = TemplateSettings()
    engine: EngineSettings = EngineSettings()
    chunk: Runtime[int] = Field(1000, gt=0)

    def problems(self) -> list[str]:
        return problems(self.engine, {"tokens"})

    def made_columns(self) -> Columns:
        made = ("llama_guard_2", "safety_categories", "safety_status", "safety_model")
        return Columns(made, carries=("uuid", "sample"), cost=3)

    def reads(self, ref: Ref) -> Reads:
        return self.engine.reads

    def run(self, ctx: Context) -> None:
        from magpie_align.curation.guard import SCHEMA, write_verdicts
        from magpie_align.engines.chats import Chats
        from magpie_align.engines.tokenizer import end_ids, load_tokenizer
        from magpie_align.flow.table import count_rows, read_rows

        model, data = str(ctx.path(self.model)), ctx.path(self.data)
        table = ctx.table(count_rows(data), SCHEMA, self.chunk)
        tokenizer = load_tokenizer(model, trust_remote_code=self.engine.trust_remote_code)
        chats, rows = Chats(tokenizer, self.template, generate=True), read_rows(data, start=table.first)
        sampling = Sampling(max_tokens=self.max_tokens, stop_ids=end_ids(tokenizer, model))
        name = ctx.name_of(self.model)

        def write(engine: Engine) -> Iterable[int]:
            return write_verdicts(engine, chats, self.categories, rows, table, sampling=sampling, name=name)

        if fill(ctx, table, self.engine, model, write, shows=("llama_guard_2",)):
            found = Counter(_kind(row) for row in read_rows(ctx.out, ["llama_guard_2", "safety_status"]))
            ctx.note(rows=found.total(), **found)


def _kind(row: dict[str, str | None]) -> str:
    """safe, unsafe, or why there is no verdict."""
    return (row["llama_guard_2"] or row["safety_status"] or "").split("\n")[0].split(":")[0]
