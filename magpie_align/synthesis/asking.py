"""The settings of step 1, shared by the stage that draws every instruction and the probe that draws a few of them first."""

from typing import TYPE_CHECKING

from pydantic import Field

from magpie_align.engines import EngineSettings, problems
from magpie_align.engines.protocol import Capability
from magpie_align.engines.template import TemplateSettings
from magpie_align.settings import Settings
from magpie_align.synthesis.first_token import FirstToken
from magpie_align.synthesis.grid import Cell
from magpie_align.synthesis.systems import SystemTurn

if TYPE_CHECKING:
    from magpie_align.synthesis.instructions import Draws


class Asking(Settings):
    """How instructions are drawn from a model, whichever model it is."""

    grid: list[Cell] = Field(min_length=1)
    max_tokens: int = Field(2048, gt=0)
    max_characters: int = Field(50_000, gt=0)
    """A longer instruction is kept whole and marked `too long`."""
    systems: dict[str, SystemTurn] = {}
    """Name -> system turn; none by default."""
    newline_stop: bool = False
    """End an instruction at its first line break; off, because it destroys multi-line tasks."""
    first_token: FirstToken = FirstToken()
    template: TemplateSettings = TemplateSettings()

    @property
    def needs(self) -> set[Capability]:
        """What the engine must be able to do."""
        return {"tokens", "first_token"} if self.first_token.active else {"tokens"}

    def refused(self, engine: EngineSettings) -> list[str]:
        """Why instructions cannot be drawn like this with this engine, known before any work; one sentence each."""
        return problems(engine, self.needs) + self.first_token.problems([cell.temperature for cell in self.grid])

    def draws(self, model_path: str, seed: int, trust_remote_code: bool = False) -> "Draws":
        """The draws from one model. Raises ConfigError where its chat template has no such prompts."""
        from magpie_align.engines.template import load_template
        from magpie_align.engines.tokenizer import load_tokenizer
        from magpie_align.synthesis.first_token import heading_ids
        from magpie_align.synthesis.grid import Grid
        from magpie_align.synthesis.instructions import Draws
        from magpie_align.synthesis.systems import Mixture

        headings = self.first_token.no_heading
        draws = Draws(
            template=load_template(model_path, self.template, trust_remote_code),
            grid=Grid(self.grid),
            seed=seed,
            max_tokens=self.max_tokens,
            systems=Mixture(self.systems, seed),
            newline_stop=self.newline_stop,
            heat=self.first_token.heat,
            banned=heading_ids(load_tokenizer(model_path, trust_remote_code=trust_remote_code)) if headings else (),
        )
        draws.check()
        return draws
