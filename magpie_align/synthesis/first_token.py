"""Control of the first token of an instruction: it decides what the rest is about (paper, extensions; official code)."""

import re
from typing import TYPE_CHECKING

from pydantic import Field

from magpie_align.settings import Settings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_HEADING = re.compile(r"\s*#+\s*")


class FirstToken(Settings):
    """`heat` multiplies the temperature of the first token alone; `no_heading` keeps it from opening a markdown heading."""

    heat: float = Field(default=1.0, gt=0)
    no_heading: bool = False

    @property
    def active(self) -> bool:
        return self.heat != 1.0 or self.no_heading

    def problems(self, temperatures: list[float]) -> list[str]:
        """What is wrong with these settings at the given temperatures, one sentence each."""
        if self.heat == 1.0:
            return []
        hottest, coldest = max(temperatures), min(temperatures)
        found = []
        if hottest * self.heat > 2:
            found.append(
                f"first_token.heat is {self.heat:g}, which takes temperature {hottest:g} to {hottest * self.heat:g}; "
                "the limit is 2"
            )
        if coldest == 0:
            found.append(f"first_token.heat is {self.heat:g}, but greedy decoding (temperature 0) has nothing to heat")
        return found


def heading_ids(tokenizer: "PreTrainedTokenizerBase") -> tuple[int, ...]:
    """The ids of this vocabulary that open a markdown heading: `#`, `##`, ... with or without spaces around."""
    return tuple(i for i in range(len(tokenizer)) if _HEADING.fullmatch(str(tokenizer.decode([i]))))
