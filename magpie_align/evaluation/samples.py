"""From lm-eval's results to scores: its own values, with an interval, a key and the value of each item."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from magpie_align.evaluation.intervals import Z95, interval, stratified
from magpie_align.evaluation.lm import Watch, prompt_hash
from magpie_align.evaluation.scored import Scored
from magpie_align.evaluation.statistics import percentiles
from magpie_align.evaluation.tasks import Loaded
from magpie_align.records import Score

Sample = dict[str, Any]
Metric = tuple[str, str]
"""Name of a metric and of the filter that its answers went through, as in lm-eval's results: `exact_match,strict-match`."""

BOOTSTRAP_DRAWS = 1000


@dataclass(frozen=True)
class Run:
    """One run of lm-eval: its results, sample logs, tasks, what was watched, and what its scores share of their keys."""

    result: Mapping[str, Any]
    samples: Mapping[str, list[Sample]]
    loaded: Loaded
    watch: Watch
    messages: Mapping[str, str]
    key: Mapping[str, Any]


def scored_tasks(run: Run) -> list[Scored]:
    """Every metric of every task and group: first of those asked for, then of their parts."""
    leaves = {name: _task_scores(name, run) for name in run.loaded.tasks}
    groups = {name: _group_scores(name, run, leaves) for name in run.loaded.groups}
    found = [one for name in run.loaded.names for one in (groups | leaves)[name]]
    asked = set(run.loaded.names)
    return found + [one for name, scored in (groups | leaves).items() if name not in asked for one in scored]


def mean_problems(means: Mapping[str, Sequence[str]], loaded: Loaded) -> list[str]:
    """Sentences on means of scores that these tasks do not give."""
    known = {f"{name} {metric}" for name in loaded.names for metric in _metrics_of(name, loaded)}
    return [
        f"means.{name}: there is no score '{score}'; there are: {', '.join(sorted(known))}"
        for name, scores in means.items()
        for score in scores
        if score not in known
    ]


def scored_means(means: Mapping[str, Sequence[str]], scored: Sequence[Scored], key: Mapping[str, Any]) -> list[Scored]:
    """The unweighted means; their intervals take the scores for independent."""
    known = {f"{one.score.task} {one.score.metric}": one for one in scored}
    out = []
    for name, wanted in means.items():
        of = [known[score].score for score in wanted]
        items = sum(known[score].key["items"] for score in wanted)
        mean = math.fsum(score.value for score in of) / len(of)
        half = math.hypot(*((score.high - score.low) / 2 for score in of)) / len(of)
        score = Score("", name, "mean", mean, mean - half, mean + half, sum(score.n for score in of))
        out.append(Scored(score, {**key, "items": items, "of": ", ".join(wanted)}))
    return out


def _metrics_of(name: str, loaded: Loaded) -> list[str]:
    if name in loaded.tasks:
        task = loaded.tasks[name]
        filters = [one["name"] for one in task.config.filter_list or [{"name": "none"}]]
        return [_label(metric, one, filters) for metric in task.aggregation() for one in filters]
    found = {metric for task in loaded.groups[name].get_all_tasks() for metric in _metrics_of(task.task_name, loaded)}
    wanted = {one.metric for one in loaded.groups[name].aggregate_metric_list or ()}
    return [metric for metric in found if metric.split(" ")[0] in wanted]


def _label(metric: str, filter_name: str, filters: Sequence[str]) -> str:
    """`exact_match`, or where a task extracts its answers in several ways, `exact_match strict-match`."""
    return metric if len(set(filters)) == 1 else f"{metric} {filter_name}"


def _values(result: Mapping[str, Any]) -> dict[Metric, float]:
    """The metrics among lm-eval's figures of one task."""
    named = {tuple(key.split(",", 1)): value for key, value in result.items() if "," in key}
    return {(m, f): float(v) for (m, f), v in named.items() if not m.endswith("_stderr")}


def _task_scores(name: str, run: Run) -> list[Scored]:
    task, samples = run.loaded.tasks[name], run.samples[name]
    values = _values(run.result["results"][name])
    key, counts = _task_key(name, run), _counts(samples, run.watch)
    out = []
    for (metric, filter_name), value in values.items():
        if metric not in task.aggregation():
            continue  # told beside those that the task is asked for
        rows = [s for s in samples if s["filter"] == filter_name and metric in s["metrics"]]
        better = run.result["higher_is_better"][name].get(metric, True)
        items = _items(name, rows, metric, value) if better else {}
        told = [row[metric] for row in rows]
        plain = len(items) == len(rows) > 0
        low, high = interval(list(items.values()))[1:] if plain else _resampled(told, task.aggregation()[metric])
        label = _label(metric, filter_name, [f for m, f in values if m == metric])
        score = Score("", name, label, value, low, high, len(items) or len(rows))
        out.append(Scored(score, key, items, _group_of(name, run.loaded), counts))
    return out


