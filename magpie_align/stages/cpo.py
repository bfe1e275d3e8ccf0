from typing import ClassVar

from magpie_align.flow.stage import Context, ModelRef, Product, RowsRef, Stage, TokenizerRef
from magpie_align.training.settings import CPO_LOSSES, CPOSettings, unknown_losses


class CPO(Stage, CPOSettings):
    """CPO, SimPO or AlphaPO with TRL: preference without a reference model."""

    produces: ClassVar[Product] = "model"

    model: ModelRef
    data: RowsRef
    template: TokenizerRef | None = None
    seed: int = 0

    def problems(self) -> list[str]:
        return self.refused("cpo") + unknown_losses([self.loss_type], CPO_LOSSES)

    def run(self, ctx: Context) -> None:
        from magpie_align.training.cpo import train

        model, data = ctx.path(self.model), ctx.path(self.data)
        template = ctx.path(self.template) if self.template else None
        ctx.note(
            **train(model, data, ctx.out, ctx.work, self, template=template, seed=self.seed, progress=ctx.progress)
        )
