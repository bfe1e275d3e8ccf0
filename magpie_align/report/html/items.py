"""Evaluations question by question: what each model answered, and which of two models was right where the other was not."""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from magpie_align.flow.table import read_rows
from magpie_align.report.html.run import Run
from magpie_align.report.lineage import Made

SHOWN = 250
"""Questions of a task whose texts are shown at most; wins and losses count all of them."""
MOST_TEXT = 4_000_000
"""Characters of all questions shown, an equal part for each task; with longer texts fewer are shown."""
_QUESTION = ("question", "query", "prompt", "problem", "instruction", "ctx", "text", "input")
_CUT = 1500

Sample = dict[str, Any]
Said = tuple[int, str, float | None, str, str]
"""A judge on one answer: which game or turn (from 1), the model's seat in it, seat A's share of the win or the rating, its words,
and why there is no verdict where there is none."""
Values = dict[str, dict[str, dict[str, float]]]
"""Metric -> model -> id of a question -> value."""


def evaluations(run: Run, seed: int) -> list[dict[str, Any]]:
    """A table for each task whose evaluations tell the value of each question: values by metric and model, and a sample of the
    questions with the answers, where those were kept.
    """
    values: dict[str, Values] = {}
    logs: dict[str, dict[str, dict[str, Sample]]] = {}
    said: dict[str, dict[str, dict[str, list[Said]]]] = {}
    for name, entry in models(run).items():
        kept, outputs = _samples(entry), _outputs(run, entry)
        for task, metric, told in _values(entry, kept):
            values.setdefault(task, {}).setdefault(metric, {})[name] = told
            said.setdefault(task, {}).setdefault(name, _judged(entry))
            kept.setdefault(task, outputs)
        for task, samples in kept.items():
            logs.setdefault(task, {})[name] = samples
    room = MOST_TEXT // max(len(values), 1)
    return [_task(task, found, logs.get(task, {}), said[task], seed, room) for task, found in values.items()]


def models(run: Run) -> dict[str, Made]:
    """Name to show -> evaluation, as the report stages name them."""
    return {name: entry for report in run.reports for name, entry in run.inputs(report, "models")}


def _samples(entry: Made) -> dict[str, dict[str, Sample]]:
    """Task -> id of a question -> what was logged of it; of several filters of one answer the last."""
    files = sorted((entry.folder / "data" / "samples").glob("*.jsonl"))
    return {file.stem: {f"{file.stem}/{s['doc_id']}": s for s in _lines(file) if "doc_id" in s} for file in files}


def _outputs(run: Run, entry: Made) -> dict[str, Sample]:
    """Of an evaluation by a judge: id of a question -> the question and the model's answers, from the stage that asked for them."""
    asked = run.input(entry, "outputs")
    if not asked or not list((asked.folder / "data").glob("part-*.parquet")):
        return {}
    rows = read_rows(asked.folder / "data", ["question_id", "question", "answers"])
    return {
        str(row["question_id"]): {
            "doc": {"question": "\n\n".join(json.loads(row["question"])["turns"])},
            "filtered_resps": ["\n\n".join(answer or "" for answer in row["answers"])],
        }
        for row in rows
    }


def _judged(entry: Made) -> dict[str, list[Said]]:
    """Id of a question -> what the judge said of it, the first time it was asked; nothing where nobody judged."""
    told = entry.folder / "data" / "judgments.jsonl"
    found: dict[str, list[Said]] = {}
    for line in _lines(told) if told.is_file() else ():
        if line["repeat"] == 0:
            words = (line["text"] or "")[-_CUT:]  # the verdict stands at the end
            said = (line["part"], line.get("seat", ""), line["value"], words, line["failure"] or "")
            found.setdefault(line["question"], []).append(said)
    return found


