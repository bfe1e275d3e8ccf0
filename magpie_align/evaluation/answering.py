"""A model answers a question set, turn after turn; a question is durable when its last turn is answered.

No answer holds a special token: one that the model drew without stopping, or spelled out, ends the answer in front of it
(known where the tokenizer is here) and is told by the status `special`.
"""

from collections import deque
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from zlib import crc32

from magpie_align.engines.protocol import Completion, Engine, Request, Sampling
from magpie_align.engines.stream import stream
from magpie_align.engines.template import Template
from magpie_align.evaluation.question_sets import Question, pack
from magpie_align.flow.table import Row, Table


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
