from collections import Counter
from functools import partial
from itertools import islice
from typing import ClassVar

from pydantic import Field

from magpie_align.curation.scorer import ScorerSettings
from magpie_align.flow.stage import Columns, Context, ModelRef, Product, RowsRef, Stage
from magpie_align.settings import Runtime


class BaseRewards(Stage, ScorerSettings):
    """The same reward on a base model's answers, and how much more the real ones earn."""

    sharded: ClassVar[bool] = True
    produces: ClassVar[Product] = "rows"

    model: ModelRef
    data: RowsRef
    """What `base_responses` makes."""
    rewards: RowsRef
    """What `rewards` makes, by the same model, of one response to each of these instructions."""
    chunk: Runtime[int] = Field(1000, gt=0)

    def made_columns(self) -> Columns:
        made = (
            "base_output",
            "base_reward",
            "reward_difference",
            "base_reward_status",
            "base_generator",
            "base_reward_model",
        )
        return Columns(made, carries=("uuid",), cost=2, beside=("rewards",))

    def run(self, ctx: Context) -> None:
        from magpie_align.curation.base import GIVEN, REWARDS, as_responses, base_reward_row
        from magpie_align.curation.joining import joined
        from magpie_align.curation.rewards import first_row, write_rewards
        from magpie_align.curation.scorer import Scorer
        from magpie_align.flow.table import count_rows, read_rows

        data = ctx.path(self.data)
        table = ctx.table(count_rows(data), REWARDS, self.chunk)
        spill = ctx.work / (f"join-{ctx.shard.number}-of-{ctx.shard.of}" if ctx.shard else "join")
        beside = joined(data, ctx.path(self.rewards), GIVEN, spill)
        rows = as_responses(islice(beside, first_row(table), None))
        scorer, make = Scorer(ctx.path(self.model), self), partial(base_reward_row, name=ctx.name_of(self.model))
        for done in write_rewards(scorer, rows, table, make, token_budget=self.token_budget):
            ctx.progress(done, table.size)
        table.close()
        if ctx.shard:
            return
        found, better, both = Counter[str](), 0, 0
        for row in read_rows(ctx.out, ["reward_difference", "base_reward_status"]):
            found[row["base_reward_status"]] += 1
            both += row["reward_difference"] is not None
            better += (row["reward_difference"] or 0) > 0
        ctx.note(rows=found.total(), **found, better=better / both if both else None)
