from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from magpie_align.curation.overlap import OverlapSettings
from magpie_align.flow.stage import (
    Columns,
    Context,
    DataRef,
    EmbedderRef,
    Product,
    RowsRef,
    Stage,
    TasksRef,
    VectorsRef,
)

if TYPE_CHECKING:
    from magpie_align.curation.contamination import Benchmark, Touch
    from magpie_align.records import BenchmarkItem


class Contamination(Stage, OverlapSettings):
    """Marks rows that hold questions of a benchmark: `labels: [contamination]`, `where: [not contaminated]`.

    `items.jsonl` beside the rows lists the questions touched, for scores without them (see `untouched`, and `without` of judged
    benchmarks); `sought.json` holds the hashes of all that were looked for.
    """

    produces: ClassVar[Product] = "rows"
    version: ClassVar[int] = 2

    data: RowsRef
    tasks: dict[str, int | None] = {}
    """As `evaluate` takes them: the tasks of `benchmark`, or lm-eval's own."""
    benchmark: TasksRef | None = None
    task_data: DataRef | None = None
    """A folder of the tasks' data sets in place of the hub's, as the `data` of `evaluate`."""
    items: dict[str, DataRef] = {}
    """Name -> a file of questions."""
    column: str | None = None
    """Which column of those files holds the question, if none of the usual names does."""

    vectors: VectorsRef | None = None
    """A stage `embed` of these rows: questions near to them are found too, though their words were changed."""
    embedder: EmbedderRef = "ngram"
    """The model of that stage."""
    radius: float = Field(0.15, gt=0, lt=1)
    """How near, as 1 - cosine, a row's text must be to a question."""

    def problems(self) -> list[str]:
        if self.tasks or self.items:
            return []
        return ["there is nothing to look for: give tasks (as the stage `evaluate` has them), or items: {NAME: FILE}"]

    def made_columns(self) -> Columns:
        told = ("contaminated", "contamination_item", "contamination_how", "contamination_share", "contamination_items")
        return Columns(told, carries=("uuid", "sample"))

    def run(self, ctx: Context) -> None:
        import json
        from collections import Counter, defaultdict

        from magpie_align.curation.contamination import Benchmark, Touched, find_touches, item_rows, keys_of
        from magpie_align.evaluation.untouched import SOUGHT, text_hash
        from magpie_align.flow.table import count_rows, read_rows, write_batches

        data = ctx.path(self.data)
        benchmark = Benchmark(self._items(ctx), self)
        close = self._close(ctx, benchmark) if self.vectors else {}
        touched: dict[int, Touched] = {}
        total = count_rows(data)
        batches = find_touches(read_rows(data), keys_of(data), benchmark, touched, close)
        for done in write_batches(ctx.out, batches):
            ctx.progress(done, total)
        found = item_rows(benchmark, touched)
        lines = [json.dumps(item, ensure_ascii=False) + "\n" for item in found]
        (ctx.out / "items.jsonl").write_text("".join(lines), encoding="utf-8")
        sought: dict[str, list[str]] = defaultdict(list)
        for item in benchmark.items:
            sought[item.task].append(text_hash(item.text))
        (ctx.out / SOUGHT).write_text(json.dumps(sought), encoding="utf-8")
        rows = sum(row["contaminated"] for row in read_rows(ctx.out, ["contaminated"]))
        ctx.note(rows=total, contaminated=rows, too_short=len(benchmark.items) - len(benchmark.sought))
        ctx.note(items=dict(Counter(item.task for item in benchmark.items)))
        ctx.note(touched=dict(Counter(item["task"] for item in found)))

    def _items(self, ctx: Context) -> "list[BenchmarkItem]":
        from magpie_align.curation.questions import file_items
        from magpie_align.evaluation.items import task_items

        folder = ctx.path(self.benchmark) if self.benchmark else None
        data = ctx.path(self.task_data) if self.task_data else None
        found = list(task_items(self.tasks, folder, data)) if self.tasks else []
        for name, ref in self.items.items():
            found += file_items(name, ctx.path(ref), self.column)
        return found

    def _close(self, ctx: Context, benchmark: "Benchmark") -> "dict[str, list[Touch]]":
        from magpie_align.curation.embedders import NGRAM, open_embedder
        from magpie_align.curation.meanings import close_items

        assert self.vectors
        embedder = open_embedder(None if self.embedder == NGRAM else ctx.path(self.embedder))
        return close_items(ctx.path(self.data), ctx.path(self.vectors), embedder, benchmark, self.radius)
