from typing import ClassVar

from pydantic import Field

from magpie_align.flow.stage import Context, Product, Stage


class MiniBenchmark(Stage):
    """The miniature world's benchmark as lm-eval tasks: questions held out from everything trained on, exact answers."""

    produces: ClassVar[Product] = "tasks"

    generated: int = Field(1000, gt=0, description="items of mini_gen, answered freely")
    chosen: int = Field(600, gt=0, description="items of mini_mc, four choices")
    seed: int = 0

    def run(self, ctx: Context) -> None:
        from magpie_align.mini.benchmark import write_benchmark

        tasks = write_benchmark(ctx.out, self.seed, self.generated, self.chosen)
        ctx.note(tasks=", ".join(tasks))
