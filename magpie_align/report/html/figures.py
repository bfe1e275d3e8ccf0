"""What the stages noted: failures and truncations, training curves, settings and versions."""

import json
from typing import Any

import duckdb

from magpie_align.report.html.pools import columns_of, quoted, rows_of
from magpie_align.report.html.run import Run
from magpie_align.report.lineage import Made

CURVE_POINTS = 400
_FINE = ("ok", "stop", "")


def failures(run: Run, con: duckdb.DuckDBPyConnection) -> list[list[Any]]:
    """[stage, what, rows, of] for every status but ok, every text cut at its token limit, and what a training cut or dropped."""
    return [row for entry in run.made for row in (*_statuses(con, entry), *_trained(entry), *_answers(entry))]


def _statuses(con: duckdb.DuckDBPyConnection, entry: Made) -> list[list[Any]]:
    """Only of the stage that made the column: selections and mixtures carry the columns of others."""
    if entry.kind in ("select", "mix", "split", "pairs"):
        return []
    found = []
    for column in columns_of(entry):
        if column.endswith(("_status", "_stop")):
            # What follows a colon says which row it was: a kind of failure is counted once.
            kind = f"split_part({quoted(column)}, ':', 1)"
            query = f"SELECT {kind}, count(*) FROM {rows_of(entry.folder)} WHERE {kind} IS NOT NULL GROUP BY 1 ORDER BY 2 DESC, 1"
            counted = con.execute(query).fetchall()
            total = sum(rows for _, rows in counted)
            wanted = [(value, rows) for value, rows in counted if _counts(column, value)]
            found += [
                [entry.name, f"{column.rpartition('_')[0]}: {_words(value)}", rows, total] for value, rows in wanted
            ]
    return found


def _counts(column: str, value: str) -> bool:
    return value == "length" if column.endswith("_stop") else value not in _FINE


def _words(value: str) -> str:
    return "cut at the token limit" if value == "length" else value


def _trained(entry: Made) -> list[list[Any]]:
    data = entry.summary.get("data")
    if not isinstance(data, dict):
        return []
    pairs = (("cut rows", "rows"), ("dropped rows", "rows"), ("cut tokens", "tokens"))
    return [
        [entry.name, f"training: {what}", data[what], data[of]] for what, of in pairs if data.get(what) and of in data
    ]


def _answers(entry: Made) -> list[list[Any]]:
    """What went wrong with the answers of an evaluation, as it counted them itself."""
    named = {(s["task"], s["metric"]): s["n"] for s in _read(entry, "scores.json")}
    counted = {
        (row["task"], what): (count, named.get((row["task"], row["metric"])))
        for row in _read(entry, "keys.json")
        for what, count in (row.get("counts") or {}).items()
        if count
    }
    return [[entry.name, f"{task}: {what}", count, n] for (task, what), (count, n) in counted.items()]


def keys(entry: Made) -> list[tuple[str, dict[str, Any]]]:
    """(task and metric, all that decides what the number means) of the scores of an evaluation that says so."""
    return [(f"{row['task']} {row['metric']}", row["key"]) for row in _read(entry, "keys.json") if row.get("key")]


def _read(entry: Made, name: str) -> list[dict[str, Any]]:
    file = entry.folder / "data" / name
    return list(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else []


def curves(run: Run) -> dict[str, dict[str, list[list[float]]]]:
    """Stage -> figure -> [[step, value], ...], from the `training.jsonl` that a training leaves beside its weights."""
    found = {}
    for entry in run.made:
        file = entry.folder / "data" / "training.jsonl"
        if file.is_file():
            lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
            drawn = _series(lines)
            if drawn:
                found[entry.name] = drawn
    return found


def _series(lines: list[dict[str, Any]]) -> dict[str, list[list[float]]]:
    """Every number that is logged against a step at least twice; long curves are thinned, their last point kept."""
    series: dict[str, list[list[float]]] = {}
    for line in lines:
        step: Any = line.get("step")
        for name, value in line.items() if isinstance(step, (int, float)) else ():
            if name not in ("step", "epoch") and isinstance(value, (int, float)) and not isinstance(value, bool):
                series.setdefault(name, []).append([step, value])
    return {name: _thinned(points) for name, points in series.items() if len(points) > 1}


def _thinned(points: list[list[float]]) -> list[list[float]]:
    step = -(-len(points) // CURVE_POINTS)
    return points if step == 1 else [*points[:-1:step], points[-1]]


def settings(entry: Made) -> list[tuple[str, str]]:
    """Every setting of a stage as (path, value)."""
    return flat(entry.settings)


def flat(value: Any, path: str = "") -> list[tuple[str, str]]:
    """A nested value as (dotted path, value) pairs; what is no mapping is one pair."""
    if isinstance(value, dict) and value:
        return [pair for key, inner in value.items() for pair in flat(inner, f"{path}.{key}" if path else str(key))]
    return [(path, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))]


def versions(run: Run) -> dict[str, list[str]]:
    """Package -> the versions that stages of this run were made with; more than one where the store had some already."""
    found: dict[str, list[str]] = {}
    for entry in run.made:
        for package, version in entry.manifest.get("versions", {}).items():
            known = found.setdefault(package, [])
            known += [version] if version not in known else []
    return found
