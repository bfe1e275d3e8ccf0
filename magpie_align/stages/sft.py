from typing import ClassVar

from magpie_align.flow.stage import Context, ModelRef, Product, RowsRef, Stage, TokenizerRef
from magpie_align.training.settings import SFTSettings


class SFT(Stage, SFTSettings):
    """Supervised fine-tuning with TRL on the assistant's turns."""

    version: ClassVar[int] = 2
    produces: ClassVar[Product] = "model"

    model: ModelRef
    data: RowsRef
    template: TokenizerRef | None = None
    seed: int = 0

    def problems(self) -> list[str]:
        return self.refused("sft")

    def run(self, ctx: Context) -> None:
        from magpie_align.training.sft import train

        template = ctx.path(self.template) if self.template else None
        ctx.note(
            **train(
                ctx.path(self.model),
                ctx.path(self.data),
                ctx.out,
                ctx.work,
                self,
                template=template,
                seed=self.seed,
                progress=ctx.progress,
            )
        )
