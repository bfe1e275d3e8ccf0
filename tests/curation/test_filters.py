"""The published filters of conf/filter run on the columns that the stages make."""

import pyarrow as pa
import pytest
import yaml

from magpie_align.curation.selection import select
from magpie_align.flow.table import write_rows
from magpie_align.recipe import packaged

FILTERS = sorted(file.stem for file in (packaged("conf") / "filter").glob("*.yaml"))
GOOD = {
    "uuid": "good",
    "min_similar_uuid": "good",
    "instruction": "请用中文写一首诗",
    "response": "…",
    "response_status": "ok",
    "response_length": 9,
    "input_quality": "excellent",
    "difficulty": "hard",
    "task_category": "Coding & Debugging",
    "min_neighbor_distance": 0.4,
    "instruct_reward": 2.0,
}
BAD = [
    {"response_status": "length"},
    {"input_quality": "poor"},
    {"instruct_reward": -20.0},
    {"min_neighbor_distance": 0.0, "min_similar_uuid": "good"},
]


def kept(name: str, tmp_path, rows: list[dict]) -> set[str]:
    group = yaml.safe_load((packaged("conf") / "filter" / f"{name}.yaml").read_text())
    write_rows(tmp_path / name, pa.Table.from_pylist(rows))
    table, _ = select([tmp_path / name], group["where"], group.get("order_by"), group.get("limit"))
    return set(table.column("uuid").to_pylist())


@pytest.mark.parametrize("name", FILTERS)
def test_it_keeps_the_good_and_drops_what_it_names(name, tmp_path):
    bad = [GOOD | {"uuid": f"bad {n}", "min_similar_uuid": f"bad {n}"} | row for n, row in enumerate(BAD)]
    found = kept(name, tmp_path, [GOOD, *bad])
    assert "good" in found and "bad 0" not in found and len(found) <= 3


def test_chinese_is_not_japanese(tmp_path):
    rows = [GOOD, GOOD | {"uuid": "ja", "instruction": "日本語で書いて"}, GOOD | {"uuid": "en", "instruction": "Write"}]
    assert kept("chinese_200k", tmp_path, rows) == {"good"}


def test_many_lines_only_in_code(tmp_path):
    lines = GOOD | {"instruction": "a\nb\nc\nd\ne\nf"}
    rows = [GOOD | {"uuid": "short"}, lines | {"uuid": "code"}, lines | {"uuid": "math", "task_category": "Math"}]
    rows = [row | {"min_similar_uuid": row["uuid"]} for row in rows]
    assert kept("llama33_500k", tmp_path, rows) == {"short", "code"}
