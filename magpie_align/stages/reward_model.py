from typing import ClassVar

from magpie_align.flow.stage import Context, ModelRef, Product, RowsRef, Stage
from magpie_align.training.settings import RewardModelSettings


class RewardModel(Stage, RewardModelSettings):
    """A reward model trained with TRL on preference pairs."""

    version: ClassVar[int] = 3
    produces: ClassVar[Product] = "model"

    model: ModelRef
    data: RowsRef
    seed: int = 0

    def problems(self) -> list[str]:
        return self.refused("reward")

    def run(self, ctx: Context) -> None:
        from magpie_align.training.reward_model import train

        model, data = ctx.path(self.model), ctx.path(self.data)
        ctx.note(**train(model, data, ctx.out, ctx.work, self, seed=self.seed, progress=ctx.progress))
