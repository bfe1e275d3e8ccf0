from typing import ClassVar

from magpie_align.evaluation.judging.settings import JudgePrompt
from magpie_align.flow.stage import Context, DataRef, Product, Stage
from magpie_align.stages._judge import Judging, judge_problems, settled_prompts
from magpie_align.stages._judged import judge_all, judge_key, judged_outputs, output_counts


class MtBench(Judging, Stage):
    """MT-Bench: each of two turns rated from 1 to 10, beside reference answers where there are some."""

    produces: ClassVar[Product] = "scores"

    prompts_by_turn: dict[str, JudgePrompt] = {}
    """`first`, `second`, and for questions with reference answers `first_with_reference`, `second_with_reference`."""
    references: DataRef | None = None
    """The published reference answers; without them no question is graded beside one."""

    def prompts(self) -> dict[str, JudgePrompt]:
        return self.prompts_by_turn

    def problems(self) -> list[str]:
        from magpie_align.evaluation.judging.mt_bench import PROMPTS

        if self.prompts_by_turn and set(self.prompts_by_turn) != set(PROMPTS):
            return [f"prompts_by_turn has {', '.join(self.prompts_by_turn)}; it must have {', '.join(PROMPTS)}"]
        if self.prompt is not None:
            return ["MT-Bench asks in four ways; give prompts_by_turn in place of prompt"]
        return judge_problems(self, compares=False)

    def run(self, ctx: Context) -> None:
        from magpie_align.evaluation.judging import mt_bench
        from magpie_align.evaluation.judging.result import answer_key
        from magpie_align.stages._questions import read_records

        outputs, described = judged_outputs(ctx, self)
        records = read_records(ctx, self.references) if self.references else []
        outputs = mt_bench.with_references(outputs, records, self.references or "")
        prompts = settled_prompts(ctx, self, mt_bench.PROMPTS)
        judge = judge_key(ctx, self, prompts)
        beside = sum(bool(output.question.references) for output in outputs)
        key, counts = answer_key(described, {**judge, "with_reference": beside}), output_counts(outputs)
        judge_all(
            ctx, self, prompts, mt_bench.cases(outputs, self.repeats),
            lambda verdicts: mt_bench.score(outputs, verdicts, judge["judge"], key, counts),
        )  # fmt: skip
