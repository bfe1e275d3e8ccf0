"""A map of the instructions: a sample of their embeddings, laid flat along the two directions in which they differ most."""

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from magpie_align.flow.table import parts
from magpie_align.report.html.distributions import expressions
from magpie_align.report.html.pools import Pool, rows_of
from magpie_align.report.html.run import Run

SAMPLE = 3000
_SIDE = 1000  # coordinates are whole numbers from 0 to this
_SNIPPET = 160


def flat(vectors: NDArray[np.floating]) -> tuple[NDArray[np.int64], float]:
    """(n, 2) coordinates by principal components, and the share of the variance they hold. The same vectors give the same map.

    Each component points to where its largest weight is positive, which the decomposition itself leaves open.
    """
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    variances, directions = np.linalg.eigh(centred.T @ centred)
    two = directions[:, ::-1][:, :2]
    two = two * np.sign(two[np.abs(two).argmax(axis=0), [0, 1]])
    places = centred @ two
    # Robust to outliers: the middle 99% fill the map, what lies beyond stands at its edge.
    low, high = np.quantile(places, [0.005, 0.995], axis=0)
    scaled = (places - low) / np.where(high > low, high - low, 1)
    total = variances.sum()
    share = float(variances[-2:].sum() / total) if total > 0 else 0.0
    return (np.clip(scaled, 0, 1) * _SIDE).round().astype(np.int64), share


def points(run: Run, con: duckdb.DuckDBPyConnection, pool: Pool) -> dict[str, Any] | None:
    """The map of a pool's instructions with the category and the data sets of each; None if none of them were embedded."""
    vectors_of = [entry for entry in run.made if entry.kind == "embed" and not entry.gone]
    embedded = [entry for entry in vectors_of if any(step.name == pool.name for step in run.before(entry))]
    if not embedded:
        return None
    uuids, vectors = _sample(embedded[0].folder / "data")
    if len(uuids) < 3:
        return None
    places, share = flat(vectors)
    told = _told(con, pool, uuids)
    kept = [number for number, uuid in enumerate(uuids) if uuid in told]
    rows = [told[uuids[number]] for number in kept]
    names = sorted({row[1] for row in rows})
    return {
        "pool": pool.name,
        "stage": embedded[0].name,
        "share": share,
        "x": places[kept, 0].tolist(),
        "y": places[kept, 1].tolist(),
        "text": [row[0] for row in rows],
        "categories": names,
        "category": [names.index(row[1]) for row in rows],
        "sets": [one.name for one in pool.sets],
        "member": [sum(bit << number for number, bit in enumerate(row[2:])) for row in rows],
        "uuid": [uuids[number] for number in kept],
    }


def _sample(folder: Path) -> tuple[list[str], NDArray[np.float32]]:
    """Up to SAMPLE (uuid, vector), evenly spaced over the rows, of those that have one."""
    files = parts(folder)
    found = [(file, row, uuid) for file in files for row, uuid in _present(file)]
    step = max(1, len(found) // SAMPLE)
    chosen = found[::step][:SAMPLE]
    loaded = {file: np.load(file.with_suffix(".npy"), mmap_mode="r") for file in files}
    vectors = [np.asarray(loaded[file][row], np.float32) for file, row, _ in chosen]
    return [uuid for _, _, uuid in chosen], np.stack(vectors) if vectors else np.zeros((0, 2), np.float32)


def _present(file: Path) -> list[tuple[int, str]]:
    index = pq.read_table(file, columns=["uuid", "text_key"]).to_pydict()
    pairs = zip(index["uuid"], index["text_key"], strict=True)
    return [(row, uuid) for row, (uuid, key) in enumerate(pairs) if key is not None]


def _told(con: duckdb.DuckDBPyConnection, pool: Pool, uuids: list[str]) -> dict[str, tuple[Any, ...]]:
    """uuid -> (start of its instruction, category, whether it is in each data set)."""
    have = expressions(pool)
    category = f"coalesce({have['task_category']}::VARCHAR, '(none)')" if "task_category" in have else "'(none)'"
    members = [f"(t0.uuid IN (SELECT uuid FROM {rows_of(one.folder)}))::INT" for one in pool.sets]
    wanted = [f"left({have['instruction']}, {_SNIPPET})", category, *members]
    con.execute("CREATE OR REPLACE TEMP TABLE mapped AS SELECT unnest(?::VARCHAR[]) AS uuid", [uuids])
    query = f"SELECT t0.uuid, {', '.join(wanted)} FROM {pool.source} WHERE t0.uuid IN (SELECT uuid FROM mapped)"
    return {row[0]: row[1:] for row in con.execute(query).fetchall()}
