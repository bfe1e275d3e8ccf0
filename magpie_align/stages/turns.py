from collections import Counter
from typing import ClassVar, Literal

from pydantic import Field

from magpie_align.engines import EngineSettings, Sampling, problems
from magpie_align.engines.template import TemplateSettings
from magpie_align.flow.stage import Columns, Context, ModelRef, Product, Reads, Ref, RowsRef, Stage
from magpie_align.settings import Runtime
from magpie_align.stages._fill import fill
from magpie_align.synthesis.sampling import Answers
from magpie_align.synthesis.steering import STEERING


class Turns(Stage, Answers):
    """Later turns: the model writes the user's next question and answers it, until a chat has `turns` of them."""

    version: ClassVar[int] = 2
    sharded: ClassVar[bool] = True
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
    template: TemplateSettings = TemplateSettings()
    seed: int = 0
    engine: EngineSettings = EngineSettings()
    chunk: Runtime[int] = Field(1000, gt=0)

    def problems(self) -> list[str]:
        return problems(self.engine, {"tokens"})

    def made_columns(self) -> Columns:
        later = [f"{what}_{turn}" for turn in range(2, self.turns + 1) for what in ("instruction", "response")]
        made = ("messages", *later, "turns", "turns_status", "turns_seeds", "turns_generator")
        return Columns(made, carries=("uuid", "instruction", "response"), cost=4)

    def reads(self, ref: Ref) -> Reads:
        return self.engine.reads

    def run(self, ctx: Context) -> None:
        from magpie_align.engines.template import load_template
        from magpie_align.flow.table import count_rows, read_rows
        from magpie_align.synthesis.turns import Chatting, Rounds, keep_chats, schema, write_turns

        model, data = str(ctx.path(self.model)), ctx.path(self.data)
        rounds = Rounds(
            load_template(model, self.template, self.engine.trust_remote_code),
            self.turns,
            self.seed,
            Sampling(self.question_temperature, max_tokens=self.question_max_tokens),
            self.sampling,
            self.steering,
        )
        rounds.check()
        chats = ctx.work / "chats"
        table = ctx.table(count_rows(data), schema(self.turns), self.chunk, folder=chats)
        step = Chatting(rounds, read_rows(data, start=table.first), table, ctx.name_of(self.model))
        last = (f"instruction_{self.turns}", f"response_{self.turns}")
        if fill(ctx, table, self.engine, model, lambda engine: write_turns(engine, step), shows=last):
            found = Counter(row["turns_status"].split(":")[0] for row in read_rows(chats, ["turns_status"]))
            kept = keep_chats(chats, ctx.out, only_whole=self.failed == "drop")
            ctx.note(rows=kept, dropped=table.total - kept, chats=dict(found))
