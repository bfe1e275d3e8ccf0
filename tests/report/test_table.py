"""The result table reads the same for people and for programs."""

import json
from pathlib import Path

from magpie_align.records import Score
from magpie_align.report.table import write_report

SCORES = [
    Score("base", "gen", "exact_match", 0.0312, 0.0221, 0.044, 1000),
    Score("base", "mc", "acc", 0.25, 0.21, 0.29, 600),
    Score("base + Magpie", "gen", "exact_match", 0.7, 0.67, 0.728, 1000),
]


def test_markdown_is_aligned_and_says_what_is_not_there(tmp_path: Path) -> None:
    data = [Score("raw", "instructions", "valid", 1.0, 0.99, 1.0, 400)]
    write_report(tmp_path, "A title", {"Models": SCORES, "Data": data})
    assert (tmp_path / "report.md").read_text() == (
        "# A title\n\nPercent, with 95% intervals.\n\n"
        "## Models\n\n"
        "|               | gen exact_match (n=1000) |    mc acc (n=600) |\n"
        "| ------------- | -----------------------: | ----------------: |\n"
        "| base          |           3.1 [2.2, 4.4] | 25.0 [21.0, 29.0] |\n"
        "| base + Magpie |        70.0 [67.0, 72.8] |                 - |\n"
        "\n"
        "## Data\n\n"
        "|     |       valid (n=400) |\n"
        "| --- | ------------------: |\n"
        "| raw | 100.0 [99.0, 100.0] |\n"
    )


def test_results_json_has_a_row_a_score(tmp_path: Path) -> None:
    write_report(tmp_path, "A title", {"Models": SCORES})
    rows = json.loads((tmp_path / "results.json").read_text())
    assert rows[0] == {
        "model": "base",
        "task": "gen",
        "metric": "exact_match",
        "value": 0.0312,
        "low": 0.0221,
        "high": 0.044,
        "n": 1000,
    }
    assert len(rows) == 3
    assert json.loads((tmp_path / "tables.json").read_text()) == {"Models": rows}
