"""System turns in front of the pre-query template, as a weighted mixture (paper, extensions: controlled generation).

A system turn steers what is asked: a domain, a language (in the language itself), a persona, or any text of your own. It
costs a little quality and difficulty, so there is none unless a recipe names some. Texts to choose from are in `conf/system`.
"""

import hashlib
from bisect import bisect_right
from itertools import accumulate

from pydantic import Field

from magpie_align.settings import Settings


class SystemTurn(Settings):
    """One system text and its share of the rows; `text: null` is the share without a system turn."""

    text: str | None = Field(min_length=1)
    weight: float = Field(1.0, gt=0)


class Mixture:
    """Which system turn row `i` has: a pure function of the seed, the row's number, and the names and weights."""

    def __init__(self, turns: dict[str, SystemTurn], seed: int = 0):
        self._turns, self._seed = turns, seed
        self._names = sorted(turns)
        self._ends = list(accumulate(turns[name].weight for name in self._names))

    def __getitem__(self, index: int) -> tuple[str | None, str | None]:
        """(name, text) of the row's system turn; both None where no mixture is set."""
        if not self._names:
            return None, None
        digest = hashlib.sha256(f"{self._seed}/{index}/system".encode()).digest()
        point = int.from_bytes(digest[:6], "big") / 2**48 * self._ends[-1]
        name = self._names[bisect_right(self._ends, point)]
        return name, self._turns[name].text

    @property
    def texts(self) -> list[str]:
        """Every system text of the mixture."""
        return [turn.text for turn in self._turns.values() if turn.text is not None]
