"""Near-duplicate marking: how far each instruction is from its nearest neighbour (paper, section 3.1).

The distance is 1 - cosine similarity of embeddings. The embedding here is a hashed bag of character n-grams: no model, no
download, exact repeats at distance 0. The search is exact, in blocks, so memory does not grow with the square of the rows.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

REPEAT_DISTANCE = 0.05  # paper: repeats are nearer than this
_BLOCK = 1024
_DIMENSIONS = 1024

Vectors = NDArray[np.float32]


def embed(texts: list[str]) -> Vectors:
    """(n, 1024) unit vectors of 2- to 4-character n-grams; an empty text gets the zero vector."""
    from sklearn.feature_extraction.text import HashingVectorizer

    hasher = HashingVectorizer(
        analyzer="char", ngram_range=(2, 4), n_features=_DIMENSIONS, alternate_sign=False, dtype=np.float32
    )
    return np.asarray(hasher.transform(texts).toarray(), dtype=np.float32)


def mark_neighbours(uuids: list[str], texts: list[str], radius: float = REPEAT_DISTANCE) -> pa.Table:
    """Columns uuid, min_neighbor_distance, repeat_count, min_similar_uuid.

    `repeat_count` is how many other rows are nearer than `radius`; `min_similar_uuid` is the smallest uuid among the row and
    those, so the row with `uuid = min_similar_uuid` stands for its repeats, whatever the order of the rows.
    """
    vectors = embed(texts)
    names = np.asarray(uuids)
    nearest, counts, smallest = [], [], []
    for first in range(0, len(names), _BLOCK):
        near = 1 - vectors[first : first + _BLOCK] @ vectors.T
        for offset, distances in enumerate(near):
            own = first + offset
            distances[own] = np.inf
            close = np.flatnonzero(distances < radius)
            nearest.append(_rounded(distances))
            counts.append(len(close))
            smallest.append(min([str(names[own]), *names[close].tolist()]))
    columns = {"uuid": uuids, "min_neighbor_distance": nearest, "repeat_count": counts, "min_similar_uuid": smallest}
    return pa.table(columns)


def _rounded(distances: Vectors) -> float | None:
    """The smallest distance, with float noise around 0 removed, so that `> 0` means what it says; None for a lone row."""
    least = float(distances.min())
    return None if np.isinf(least) else max(0.0, round(least, 5))
