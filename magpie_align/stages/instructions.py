import json
from collections import Counter
from typing import ClassVar

from pydantic import Field

from magpie_align.engines import EngineSettings, open_engine
from magpie_align.flow.stage import Context, ModelRef, ProbeRef, Product, Stage
from magpie_align.settings import Runtime
from magpie_align.synthesis.asking import Asking


class Instructions(Stage, Asking):
    """Step 1: the aligned model writes user instructions, given only its pre-query template."""

    version: ClassVar[int] = 2
    produces: ClassVar[Product] = "rows"

    model: ModelRef
    seed: int = 0
    engine: EngineSettings = EngineSettings()
    chunk: Runtime[int] = Field(1000, gt=0)
    probe: Runtime[ProbeRef | None] = None
    """A stage `probe` that must say yes first; it decides whether instructions are drawn, not which."""
    despite_probe: Runtime[bool] = False

    def problems(self) -> list[str]:
        return self.refused(self.engine)

    def run(self, ctx: Context) -> None:
        from magpie_align.flow.table import read_rows
        from magpie_align.synthesis.instructions import SCHEMA, write_instructions

        self._heed_probe(ctx)
        model = str(ctx.path(self.model))
        draws = self.draws(model, self.seed, self.engine.trust_remote_code)
        total = draws.grid.total
        table = ctx.table(total, SCHEMA, self.chunk)
        engine = open_engine(self.engine, model, needs=self.needs)
        for done in write_instructions(
            engine,
            draws,
            table,
            generator=ctx.name_of(self.model),
            revision=ctx.revision_of(self.model),
            max_characters=self.max_characters,
        ):
            ctx.progress(done, total)
        engine.close()
        table.close()
        statuses = (row["instruction_status"] for row in read_rows(ctx.out, ["instruction_status"]))
        ctx.note(rows=total, **Counter(status.split(":")[0] for status in statuses))
        ctx.note(engine=engine.provenance)

    def _heed_probe(self, ctx: Context) -> None:
        from magpie_align.errors import StageError
        from magpie_align.synthesis.probe import refusal

        findings = json.loads((ctx.path(self.probe) / "probe.json").read_text()) if self.probe else None
        reason = refusal(findings) if findings else None
        if reason and not self.despite_probe:
            raise StageError(reason)
        if findings:
            ctx.note(probe=reason or "yes")
