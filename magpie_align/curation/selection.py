"""Selection as a query: SQL predicates over ordered labels, an order and a limit, run out of core by DuckDB over Parquet.

Quality and difficulty are ENUM columns, so `input_quality >= 'average'` compares ranks. DuckDB compares an ENUM with a bare
literal as text (where 'poor' >= 'good'), so the literals of every predicate are cast to the column's type first.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from magpie_align.curation.labels import LABELS, ORDERED
from magpie_align.errors import StageError, suggest

_STEM = "SELECT * FROM candidates WHERE "


@dataclass(frozen=True)
class Step:
    """What one predicate did: `kept` rows of those that came to it, `missing` of the others because it had no value."""

    predicate: str
    kept: int
    dropped: int
    missing: int


def select(
    data: list[Path], where: list[str], order_by: str | None, limit: int | None, threads: int | None = None
) -> tuple[pa.Table, list[Step]]:
    """Join the rows of `data` (folders of Parquet, the first one leading, on `uuid` and `sample`) and filter them.

    Returns the selected rows, ordered by `order_by` with ties broken by uuid, and the funnel. Raises StageError with one
    sentence for a predicate that does not parse or names no column, an unknown label, or an empty selection.
    """
    with duckdb.connect(config={"threads": threads} if threads else {}) as con:
        try:
            _join(con, data)
            steps = [_apply(con, predicate) for predicate in where]
            tail = f"ORDER BY {order_by + ', ' if order_by else ''}uuid" + (
                f" LIMIT {limit}" if limit is not None else ""
            )
            table = con.sql(f"SELECT * FROM candidates {tail}").to_arrow_table()
        except duckdb.Error as error:
            raise StageError(f"the selection cannot be run: {' '.join(str(error).split())}") from None
    if not table.num_rows:
        raise StageError(f"no row is left by the selection; after each predicate: {funnel(steps)}")
    return _plain_strings(table), steps


def funnel(steps: list[Step]) -> str:
    """`a > 1: 80 of 100 (5 without a value); b: 40 of 80`."""
    words = []
    for step in steps:
        blank = f" ({step.missing} without a value)" if step.missing else ""
        words.append(f"{step.predicate}: {step.kept} of {step.kept + step.dropped}{blank}")
    return "; ".join(words)


def _join(con: duckdb.DuckDBPyConnection, data: list[Path]) -> None:
    for column in ORDERED:
        labels = ", ".join(f"'{label}'" for label in LABELS[column])
        con.execute(f"CREATE TYPE {column} AS ENUM ({labels})")
    first = f"read_parquet('{data[0]}/part-*.parquet')"
    have = _columns(con, first)
    query = f"FROM {first} t0"
    for number, folder in enumerate(data[1:], 1):
        source = f"read_parquet('{folder}/part-*.parquet')"
        columns = _columns(con, source)
        keys = [key for key in ("uuid", "sample") if key in have and key in columns]
        if "uuid" not in keys:
            raise StageError(f"{folder} has no uuid to join its rows by")
        double = [c for c in columns if c in have and c not in keys]
        kept = f"(SELECT * EXCLUDE ({', '.join(double)}) FROM {source})" if double else source
        query += f" LEFT JOIN {kept} t{number} USING ({', '.join(keys)})"
        have += [c for c in columns if c not in have]
    typed = ", ".join(f"{c}::{c} AS {c}" for c in ORDERED if c in have)
    con.execute(f"CREATE TEMP TABLE candidates AS SELECT * {f'REPLACE ({typed})' if typed else ''} {query}")
    ((joined,),) = con.execute("SELECT count(*) FROM candidates").fetchall()
    ((rows,),) = con.execute(f"SELECT count(*) FROM {first}").fetchall()
    if joined != rows:
        raise StageError(f"joining gives {joined} rows where {data[0]} has {rows}: some rows have two sets of labels")


def _columns(con: duckdb.DuckDBPyConnection, source: str) -> list[str]:
    return [row[0] for row in con.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()]


def _apply(con: duckdb.DuckDBPyConnection, predicate: str) -> Step:
    test = typed_predicate(con, predicate)
    ((kept, total, missing),) = con.execute(
        f"SELECT count(*) FILTER (({test})), count(*), count(*) FILTER (({test}) IS NULL) FROM candidates"
    ).fetchall()
    con.execute(f"DELETE FROM candidates WHERE ({test}) IS NOT TRUE")
    return Step(predicate, kept, total - kept, missing)


def typed_predicate(con: duckdb.DuckDBPyConnection, predicate: str) -> str:
    """The predicate with every literal that meets an ordered label cast to that label's type. Raises StageError."""
    ((text,),) = con.execute("SELECT json_serialize_sql(?::VARCHAR)", [_STEM + predicate]).fetchall()
    tree = json.loads(text)
    if tree.get("error"):
        raise StageError(f'the predicate "{predicate}" is not SQL: {tree.get("error_message")}')
    _cast_literals(tree["statements"][0]["node"]["where_clause"], predicate)
    ((sql,),) = con.execute("SELECT json_deserialize_sql(?::JSON)", [json.dumps(tree)]).fetchall()
    return str(sql).removeprefix(_STEM)


def _cast_literals(node: Any, predicate: str) -> None:
    """Where an ordered label and text literals are operands of one operator, cast the literals."""
    if isinstance(node, list):
        for item in node:
            _cast_literals(item, predicate)
        return
    if not isinstance(node, dict):
        return
    operands: list[tuple[Any, Any]] = [(node, key) for key, value in node.items() if isinstance(value, dict)]
    operands += [(value, i) for value in node.values() if isinstance(value, list) for i, _ in enumerate(value)]
    column = next((c for c in (_label_column(holder[key]) for holder, key in operands) if c), None)
    for holder, key in operands:
        operand = holder[key]
        if column and isinstance(operand, dict) and operand.get("literal", {}).get("kind") == "STRING":
            holder[key] = _cast(operand, column, predicate)
        else:
            _cast_literals(operand, predicate)


def _label_column(operand: Any) -> str | None:
    names = operand.get("column_names") if isinstance(operand, dict) else None
    return names[-1] if names and names[-1] in ORDERED else None


def _cast(constant: dict[str, Any], column: str, predicate: str) -> dict[str, Any]:
    label = constant["literal"]["text"]
    if label not in LABELS[column]:
        known = ", ".join(LABELS[column])
        raise StageError(
            f"the predicate \"{predicate}\" compares {column} with '{label}'{suggest(label, LABELS[column])}; its labels are: {known}"
        )
    place = {"alias": "", "query_location": 0, "query_location_length": 0}
    name = {"catalog": "", "schema": "", "type_name": column, "children": [], "qualified_name": {"path": [column]}}
    kind = {"class": "TYPE", "type": "TYPE", **place, **name}
    return {"class": "CAST", "type": "OPERATOR_CAST", "child": constant, "try_cast": False, "type_expr": kind, **place}


def _plain_strings(table: pa.Table) -> pa.Table:
    """ENUM columns come out of DuckDB as dictionaries; on disk they are strings."""
    for number, column in enumerate(table.schema):
        if pa.types.is_dictionary(column.type):
            table = table.set_column(number, column.name, table.column(number).cast(pa.string()))
    return table
