from typing import ClassVar

from magpie_align.flow.stage import Context, ModelRef, Product, RowsRef, Stage, TokenizerRef
from magpie_align.training.settings import CHECKPOINT_GRACE, ORPOSettings


class ORPO(Stage, ORPOSettings):
    """Odds ratio preference optimisation with TRL: preference without a reference, from a base model."""

    grace: ClassVar[float] = CHECKPOINT_GRACE
    produces: ClassVar[Product] = "model"

    model: ModelRef
    data: RowsRef
    template: TokenizerRef | None = None
    seed: int = 0

    def problems(self) -> list[str]:
        return self.refused("orpo")

    def run(self, ctx: Context) -> None:
        from magpie_align.training.orpo import train
        from magpie_align.training.processes import train_spread

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
