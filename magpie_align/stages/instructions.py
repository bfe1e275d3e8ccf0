from collections import Counter
from typing import ClassVar

from pydantic import Field

from magpie_align.engines import EngineSettings, open_engine, problems
from magpie_align.flow.stage import Context, ModelRef, Product, Stage
from magpie_align.settings import Runtime
from magpie_align.synthesis.grid import Cell, Grid


class Instructions(Stage):
    """Step 1: the aligned model writes user instructions, given only its pre-query template."""

    produces: ClassVar[Product] = "rows"

    model: ModelRef
    grid: list[Cell] = Field(min_length=1)
    max_tokens: int = Field(2048, gt=0)
    system: str | None = None
    seed: int = 0
    engine: EngineSettings = EngineSettings()
    chunk: Runtime[int] = Field(1000, gt=0)

    def problems(self) -> list[str]:
        return problems(self.engine, {"tokens"})

    def run(self, ctx: Context) -> None:
        from magpie_align.engines.template import derive
        from magpie_align.engines.tokenizer import end_ids, load_tokenizer
        from magpie_align.flow.table import read_rows
        from magpie_align.synthesis.instructions import SCHEMA, write_instructions

        model = str(ctx.path(self.model))
        tokenizer = load_tokenizer(model)
        template = derive(tokenizer, self.system, end_ids=end_ids(tokenizer, model))
        grid = Grid(self.grid)
        table = ctx.table(grid.total, SCHEMA, self.chunk)
        engine = open_engine(self.engine, model)
        for done in write_instructions(
            engine, template, grid, table, seed=self.seed, max_tokens=self.max_tokens, generator=ctx.name_of(self.model)
        ):
            ctx.progress(done, grid.total)
        engine.close()
        table.close()
        ctx.note(
            rows=grid.total,
            **Counter(r["instruction_status"].split(":")[0] for r in read_rows(ctx.out, ["instruction_status"])),
        )
        ctx.note(engine=engine.provenance)
