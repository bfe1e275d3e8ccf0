"""A model's answers to a question set, turn after turn, each durable when its question is done; and published ones as the same rows.

No answer holds a special token: one that the model drew without stopping, or spelled out, ends the answer in front of it
(known where the tokenizer is here) and is told by the status `special`.
"""

from collections import Counter, deque
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from zlib import crc32

import pyarrow as pa

from magpie_align.engines.protocol import Completion, Engine, Request, Sampling
from magpie_align.engines.stream import stream
from magpie_align.engines.template import Template
from magpie_align.errors import StageError
from magpie_align.evaluation.question_sets import Question, Record, answered, pack, unpack
from magpie_align.flow.table import Row, Table

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


@dataclass
class Answering:
    """Fills `table` with the answers to `questions`, as a step of a stream; a question's next turn goes ahead of new questions."""

    template: Template | None
    """How prompts are written; None where an endpoint takes messages and writes them itself."""
    questions: Sequence[Question]
    table: Table
    sampling: Sampling
    temperatures: Mapping[str, float]
    """Category -> temperature, where it is not that of `sampling`."""
    seed: int
    generator: str
    _flight: dict[int, list[Completion]] = field(default_factory=dict)
    _next: deque[int] = field(default_factory=deque)

    def requests(self) -> Iterator[Request | None]:
        fresh = self.table.missing()
        while True:
            index = self._next.popleft() if self._next else next(fresh, None)
            if index is not None:
                yield self._request(index, self._flight.setdefault(index, []))
            elif self._flight:
                yield None
            else:
                return

    def accept(self, done: Completion) -> None:
        index = int(str(done.key))
        turns, question = self._flight[index], self.questions[index]
        turns.append(self._clean(done))
        if done.finish != "error" and len(turns) < len(question.turns):
            self._next.append(index)
            return
        del self._flight[index]
        self.table.add(index, self._row(question, turns))

    def lose(self, key: Hashable) -> None:
        del self._flight[int(str(key))]

    def _request(self, index: int, before: Sequence[Completion]) -> Request:
        question = self.questions[index]
        chat = question.chat([done.text for done in before], len(before))
        heat = self.temperatures.get(question.category, self.sampling.temperature)
        draw = crc32(f"{self.seed}/{question.id}/{len(before)}".encode()) >> 1 if heat else None
        sampling = replace(self.sampling, temperature=heat, seed=draw)
        if self.template is None:
            return Request(index, messages=chat, sampling=sampling)
        ending = replace(sampling, stop_ids=self.template.stop_ids, stop=self.template.response_stop)
        return Request(index, self.template.response_prompt(chat), sampling=ending)

    def _clean(self, done: Completion) -> Completion:
        """The completion with its text as it is kept; `stop_reason` is `special` where a special token ends it."""
        text, special = done.text, False
        if self.template is not None:
            encoder = self.template.encoder
            whole = encoder.decode(done.token_ids) if done.token_ids else done.text
            if encoder.special_ids(whole):
                text, special = encoder.before_special(whole), True
        storable = text.encode("utf-8", "replace").decode().strip()
        return replace(done, text=storable, stop_reason="special" if special else None)

    def _row(self, question: Question, turns: list[Completion]) -> Row:
        # Behind an error no further turn is asked; those are errors too.
        turns = turns + [replace(turns[-1], token_ids=(), counted=0)] * (len(question.turns) - len(turns))
        return {
            "question_id": question.id,
            "question": pack(question),
            "answers": [done.text for done in turns],
            "statuses": [_status(done) for done in turns],
            "tokens": [done.tokens for done in turns],
            "generator": self.generator,
        }


def _status(done: Completion) -> str:
    if done.finish == "error":
        return f"error: {done.error}"
    if done.stop_reason == "special":
        return "special"
    if done.finish == "length":
        return "length"
    return "ok" if done.text else "empty"


def write_outputs(engine: Engine, step: Answering) -> Iterator[int]:
    """Ask for what is missing; yields the number of questions done."""
    for _ in stream(engine, [step]):
        yield step.table.done


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
