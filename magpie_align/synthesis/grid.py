"""The sampling grid of step 1: how many instructions at which temperature and top_p (paper, table 7)."""

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
        self.total = sum(cell.rows for cell in cells)
        self._cells = cells

    def __getitem__(self, index: int) -> Cell:
        for cell in self._cells:
            if index < cell.rows:
                return cell
            index -= cell.rows
        raise IndexError(index)
