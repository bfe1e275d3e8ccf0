from typing import ClassVar

from magpie_align.flow.stage import Context, ModelRef, Product, RowsRef, Stage, TokenizerRef
from magpie_align.stages._train import train_into
from magpie_align.training.settings import CHECKPOINT_GRACE, CPO_LOSSES, CPOSettings, unknown_losses


class CPO(Stage, CPOSettings):
    """CPO, SimPO or AlphaPO with TRL: preference without a reference model."""

    grace: ClassVar[float] = CHECKPOINT_GRACE
    produces: ClassVar[Product] = "model"

    model: ModelRef
    data: RowsRef
    template: TokenizerRef | None = None
    seed: int = 0

    def problems(self) -> list[str]:
        return self.refused("cpo") + unknown_losses([self.loss_type], CPO_LOSSES)

    def run(self, ctx: Context) -> None:
        from magpie_align.training.cpo import train

        train_into(ctx, self, train)
