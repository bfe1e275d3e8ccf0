"""Arena-Hard: two games a question with swapped seats, the baseline in seat A first; Bradley-Terry against the baseline."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from magpie_align.evaluation.arena_hard import VERDICTS, battles
from magpie_align.evaluation.arena_hard import score as bradley_terry
from magpie_align.evaluation.intervals import interval
from magpie_align.evaluation.judging.alpaca_eval import Pairs
from magpie_align.evaluation.judging.cases import Case, Key, Verdict, Verdicts, pair
from magpie_align.evaluation.judging.result import Judged, scored
from magpie_align.evaluation.outputs import Output
from magpie_align.evaluation.style_control import Control, style, style_controlled

_TOKEN = re.compile(r"\w+|[^\w\s]")


def cases(pairs: Pairs, repeats: int) -> list[Case]:
    """What to ask: game 1 has the baseline in seat A, game 2 the model."""
    return [
        pair(model, baseline, first=game == 2, part=game, repeat=repeat)
        for repeat in range(repeats)
        for model, baseline in pairs
        for game in (1, 2)
    ]


def score(
    pairs: Pairs,
    verdicts: Verdicts,
    judge: str,
    key: Mapping[str, Any],
    counts: Mapping[str, int],
    *,
    weight: int,
    drop: Literal["game", "question"],
    style_control: Sequence[Control] = (),
) -> Judged:
    """The chance to win against the baseline, as a share; `style_control` adds it with these features held equal.

    `win_rate` is the plain mean of the games, decisive ones counted once: what two runs can be compared on by question.
    """
    judgments = [_judgment(model, verdicts, judge) for model, _ in pairs]
    games, failed = battles(judgments, weight=weight, drop=drop)
    model, baseline = pairs[0][0].generator, pairs[0][1].generator
    found = bradley_terry(games)[model]
    out = [_share("score", found.score, found.low, found.high, found.n_questions, key, counts)]
    outcomes: dict[str, list[float]] = defaultdict(list)
    for game in games:
        outcomes[game.question].append(game.outcome)
    items = {question: sum(values) / len(values) for question, values in outcomes.items()}
    out.append(scored("arena_hard", "win_rate", *interval(list(items.values())), len(items), key, items, counts))
    if style_control:
        styles = {(o.generator, o.question.id): _style(o) for both in pairs for o in both}
        controlled = style_controlled(games, styles, baseline, control=style_control, centre=False)
        one = controlled.scores[model]
        features = {"style_control": "+".join(style_control), "style_tokens": "words and marks"}
        out.append(
            _share("style_controlled", one.score, one.low, one.high, one.n_questions, {**key, **features}, counts)
        )
    notes = {"score": round(found.score, 4), "games": len(games), "failed_games": len(failed)}
    return Judged(tuple(out), found.score, notes, {"model_judgment.jsonl": judgments})


def _share(
    metric: str, value: float, low: float, high: float, n: int, key: Mapping[str, Any], counts: Mapping[str, int]
) -> Any:
    return scored("arena_hard", metric, value / 100, low / 100, high / 100, n, key, None, counts)


def _style(output: Output) -> Any:
    return style(output.answers[-1], len(_TOKEN.findall(output.answers[-1])))


def _judgment(model: Output, verdicts: Verdicts, judge: str) -> dict[str, Any]:
    """The official record; a game without a verdict has none there."""
    said = [verdicts.get(Key(model.question.id, game, 0), Verdict(None)) for game in (1, 2)]
    games = [{"score": _written(verdict), "judgment": {"answer": verdict.text}} for verdict in said]
    return {"uid": model.question.id, "model": model.generator, "judge": judge, "games": games}


def _written(verdict: Verdict) -> str | None:
    """A verdict in Arena-Hard's words; a weighted one by the side that it leans to."""
    if verdict.value is None:
        return None
    share = 0.5 if verdict.value == 0.5 else float(verdict.value > 0.5)
    return next(word for word, meant in VERDICTS.items() if meant == (share, verdict.decisive and share != 0.5))
