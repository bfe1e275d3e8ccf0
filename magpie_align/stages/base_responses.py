from collections import Counter
from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from magpie_align.curation.base_prompt import BasePrompt
from magpie_align.engines import Engine, EngineSettings, problems
from magpie_align.flow.stage import Columns, Context, ModelRef, Product, Reads, Ref, RowsRef, Stage
from magpie_align.settings import Runtime
from magpie_align.stages._fill import fill
from magpie_align.synthesis.sampling import Answers


class BaseResponses(Stage, Answers):
    """A base model answers each instruction, shown by examples how: what the reward of an aligned answer is compared with."""

    sharded: ClassVar[bool] = True
    produces: ClassVar[Product] = "rows"

    model: ModelRef
    data: RowsRef
    prompt: BasePrompt
    engine: EngineSettings = EngineSettings()
    chunk: Runtime[int] = Field(1000, gt=0)

    def problems(self) -> list[str]:
        return problems(self.engine, {"tokens"})

    def made_columns(self) -> Columns:
        made = ("base_output", "base_status", "base_tokens", "base_generator")
        return Columns(made, carries=("uuid", "instruction"), cost=4)

    def reads(self, ref: Ref) -> Reads:
        return self.engine.reads

    def run(self, ctx: Context) -> None:
        from dataclasses import replace

        from magpie_align.curation.base import OUTPUTS, Prompts, write_base_outputs
        from magpie_align.engines.tokenizer import load_tokenizer
        from magpie_align.flow.table import count_rows, read_rows

        model, data = str(ctx.path(self.model)), ctx.path(self.data)
        table = ctx.table(count_rows(data), OUTPUTS, self.chunk)
        prompts = Prompts(load_tokenizer(model, trust_remote_code=self.engine.trust_remote_code), self.prompt)
        rows, name = read_rows(data, start=table.first), ctx.name_of(self.model)
        sampling = replace(self.sampling, stop=self.prompt.stop)

        def write(engine: Engine) -> Iterable[int]:
            return write_base_outputs(engine, prompts, sampling, rows, table, name=name)

        if fill(ctx, table, self.engine, model, write, shows=("base_output",)):
            found = Counter(row["base_status"].split(":")[0] for row in read_rows(ctx.out, ["base_status"]))
            ctx.note(rows=found.total(), **found)
