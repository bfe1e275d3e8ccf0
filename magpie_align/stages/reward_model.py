from typing import ClassVar

from magpie_align.flow.stage import Context, ModelRef, Product, RowsRef, Stage, TokenizerRef
from magpie_align.stages._train import train_into
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
        from magpie_align.training.reward_model import train

        train_into(ctx, self, train)
