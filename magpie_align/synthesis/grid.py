"""The sampling grid of step 1: how many instructions at which temperature and top_p (paper, table 7)."""

from bisect import bisect_right
from itertools import accumulate

from pydantic import Field

from magpie_align.settings import Settings


class Cell(Settings):
    """`rows` instructions at one temperature and top_p (paper, table 7)."""

    temperature: float = Field(ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    rows: int = Field(gt=0)


class Grid:
    """Which cell row `i` belongs to: the cells in order, each with its exact number of rows."""

    def __init__(self, cells: list[Cell]):
        self.cells = cells
        self._ends = list(accumulate(cell.rows for cell in cells))
        self.total = self._ends[-1]

    def number(self, index: int) -> int:
        """The number of the cell of row `index`. Raises IndexError behind the last row."""
        if not 0 <= index < self.total:
            raise IndexError(index)
        return bisect_right(self._ends, index)

    def __getitem__(self, index: int) -> Cell:
        return self.cells[self.number(index)]