def _items(task: str, rows: Sequence[Sample], metric: str, value: float) -> dict[str, float]:
    """The value of each item, where their mean is the score: one a question, or (IFEval) one an instruction in it."""
    told = {f"{task}/{row['doc_id']}": row[metric] for row in rows}
    if all(isinstance(one, list) for one in told.values()):
        told = {f"{item}/{i}": one for item, ones in told.items() for i, one in enumerate(ones)}
    if not told or not all(isinstance(one, (bool, int, float, np.number, np.bool_)) for one in told.values()):
        return {}
    items = {item: float(one) for item, one in told.items()}
    return items if math.isclose(math.fsum(items.values()) / len(items), value, abs_tol=1e-9) else {}


def _resampled(values: Sequence[Any], aggregate: Callable[[list[Any]], float]) -> tuple[float, float]:
    """The interval of whatever a task makes of its questions: the questions are drawn anew, and it is made again."""
    random = np.random.default_rng(0)
    drawn = (random.integers(len(values), size=len(values)) for _ in range(BOOTSTRAP_DRAWS))
    return percentiles(np.array([float(aggregate([values[i] for i in places])) for places in drawn]))


def _counts(samples: Sequence[Sample], watch: Watch) -> dict[str, int]:
    """Of the questions of a task: answers cut at the token limit, empty answers, prompts that lost their start."""
    prompts = {s["doc_id"]: [prompt_hash(one[0]) for one in s["arguments"]] for s in samples}
    counts = {"shortened": sum(any(p in watch.shortened for p in told) for told in prompts.values())}
    if samples and isinstance(samples[0]["resps"][0][0], str):
        answers = {s["doc_id"]: s["resps"][0] for s in samples}
        empty = sum(not any(answer.strip() for answer in told) for told in answers.values())
        counts |= {"truncated": sum(p in watch.cut for told in prompts.values() for p in told), "empty": empty}
    return counts


def _task_key(name: str, run: Run) -> dict[str, Any]:
    samples, task = run.samples[name], run.loaded.tasks[name]
    # lm-eval names a prompt by what was sent; behind a chat template, by what was said in it.
    prompts = [run.messages.get(s["prompt_hash"], s["prompt_hash"]) for s in samples]
    generation = task.config.generation_kwargs if task.config.output_type == "generate_until" else None
    return {
        **run.key,
        "shots": run.result["n-shot"][name],
        "items": len({s["doc_id"] for s in samples}),
        "task_version": str(run.result["versions"][name]),
        "questions": _hash(s["doc_hash"] for s in samples),
        "prompts": _hash(prompts),
        **({"decoding": ", ".join(f"{k}={v}" for k, v in sorted(generation.items()))} if generation else {}),
    }


def _hash(texts: Any) -> str:
    """Of a set of hashes, whatever their order."""
    return f"sha256:{hashlib.sha256(' '.join(sorted(set(texts))).encode()).hexdigest()[:16]}"


def _group_of(name: str, loaded: Loaded) -> str | None:
    """The group asked for that this task or group is a part of, if that has a score of its own."""
    for asked in loaded.names:
        group = loaded.groups.get(asked)
        if asked != name and group and group.has_aggregation:
            inside = [t.task_name for t in group.get_all_tasks()] + [g.name for g in group.get_all_groups()]
            if name in inside:
                return asked
    return None


def _group_scores(name: str, run: Run, leaves: Mapping[str, list[Scored]]) -> list[Scored]:
    """A group's score as lm-eval weights it: by questions, or each task alike."""
    group = run.loaded.groups[name]
    if not group.has_aggregation:
        return []
    by_size = {one.metric: one.weight_by_size for one in group.aggregate_metric_list}
    values = _values(run.result["results"][name])
    out = []
    for (metric, filter_name), value in values.items():
        label = _label(metric, filter_name, [f for m, f in values if m == metric])
        names = {label, metric, f"{metric} {filter_name}"}
        parts = [o for t in group.get_all_tasks() for o in leaves[t.task_name] if o.score.metric in names]
        strata = [list(part.items.values()) for part in parts if part.items]
        if len(strata) == len(parts) and by_size[metric]:
            low, high = stratified(strata)
            items = {item: one for part in parts for item, one in part.items.items()}
        else:
            errors = [(part.score.high - part.score.low) / 2 / Z95 for part in parts]
            sizes = [part.score.n if by_size[metric] else 1 for part in parts]
            half = Z95 * math.hypot(*(e * n for e, n in zip(errors, sizes, strict=True))) / sum(sizes)
            low, high, items = value - half, value + half, {}
        score = Score("", name, label, value, low, high, sum(part.score.n for part in parts))
        counts = {what: sum(part.counts.get(what, 0) for part in parts) for part in parts for what in part.counts}
        out.append(Scored(score, _group_key(name, parts, run), items, _group_of(name, run.loaded), counts))
    return out


def _group_key(name: str, parts: Sequence[Scored], run: Run) -> dict[str, Any]:
    told = [part.key for part in parts]
    shots = list(dict.fromkeys(key["shots"] for key in told))
    decodings = dict.fromkeys(key["decoding"] for key in told if "decoding" in key)
    return {
        **run.key,
        "shots": shots[0] if len(shots) == 1 else ", ".join(map(str, shots)),
        "items": sum(key["items"] for key in told),
        "task_version": str(run.result["versions"][name]),
        "questions": _hash(key["questions"] for key in told),
        "prompts": _hash(key["prompts"] for key in told),
        **({"decoding": "; ".join(decodings)} if decodings else {}),
    }
