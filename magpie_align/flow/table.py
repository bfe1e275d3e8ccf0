"""Rows that are finished in any order, durable one by one, and end as the same Parquet files whatever happened meanwhile.

Row `i` belongs to chunk `i // chunk`. A finished row is appended to its chunk's journal at once; when the last row of a chunk
arrives the chunk is written as Parquet under a temporary name, renamed, and its journal removed. After a kill the journals of
the open chunks are read back. File names and contents depend only on the rows, not on their order of arrival or on kills.

Chunks have nothing to do with each other, so several processes can fill one table at once, each its own shard of the chunks.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, takewhile
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from magpie_align.errors import AgainError, LockedError, StageError
from magpie_align.flow import leave

Row = dict[str, Any]
MOST_PARTS = 20_000
"""Files that a table has at most: more in one folder, and each of them listed, opened and recorded in the manifest, takes minutes
on the file systems of clusters (docs/scaling.md)."""


def chunk_rows(total: int, least: int = 1000) -> int:
    """Rows of a chunk: `least`, and in a table of more than `MOST_PARTS` times as many as many more."""
    return max(least, -(-total // MOST_PARTS))


@dataclass(frozen=True)
class Shard:
    """Part `number` (from 0) of `of` equal parts of a table's chunks."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}-of-{self.of}"

    def chunks(self, total: int) -> range:
        """Which of `total` chunks are its own: neighbours, and each chunk is in exactly one shard."""
        return range(self.number * total // self.of, (self.number + 1) * total // self.of)


WHOLE = Shard(0, 1)


class Table:
    """`total` rows of `schema`, indexed 0..total-1. Call `add` for every index that `missing` yields, then `close`.

    With a `shard` only its rows are missing, counted, and closed. `first` is the index of the first row it covers, `size` their
    number, `done` how many of them are in, `latest` the one that came last.
    """

    def __init__(
        self, folder: Path, journal: Path, total: int, schema: pa.Schema, chunk: int = 1000, shard: Shard = WHOLE
    ):
        self.total = total
        journal.mkdir(parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._journal, self._schema = folder, journal, schema
        self._chunk = _settled(journal / "chunk", chunk_rows(total, chunk))
        self._open: dict[int, dict[int, Row]] = {}
        self._logs: dict[int, IO[str]] = {}
        self._own = shard.chunks(-(-total // self._chunk))
        self.first = min(self._own.start * self._chunk, total)
        self.size = sum(map(self._size, self._own))
        self._sealed = {c for c in self._own if self._part(c).exists()}
        self.done = sum(map(self._size, self._sealed))
        self.latest: Row = {}
        self._recover()

    def _size(self, chunk: int) -> int:
        return min(self._chunk, self.total - chunk * self._chunk)

    def _part(self, chunk: int) -> Path:
        return self._folder / f"part-{chunk:06d}.parquet"

    def _log(self, chunk: int) -> Path:
        return self._journal / f"{chunk:06d}.jsonl"

    def missing(self) -> Iterator[int]:
        """Indices not finished when asked, ascending; lazy, so memory does not grow with `total`.

        None come any more once this process was asked to leave.
        """
        for chunk in self._own:
            if chunk not in self._sealed:
                have = set(self._open.get(chunk, ()))
                first = chunk * self._chunk
                indices = (i for i in range(first, first + self._size(chunk)) if i not in have)
                yield from takewhile(lambda _: not leave.asked(), indices)

    def wanted(self, rows: Iterable[Row], per: int = 1) -> Iterator[tuple[int, Row]]:
        """(index, input row) of each missing row, where input row `n` makes the rows `n * per` to `n * per + per - 1`.

        `rows` begin with input row `first // per` and are read once.
        """
        missing = self.missing()
        want = next(missing, None)
        for number, row in enumerate(rows, self.first // per):
            while want is not None and want // per == number:
                yield want, row
                want = next(missing, None)
            if want is None:
                return

    def has(self, index: int) -> bool:
        """Whether this row is finished."""
        chunk = index // self._chunk
        return chunk in self._sealed or index in self._open.get(chunk, ())

    def lacks(self, index: int) -> bool:
        """Whether this row is this shard's to make, and not finished."""
        return index // self._chunk in self._own and not self.has(index)

    def finished(self) -> Iterator[tuple[int, Row]]:
        """(index, row) of all that was finished when asked, ascending, streamed; rows added meanwhile are not among them."""
        sealed, rest = set(self._sealed), {chunk: dict(rows) for chunk, rows in self._open.items()}

        def walk() -> Iterator[tuple[int, Row]]:
            for chunk in self._own:
                if chunk in sealed:
                    yield from enumerate(_rows_of(self._part(chunk)), chunk * self._chunk)
                else:
                    yield from sorted(rest.get(chunk, {}).items())

        return walk()

    def add(self, index: int, row: Row) -> None:
        """Make one finished row durable. A second row for the same index is a bug and is refused."""
        chunk = index // self._chunk
        if not 0 <= index < self.total or chunk not in self._own or self.has(index):
            raise StageError(
                f"row {index} of {self.total} was finished twice or is not of this table or shard: a bug of the stage"
            )
        if set(row) != set(self._schema.names):
            odd = sorted(set(row) ^ set(self._schema.names))
            raise StageError(f"row {index} does not have the table's columns; they differ in: {', '.join(odd)}")
        log = self._logs.get(chunk) or self._take(chunk)
        log.write(json.dumps([index, row]) + "\n")
        log.flush()
        self._keep(index, row)

    def close(self) -> None:
        """Say that all rows are in; raises StageError if some are not, AgainError if that is because it was asked to leave."""
        if self.done != self.size and leave.asked():
            raise AgainError(f"left early with {self.done} of {self.size} rows done, all of them kept")
        if self.done != self.size:
            raise StageError(f"{self.size - self.done} of {self.size} rows were never finished")

    def leave(self) -> None:
        """Let go of what is not complete, as the end of the process does, so that another table can go on with it."""
        for log in self._logs.values():
            log.close()

    def _take(self, chunk: int) -> IO[str]:
        """Open a chunk's journal for this process alone."""
        log = self._logs[chunk] = self._log(chunk).open("a")
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockedError(
                f"{self._log(chunk)} is being written by another process; were two overlapping shards started?"
            ) from None
        return log

    def _keep(self, index: int, row: Row) -> None:
        chunk = index // self._chunk
        rows = self._open.setdefault(chunk, {})
        rows[index] = row
        self.latest = row
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
            elif chunk in self._own:
                self._take(chunk)
                for index, row in _whole_lines(file):
                    if not self.has(index):
                        self._keep(index, row)


def _settled(file: Path, chunk: int) -> int:
    """The rows a chunk has: as asked for the first time, whatever is asked for later, for finished chunks stay as they are."""
    scratch = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    scratch.write_text(str(chunk))
    try:
        os.link(scratch, file)
    except FileExistsError:
        return int(file.read_text())
    finally:
        scratch.unlink()
    return chunk


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


def write_batches(folder: Path, batches: Iterable[pa.RecordBatch]) -> Iterator[int]:
    """Write record batches as they come, a part each; yields the number of rows written, as it grows.

    What an interrupted try left in the folder is dropped first.
    """
    for left in folder.glob("part-*"):
        left.unlink()
    written = 0
    for number, batch in enumerate(batch for batch in batches if batch.num_rows):
        write_parquet(pa.Table.from_batches([batch]), folder / f"part-{number:06d}.parquet")
        written += batch.num_rows
        yield written


def parts(folder: Path) -> list[Path]:
    """The Parquet files of a rows artifact, in row order."""
    found = sorted(folder.glob("part-*.parquet"))
    if not found:
        raise StageError(f"{folder} holds no rows (no part-*.parquet)")
    return found


def count_rows(folder: Path) -> int:
    """How many rows an artifact holds, from the files' footers alone."""
    return sum(pq.read_metadata(file).num_rows for file in parts(folder))


def read_rows(folder: Path, columns: list[str] | None = None, start: int = 0) -> Iterator[Row]:
    """The rows of an artifact in order from row `start` on, streamed."""
    for file in parts(folder):
        held = pq.read_metadata(file).num_rows if start else 0
        if start and start >= held:
            start -= held
            continue
        yield from islice(_rows_of(file, columns), start, None)
        start = 0


def _rows_of(file: Path, columns: list[str] | None = None) -> Iterator[Row]:
    for batch in pq.ParquetFile(file).iter_batches(columns=columns):
        yield from batch.to_pylist()
