from typing import ClassVar

from magpie_align.flow.stage import Context, ModelRef, Product, RowsRef, Stage, TokenizerRef
from magpie_align.training.settings import KTO_LOSSES, KTOSettings, unknown_losses


class KTO(Stage, KTOSettings):
    """Kahneman-Tversky optimisation with TRL; the model it starts from is the reference."""

    produces: ClassVar[Product] = "model"

    model: ModelRef
    data: RowsRef
    template: TokenizerRef | None = None
    seed: int = 0

    def problems(self) -> list[str]:
        return self.refused("kto") + unknown_losses([self.loss_type], KTO_LOSSES)

    def run(self, ctx: Context) -> None:
        from magpie_align.training.kto import train

        model, data = ctx.path(self.model), ctx.path(self.data)
        template = ctx.path(self.template) if self.template else None
        ctx.note(
            **train(model, data, ctx.out, ctx.work, self, template=template, seed=self.seed, progress=ctx.progress)
        )
