"""Answers to a question set, as rows: those that a model gives (see `answering`) and those that others published."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from magpie_align.errors import StageError
from magpie_align.evaluation.question_sets import Question, Record, answered, pack, unpack
from magpie_align.flow.table import Row

SCHEMA = pa.schema(
    [
        ("question_id", pa.string()),
        ("question", pa.string()),
        ("answers", pa.list_(pa.string())),
        ("statuses", pa.list_(pa.string())),
        ("tokens", pa.list_(pa.int64())),
        ("generator", pa.string()),
    ]
)
"""`question` is packed JSON. A turn's status: `ok`, `empty`, `length` (cut at the token limit), `special`, `error: ...`,
`published` (nothing is known of how it ended)."""


@dataclass(frozen=True, slots=True)
class Output:
    """The answers of one model to one question, one a turn."""

    question: Question
    answers: tuple[str, ...]
    statuses: tuple[str, ...]
    tokens: tuple[int, ...]
    generator: str

    @classmethod
    def of(cls, row: Row) -> "Output":
        """From a row of `SCHEMA`."""
        answers, statuses, tokens = (tuple(row[name] or ()) for name in ("answers", "statuses", "tokens"))
        return cls(unpack(row["question"]), answers, statuses, tokens, row["generator"])

    @property
    def cut(self) -> bool:
        """Whether the last answer was cut at the token limit."""
        return self.statuses[-1] == "length"


def published(records: Sequence[Record], questions: Sequence[Question], where: str) -> tuple[list[Row], str]:
    """Rows of published answers in the order of `questions`, and whose they are.

    Raises StageError where a question has no answer or two, or the records are of several models.
    """
    found = [answered(record, number, where) for number, record in enumerate(records)]
    generators = sorted({generator for _, _, generator in found})
    if len(generators) != 1:
        raise StageError(f"{where} holds answers of {len(generators)} models ({', '.join(generators[:3])}); give one's")
    counts = Counter(which for which, _, _ in found)
    twice = next((which for which, count in counts.items() if count > 1), None)
    if twice is not None:
        raise StageError(f"{where} answers the question {twice[:40]!r} {counts[twice]} times; give one answer each")
    answers = {which: texts for which, texts, _ in found}
    rows = []
    for question in questions:
        texts = answers.get(question.id, answers.get(question.turns[0]))
        if texts is None or len(texts) < len(question.turns):
            raise StageError(f"{where} has no answer to every turn of question {question.id} ({question.text[:40]!r})")
        rows.append(
            {
                "question_id": question.id,
                "question": pack(question),
                "answers": texts,
                "statuses": ["published" if text else "empty" for text in texts],
                "tokens": [0] * len(texts),
                "generator": generators[0],
            }
        )
    return rows, generators[0]


def model_outputs(outputs: Sequence[Output]) -> list[dict[str, str]]:
    """The official `model_outputs.json` of AlpacaEval, of questions of one turn."""
    return [
        {
            "dataset": output.question.category,
            "instruction": output.question.turns[0],
            "output": output.answers[0],
            "generator": output.generator,
        }
        for output in outputs
    ]


def pair_up(outputs: Sequence[Output], baseline: Sequence[Output]) -> list[tuple[Output, Output]]:
    """(model, baseline) by question. Raises StageError where they do not answer the same questions."""
    theirs = {output.question.id: output for output in baseline}
    for output in outputs:
        other = theirs.get(output.question.id)
        if other is None or other.question.text != output.question.text:
            raise StageError(
                f"the baseline {baseline[0].generator if baseline else '(empty)'} does not answer question "
                f"{output.question.id} ({output.question.text[:40]!r}) of {output.generator}; make both from one question set"
            )
    return [(output, theirs[output.question.id]) for output in outputs]
