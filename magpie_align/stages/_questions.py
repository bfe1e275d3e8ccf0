"""What the stages that make and judge answers share: reading question sets, and saying what became of the answers."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from magpie_align.errors import StageError
from magpie_align.flow.stage import Context

if TYPE_CHECKING:
    from magpie_align.evaluation.outputs import Output
    from magpie_align.evaluation.question_sets import Question

DESCRIPTION = "outputs.json"
"""Beside the rows: generator, decoding, and the names by which question set and answers are known."""


def read_records(
    ctx: Context, source: str, config: str | None = None, split: str | None = None, files: str | None = None
) -> list[dict[str, Any]]:
    """All rows of published files. Raises StageError at one that cannot be read."""
    from magpie_align.curation.files import Refusal, data_files, read_file

    records: list[dict[str, Any]] = []
    for file in data_files(ctx.path(source), config, split, files):
        for row in read_file(file):
            if isinstance(row, Refusal):
                raise StageError(str(row))
            records.append(row)
    return records


def read_questions(
    ctx: Context,
    source: str,
    config: str | None,
    split: str | None,
    files: str | None,
    category: str | None,
    limit: int | None,
) -> "list[Question]":
    """The questions wanted, in the order of the set. Raises StageError where there are none, or two of one id."""
    from magpie_align.evaluation.question_sets import question

    records = read_records(ctx, source, config, split, files)
    return _wanted([question(record, number, source) for number, record in enumerate(records)], source, category, limit)


def benchmark_questions(folder: Path, tasks: list[str], category: str | None, limit: int | None) -> "list[Question]":
    """The items of a recipe's own benchmark, as questions; their category is the task."""
    from magpie_align.evaluation.items import task_items
    from magpie_align.evaluation.question_sets import Question

    items = task_items(dict.fromkeys(tasks), folder)
    questions = [Question(f"{item.task}/{item.item}", (item.text,), category=item.task) for item in items]
    return _wanted(questions, str(folder), category, limit)


def _wanted(questions: "list[Question]", source: str, category: str | None, limit: int | None) -> "list[Question]":
    known = sorted({one.category for one in questions})
    questions = [one for one in questions if category in (None, one.category)][:limit]
    if not questions:
        which = f" of the category '{category}'; it has: {', '.join(known) or 'none'}" if category else ""
        raise StageError(f"{source} holds no question{which}")
    twice = [name for name, count in Counter(one.id for one in questions).items() if count > 1]
    if twice:
        raise StageError(f"{source} has several questions of the id '{twice[0]}'; give one split of one question set")
    return questions


def read_outputs(ctx: Context, ref: str) -> "tuple[list[Output], dict[str, Any]]":
    """The answers of a stage `outputs` or `published_outputs`, and what it says about them. Raises StageError for others."""
    from magpie_align.evaluation.outputs import Output
    from magpie_align.flow.table import read_rows

    folder = ctx.path(ref)
    if not (folder / DESCRIPTION).is_file():
        raise StageError(f"'{ref}' holds no answers to a question set; name a stage `outputs` or `published_outputs`")
    return [Output.of(row) for row in read_rows(folder)], json.loads((folder / DESCRIPTION).read_text())


def sum_up(ctx: Context, decoding: dict[str, Any], max_errors: float) -> None:
    """Count how the answers ended, describe them, and export AlpacaEval's form. Raises StageError for too many errors."""
    from magpie_align.evaluation.alpaca_eval import write_records
    from magpie_align.evaluation.leaderboard import question_set_hash
    from magpie_align.evaluation.outputs import Output, model_outputs
    from magpie_align.flow.table import read_rows

    outputs = [Output.of(row) for row in read_rows(ctx.out)]
    found = Counter(status.split(":")[0] for output in outputs for status in output.statuses)
    errors = [status for output in outputs for status in output.statuses if status.startswith("error")]
    if len(errors) > max_errors * len(outputs):
        raise StageError(
            f"{len(errors)} of {len(outputs)} questions have no answer, more than max_errors {max_errors:g} allows; the first: "
            f"{errors[0]}"
        )
    described = {
        "generator": outputs[0].generator,
        "decoding": decoding,
        "questions": question_set_hash(output.question.text for output in outputs),
        "answers": question_set_hash("\n".join((output.question.id, *output.answers)) for output in outputs),
    }
    (ctx.out / DESCRIPTION).write_text(json.dumps(described, indent=1) + "\n")
    if all(len(output.question.turns) == 1 and not output.question.history for output in outputs):
        write_records(model_outputs(outputs), ctx.out / "model_outputs.json")
    length = sum(len(answer) for output in outputs for answer in output.answers) / max(1, found.total())
    ctx.note(questions=len(outputs), **found, mean_length=round(length, 1))
