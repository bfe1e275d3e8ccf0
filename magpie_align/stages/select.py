from typing import ClassVar

from pydantic import Field

from magpie_align.flow.stage import Context, Product, RowsRef, Stage


class Select(Stage):
    """Selection as a query: predicates, an order and a limit over rows joined with their labels."""

    produces: ClassVar[Product] = "rows"

    data: RowsRef
    labels: list[RowsRef] = []
    where: list[str] = []
    order_by: str | None = None
    limit: int | None = Field(None, gt=0)

    def run(self, ctx: Context) -> None:
        from dataclasses import asdict

        from magpie_align.curation.selection import select
        from magpie_align.flow.table import write_rows

        folders = [ctx.path(ref) for ref in (self.data, *self.labels)]
        table, steps = select(folders, self.where, self.order_by, self.limit)
        write_rows(ctx.out, table)
        ctx.note(rows=table.num_rows, funnel=[asdict(step) for step in steps])
