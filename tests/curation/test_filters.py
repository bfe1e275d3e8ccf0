"""The published filters of conf/filter run on the columns that the stages make."""

import pyarrow as pa
import pytest
import yaml

from magpie_align.curation.language import Detector
from magpie_align.curation.query import Query
from magpie_align.flow.table import write_rows
from magpie_align.recipe import packaged
from tests.curation.tables import uuids

FILTERS = sorted(file.stem for file in (packaged("conf") / "filter").glob("*.yaml"))
GOOD = {
    "uuid": "good",
    "min_similar_uuid": "good",
    "instruction": "请用中文写一首诗",
    "language": "zh",
    "response": "…",
    "response_status": "ok",
    "response_length": 9,
    "input_quality": "excellent",
    "difficulty": "hard",
    "task_category": "Coding & Debugging",
    "min_neighbor_distance": 0.4,
    "instruct_reward": 2.0,
    "reward_difference": 1.0,
}
BAD = [
    {"response_status": "length"},
    {"input_quality": "poor"},
    {"difficulty": "very easy"},
    {"instruct_reward": -20.0, "reward_difference": -1.0},
    {"min_neighbor_distance": 0.0, "min_similar_uuid": "good"},
]


def kept(name: str, tmp_path, rows: list[dict]) -> set[str]:
    group = yaml.safe_load((packaged("conf") / "filter" / f"{name}.yaml").read_text())
    write_rows(tmp_path / name, pa.Table.from_pylist(rows))
    return set(uuids([tmp_path / name], **group))


@pytest.mark.parametrize("name", FILTERS)
def test_it_keeps_the_good_and_drops_what_it_names(name, tmp_path):
    good = GOOD | {"language": "en"} if name == "english_200k" else GOOD
    bad = [good | {"uuid": f"bad {n}", "min_similar_uuid": f"bad {n}"} | row for n, row in enumerate(BAD)]
    found = kept(name, tmp_path, [good, *bad])
    assert "good" in found and "bad 0" not in found and len(found) <= 4


PAPER = {
    "air": {"input_quality", "difficulty", "min_neighbor_distance", "reward_difference"},
    "pro": {"input_quality", "min_neighbor_distance", "instruct_reward"},
    "filter2": {"input_quality", "difficulty", "min_neighbor_distance", "instruct_reward"},
    "filter3": {"min_neighbor_distance", "instruct_reward"},
    "filter4": {"input_quality", "difficulty", "min_neighbor_distance", "reward_difference"},
    "filter5": {"input_quality", "difficulty", "min_neighbor_distance", "instruct_reward"},
    "filter6": {"difficulty", "min_neighbor_distance", "instruct_reward"},
}
ROWS = {"filter5": None, "filter6": 200_000}


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_filters_ask_what_its_table_5_says(name):
    query = Query.model_validate(yaml.safe_load((packaged("conf") / "filter" / f"{name}.yaml").read_text()))
    asked = {column for one in query.predicates() for column in one.columns}
    assert asked == PAPER[name] | {"response_status"}
    assert query.limit == ROWS.get(name, 300_000)
    assert query.order_by == (None if name == "filter5" else "response_length desc")
    assert query.missing == "drop"


def test_filter6_is_half_easy_half_harder(tmp_path):
    """Of the ways to fill a limit of 4 from 3 easy and 3 harder rows, all longer than those."""
    text = (packaged("conf") / "filter" / "filter6.yaml").read_text().replace("200000", "4")
    levels = ["easy", "easy", "easy", "medium", "hard", "very hard"]
    rows = [GOOD | {"uuid": d + str(n), "difficulty": d, "response_length": 9 + n} for n, d in enumerate(levels)]
    write_rows(tmp_path / "rows", pa.Table.from_pylist(rows))
    assert uuids([tmp_path / "rows"], **yaml.safe_load(text)) == ["very hard5", "hard4", "easy2", "easy1"]


def test_chinese_is_not_japanese_and_english_is_neither(tmp_path):
    texts = {
        "good": GOOD["instruction"],
        "ja": "日本語で春の詩を書いてください",
        "en": "Write a poem about spring, please.",
    }
    told = Detector(("en", "ja", "zh")).detect(list(texts.values()))
    named = zip(texts.items(), told, strict=True)
    rows = [GOOD | {"uuid": uuid, "instruction": text, "language": one[0]} for (uuid, text), one in named]
    assert kept("chinese_200k", tmp_path, rows) == {"good"}
    assert kept("english_200k", tmp_path, rows) == {"en"}


def test_many_lines_only_in_code(tmp_path):
    lines = GOOD | {"instruction": "a\nb\nc\nd\ne\nf"}
    rows = [GOOD | {"uuid": "short"}, lines | {"uuid": "code"}, lines | {"uuid": "math", "task_category": "Math"}]
    rows = [row | {"min_similar_uuid": row["uuid"]} for row in rows]
    assert kept("llama33_500k", tmp_path, rows) == {"short", "code"}
