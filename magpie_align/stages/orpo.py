from typing import ClassVar

from magpie_align.flow.stage import Context, ModelRef, Product, RowsRef, Stage, TokenizerRef
from magpie_align.training.settings import ORPOSettings


class ORPO(Stage, ORPOSettings):
    """Odds ratio preference optimisation with TRL: preference without a reference, from a base model."""

    produces: ClassVar[Product] = "model"

    model: ModelRef
    data: RowsRef
    template: TokenizerRef | None = None
    seed: int = 0

    def problems(self) -> list[str]:
        return self.refused("orpo")

    def run(self, ctx: Context) -> None:
        from magpie_align.training.orpo import train

        model, data = ctx.path(self.model), ctx.path(self.data)
        template = ctx.path(self.template) if self.template else None
        ctx.note(
            **train(model, data, ctx.out, ctx.work, self, template=template, seed=self.seed, progress=ctx.progress)
        )
