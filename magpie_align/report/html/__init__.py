"""`report.html`: one file that shows a run, fetches nothing, and runs nothing but its own script.

run.py            what a report is about
pools.py          the data sets and what they were taken from, as tables
distributions.py  points.py  items.py  ancestry.py  browser.py  figures.py  pipeline.py   a part of the report each
collect.py        all parts together, as one context and two pieces of JSON
page.py           template, style, scripts and data in one file; assets/ holds them
"""

import os
import tempfile
from pathlib import Path

from magpie_align.report.html.run import Run

__all__ = ["Run", "write_html"]


def write_html(run: Run, folder: Path) -> Path:
    """Write `report.html` of a run into `folder`, unless the one there is of this very run; returns the file."""
    from magpie_align.report.html.collect import collect
    from magpie_align.report.html.page import render, stamp

    file, mark = folder / "report.html", stamp(run)
    if file.is_file() and mark in file.read_text(encoding="utf-8")[:2000]:
        return file
    with tempfile.TemporaryDirectory(prefix="magpie-report-") as scratch:
        context, light, heavy = collect(run, Path(scratch))
    half = file.with_suffix(".tmp")
    half.write_text(render(context | {"stamp": mark}, light, heavy), encoding="utf-8")
    os.replace(half, file)
    return file
