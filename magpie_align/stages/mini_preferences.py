from typing import ClassVar

from pydantic import Field

from magpie_align.flow.stage import Context, Product, Stage


class MiniPreferences(Stage):
    """The miniature world's preference truth: right answers against wrong, garbled or unfinished ones."""

    produces: ClassVar[Product] = "rows"

    rows: int = Field(gt=0)
    seed: int = 0

    def run(self, ctx: Context) -> None:
        import pyarrow as pa

        from magpie_align.flow.table import write_rows
        from magpie_align.mini.preferences import private_pair

        write_rows(ctx.out, pa.Table.from_pylist([private_pair(self.seed, index) for index in range(self.rows)]))
        ctx.note(rows=self.rows)