def _values(entry: Made, kept: dict[str, dict[str, Sample]]) -> Iterator[tuple[str, str, dict[str, float]]]:
    """(task, metric, value of each question) as the evaluation tells them, or from its log."""
    told = entry.folder / "data" / "items.jsonl"
    if told.is_file():
        yield from ((line["task"], line["metric"], line["values"]) for line in _lines(told))
        return
    for task, samples in kept.items():
        for metric in next(iter(samples.values()), {}).get("metrics", []):
            if all(isinstance(s.get(metric), (int, float)) for s in samples.values()):
                yield task, metric, {key: float(s[metric]) for key, s in samples.items()}


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    with file.open(encoding="utf-8") as stream:
        yield from (json.loads(line) for line in stream)


def _task(
    task: str,
    values: Values,
    logs: dict[str, dict[str, Sample]],
    said: dict[str, dict[str, list[Said]]],
    seed: int,
    room: int,
) -> dict[str, Any]:
    """Models that answered other questions than the first are left out: nothing of theirs can be compared one by one."""
    first = next(iter(values.values()))
    names = list(first)
    ids = list(first[names[0]])
    same = [n for n in names if all(n in told and told[n].keys() == set(ids) for told in values.values())]
    answered = {n: logs[n] for n in same if n in logs and logs[n].keys() >= set(ids)}
    places = range(len(ids)) if len(answered) == len(same) else range(0)
    items: list[dict[str, Any]] = []
    for at in Random(f"{seed} {task}").sample(places, min(SHOWN, len(places))):
        item = _item(at, ids[at], answered, said)
        room -= len(json.dumps(item))
        if room < 0 and items:
            break
        items.append(item)
    return {
        "task": task,
        "models": same,
        "metrics": {m: {n: _short([told[n][i] for i in ids]) for n in same} for m, told in values.items()},
        "rows": len(ids),
        "items": sorted(items, key=lambda item: item["at"]),
    }


def _item(
    at: int, key: str, answered: dict[str, dict[str, Sample]], said: dict[str, dict[str, list[Said]]]
) -> dict[str, Any]:
    """One question with the answers and, where a judge read them, its words, both in the order of the models."""
    samples = [log[key] for log in answered.values()]
    told = {"at": at, "id": key, "question": question(samples[0]), "target": target(samples[0])}
    told["answers"] = [_answer(sample) for sample in samples]
    judged = [said[name].get(key, []) for name in answered]
    return told | ({"judged": judged} if any(judged) else {})


def _short(values: list[float]) -> str | list[float]:
    """Right and wrong as a string of 1 and 0, which is what most metrics are."""
    if set(values) <= {0.0, 1.0}:
        return "".join(str(int(value)) for value in values)
    return [round(value, 4) for value in values]


def question(sample: dict[str, Any]) -> str:
    """What was asked: the document's own question, or the end of the prompt."""
    doc = sample.get("doc") or {}
    named = next((doc[name] for name in _QUESTION if isinstance(doc.get(name), str) and doc[name].strip()), None)
    return str(named if named is not None else _prompt(sample))[-_CUT:]


def target(sample: dict[str, Any]) -> str:
    """The right answer, a choice by its text."""
    choices, wanted = _choices(sample), sample.get("target")
    if choices and isinstance(wanted, int) and 0 <= wanted < len(choices):
        return choices[wanted]
    return str(wanted if wanted is not None else "")[:_CUT]


def _answer(sample: dict[str, Any]) -> str:
    """What the model said; of choices the likeliest."""
    said, choices = sample.get("filtered_resps"), _choices(sample)
    if choices and isinstance(said, list) and len(said) == len(choices):
        likely = [float(one[0]) for one in said]
        return choices[likely.index(max(likely))]
    text = said[0] if isinstance(said, list) and said else said
    return (text if isinstance(text, str) else json.dumps(text))[:_CUT]


def _choices(sample: dict[str, Any]) -> list[str]:
    """The continuations whose likelihoods were compared; none where the model wrote freely."""
    given = sample.get("arguments")
    pairs = given if isinstance(given, list) else []
    texts = [pair[1] for pair in pairs if isinstance(pair, list) and len(pair) == 2 and isinstance(pair[1], str)]
    return texts if len(texts) == len(pairs) > 1 else []


def _prompt(sample: dict[str, Any]) -> str:
    given = sample.get("arguments")
    first = given[0] if isinstance(given, list) and given else ""
    return str(first[0] if isinstance(first, list) and first else first)
