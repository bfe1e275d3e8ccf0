"""The rows that can be read in the report: a seeded sample of each pool, and rows that other parts of the report point at."""

import datetime
from collections.abc import Collection
from typing import Any

import duckdb

from magpie_align.report.html.distributions import expressions
from magpie_align.report.html.pools import Pool, rows_of

SAMPLE = 2400
"""Rows of all pools together, each by its share."""
LONGEST = 1 << 20
"""Characters of a text that are shown; a longer one is cut, and says so."""
MOST_TEXT = 6_000_000
"""Characters of all rows together; from the first row over it on, rows are left out."""
_MESSAGES = ("messages", "instruction", "response")


def browse(
    con: duckdb.DuckDBPyConnection, pools: list[Pool], seed: int, wanted: Collection[str]
) -> list[dict[str, Any]]:
    """For each pool its columns, which stage made each, and rows: [uuid, drawn, sets, chat, other values].

    `drawn` says that a row is of the random sample, and not here only because it is `wanted`; `sets` is a bit for each data set.
    """
    total = sum(pool.rows for pool in pools)
    budget = MOST_TEXT
    told = []
    for pool in pools:
        count = min(pool.rows, max(1, SAMPLE * pool.rows // max(total, 1)))
        one = _pool(con, pool, count, seed, wanted, budget * pool.rows // max(total, 1))
        told.append(one)
    return told


def _pool(
    con: duckdb.DuckDBPyConnection, pool: Pool, count: int, seed: int, wanted: Collection[str], budget: int
) -> dict[str, Any]:
    con.execute("CREATE OR REPLACE TEMP TABLE asked AS SELECT unnest(?::VARCHAR[]) AS uuid", [sorted(wanted)])
    drawn = f"SELECT uuid FROM {rows_of_pool(pool)} ORDER BY md5(uuid || '{int(seed)}'), uuid LIMIT {count}"
    con.execute(f"CREATE OR REPLACE TEMP TABLE drawn AS {drawn}")
    extra = [name for name in pool.columns if name not in ("uuid", *_MESSAGES)]
    chat = [pool.sql(name) if name in pool.columns else "NULL" for name in _MESSAGES]
    # In brackets: SQL's + binds before its <<.
    members = [f"((t0.uuid IN (SELECT uuid FROM {rows_of(s.folder)}))::INT << {n})" for n, s in enumerate(pool.sets)]
    cell = expressions(pool).get("sampling_cell")
    values = [pool.sql(name) for name in extra] + ([cell] if cell else [])
    query = (
        f"SELECT t0.uuid, t0.uuid IN (SELECT uuid FROM drawn), {' + '.join(members) or '0'}, {', '.join([*chat, *values])} "
        f"FROM {pool.source} WHERE t0.uuid IN (SELECT uuid FROM drawn UNION ALL SELECT uuid FROM asked) "
        f"ORDER BY 2 DESC, md5(t0.uuid || '{int(seed)}'), t0.uuid"
    )
    cursor = con.execute(query)
    rows: list[list[Any]] = []
    left_out = 0
    while found := cursor.fetchone():
        row = [found[0], int(found[1]), found[2], _chat(*found[3:6]), [plain(value) for value in found[6:]]]
        budget -= _size(row)
        if budget < 0 and rows:
            left_out += 1
        else:
            rows.append(row)
    columns = [[name, pool.columns[name][0]] for name in extra] + ([["sampling_cell", pool.name]] if cell else [])
    return {
        "pool": pool.name,
        "of": pool.rows,
        "sets": [[one.name, one.rows] for one in pool.sets],
        "chat": {name: pool.columns[name][0] for name in _MESSAGES if name in pool.columns},
        "columns": columns,
        "rows": rows,
        "left_out": left_out,
    }


def rows_of_pool(pool: Pool) -> str:
    """The pool's first table, which has all its uuids."""
    return pool.source.partition(" LEFT JOIN ")[0]


def _chat(messages: Any, instruction: Any, response: Any) -> list[list[str]]:
    """[[role, text], ...]; a missing text is left out."""
    if isinstance(messages, list) and messages:
        turns = [[str(m.get("role")), m.get("content")] for m in messages]
    else:
        turns = [["user", instruction], ["assistant", response]]
    return [[role, cut(text)] for role, text in turns if isinstance(text, str)]


def cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}\n[... {len(text) - LONGEST:,} more characters]"


def plain(value: Any) -> Any:
    """A JSON value for whatever DuckDB gives."""
    if isinstance(value, str):
        return cut(value)
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    if isinstance(value, (bool, int, type(None))):
        return value
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value.isoformat() if isinstance(value, (datetime.date, datetime.datetime)) else str(value)


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    return sum(map(_size, value)) if isinstance(value, list) else 4
