"""The data sets of a run and the pools they were taken from, as tables of DuckDB.

A *data set* is the rows that a training or a release takes. Its *pool* is all that was made on the way there: every row of
the first stage of its chain, joined by uuid with what the later stages and the labels say about it. So a number can be shown
for the rows as made beside those selected, also where push-down asked it of some rows only.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from magpie_align.flow.table import parts
from magpie_align.report.html.run import Run
from magpie_align.report.lineage import Made

_NOT_LABELS = ("select", "mix", "split", "pairs", "release")
MEMORY = "2GB"


@dataclass(frozen=True)
class DataSet:
    """Rows that were trained on or released; `name` is that of the stage."""

    name: str
    folder: Path
    rows: int


@dataclass(frozen=True)
class Pool:
    """What some data sets were taken from. `columns` maps each column to (the stage that made it, its table's alias)."""

    name: str
    rows: int
    sets: tuple[DataSet, ...]
    columns: dict[str, tuple[str, str]]
    source: str
    """SQL behind FROM: the joined tables."""

    def sql(self, column: str) -> str:
        """How to say this column in a query of `source`."""
        return f"{self.columns[column][1]}.{quoted(column)}"


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def rows_of(folder: Path) -> str:
    """SQL for the rows of an artifact."""
    return f"read_parquet({literal(str(folder / 'data' / 'part-*.parquet'))})"


def columns_of(entry: Made) -> list[str]:
    """The columns of an artifact of rows; none for anything else, and for vectors."""
    data = entry.folder / "data"
    if entry.gone or entry.kind == "embed" or not any(data.glob("part-*.parquet")):
        return []
    return list(pq.read_schema(parts(data)[0]).names)


@contextmanager
def connection(scratch: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory that spills into `scratch` and always answers in the same order."""
    with duckdb.connect(config={"temp_directory": str(scratch), "memory_limit": MEMORY}) as con:
        yield con


def data_sets(run: Run) -> list[Made]:
    """What trainings and releases take, in the order of the recipe; without any, the selections that nothing selects from."""
    taken = [run.input(entry, "data") for entry in run.made if entry.kind in ("sft", "release")]
    found = list({entry.folder: entry for entry in taken if entry and _usable(entry)}.values())
    if found:
        return found
    selected = [entry for entry in run.made if entry.kind == "select" and "." not in entry.name and _usable(entry)]
    read = {parent for entry in run.made for parent in entry.parents.values()}
    return [entry for entry in selected if entry.folder not in read]


def _usable(entry: Made) -> bool:
    return {"uuid", "instruction"} <= set(columns_of(entry))


def pools(run: Run, con: duckdb.DuckDBPyConnection) -> list[Pool]:
    """The pools of the run's data sets; a data set in which a uuid stands for several rows has none."""
    grouped: dict[Path, list[Made]] = {}
    for entry in data_sets(run):
        if _unique(con, entry):
            grouped.setdefault(_root(run, entry).folder, []).append(entry)
    return [_pool(run, con, folder, sets) for folder, sets in grouped.items()]


def _root(run: Run, entry: Made) -> Made:
    return [step for step in run.before(entry) if _usable(step)][-1]


def _pool(run: Run, con: duckdb.DuckDBPyConnection, folder: Path, sets: list[Made]) -> Pool:
    root = run.at(folder)
    assert root  # it was found in this run
    chained = list({step.folder: step for entry in sets for step in run.before(entry)}.values())
    chained.reverse()  # from the first stage on, so that a column is its maker's
    labels = [entry for entry in run.made if entry.kind not in _NOT_LABELS and root in run.before(entry)]
    selections = [entry for entry in chained if entry.kind in _NOT_LABELS]
    columns: dict[str, tuple[str, str]] = {}
    source = ""
    for entry in [root, *(step for step in chained if step not in selections), *labels, *selections]:
        fresh = [name for name in columns_of(entry) if name not in columns]
        if "uuid" not in columns_of(entry) or not fresh or not _unique(con, entry):
            continue
        alias = f"t{source.count(' JOIN ') + 1 if source else 0}"
        joined = f" LEFT JOIN {rows_of(entry.folder)} {alias} ON {alias}.uuid = t0.uuid"
        source += joined if source else f"{rows_of(entry.folder)} {alias}"
        columns |= dict.fromkeys(fresh, (entry.name, alias))
    members = tuple(DataSet(entry.name, entry.folder, _count(con, entry)) for entry in sets)
    return Pool(root.name, _count(con, root), members, columns, source)


def _unique(con: duckdb.DuckDBPyConnection, entry: Made) -> bool:
    """Whether every row has a uuid of its own."""
    if "uuid" not in columns_of(entry):
        return False
    ((rows, different),) = con.execute(f"SELECT count(*), count(DISTINCT uuid) FROM {rows_of(entry.folder)}").fetchall()
    return bool(rows == different)


def _count(con: duckdb.DuckDBPyConnection, entry: Made) -> int:
    ((rows,),) = con.execute(f"SELECT count(*) FROM {rows_of(entry.folder)}").fetchall()
    return int(rows)
