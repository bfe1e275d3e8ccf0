from typing import ClassVar, Literal

from pydantic import Field

from magpie_align.flow.stage import Context, Product, RowsRef, Stage
from magpie_align.stages._judge import Judging, judge_problems, settled_prompts
from magpie_align.stages._judged import judge_all, judge_key, judged_outputs, output_counts


class ArenaHard(Judging, Stage):
    """Arena-Hard: two games a question with swapped seats; Bradley-Terry against the baseline. The default is v0.1's scoring."""

    produces: ClassVar[Product] = "scores"

    baseline: RowsRef
    weight: int = Field(3, gt=0)
    """As how many games a decisive verdict counts."""
    drop: Literal["game", "question"] = "game"
    """What a game without a verdict takes with it: itself alone (v0.1), or its question's other game (v2)."""
    style_control: list[Literal["length", "markdown"]] = []
    """Score once more with these held equal: length, markdown."""

    def problems(self) -> list[str]:
        return judge_problems(self, compares=True)

    def run(self, ctx: Context) -> None:
        from magpie_align.evaluation.judging import arena_hard
        from magpie_align.evaluation.judging.result import answer_key
        from magpie_align.evaluation.outputs import pair_up
        from magpie_align.stages._questions import read_outputs

        (outputs, described), (baseline, other) = judged_outputs(ctx, self), read_outputs(ctx, self.baseline)
        prompts, pairs = settled_prompts(ctx, self), pair_up(outputs, baseline)
        judge = judge_key(ctx, self, prompts)
        against = {"baseline": other["generator"], "baseline_answers": other["answers"]}
        rules = {"decisive_weight": self.weight, "drop": self.drop}
        key, counts = answer_key(described, {**judge, **against, **rules}), output_counts(outputs)
        judge_all(
            ctx, self, prompts, arena_hard.cases(pairs, self.repeats),
            lambda verdicts: arena_hard.score(
                pairs, verdicts, judge["judge"], key, counts,
                weight=self.weight, drop=self.drop, style_control=self.style_control,
            ),
        )  # fmt: skip
