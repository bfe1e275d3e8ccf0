from typing import ClassVar

from pydantic import Field

from magpie_align.evaluation.judging.settings import Seats
from magpie_align.flow.stage import Context, Product, RowsRef, Stage
from magpie_align.stages._judge import Judging, judge_problems, settled_prompts
from magpie_align.stages._judged import judge_all, judge_key, judged_outputs, output_counts


class WildBench(Judging, Stage):
    """WildBench: WB-Score of one model, or with a `baseline` its WB-Reward against that reference model."""

    produces: ClassVar[Product] = "scores"

    baseline: RowsRef | None = None
    margin: int | None = Field(500, ge=0)
    """The length rule K of WB-Reward: a slight win of an answer more than K characters longer is a tie (null: off)."""
    seats: Seats = "drawn"
    """One verdict a pair from drawn seats, as officially, or one from each."""

    def problems(self) -> list[str]:
        alone = ["seats: WB-Score rates one answer, which has no seat; leave seats out or give a baseline"]
        return judge_problems(self, compares=self.baseline is not None) + alone * (
            self.baseline is None and self.seats == "both"
        )

    def run(self, ctx: Context) -> None:
        from magpie_align.evaluation.judging import wildbench
        from magpie_align.evaluation.judging.result import answer_key
        from magpie_align.evaluation.outputs import pair_up
        from magpie_align.stages._questions import read_outputs

        outputs, described = judged_outputs(ctx, self)
        prompts, counts = settled_prompts(ctx, self), output_counts(outputs)
        key = answer_key(described, judge_key(ctx, self, prompts))
        if self.baseline is None:
            cases = wildbench.score_cases(outputs, self.repeats)
            judge_all(ctx, self, prompts, cases, lambda verdicts: wildbench.score(outputs, verdicts, key, counts))
            return
        baseline, other = read_outputs(ctx, self.baseline)
        pairs, margin = pair_up(outputs, baseline), self.margin
        against = {"baseline": other["generator"], "baseline_answers": other["answers"]}
        key |= {**against, "length_margin": margin, "seats": self.seats}
        judge_all(
            ctx, self, prompts, wildbench.reward_cases(pairs, self.seats, self.repeats),
            lambda verdicts: wildbench.reward(pairs, verdicts, self.seats, margin, key, counts),
        )  # fmt: skip
