"""Rows that are finished in any order, durable one by one, and end as the same Parquet files whatever happened meanwhile.

Row `i` belongs to chunk `i // chunk`. A finished row is appended to its chunk's journal at once; when the last row of a chunk
arrives the chunk is written as Parquet under a temporary name, renamed, and its journal removed. After a kill the journals of
the open chunks are read back. File names and contents depend only on the rows, not on their order of arrival or on kills.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from magpie_align.errors import StageError

Row = dict[str, Any]


class Table:
    """`total` rows of `schema`, indexed 0..total-1. Call `add` for every index that `missing` yields, then `close`."""

    def __init__(self, folder: Path, journal: Path, total: int, schema: pa.Schema, chunk: int = 1000):
        self.total = total
        self._folder, self._journal, self._schema, self._chunk = folder, journal, schema, chunk
        self._open: dict[int, dict[int, Row]] = {}
        self._logs: dict[int, IO[str]] = {}
        journal.mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        self._sealed = {c for c in range(self._chunks) if self._part(c).exists()}
        self.done = sum(self._size(c) for c in self._sealed)
        self._recover()

    @property
    def _chunks(self) -> int:
        return -(-self.total // self._chunk)

    def _size(self, chunk: int) -> int:
        return min(self._chunk, self.total - chunk * self._chunk)

    def _part(self, chunk: int) -> Path:
        return self._folder / f"part-{chunk:06d}.parquet"

    def _log(self, chunk: int) -> Path:
        return self._journal / f"{chunk:06d}.jsonl"

    def missing(self) -> Iterator[int]:
        """Indices not finished when asked, ascending; lazy, so memory does not grow with `total`."""
        for chunk in range(self._chunks):
            if chunk not in self._sealed:
                have = set(self._open.get(chunk, ()))
                first = chunk * self._chunk
                yield from (i for i in range(first, first + self._size(chunk)) if i not in have)

    def add(self, index: int, row: Row) -> None:
        """Make one finished row durable. A second row for the same index is a bug and is refused."""
        chunk = index // self._chunk
        if not 0 <= index < self.total or chunk in self._sealed or index in self._open.get(chunk, ()):
            raise StageError(
                f"row {index} of {self.total} was finished twice or does not exist: this is a bug of the stage"
            )
        if set(row) != set(self._schema.names):
            odd = sorted(set(row) ^ set(self._schema.names))
            raise StageError(f"row {index} does not have the table's columns; they differ in: {', '.join(odd)}")
        log = self._logs.get(chunk)
        if log is None:
            log = self._logs[chunk] = self._log(chunk).open("a")
        log.write(json.dumps([index, row]) + "\n")
        log.flush()
        self._keep(index, row)

    def close(self) -> None:
        """Say that all rows are in; raises StageError if some are not."""
        if self.done != self.total:
            raise StageError(f"{self.total - self.done} of {self.total} rows were never finished")

    def _keep(self, index: int, row: Row) -> None:
        chunk = index // self._chunk
        rows = self._open.setdefault(chunk, {})
        rows[index] = row
        self.done += 1
        if len(rows) == self._size(chunk):
            self._seal(chunk)

    def _seal(self, chunk: int) -> None:
        rows = self._open.pop(chunk)
        write_parquet(pa.Table.from_pylist([rows[i] for i in sorted(rows)], schema=self._schema), self._part(chunk))
        self._sealed.add(chunk)
        if chunk in self._logs:
            self._logs.pop(chunk).close()
        self._log(chunk).unlink(missing_ok=True)

    def _recover(self) -> None:
        for file in sorted(self._journal.glob("*.jsonl")):
            chunk = int(file.stem)
            if chunk in self._sealed:
                file.unlink()
                continue
            lines = _whole_lines(file)
            for index, row in lines:
                if index not in self._open.get(chunk, ()):
                    self._keep(index, row)


def _whole_lines(file: Path) -> list[tuple[int, Row]]:
    """The journal's rows; a line torn by a kill is cut off the file, so that the next append starts on a line of its own."""
    rows: list[tuple[int, Row]] = []
    good = 0
    with file.open("rb") as stream:
        for line in stream:
            if not line.endswith(b"\n"):
                break
            rows.append(tuple(json.loads(line)))
            good += len(line)
    os.truncate(file, good)
    return rows


def write_parquet(table: pa.Table, file: Path) -> None:
    """Write atomically: a reader sees the whole file or none."""
    scratch = file.with_suffix(".tmp")
    pq.write_table(table, scratch, compression="zstd")
    with scratch.open("rb") as stream:
        os.fsync(stream.fileno())
    os.replace(scratch, file)


def write_rows(folder: Path, rows: pa.Table, chunk: int = 100_000) -> None:
    """Write a whole table made in memory as parts of `chunk` rows, in order."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, first in enumerate(range(0, max(rows.num_rows, 1), chunk)):
        write_parquet(rows.slice(first, chunk), folder / f"part-{number:06d}.parquet")


def parts(folder: Path) -> list[Path]:
    """The Parquet files of a rows artifact, in row order."""
    found = sorted(folder.glob("part-*.parquet"))
    if not found:
        raise StageError(f"{folder} holds no rows (no part-*.parquet)")
    return found


def count_rows(folder: Path) -> int:
    """How many rows an artifact holds, from the files' footers alone."""
    return sum(pq.read_metadata(file).num_rows for file in parts(folder))


def read_rows(folder: Path, columns: list[str] | None = None) -> Iterator[Row]:
    """The rows of an artifact in order, streamed."""
    for file in parts(folder):
        for batch in pq.ParquetFile(file).iter_batches(columns=columns):
            yield from batch.to_pylist()
