from functools import partial
from typing import ClassVar

from pydantic import Field

from magpie_align.flow.stage import Context, Product, Stage


class MiniBase(Stage):
    """The miniature world's base model: a tokenizer and a small Llama that has only read plain documents."""

    produces: ClassVar[Product] = "model"

    steps: int = Field(gt=0)
    seed: int = 0

    def run(self, ctx: Context) -> None:
        from magpie_align.mini.pretrain import Schedule, train_base
        from magpie_align.mini.tokenizer import build_tokenizer

        tokenizer = build_tokenizer(ctx.out, self.seed)
        train_base(
            tokenizer,
            ctx.out,
            schedule=Schedule(steps=self.steps, seed=self.seed),
            progress=partial(ctx.progress, unit="steps"),
        )
