from typing import ClassVar

from magpie_align.flow.stage import Context, ModelRef, Product, RowsRef, Stage


class MiniTruth(Stage):
    """Measures data of the miniature world against its truth: valid, right, new to the teacher, tags that agree."""

    produces: ClassVar[Product] = "scores"

    data: RowsRef
    teacher: ModelRef
    tags: RowsRef | None = None

    def run(self, ctx: Context) -> None:
        import json

        from magpie_align.evaluation.intervals import interval
        from magpie_align.flow.table import read_rows
        from magpie_align.mini.truth import measure
        from magpie_align.records import Score, write_scores

        manifest = json.loads((ctx.path(self.teacher).parent / "manifest.json").read_text())
        tags = {row["uuid"]: row for row in read_rows(ctx.path(self.tags))} if self.tags else {}
        chats, seed = manifest["summary"]["private_chats"], manifest["settings"]["seed"]
        measured = measure(read_rows(ctx.path(self.data)), tags, seed, chats)
        scores = [Score("", "instructions", name, *interval(values), len(values)) for name, values in measured.items()]
        write_scores(scores, ctx.out / "scores.json")
        ctx.note(**{score.metric: score.value for score in scores})
