from typing import ClassVar

from magpie_align.flow.stage import Context, ModelRef, Product, RowsRef, Stage, TokenizerRef
from magpie_align.stages._train import train_into
from magpie_align.training.settings import CHECKPOINT_GRACE, KTO_LOSSES, KTOSettings, unknown_losses


class KTO(Stage, KTOSettings):
    """Kahneman-Tversky optimisation with TRL; the model it starts from is the reference."""

    grace: ClassVar[float] = CHECKPOINT_GRACE
    produces: ClassVar[Product] = "model"

    model: ModelRef
    data: RowsRef
    template: TokenizerRef | None = None
    seed: int = 0

    def problems(self) -> list[str]:
        return self.refused("kto") + unknown_losses([self.loss_type], KTO_LOSSES)

    def run(self, ctx: Context) -> None:
        from magpie_align.training.kto import train

        train_into(ctx, self, train)
