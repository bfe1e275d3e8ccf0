"""How numbers and labels are spread over the rows as made and over each data set taken from them."""

from typing import Any

import duckdb

from magpie_align.report.html.pools import Pool, quoted, rows_of

BINS = 40
_MOST = 14  # labels shown one by one; the rest are added up

NUMBERS = {
    "instruction_length": "Characters of an instruction",
    "response_length": "Characters of a response",
    "turns": "Questions in a chat",
    "instruct_reward": "Reward",
    "reward_difference": "Reward above the base model's answer",
    "min_neighbor_distance": "Distance to the nearest instruction",
}
LABELS = {
    "input_quality": "Quality",
    "difficulty": "Difficulty",
    "task_category": "Category",
    "language": "Language",
    "sampling_cell": "Sampling cell",
    "source": "Source",
    "llama_guard_2": "Safety",
    "contaminated": "Holds a question of a benchmark",
}
_RANKED = {
    "input_quality": ("very poor", "poor", "average", "good", "excellent"),
    "difficulty": ("very easy", "easy", "medium", "hard", "very hard"),
}


def expressions(pool: Pool) -> dict[str, str]:
    """What can be counted in this pool -> SQL over its source."""
    have = {name: pool.sql(name) for name in pool.columns}
    lengths = {f"{side}_length": f"length({have[side]})" for side in ("instruction", "response") if side in have}
    return have | lengths | ({"sampling_cell": _cell(have)} if "temperature" in have else {})


def _cell(have: dict[str, str]) -> str:
    """`T 1.1, top-p 0.995, system math`: what distinguishes the cells of a sampling grid."""
    said = [f"'T ' || {have['temperature']}"]
    said += [f"', top-p ' || {have['top_p']}"] if "top_p" in have else []
    said += [f"coalesce(', ' || nullif({have['system_name']}, ''), '')"] if "system_name" in have else []
    return " || ".join(said)


def distributions(con: duckdb.DuckDBPyConnection, all_pools: list[Pool]) -> list[dict[str, Any]]:
    """A chart for each number and label that any pool has values of: its bins and, for each series, the rows in each.

    The series of a pool are the rows as made and its data sets; of a pool that is itself the data set, that alone.
    """
    for number, pool in enumerate(all_pools):
        _tabulate(con, pool, f"pool_{number}")
    charts = [_histogram(con, all_pools, name, title) for name, title in NUMBERS.items()]
    charts += [_bars(con, all_pools, name, title) for name, title in LABELS.items()]
    return [chart for chart in charts if chart]


def series_names(pool: Pool) -> list[tuple[str, str]]:
    """(name to show, condition in SQL) of each series of a pool."""
    named = [(one.name, f"in_{number}") for number, one in enumerate(pool.sets)]
    itself = len(pool.sets) == 1 and pool.sets[0].rows == pool.rows
    return named if itself else [(f"all of {pool.name}", "true"), *named]


def _tabulate(con: duckdb.DuckDBPyConnection, pool: Pool, table: str) -> None:
    have = expressions(pool)
    kept = [f"{have[name]} AS {quoted(name)}" for name in (*NUMBERS, *LABELS) if name in have]
    kept += [
        f"t0.uuid IN (SELECT uuid FROM {rows_of(one.folder)}) AS in_{number}" for number, one in enumerate(pool.sets)
    ]
    con.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT {', '.join(kept)} FROM {pool.source}")


def _with(all_pools: list[Pool], name: str) -> list[tuple[str, Pool]]:
    return [(f"pool_{number}", pool) for number, pool in enumerate(all_pools) if name in expressions(pool)]


def _histogram(con: duckdb.DuckDBPyConnection, all_pools: list[Pool], name: str, title: str) -> dict[str, Any] | None:
    """Bins of equal width from the 0.5% to the 99.5% quantile; what lies beyond is in the outermost."""
    tables = _with(all_pools, name)
    union = " UNION ALL ".join(f"SELECT {quoted(name)}::DOUBLE AS x FROM {table}" for table, _ in tables)
    if not union:
        return None
    query = f"SELECT quantile_cont(x, 0.005), quantile_cont(x, 0.995), min(x), max(x), count(x) FROM ({union}) WHERE isfinite(x)"
    ((low, high, least, most, count),) = con.execute(query).fetchall()
    if not count or least == most:
        return None
    low, high = (low, high) if low < high else (least, most)
    width = (high - low) / BINS
    place = f"least({BINS - 1}, greatest(0, floor((x - {low}) / {width})))::INT"
    series = []
    for table, pool in tables:
        for shown, condition in series_names(pool):
            query = f"SELECT {place} AS bin, count(*), sum(x) FROM (SELECT {quoted(name)}::DOUBLE AS x FROM {table} WHERE {condition}) WHERE isfinite(x) GROUP BY 1"
            found = con.execute(query).fetchall()
            counts = {bin: rows for bin, rows, _ in found}
            total = sum(counts.values())
            mean = sum(added for _, _, added in found) / total if total else None
            series.append(
                {"name": shown, "counts": [counts.get(i, 0) for i in range(BINS)], "rows": total, "mean": mean}
                | {"whole": condition == "true"}
            )
    return {"name": name, "title": title, "kind": "histogram", "low": low, "high": high, "series": series}


def _bars(con: duckdb.DuckDBPyConnection, all_pools: list[Pool], name: str, title: str) -> dict[str, Any] | None:
    series, totals = [], dict[str, int]()
    for table, pool in _with(all_pools, name):
        for shown, condition in series_names(pool):
            query = f"SELECT {quoted(name)}::VARCHAR, count(*) FROM {table} WHERE {condition} AND {quoted(name)} IS NOT NULL GROUP BY 1"
            counts = {str(value).replace("\n", " "): rows for value, rows in con.execute(query).fetchall()}
            told = {"name": shown, "counts": counts, "rows": sum(counts.values()), "whole": condition == "true"}
            series.append(told)
            for value, rows in counts.items():
                totals[value] = totals.get(value, 0) + rows
    if len(totals) < 2:
        return None
    ranked = _RANKED.get(name, ())
    order = sorted(totals, key=lambda value: (-totals[value], value))
    shown_values, rest = order[:_MOST], order[_MOST:]
    shown_values.sort(key=lambda value: ranked.index(value) if value in ranked else len(ranked))
    if name == "sampling_cell":
        shown_values.sort()
    for one in series:
        counts = one["counts"]
        one["counts"] = [counts.get(value, 0) for value in shown_values]
        one["counts"] += [sum(counts.get(value, 0) for value in rest)] if rest else []
    labels = [*shown_values, f"{len(rest)} others"] if rest else shown_values
    return {"name": name, "title": title, "kind": "bars", "labels": labels, "series": series}
