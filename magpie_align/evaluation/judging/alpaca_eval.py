"""AlpacaEval 2: one verdict a question, or one from each seat; weighted by the judge's probabilities where it gives them.

Seats are drawn by question, or both are taken (`both`), and then the preference is the mean of the two; where one of them
failed there is none. Equal answers are a draw without asking, as officially.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from magpie_align.errors import StageError
from magpie_align.evaluation.alpaca_eval import annotate, win_rate
from magpie_align.evaluation.intervals import interval
from magpie_align.evaluation.judging.cases import Case, Key, Verdict, Verdicts, pair, seatings, sits_first
from magpie_align.evaluation.judging.result import Judged, scored
from magpie_align.evaluation.judging.settings import Seats
from magpie_align.evaluation.length_control import Calibration, length_controlled, read_calibration
from magpie_align.evaluation.outputs import Output
from magpie_align.flow.store import content_fingerprint

Pairs = Sequence[tuple[Output, Output]]


def cases(pairs: Pairs, seats: Seats, repeats: int) -> list[Case]:
    """What to ask."""
    return [
        pair(model, baseline, first=sits_first(model.question, part), part=part, repeat=repeat)
        for repeat in range(repeats)
        for model, baseline in pairs
        if model.answers != baseline.answers
        for part in seatings(seats)
    ]


def score(
    pairs: Pairs,
    verdicts: Verdicts,
    seats: Seats,
    annotator: str,
    key: Mapping[str, Any],
    counts: Mapping[str, int],
    calibration: tuple[Calibration, str] | None = None,
) -> Judged:
    """Win rate, and with a calibration the length-controlled one, as shares. Raises StageError where nothing is preferred."""
    annotations = [_annotation(model, baseline, verdicts, seats, annotator) for model, baseline in pairs]
    found = win_rate(annotations)
    wins = {
        model.question.id: a["preference"] - 1
        for (model, _), a in zip(pairs, annotations, strict=True)
        if a["preference"] is not None
    }
    mean, low, high = interval(list(wins.values()))
    out = [scored("alpaca_eval", "win_rate", mean, low, high, len(wins), key, wins, counts)]
    notes = {
        name: round(getattr(found, name), 4)
        for name in ("win_rate", "standard_error", "n_wins", "n_wins_base", "n_draws", "discrete_win_rate")
    }
    if calibration is not None:
        placed = [  # the calibration knows instructions by their place
            a | {"index": int(model.question.id)} for (model, _), a in zip(pairs, annotations, strict=True)
        ]
        held, known_as = calibration
        lc = length_controlled(placed, held)
        value = scored(
            "alpaca_eval",
            "lc_win_rate",
            lc.win_rate / 100,
            lc.low / 100,
            lc.high / 100,
            len(wins),
            {**key, "calibration": known_as},
            None,
            counts,
        )
        out = [value, *out]
        notes |= {"lc_win_rate": round(lc.win_rate, 4), "lc_standard_error": round(lc.standard_error, 4)}
    same = sum(model.answers == baseline.answers for model, baseline in pairs)
    notes |= {"same_answers": same, "without_preference": len(found.failed)}
    return Judged(tuple(out), found.win_rate, notes, {"annotations.json": annotations})


def calibration_of(path: Path) -> tuple[Calibration, str]:
    """The calibration and what it is known by, from the file or a folder that holds `df_gamed.csv`."""
    file = path / "df_gamed.csv" if path.is_dir() else path
    if not file.is_file():
        raise StageError(f"{path} holds no df_gamed.csv; name AlpacaEval's calibration file")
    return read_calibration(file), content_fingerprint(file)


def _annotation(model: Output, baseline: Output, verdicts: Verdicts, seats: Seats, annotator: str) -> dict[str, Any]:
    question = model.question
    common = {"instruction": question.text, "dataset": question.category}
    theirs, ours = (common | {"output": o.answers[-1], "generator": o.generator} for o in (baseline, model))
    if model.answers == baseline.answers:
        return annotate(theirs, ours, annotator, 1.5)
    parts = seatings(seats)
    said = [verdicts.get(Key(question.id, part, 0), Verdict(None)) for part in parts]
    shares = [
        None if verdict.value is None else verdict.value if sits_first(question, part) else 1 - verdict.value
        for part, verdict in zip(parts, said, strict=True)
    ]
    known = [share for share in shares if share is not None]
    preference = 1 + sum(known) / len(known) if len(known) == len(parts) else None
    return annotate(theirs, ours, annotator, preference) | {"raw_completion": [verdict.text for verdict in said]}
