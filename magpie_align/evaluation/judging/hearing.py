"""All cases before one judge: what failed is listed and limited, and repeats tell how far the judge agrees with itself."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from magpie_align.errors import StageError
from magpie_align.evaluation.judging.cases import Case, Judge, Key, Verdict, Verdicts

FAILURES, JUDGMENTS = "failures.jsonl", "judgments.jsonl"


def hear(
    judge: Judge, cases: Sequence[Case], folder: Path, max_failures: float, progress: Callable[[int, int, str], None]
) -> dict[Key, Verdict]:
    """The verdict on every case; all of them are written to `folder/judgments.jsonl`, with the evaluated model's seat, those that
    failed to `failures.jsonl`.

    Raises StageError if the share that failed is above `max_failures`, or all did.
    """
    verdicts: dict[Key, Verdict] = {}
    seats = {case.key: case.seat for case in cases}
    for case, verdict in judge.judge(cases):
        verdicts[case.key] = verdict
        progress(len(verdicts), len(cases), verdict.text)
    failed = {key: verdict for key, verdict in verdicts.items() if verdict.value is None}
    write_lines(folder / JUDGMENTS, (_line(key, seats[key], verdicts[key]) for key in sorted(verdicts)))
    write_lines(folder / FAILURES, (_line(key, seats[key], failed[key]) for key in sorted(failed)))
    share = len(failed) / max(1, len(cases))
    if failed and (share > max_failures or len(failed) == len(cases)):
        kinds = Counter(kind(verdict) for verdict in failed.values()).most_common()
        said = ", ".join(f"{count} {name}" for name, count in kinds)
        raise StageError(
            f"the judge {judge.name} gave no verdict on {len(failed)} of {len(cases)} cases ({said}), a share of {share:.3g} "
            f"where max_failures is {max_failures:g}, so there is no score; they are listed in {folder / FAILURES}, all other "
            "verdicts are kept: run again to ask for these alone"
        )
    return verdicts


def kind(verdict: Verdict) -> str:
    """What kind of failure it is."""
    return str(verdict.failure).partition(":")[0]


def failures_of(verdicts: Verdicts) -> dict[str, int]:
    """How many cases failed, by kind."""
    return dict(Counter(kind(verdict) for verdict in verdicts.values() if verdict.value is None))


def repeat(verdicts: Verdicts, number: int) -> dict[Key, Verdict]:
    """The verdicts of one repeat, under the keys of the first."""
    return {key._replace(repeat=0): verdict for key, verdict in verdicts.items() if key.repeat == number}


def noise(verdicts: Verdicts, scores: Sequence[float]) -> dict[str, Any]:
    """How far repeats of the judging agree: the scores, their standard deviation, and the share of cases with one verdict.

    Empty where there is one repeat. A case of which a repeat failed is not counted.
    """
    if len(scores) < 2:
        return {}
    values: dict[tuple[str, int], list[float | None]] = defaultdict(list)
    for key, verdict in verdicts.items():
        values[key.question, key.part].append(verdict.value)
    whole = [found for found in values.values() if None not in found]
    mean = math.fsum(scores) / len(scores)
    spread = math.sqrt(math.fsum((score - mean) ** 2 for score in scores) / (len(scores) - 1))
    agreed = sum(len(set(found)) == 1 for found in whole) / len(whole) if whole else None
    return {"repeat_scores": list(scores), "repeat_sd": spread, "repeat_agreement": agreed}


def write_lines(file: Path, rows: Iterable[Any]) -> None:
    """JSON lines."""
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _line(key: Key, seat: str, verdict: Verdict) -> dict[str, Any]:
    return {**key._asdict(), "seat": seat, **asdict(verdict)}
