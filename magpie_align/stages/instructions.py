import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from magpie_align.engines import Engine, EngineSettings
from magpie_align.flow.stage import Columns, Context, ModelRef, ProbeRef, Product, Reads, Ref, Stage
from magpie_align.settings import Runtime
from magpie_align.stages._fill import fill
from magpie_align.synthesis.asking import Asking

if TYPE_CHECKING:
    from magpie_align.synthesis.instructions import Instructing


class Instructions(Stage, Asking):
    """Step 1: the aligned model writes user instructions, given only its pre-query template."""

    version: ClassVar[int] = 2
    sharded: ClassVar[bool] = True
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

    def made_columns(self) -> Columns:
        text = ("instruction", "instruction_raw", "instruction_edits", "instruction_status", "instruction_stop")
        drawn = ("instruction_tokens", "cell", "temperature", "top_p", "seed", "system_name", "system")
        return Columns(adds=("uuid", *text, *drawn, "pre_query_template", "input_generator", "input_revision"))

    def reads(self, ref: Ref) -> Reads:
        return self.engine.reads

    def run(self, ctx: Context) -> None:
        from magpie_align.synthesis.instructions import write_instructions

        step, model = self.step(ctx), str(ctx.path(self.model))

        def write(engine: Engine) -> Iterable[int]:
            return write_instructions(engine, step)

        if fill(ctx, step.table, self.engine, model, write, self.needs, shows=("instruction",)):
            self.sum_up(ctx)

    def step(self, ctx: Context) -> "Instructing":
        """The drawing of what is still missing; notes the template that rows name by its hash. Raises StageError if the probe said no."""
        from magpie_align.synthesis.instructions import SCHEMA, Instructing

        self._heed_probe(ctx)
        draws = self.draws(str(ctx.path(self.model)), self.seed, self.engine.trust_remote_code)
        ctx.note(template={"hash": draws.template.hash, "pre_query": draws.template.pre_query_text()})
        return Instructing(
            draws,
            ctx.table(draws.grid.total, SCHEMA, self.chunk),
            generator=ctx.name_of(self.model),
            revision=ctx.revision_of(self.model),
            max_characters=self.max_characters,
        )

    def sum_up(self, ctx: Context) -> None:
        """Note how many rows there are of each status, and the tokens generated."""
        from magpie_align.flow.tally import tally

        found, tokens = tally(ctx.out, "instruction_status", "instruction_tokens")
        ctx.note(rows=found.total(), **found, tokens=tokens)

    def _heed_probe(self, ctx: Context) -> None:
        from magpie_align.errors import StageError
        from magpie_align.synthesis.probe import refusal

        findings = json.loads((ctx.path(self.probe) / "probe.json").read_text()) if self.probe else None
        reason = refusal(findings) if findings else None
        if reason and not self.despite_probe:
            raise StageError(reason)
        if findings:
            ctx.note(probe=reason or "yes")
