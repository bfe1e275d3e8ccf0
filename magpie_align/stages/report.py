from typing import ClassVar

from magpie_align.errors import suggest
from magpie_align.flow.stage import Context, Product, RowsRef, ScoresRef, Stage


class Report(Stage):
    """The result table: `models` and `datasets` map the name to show to the stage that scored it, `selections` to the stage."""

    produces: ClassVar[Product] = "report"
    version: ClassVar[int] = 3

    title: str
    models: dict[str, ScoresRef]
    datasets: dict[str, ScoresRef] = {}
    selections: dict[str, RowsRef] = {}
    """Stages `select` whose funnels are shown."""
    compare_with: str | None = None
    """The model of `models` that the others are compared with; the first one where left out."""
    answers: dict[str, str] = {}
    """Model of `models` -> the published row that it is to reproduce, by its name there."""

    def problems(self) -> list[str]:
        from magpie_align.stages._leaderboard import answer_problems

        unknown = [self.compare_with] if self.compare_with and self.compare_with not in self.models else []
        return [
            f"compare_with: there is no model '{name}'{suggest(name, self.models)}; models has: {', '.join(self.models)}"
            for name in unknown
        ] + answer_problems(self.answers, self.models)

    def run(self, ctx: Context) -> None:
        from magpie_align.evaluation.scored import read_scored
        from magpie_align.evaluation.standing import shown, tables
        from magpie_align.report.funnel import funnel_section
        from magpie_align.report.table import write_report
        from magpie_align.stages._leaderboard import standing_notes, trained_rows

        models = shown({name: read_scored(ctx.path(ref)) for name, ref in self.models.items()})
        data = shown({name: read_scored(ctx.path(ref)) for name, ref in self.datasets.items()})
        sections = {
            f"{heading}, {words}" if words else heading: scores
            for heading, group in (("Models", models), ("Data", data))
            for words, scores in tables(group).items()
            if scores
        }
        folders = {name: ctx.path(ref).parent for name, ref in self.models.items()}
        rows = [row for name in models for row in trained_rows(models[name], folders[name], self.answers.get(name))]
        notes = standing_notes(models, self.compare_with, rows, ctx.out)
        funnels = [funnel_section(name, ctx.path(ref).parent) for name, ref in self.selections.items()]
        write_report(ctx.out, self.title, sections, notes + (["## Selections", "", *funnels] if funnels else []))
