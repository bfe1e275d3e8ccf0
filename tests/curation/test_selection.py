"""Selection compares labels by rank, counts every row it drops, and refuses what it does not understand."""

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magpie_align.curation.labels import DIFFICULTY, LABELS, QUALITY
from magpie_align.curation.selection import select, typed_predicate
from magpie_align.errors import StageError
from magpie_align.flow.table import write_rows

OPERATORS = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    "=": lambda a, b: a == b,
    "<>": lambda a, b: a != b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as con:
        for column in ("input_quality", "difficulty"):
            con.execute(f"CREATE TYPE {column} AS ENUM {LABELS[column]}")
        yield con


@pytest.mark.parametrize("column", ["input_quality", "difficulty"])
def test_every_pair_of_labels_compares_by_rank(connection: duckdb.DuckDBPyConnection, column: str) -> None:
    labels = LABELS[column]
    for (i, left), (j, right), (sign, holds) in product(enumerate(labels), enumerate(labels), OPERATORS.items()):
        for predicate, expected in (
            (f"{column} {sign} '{right}'", holds(i, j)),
            (f"'{right}' {sign} {column}", holds(j, i)),
        ):
            test = typed_predicate(connection, predicate)
            (found,) = (
                connection.execute(f"SELECT {test} FROM (SELECT '{left}'::{column} AS {column})").fetchone() or ()
            )
            assert found == expected, (left, predicate)


@pytest.mark.parametrize(
    ("predicate", "kept"),
    [
        ("input_quality IN ('good', 'poor')", {"poor", "good"}),
        ("input_quality BETWEEN 'poor' AND 'good'", {"poor", "average", "good"}),
        ("NOT input_quality >= 'good'", {"very poor", "poor", "average"}),
        (
            "input_quality >= 'good' OR (length(input_quality) = 4 AND input_quality < 'average')",
            {"poor", "good", "excellent"},
        ),
        ("CASE WHEN input_quality > 'poor' THEN input_quality < 'excellent' ELSE false END", {"average", "good"}),
    ],
)
def test_literals_are_typed_wherever_they_stand(
    connection: duckdb.DuckDBPyConnection, predicate: str, kept: set[str]
) -> None:
    test = typed_predicate(connection, predicate)
    values = ", ".join(f"('{label}'::input_quality)" for label in QUALITY)
    rows = connection.execute(
        f"SELECT v FROM (VALUES {values}) t(v), LATERAL (SELECT v AS input_quality) WHERE {test}"
    ).fetchall()
    assert {row[0] for row in rows} == kept


def folder(path: Path, **columns: list[object]) -> Path:
    write_rows(path, pa.table(columns))
    return path


def test_funnel_counts_every_row_and_those_without_a_value(tmp_path: Path) -> None:
    data = folder(tmp_path / "d", uuid=list("abcdef"), length=[6, 5, 4, 3, 2, 1])
    tags = folder(tmp_path / "t", uuid=list("fedcb"), input_quality=["good", "poor", None, "excellent", "average"])
    table, (step,) = select([data, tags], ["input_quality >= 'average'"], "length desc", 2)
    assert (step.kept, step.dropped, step.missing) == (3, 3, 2)
    assert table.column("uuid").to_pylist() == ["b", "c"]
    assert table.schema.field("input_quality").type == pa.string()


def test_ties_do_not_depend_on_row_order(tmp_path: Path) -> None:
    one = folder(tmp_path / "1", uuid=list("abcd"), r=[1, 1, 1, 2])
    two = folder(tmp_path / "2", uuid=list("dcba"), r=[2, 1, 1, 1])
    first, second = (select([f], [], "r desc", 3)[0].column("uuid").to_pylist() for f in (one, two))
    assert first == second == ["d", "a", "b"]


def test_samples_join_by_uuid_and_sample(tmp_path: Path) -> None:
    data = folder(tmp_path / "d", uuid=["a", "a", "b"], sample=[0, 1, 0])
    rewards = folder(tmp_path / "r", uuid=["b", "a", "a"], sample=[0, 1, 0], reward=[0.3, 0.2, 0.1])
    tags = folder(tmp_path / "t", uuid=["a", "b"], difficulty=["easy", "hard"])
    table, _ = select([data, rewards, tags], [], None, None)
    found = {(r["uuid"], r["sample"]): (r["reward"], r["difficulty"]) for r in table.to_pylist()}
    assert found == {("a", 0): (0.1, "easy"), ("a", 1): (0.2, "easy"), ("b", 0): (0.3, "hard")}


@pytest.mark.parametrize(
    ("where", "sentence"),
    [
        (["qualty > 3"], "the selection cannot be run: .*qualty"),
        (["length >"], 'the predicate "length >" is not SQL'),
        (
            ["input_quality >= 'god'"],
            "compares input_quality with 'god'; did you mean 'good'\\?; its labels are: very poor, poor",
        ),
        (["length > 9"], "no row is left by the selection; after each predicate: length > 9: 0 of 2"),
    ],
)
def test_bad_predicates(tmp_path: Path, where: list[str], sentence: str) -> None:
    data = folder(tmp_path / "d", uuid=list("ab"), length=[1, 2], input_quality=["good", "poor"])
    with pytest.raises(StageError, match=sentence):
        select([data], where, None, None)


def test_a_label_that_does_not_exist_in_the_data(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="Could not convert string 'superb'"):
        select([folder(tmp_path / "d", uuid=["a"], input_quality=["superb"])], [], None, None)


def test_double_labels(tmp_path: Path) -> None:
    data = folder(tmp_path / "d", uuid=["a"])
    with pytest.raises(StageError, match="joining gives 2 rows where .* has 1"):
        select([data, folder(tmp_path / "t", uuid=["a", "a"], difficulty=["easy", "hard"])], [], None, None)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from([*QUALITY, None]), st.sampled_from(DIFFICULTY), st.integers(-20, 5)),
        min_size=1,
        max_size=40,
    ),
    quality=st.sampled_from(QUALITY),
    difficulty=st.sampled_from(DIFFICULTY),
    reward=st.integers(-20, 5),
    limit=st.integers(1, 50),
)
def test_selection_is_what_plain_python_selects(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str | None, str, int]],
    quality: str,
    difficulty: str,
    reward: int,
    limit: int,
) -> None:
    uuids = [f"{i:03d}" for i in range(len(rows))]
    expected = [
        (r, u)
        for u, (q, d, r) in zip(uuids, rows, strict=True)
        if q is not None
        and QUALITY.index(q) >= QUALITY.index(quality)
        and DIFFICULTY.index(d) <= DIFFICULTY.index(difficulty)
        and r > reward
    ]
    expected.sort(key=lambda pair: (-pair[0], pair[1]))
    quality_column, difficulty_column, rewards = (list(c) for c in zip(*rows, strict=True))
    data = tmp_path_factory.mktemp("rows")
    write_rows(
        data,
        pa.table(
            {
                "uuid": uuids,
                "input_quality": pa.array(quality_column, pa.string()),
                "difficulty": difficulty_column,
                "r": rewards,
            }
        ),
    )
    where = [f"input_quality >= '{quality}'", f"difficulty <= '{difficulty}'", f"r > {reward}"]
    if not expected:
        with pytest.raises(StageError, match="no row is left"):
            select([data], where, "r desc", limit)
    else:
        table, _ = select([data], where, "r desc", limit)
        assert table.column("uuid").to_pylist() == [uuid for _, uuid in expected[:limit]]
