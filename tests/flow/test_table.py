"""Rows survive kills, in any order of arrival, and end as the same bytes."""

import random
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magpie_align.errors import StageError
from magpie_align.flow.table import MOST_PARTS, Table, chunk_rows, count_rows, parts, read_rows

SCHEMA = pa.schema([("n", pa.int64()), ("text", pa.string())])


def row(index: int) -> dict[str, object]:
    return {"n": index, "text": f"row {index} \n é \U0001f426"}


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in parts(folder)}


def fill(folder: Path, total: int, chunk: int, order: list[int], stops: list[int], tear: bool = False) -> Path:
    """Fill a table in `order`, dropping it without closing after each count in `stops`, as a kill would."""
    data, journal = folder / "data", folder / "journal"
    left = iter(order)
    for stop in [*stops, total]:
        table = Table(data, journal, total, SCHEMA, chunk)
        missing = set(table.missing())
        for _ in range(stop):
            index = next((i for i in left if i in missing), None)
            if index is None:
                break
            table.add(index, row(index))
        if tear:
            for log in journal.glob("*.jsonl"):
                with log.open("a") as stream:
                    stream.write('[7, {"n": 7, "te')
        left = iter(order)
        table.leave()
    Table(data, journal, total, SCHEMA, chunk).close()
    return data


@settings(max_examples=40, deadline=None)
@given(
    total=st.integers(1, 40),
    chunk=st.integers(1, 12),
    seed=st.integers(0, 10**6),
    stops=st.lists(st.integers(0, 20), max_size=4),
    tear=st.booleans(),
)
def test_interrupted_equals_uninterrupted(
    tmp_path_factory: pytest.TempPathFactory, total: int, chunk: int, seed: int, stops: list[int], tear: bool
) -> None:
    order = random.Random(seed).sample(range(total), total)
    whole = fill(tmp_path_factory.mktemp("whole"), total, chunk, list(range(total)), [])
    broken = fill(tmp_path_factory.mktemp("broken"), total, chunk, order, stops, tear)
    assert contents(whole) == contents(broken)
    assert [r["n"] for r in read_rows(broken)] == list(range(total))
    assert count_rows(broken) == total


def test_a_row_is_durable_before_its_chunk_is_full(tmp_path: Path) -> None:
    Table(tmp_path / "d", tmp_path / "j", 10, SCHEMA, chunk=10).add(3, row(3))
    again = Table(tmp_path / "d", tmp_path / "j", 10, SCHEMA, chunk=10)
    assert again.done == 1
    assert 3 not in set(again.missing())


def test_a_second_row_for_an_index_is_refused(tmp_path: Path) -> None:
    table = Table(tmp_path / "d", tmp_path / "j", 4, SCHEMA, chunk=2)
    table.add(0, row(0))
    for index in (0, 4, -1):
        with pytest.raises(StageError, match=f"row {index} of 4 was finished twice or is not of this table or shard"):
            table.add(index, row(0))
    with pytest.raises(StageError, match="3 of 4 rows were never finished"):
        table.close()


def test_wrong_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="they differ in: nn, text"):
        Table(tmp_path / "d", tmp_path / "j", 4, pa.schema([("nn", pa.int64())]), 2).add(0, {"text": "x"})


def test_a_table_has_no_more_files_than_a_folder_bears() -> None:
    assert chunk_rows(3_000_000) == 1000 and chunk_rows(20_000_000) == 1000
    assert chunk_rows(1_000_000_000) == 50_000 == -(-1_000_000_000 // MOST_PARTS)
    assert chunk_rows(20_000_001) == 1001 and chunk_rows(5, 10_000) == 10_000
