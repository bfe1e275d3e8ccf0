from collections import Counter
from functools import partial
from typing import ClassVar

from pydantic import Field

from magpie_align.curation.scorer import ScorerSettings
from magpie_align.flow.stage import Columns, Context, ModelRef, Product, RowsRef, Stage
from magpie_align.settings import Runtime


class Rewards(Stage, ScorerSettings):
    """A reward model scores each response to its instruction."""

    version: ClassVar[int] = 3
    sharded: ClassVar[bool] = True
    produces: ClassVar[Product] = "rows"

    model: ModelRef
    data: RowsRef
    chunk: Runtime[int] = Field(1000, gt=0)

    def made_columns(self) -> Columns:
        return Columns(("instruct_reward", "reward_status", "reward_model"), carries=("uuid", "sample"), cost=2)

    def run(self, ctx: Context) -> None:
        from magpie_align.curation.rewards import SCHEMA, first_row, reward_row, write_rewards
        from magpie_align.curation.scorer import Scorer
        from magpie_align.flow.table import count_rows, read_rows

        data = ctx.path(self.data)
        table = ctx.table(count_rows(data), SCHEMA, self.chunk)
        scorer, make = Scorer(ctx.path(self.model), self), partial(reward_row, name=ctx.name_of(self.model))
        rows = read_rows(data, start=first_row(table))
        for done in write_rewards(scorer, rows, table, make, token_budget=self.token_budget):
            ctx.progress(done, table.size)
        table.close()
        if ctx.shard:
            return
        found, total = Counter[str](), 0.0
        for row in read_rows(ctx.out, ["instruct_reward", "reward_status"]):
            found[row["reward_status"]] += 1
            total += row["instruct_reward"] or 0.0
        scored = found["ok"] + found["cut"]
        ctx.note(rows=found.total(), **found, mean=total / scored if scored else None)
