from typing import ClassVar

from magpie_align.flow.stage import Context, ModelRef, Product, RowsRef, Stage, TokenizerRef
from magpie_align.training.settings import CHECKPOINT_GRACE, RewardModelSettings


class RewardModel(Stage, RewardModelSettings):
    """A reward model trained with TRL on preference pairs."""

    version: ClassVar[int] = 4
    grace: ClassVar[float] = CHECKPOINT_GRACE
    produces: ClassVar[Product] = "model"

    model: ModelRef
    data: RowsRef
    template: TokenizerRef | None = None
    seed: int = 0

    def problems(self) -> list[str]:
        return self.refused("reward")

    def run(self, ctx: Context) -> None:
        from magpie_align.training.processes import train_spread
        from magpie_align.training.reward_model import train

        figures = train_spread(
            train,
            model=ctx.path(self.model),
            rows=ctx.path(self.data),
            out=ctx.out,
            work=ctx.work,
            settings=self,
            template=ctx.path(self.template) if self.template else None,
            seed=self.seed,
            progress=ctx.progress,
        )
        ctx.note(**figures)
