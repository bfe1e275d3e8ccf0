"""Everything the report shows, from the manifests and the data of a run. A part that has nothing to show is not there."""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import duckdb

from magpie_align.report.funnel import funnel_rows
from magpie_align.report.html import ancestry, browser, figures
from magpie_align.report.html.distributions import distributions
from magpie_align.report.html.items import evaluations
from magpie_align.report.html.pipeline import HEIGHT, WIDTH, cost, duration, picture
from magpie_align.report.html.points import points
from magpie_align.report.html.pools import connection, pools
from magpie_align.report.html.run import Run
from magpie_align.report.lineage import Made

SEED = 0
_SECTIONS = {
    "result": "Result",
    "paper": "Beside the paper",
    "differences": "Differences",
    "pipeline": "Pipeline",
    "predicted": "Predicted and actual",
    "funnel": "Selection",
    "distributions": "Distributions",
    "map": "Map",
    "training": "Training",
    "questions": "Question by question",
    "failures": "Failures",
    "browser": "Data",
    "settings": "How to make it again",
}


def collect(run: Run, scratch: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """(context of the template, light data, heavy data)."""
    with connection(scratch) as con:
        found = pools(run, con)
        asked = evaluations(run, SEED)
        near = _neighbours(run, con, asked)
        wanted = {uuid for one in near["sets"].values() for rows in one["near"].values() for uuid, _, _ in rows}
        drawn = next((one for pool in found if (one := points(run, con, pool))), None)
        light = {
            "results": run.results,
            "distributions": distributions(con, found),
            "map": drawn,
            "curves": figures.curves(run),
        }
        rows = browser.browse(con, found, SEED, wanted | set(drawn["uuid"] if drawn else ()))
        failures = figures.failures(run, con)
    context = _context(run) | {"failures": failures, "evaluated": bool(asked), "neighbours": bool(near["sets"])}
    context["browsable"] = _sample_sentence(rows)
    shown = {
        "result": run.results,
        "paper": context["paper"],
        "differences": context["differences"],
        "predicted": context["predicted"],
        "funnel": context["funnel"],
        "distributions": light["distributions"],
        "map": light["map"],
        "training": light["curves"],
        "questions": asked,
        "failures": failures,
        "browser": context["browsable"],
    }
    context["sections"] = [(anchor, words) for anchor, words in _SECTIONS.items() if shown.get(anchor, True)]
    return context, light, {"pools": rows, "questions": {"tasks": asked, "neighbours": near}}


def _context(run: Run) -> dict[str, Any]:
    from magpie_align import __version__

    drawn = picture(run.made)
    spent = sum(entry.manifest.get("seconds") or 0 for entry in run.made)
    title = next((str(entry.settings["title"]) for entry in run.reports if entry.settings.get("title")), run.name)
    return {
        "run": run,
        "title": title,
        "version": __version__,
        "spent": duration(spent),
        "seconds": spent,
        "finished": max((str(e.manifest.get("finished", "")) for e in run.made), default=""),
        "results": {heading: result_table(rows) for heading, rows in run.results.items()},
        "headline": headline(run.results, ancestry.training_sets(run)),
        "picture": drawn,
        "box_width": WIDTH,
        "box_height": HEIGHT,
        "groups": list(dict.fromkeys(box.group for box in drawn.boxes)),
        "paid": any(cost(entry.summary) for entry in run.made),
        "predicted": predicted(run.costs),
        "paper": [section for report in run.reports for section in run.noted(report, "leaderboard") or ()],
        "differences": [row for report in run.reports for row in run.noted(report, "comparisons") or ()],
        "funnel": funnel_rows(run.made),
        "versions": figures.versions(run),
        "stages": [_stage(entry) for entry in run.made],
    }


def result_table(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Rows of scores as a table: a column a task and metric with its count, a row a model, cells (value, interval) or None."""
    columns = list(dict.fromkeys((row["task"], row["metric"]) for row in rows))
    counts = {(row["task"], row["metric"]): row["n"] for row in rows}
    cells = {(row["model"], row["task"], row["metric"]): _cell(row) for row in rows}
    models = dict.fromkeys(row["model"] for row in rows)
    return {
        "head": [(f"{task} {metric}", counts[task, metric]) for task, metric in columns],
        "rows": [(model, [cells.get((model, *column)) for column in columns]) for model in models],
    }


def _cell(row: dict[str, Any]) -> tuple[str, str]:
    return f"{100 * row['value']:.1f}", f"[{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


def headline(results: dict[str, list[dict[str, Any]]], trained: Collection[str]) -> str:
    """The first column of the first table in words: the first model, and the last one that was trained on data of this run."""
    rows = next(iter(results.values()), [])
    column = [row for row in rows if (row["task"], row["metric"]) == (rows[0]["task"], rows[0]["metric"])]
    told = [column[0], [row for row in column if row["model"] in trained or not trained][-1]] if column else []
    words = [f"{row['model']} {' '.join(_cell(row))}" for row in told]
    return f"{rows[0]['task']} {rows[0]['metric']}: {' → '.join(dict.fromkeys(words))}" if words else ""


def predicted(costs: dict[str, Any]) -> list[tuple[str, str, str, str, str]]:
    """(stage, rows predicted, rows, time predicted, time) of what was priced before the run."""
    told = [stage for stage in costs.get("stages", []) if stage["predicted_seconds"] or stage["predicted_rows"]]
    return [
        (
            stage["name"],
            _span(stage["predicted_rows"], lambda rows: f"{rows:,.0f}"),
            f"{stage['rows']:,}" if stage["rows"] is not None else "",
            _span(stage["predicted_seconds"], duration),
            duration(stage["seconds"]),
        )
        for stage in told
    ]


def _span(ends: list[float] | None, words: Callable[[float], str]) -> str:
    """`30 s`, or `30 s to 1 m 10 s` where the ends are told apart."""
    return " to ".join(dict.fromkeys(map(words, ends))) if ends else ""


def _neighbours(run: Run, con: duckdb.DuckDBPyConnection, asked: list[dict[str, Any]]) -> dict[str, Any]:
    """For each trained-on data set, the rows nearest to the questions shown; and which model was trained on which."""
    sets = ancestry.training_sets(run)
    keys = [(item["id"], item["question"]) for task in asked for item in task["items"]]
    told = {}
    for entry in {entry.folder: entry for entry in sets.values()}.values() if keys else ():
        found = ancestry.nearest(con, entry, [question for _, question in keys])
        told[entry.name] = found | {"near": dict(zip((key for key, _ in keys), found["near"], strict=True))}
    return {"models": {name: entry.name for name, entry in sets.items()}, "sets": told}


def _sample_sentence(told: list[dict[str, Any]]) -> str:
    parts = [
        f"{sum(row[1] for row in one['rows']):,} of the {one['of']:,} rows of {one['pool']}"
        for one in told
        if one["rows"]
    ]
    if not parts:
        return ""
    short = sum(one["left_out"] for one in told)
    note = f" {short:,} more are left out for the size of the file." if short else ""
    return f"A sample drawn at random (seed {SEED}): {_listed(parts)}.{note} The whole is in the store."


def _listed(words: Iterable[str]) -> str:
    return ", and ".join(words)


def _stage(entry: Made) -> dict[str, Any]:
    manifest = entry.manifest
    facts: dict[str, Any] = {
        "made": manifest.get("finished"),
        "time": duration(manifest.get("seconds")),
        "folder in the store": entry.folder.name,
        **{f"made of {name}": where for name, where in entry.inputs.items()},
        **{name: _noted(value) for name, value in entry.summary.items()},
        **{f"what {what} means": _noted(key) for what, key in figures.keys(entry)},
    }
    return {
        "name": entry.name,
        "kind": entry.kind,
        "fingerprint": entry.folder.name.rpartition("-")[2],
        "facts": [(name, value) for name, value in facts.items() if value not in (None, "")],
        "settings": [] if entry.gone else figures.settings(entry),
    }


def _noted(value: Any) -> str:
    return ", ".join(f"{name} {told}".strip() for name, told in figures.flat(value))
