"""Scores without the questions that the training data touches, from the items of an evaluation."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from magpie_align.errors import StageError
from magpie_align.evaluation.intervals import interval
from magpie_align.evaluation.leaderboard import question_set_hash
from magpie_align.evaluation.scored import Scored, read_scored


def read_touched(file: Path) -> dict[str, set[str]]:
    """Task -> the ids of its touched items, from the `items.jsonl` of a stage `contamination`. Raises StageError."""
    if not file.is_file():
        raise StageError(f"{file.parent} lists no touched questions (no {file.name}); name a stage `contamination`")
    touched: dict[str, set[str]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        item = json.loads(line)
        touched.setdefault(item["task"], set()).add(item["item"])
    return touched


def untouched_scores(folder: Path, touched: Mapping[str, set[str]]) -> tuple[list[Scored], dict[str, int]]:
    """The scores of an evaluation over the questions not `touched`, and how many questions of each task were left out.

    Their keys say so (`without`): they stand in no column with scores on all questions. A score that is no mean of items (a
    length-controlled win rate, a mean of scores) is left away. Raises StageError where no score has items, or none of a task's
    questions is left.
    """
    scored = [one for one in read_scored(folder) if one.items]
    if not scored:
        raise StageError(f"{folder} keeps no values of single questions; name a stage that evaluates on questions")
    out: list[Scored] = []
    left_out: dict[str, int] = {}
    for one in scored:
        kept = {item: value for item, value in one.items.items() if not _is_touched(item, touched)}
        if not kept:
            raise StageError(
                f"every question of '{one.score.task}' is touched by the training data: there is no score without them"
            )
        left_out[one.score.task] = len(_questions(one.items)) - len(_questions(kept))
        mean, low, high = interval(list(kept.values()))
        score = replace(one.score, value=math.fsum(kept.values()) / len(kept), low=low, high=high, n=len(kept))
        key = {**one.key, "without": "questions in the training data"}
        if left_out[one.score.task]:
            asked = {"questions": question_set_hash(kept), "items": len(_questions(kept))}
            key |= {field: value for field, value in asked.items() if field in key}
        out.append(replace(one, score=score, items=kept, key=key, counts={}))
    return out, left_out


def _is_touched(item: str, touched: Mapping[str, set[str]]) -> bool:
    """Items are named `TASK/QUESTION`, or `TASK/QUESTION/PART`."""
    task, question, *_ = [*item.split("/"), ""]
    return question in touched.get(task, ())


def _questions(items: Mapping[str, float]) -> set[tuple[str, ...]]:
    return {tuple(item.split("/")[:2]) for item in items}
