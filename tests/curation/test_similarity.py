"""Distances are those of brute force, and the keeper of a group does not depend on the order of the rows."""

import random

import numpy as np

from magpie_align.curation.similarity import embed, mark_neighbours

TEXTS = [
    "What is 2 + 2?",
    "What is 2 + 2?",
    "Name the capital of Peru.",
    "name the capital of Peru",
    "Write a poem about rain.",
    "",
]


def test_distances_are_those_of_brute_force() -> None:
    vectors = embed(TEXTS).astype(np.float64)
    marked = mark_neighbours([str(i) for i in range(len(TEXTS))], TEXTS).to_pydict()
    for i, found in enumerate(marked["min_neighbor_distance"]):
        expected = min(1 - vectors[i] @ vectors[j] for j in range(len(TEXTS)) if j != i)
        assert abs(found - expected) < 1e-4
    assert marked["min_neighbor_distance"][:2] == [0.0, 0.0]
    assert marked["repeat_count"] == [1, 1, 1, 1, 0, 0]


def test_keeper_does_not_depend_on_order() -> None:
    rows = [(f"{i:02d}", TEXTS[i % 3]) for i in range(30)]
    shuffled = random.Random(1).sample(rows, len(rows))
    keepers = []
    for order in (rows, shuffled):
        marked = mark_neighbours([u for u, _ in order], [t for _, t in order]).to_pylist()
        keepers.append({row["uuid"] for row in marked if row["uuid"] == row["min_similar_uuid"]})
    assert keepers[0] == keepers[1] == {"00", "02"}


def test_a_lone_row_has_no_distance() -> None:
    (row,) = mark_neighbours(["a"], ["alone"]).to_pylist()
    assert row == {"uuid": "a", "min_neighbor_distance": None, "repeat_count": 0, "min_similar_uuid": "a"}
