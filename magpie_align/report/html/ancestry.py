"""From a question of a benchmark to the training rows that are most like it, by shared character n-grams."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb

from magpie_align.report.html.items import models
from magpie_align.report.html.pools import rows_of
from magpie_align.report.html.run import Run
from magpie_align.report.lineage import Made

NEAREST = 3
SEARCHED = 100_000
"""Rows of a data set that are searched; of a larger one these are the first by the hash of their uuid."""
_BATCH = 10_000
_READ = 4000  # characters of an instruction that count
_SNIPPET = 240


def trained_on(run: Run, entry: Made) -> Made | None:
    """The rows that an evaluated model was fine-tuned on: its own, or those of the model that was trained further.

    An evaluation names its model, the answers that the model gave, or the scores that it takes questions out of.
    """
    step: Made | None = entry
    while step and step.kind != "sft":
        step = next((found for name in ("model", "outputs", "scores") if (found := run.input(step, name))), None)
    return run.input(step, "data") if step else None


def training_sets(run: Run) -> dict[str, Made]:
    """Name of an evaluated model -> the rows it was fine-tuned on, for those that were."""
    found = {name: trained_on(run, entry) for name, entry in models(run).items()}
    return {name: entry for name, entry in found.items() if entry}


def nearest(con: duckdb.DuckDBPyConnection, entry: Made, questions: list[str]) -> dict[str, Any]:
    """For each question the rows of `entry` nearest to it as [uuid, similarity, start of the instruction], best first.

    Similarity is the cosine of TF-IDF weighted n-grams of 3 to 5 characters, the weights from the rows themselves.
    """
    import numpy as np
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    hashed = HashingVectorizer(
        analyzer="char_wb", ngram_range=(3, 5), n_features=1 << 18, alternate_sign=False, norm=None
    )
    batches = list(_rows(con, entry.folder))
    if not questions or not batches:
        return {"set": entry.name, "searched": 0, "of": 0, "near": []}
    counted = [hashed.transform([text for _, text in batch]) for batch in batches]
    weigh = TfidfTransformer(sublinear_tf=True)
    from scipy.sparse import vstack

    weigh.fit(vstack(counted))
    asked = weigh.transform(hashed.transform(questions))
    best: list[list[tuple[float, int, int]]] = [[] for _ in questions]
    for number, block in enumerate(counted):
        likeness = (asked @ weigh.transform(block).T).toarray()
        top = np.argsort(-likeness, axis=1, kind="stable")[:, :NEAREST]
        for one, places in enumerate(top):
            best[one] += [(float(likeness[one, place]), number, int(place)) for place in places]
    near = [[_told(batches, *found) for found in _best(candidates)] for candidates in best]
    ((total,),) = con.execute(f"SELECT count(*) FROM {rows_of(entry.folder)} WHERE instruction IS NOT NULL").fetchall()
    return {"set": entry.name, "searched": sum(map(len, batches)), "of": total, "near": near}


def _best(candidates: list[tuple[float, int, int]]) -> list[tuple[float, int, int]]:
    return [found for found in sorted(candidates, key=lambda c: (-c[0], c[1:]))[:NEAREST] if found[0] > 0]


def _told(batches: list[list[tuple[str, str]]], likeness: float, batch: int, place: int) -> list[Any]:
    uuid, text = batches[batch][place]
    return [uuid, round(likeness, 3), text[:_SNIPPET]]


def _rows(con: duckdb.DuckDBPyConnection, folder: Path) -> Iterator[list[tuple[str, str]]]:
    query = f"SELECT uuid, left(instruction, {_READ}) FROM {rows_of(folder)} WHERE instruction IS NOT NULL ORDER BY md5(uuid), uuid LIMIT {SEARCHED}"
    cursor = con.cursor().execute(query)
    while batch := cursor.fetchmany(_BATCH):
        yield batch
