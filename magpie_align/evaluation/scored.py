"""What every evaluation leaves in its artifact, whatever it measures and whoever judges: the one form that reports read.

    scores.json    [Score, ...]                                  the numbers
    keys.json      [{task, metric, part_of, key, counts}, ...]   what each of them means, in the same order
    items.jsonl    {task, metric, values: {item: value}}         a line for each score that is the mean of its items

An artifact that has scores alone (`mini_truth`) is read too: its scores have no key and are compared with nothing.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from magpie_align.errors import StageError
from magpie_align.records import Score, read_scores, write_scores


@dataclass(frozen=True, slots=True)
class Scored:
    """A score with what it takes to compare it.

    `key` holds, as plain values, all that decides what the score means (see `leaderboard`); `items` the value of each item,
    where their mean is the score: two runs are compared on them, so their ids (`TASK/QUESTION` or `TASK/QUESTION/PART`) are the
    same in every run. `part_of` names the
    group whose part this score is: it is kept, and not shown beside the group. `counts` are items that went wrong without
    being failures, such as `truncated` and `empty` answers, which a report shows where they are not 0.
    """

    score: Score
    key: Mapping[str, Any] = field(default_factory=dict)
    items: Mapping[str, float] = field(default_factory=dict)
    part_of: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)


def write_scored(scored: Sequence[Scored], folder: Path) -> None:
    """The three files. Raises StageError for a key that is no plain values, or items whose mean is not the score."""
    for one in scored:
        _check(one)
    write_scores([one.score for one in scored], folder / "scores.json")
    rows = [
        {**_name(one.score), "part_of": one.part_of, "key": dict(one.key), "counts": dict(one.counts)} for one in scored
    ]
    (folder / "keys.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    lines = [json.dumps({**_name(one.score), "values": dict(one.items)}) + "\n" for one in scored if one.items]
    (folder / "items.jsonl").write_text("".join(lines), encoding="utf-8")


def read_scored(folder: Path) -> list[Scored]:
    """What `write_scored` wrote, or scores without keys. Raises FileNotFoundError where there are no scores."""
    scores = read_scores(folder / "scores.json")
    if not (folder / "keys.json").is_file():
        return [Scored(score) for score in scores]
    rows = json.loads((folder / "keys.json").read_text(encoding="utf-8"))
    lines = (folder / "items.jsonl").read_text(encoding="utf-8").splitlines()
    items = {(line["task"], line["metric"]): line["values"] for line in map(json.loads, lines)}
    return [
        Scored(score, row["key"], items.get((score.task, score.metric), {}), row["part_of"], row["counts"])
        for score, row in zip(scores, rows, strict=True)
    ]


def _name(score: Score) -> dict[str, str]:
    return {"task": score.task, "metric": score.metric}


def _check(one: Scored) -> None:
    what = f"the {one.score.task} {one.score.metric}"
    nested = [name for name, value in one.key.items() if not isinstance(value, (str, int, float, bool, type(None)))]
    if nested:
        raise StageError(f"{nested[0]} in the key of {what} is no plain value; give it as several fields")
    if one.items:
        mean = math.fsum(one.items.values()) / len(one.items)
        if not math.isclose(mean, one.score.value, rel_tol=1e-6, abs_tol=1e-9):
            raise StageError(f"{what} is {one.score.value}, and the mean of its {len(one.items)} items is {mean}")
