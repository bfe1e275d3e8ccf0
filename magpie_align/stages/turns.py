from collections import Counter
from typing import ClassVar, Literal

from pydantic import Field

from magpie_align.engines import EngineSettings, Sampling, open_engine, problems
from magpie_align.engines.template import TemplateSettings
from magpie_align.flow.stage import Context, ModelRef, Product, RowsRef, Stage
from magpie_align.settings import Runtime
from magpie_align.synthesis.steering import STEERING


class Turns(Stage):
    """Later turns: the model writes the user's next question and answers it, until a chat has `turns` of them."""

    produces: ClassVar[Product] = "rows"

    model: ModelRef
    data: RowsRef
    turns: int = Field(2, ge=2)
    steering: str | None = STEERING
    """System text of the question steps alone; null for none."""
    failed: Literal["drop", "keep"] = "drop"
    """What becomes of a chat with a failed later turn: dropped, or kept with the turns before it."""
    question_temperature: float = Field(1.0, ge=0, le=2)
    question_max_tokens: int = Field(2048, gt=0)
    temperature: float = Field(0.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    repetition_penalty: float = Field(1.0, gt=0)
    max_tokens: int = Field(4096, gt=0)
    template: TemplateSettings = TemplateSettings()
    seed: int = 0
    engine: EngineSettings = EngineSettings()
    chunk: Runtime[int] = Field(1000, gt=0)

    def problems(self) -> list[str]:
        return problems(self.engine, {"tokens"})

    def run(self, ctx: Context) -> None:
        from magpie_align.engines.template import load_template
        from magpie_align.flow.table import Table, count_rows, read_rows
        from magpie_align.synthesis.turns import Rounds, keep_chats, schema, write_turns

        model, data = str(ctx.path(self.model)), ctx.path(self.data)
        rounds = Rounds(
            load_template(model, self.template, self.engine.trust_remote_code),
            self.turns,
            self.seed,
            Sampling(self.question_temperature, max_tokens=self.question_max_tokens),
            Sampling(self.temperature, self.top_p, self.max_tokens, repetition_penalty=self.repetition_penalty),
            self.steering,
        )
        rounds.check()
        total = count_rows(data)
        table = Table(ctx.work / "chats", ctx.work / "journal", total, schema(self.turns), self.chunk)
        engine = open_engine(self.engine, model)
        for done in write_turns(engine, rounds, read_rows(data), table, generator=ctx.name_of(self.model)):
            ctx.progress(done, total)
        engine.close()
        table.close()
        found = Counter(row["turns_status"].split(":")[0] for row in read_rows(ctx.work / "chats", ["turns_status"]))
        kept = keep_chats(ctx.work / "chats", ctx.out, only_whole=self.failed == "drop")
        ctx.note(rows=kept, dropped=total - kept, chats=dict(found), engine=engine.provenance)
