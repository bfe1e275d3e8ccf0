from typing import ClassVar

from magpie_align.flow.stage import Context, Product, RowsRef, ScoresRef, Stage


class Untouched(Stage):
    """The scores of an evaluation once more, without the questions that its training data touches."""

    produces: ClassVar[Product] = "scores"
    version: ClassVar[int] = 2

    scores: ScoresRef
    contamination: RowsRef

    def run(self, ctx: Context) -> None:
        from magpie_align.evaluation.scored import write_scored
        from magpie_align.evaluation.untouched import read_touched, untouched_scores

        touched = read_touched(ctx.path(self.contamination))
        scored, left_out = untouched_scores(ctx.path(self.scores), touched)
        write_scored(scored, ctx.out)
        ctx.note(left_out=left_out)
