"""Scores without the questions that the training data touches: lm-eval's from the items of an evaluation, judged ones anew.

A judged score is seldom a mean of items, but what a judge said is kept: the stage that judges leaves the questions out and asks
nothing again.
"""

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

from magpie_align.errors import StageError
from magpie_align.evaluation.intervals import interval
from magpie_align.evaluation.leaderboard import question_set_hash
from magpie_align.evaluation.outputs import Output
from magpie_align.evaluation.scored import Scored, read_scored

SOUGHT = "sought.json"
WITHOUT = "questions in the training data"
"""What the key of a score without them says it is `without`."""


@dataclass(frozen=True, slots=True)
class Touched:
    """What a stage `contamination` found and what it looked for, both by task.

    `items` are the ids of touched questions, `texts` their texts; `sought` are the hashes of the texts of all that were looked for.
    """

    items: Mapping[str, Set[str]]
    texts: Set[str]
    sought: Mapping[str, Set[str]]


def text_hash(text: str) -> str:
    """Stands for one question in `sought.json`."""
    return question_set_hash([text])


def read_touched(folder: Path) -> Touched:
    """What `folder` of a stage `contamination` tells. Raises StageError for other folders."""
    if not (folder / SOUGHT).is_file():
        raise StageError(f"{folder} does not tell what was looked for (no {SOUGHT}); name a stage `contamination`")
    items: dict[str, set[str]] = defaultdict(set)
    lines = [json.loads(line) for line in (folder / "items.jsonl").read_text(encoding="utf-8").splitlines()]
    for item in lines:
        items[item["task"]].add(item["item"])
    sought = json.loads((folder / SOUGHT).read_text(encoding="utf-8"))
    return Touched(items, {item["text"] for item in lines}, {task: set(hashes) for task, hashes in sought.items()})


def untouched_outputs(outputs: Sequence[Output], touched: Touched) -> list[Output]:
    """The answers to questions that are not touched, whichever their set is called there; a chat is known by how it opens.

    Raises StageError where a question was not looked for, or none is left.
    """
    known = set().union(*touched.sought.values())
    lost = next((output.question for output in outputs if text_hash(output.question.opening) not in known), None)
    if lost is not None:
        raise StageError(
            f"nobody looked for question {lost.id} ({lost.opening[:40]!r}) in the training data, so no score can be without "
            "what is in it; give the stage `contamination` the file of this question set in its `items`"
        )
    kept = [output for output in outputs if output.question.opening not in touched.texts]
    if not kept:
        raise StageError("every question is touched by the training data: there is no score without them")
    return kept


def untouched_scores(folder: Path, touched: Touched) -> tuple[list[Scored], dict[str, int]]:
    """The scores of an evaluation over the questions not `touched`, and how many questions of each task were left out.

    Their keys say so (`without`): they stand in no column with scores on all questions. A score that is no mean of items, such as
    a mean of scores, is left away. Raises StageError for a judged score, where no score has items, none of a task's questions is
    left, or nobody looked for them.
    """
    scored = [one for one in read_scored(folder) if one.items]
    if not scored:
        raise StageError(f"{folder} keeps no values of single questions; name a stage that evaluates on questions")
    if any("judge" in one.key for one in scored):
        raise StageError(
            f"{folder} was judged; give its stage `without: STAGE` (a `contamination`) to score it without them"
        )
    lost = {task for one in scored for task, *_ in _questions(one.items)} - touched.sought.keys()
    if lost:
        raise StageError(
            f"nobody looked for the questions of '{min(lost)}' in the training data, so no score can be without what is in it; give "
            "the stage `contamination` the same tasks as the evaluation"
        )
    out: list[Scored] = []
    left_out: dict[str, int] = {}
    for one in scored:
        kept = {item: value for item, value in one.items.items() if not _is_touched(item, touched.items)}
        if not kept:
            raise StageError(
                f"every question of '{one.score.task}' is touched by the training data: there is no score without them"
            )
        left_out[one.score.task] = len(_questions(one.items)) - len(_questions(kept))
        mean, low, high = interval(list(kept.values()))
        score = replace(one.score, value=math.fsum(kept.values()) / len(kept), low=low, high=high, n=len(kept))
        key = {**one.key, "without": WITHOUT}
        if left_out[one.score.task]:
            asked = {"questions": question_set_hash(kept), "items": len(_questions(kept))}
            key |= {field: value for field, value in asked.items() if field in key}
        out.append(replace(one, score=score, items=kept, key=key, counts={}))
    return out, left_out


def _is_touched(item: str, touched: Mapping[str, Set[str]]) -> bool:
    """Items are named `TASK/QUESTION`, or `TASK/QUESTION/PART`."""
    task, question, *_ = [*item.split("/"), ""]
    return question in touched.get(task, ())


def _questions(items: Mapping[str, float]) -> set[tuple[str, ...]]:
    return {tuple(item.split("/")[:2]) for item in items}
