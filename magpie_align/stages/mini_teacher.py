from functools import partial
from typing import ClassVar

from pydantic import Field

from magpie_align.flow.stage import Context, ModelRef, Product, Stage


class MiniTeacher(Stage):
    """The miniature world's aligned model: its base, trained further on private chats over every skill."""

    produces: ClassVar[Product] = "model"

    base: ModelRef
    steps: int = Field(gt=0)
    seed: int = 0

    def run(self, ctx: Context) -> None:
        from magpie_align.mini.pretrain import Schedule, train_teacher

        schedule = Schedule(steps=self.steps, seed=self.seed)
        train_teacher(ctx.path(self.base), ctx.out, schedule, partial(ctx.progress, unit="steps"))
        ctx.note(private_chats=schedule.steps * schedule.batch)
