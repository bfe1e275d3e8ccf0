from typing import ClassVar

from magpie_align.evaluation.judging.settings import Seats
from magpie_align.flow.stage import Context, DataRef, Product, RowsRef, Stage
from magpie_align.stages._judge import Judging, judge_problems, settled_prompts
from magpie_align.stages._judged import judge_all, judge_key, judged_outputs, output_counts


class AlpacaEval(Judging, Stage):
    """AlpacaEval 2: win rate against a baseline, and length-controlled where a calibration is given."""

    produces: ClassVar[Product] = "scores"

    baseline: RowsRef
    calibration: DataRef | None = None
    """AlpacaEval's `df_gamed.csv`, or a folder or hub id that holds it; without it there is no length-controlled win rate."""
    seats: Seats = "drawn"
    """One verdict a question from drawn seats, as officially, or one from each."""

    def problems(self) -> list[str]:
        return judge_problems(self, compares=True)

    def run(self, ctx: Context) -> None:
        from magpie_align.evaluation.judging import alpaca_eval
        from magpie_align.evaluation.judging.alpaca_eval import calibration_of
        from magpie_align.evaluation.judging.result import answer_key
        from magpie_align.evaluation.outputs import pair_up
        from magpie_align.stages._questions import read_outputs

        (outputs, described), (baseline, other) = judged_outputs(ctx, self), read_outputs(ctx, self.baseline)
        prompts, pairs = settled_prompts(ctx, self), pair_up(outputs, baseline)
        judge = judge_key(ctx, self, prompts)
        against = {"baseline": other["generator"], "baseline_answers": other["answers"], "seats": self.seats}
        key, counts = answer_key(described, {**judge, **against}), output_counts(outputs)
        calibration = calibration_of(ctx.path(self.calibration)) if self.calibration else None
        judge_all(
            ctx, self, prompts, alpaca_eval.cases(pairs, self.seats, self.repeats),
            lambda verdicts: alpaca_eval.score(pairs, verdicts, self.seats, judge["judge"], key, counts, calibration),
        )  # fmt: skip
