from typing import ClassVar

from pydantic import Field

from magpie_align.flow.stage import Context, DataRef, Product, Stage


class PublishedOutputs(Stage):
    """Answers that somebody published, such as a benchmark's baseline, as the rows that `outputs` makes."""

    produces: ClassVar[Product] = "rows"

    answers: DataRef
    """A file of one model's answers in its benchmark's own form, or a folder or hub id of which `answer_files` says the file."""
    answer_files: str | None = None
    questions: DataRef
    config: str | None = None
    split: str | None = None
    files: str | None = None
    category: str | None = None
    limit: int | None = Field(None, gt=0)
    temperature: float | None = None
    """How they were decoded, where it is known; a score of them can stand beside another only where it is said."""
    repetition_penalty: float | None = None

    def run(self, ctx: Context) -> None:
        import pyarrow as pa

        from magpie_align.evaluation.outputs import SCHEMA, published
        from magpie_align.flow.table import write_rows
        from magpie_align.stages._questions import read_questions, read_records, sum_up

        questions = read_questions(ctx, self.questions, self.config, self.split, self.files, self.category, self.limit)
        rows, _ = published(read_records(ctx, self.answers, files=self.answer_files), questions, self.answers)
        write_rows(ctx.out, pa.Table.from_pylist(rows, schema=SCHEMA))
        sum_up(ctx, {"temperature": self.temperature, "repetition_penalty": self.repetition_penalty}, 0.0)
