"""How good a data set of the miniature world is, against the world's truth."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from magpie_align.mini.corpus import teacher_instructions
from magpie_align.mini.language import is_reserved, judge
from magpie_align.mini.tagging import true_tags

Row = Mapping[str, Any]


def measure(rows: Iterable[Row], tags: Mapping[str, Row], seed: int, chats: int) -> dict[str, list[float]]:
    """Metric -> a 0 or 1 for each row it applies to.

    `valid`: the instruction belongs to the language. `right`: the response is the right answer. `new`: the instruction is
    not among those of the teacher's first `chats` private chats. `clean`: it asks none of the questions reserved for the
    benchmark, which the teacher, knowing the language, may come upon by itself. `quality`, `difficulty`, `category`: the tag (by uuid in
    `tags`; a failed one counts as wrong) is what the instruction deserves.
    """
    known = set(teacher_instructions(seed, chats))
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        judgement = judge(row["instruction"], row["response"])
        found["valid"].append(float(judgement.item is not None))
        found["right"].append(float(judgement.correct))
        found["clean"].append(float(judgement.item is None or not is_reserved(judgement.item)))
        found["new"].append(float(row["instruction"] not in known))
        if row["uuid"] in tags:
            tag, truth = tags[row["uuid"]], true_tags(row["instruction"])
            found["quality"].append(float(tag["input_quality"] == truth.quality))
            found["difficulty"].append(float(tag["difficulty"] == truth.difficulty))
            found["category"].append(float(tag["task_category"] == truth.category))
    return dict(found)
