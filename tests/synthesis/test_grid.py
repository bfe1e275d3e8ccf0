"""The grids in conf/synthesis add up to the published row counts, and a row's cell is a function of its number."""

from collections import Counter

import pytest
import yaml

from magpie_align.recipe import packaged
from magpie_align.synthesis.grid import Cell, Grid

ROWS = {
    "air_3m": 3_000_000,
    "pro_1m": 1_000_000,
    "qwen2_pro_1m": 1_000_000,
    "qwen2_air_3m": 3_000_000,
    "phi3_pro_1m": 1_000_000,
    "llama31_1m": 1_000_000,
    "llama33_1m": 1_000_000,
    "qwen25_small_1m": 1_000_000,
    "qwen25_large_1m": 1_000_000,
    "qwen25_coder_300k": 300_000,
    "qwen25_math_300k": 300_000,
    "gemma2_534k": 534_000,
    "reasoning_300k": 300_000,
}


def grid(name: str) -> Grid:
    group = yaml.safe_load((packaged("conf") / "synthesis" / f"{name}.yaml").read_text())
    return Grid([Cell.model_validate(cell) for cell in group["grid"]])


def test_every_grid_is_counted_here():
    assert {file.stem for file in (packaged("conf") / "synthesis").glob("*.yaml")} == set(ROWS)


@pytest.mark.parametrize(("name", "rows"), ROWS.items())
def test_rows_add_up(name, rows):
    assert grid(name).total == rows


def test_air_has_every_pair_of_the_paper_as_often_as_printed():
    cells = grid("air_3m").cells
    expected = {(t, p): 300_000 for t in (1.0, 1.1, 1.2) for p in (1.0, 0.995, 0.99)}
    expected |= {(1.25, p): 100_000 for p in (1.0, 0.995, 0.99)}
    assert {(cell.temperature, cell.top_p): cell.rows for cell in cells} == expected


def test_pro_as_printed():
    cells = [(cell.temperature, cell.top_p, cell.rows) for cell in grid("pro_1m").cells]
    assert cells == [(1.0, 1.0, 300_000), (1.1, 0.995, 300_000), (1.2, 0.995, 300_000), (1.25, 0.99, 100_000)]


def test_every_row_has_its_cell():
    small = Grid([Cell(temperature=1.0, rows=3), Cell(temperature=1.2, top_p=0.99, rows=2)])
    assert Counter(small.number(i) for i in range(small.total)) == {0: 3, 1: 2}
    assert [small[i].temperature for i in range(5)] == [1.0, 1.0, 1.0, 1.2, 1.2]
    with pytest.raises(IndexError):
        small.number(5)
