"""Step 2 of Magpie: the instruction goes through the full chat template and a model answers (paper, section 2.1).

With more than one sample a row, these are the candidates for preference data (paper, section 2.3).
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field, replace

import pyarrow as pa

from magpie_align.engines.protocol import Completion, Engine, Request, Sampling
from magpie_align.engines.stream import TURN, stream
from magpie_align.engines.template import Template
from magpie_align.flow.table import Row, Table
from magpie_align.records import Message
from magpie_align.synthesis.instructions import Instructing, row_seed, stop_text
from magpie_align.synthesis.sanitise import sanitise, status

SCHEMA = pa.schema(
    [
        ("uuid", pa.string()),
        ("sample", pa.int64()),
        ("instruction", pa.string()),
        ("response", pa.string()),
        ("response_edits", pa.list_(pa.string())),
        ("response_status", pa.string()),
        ("response_stop", pa.string()),
        ("response_tokens", pa.int64()),
        ("response_length", pa.int64()),
        ("response_seed", pa.int64()),
        ("response_generator", pa.string()),
    ]
)

Wanted = tuple[int, Row]
"""Index of a row in the table of responses, and the instruction's row that it answers."""


@dataclass
class Answering:
    """Fills `table` with `samples` answers to each instruction, as a step of a stream.

    Table row `i` is sample `i % samples` of instruction `i // samples`. An instruction that failed is answered by a row of
    status `no instruction`, so that rows keep their places and nothing is lost from the count.
    """

    template: Template | None
    """How prompts are written; None where an endpoint takes messages and writes them itself."""
    table: Table
    samples: int
    seed: int
    sampling: Sampling
    generator: str
    backlog: Iterator[Wanted]
    """What is wanted from the beginning."""
    more_to_come: Callable[[], bool] = lambda: False
    """Whether another step may still offer instructions."""
    _offered: deque[Wanted] = field(default_factory=deque)
    _flight: dict[int, Row] = field(default_factory=dict)

    def offer(self, number: int, row: Row) -> None:
        """Want the answers to instruction `number`, which has just been written."""
        self._offered.extend(unanswered(self.table, number, row, self.samples))

    def requests(self) -> Iterator[Request | None]:
        while True:
            wanted = self._offered.popleft() if self._offered else next(self.backlog, None)
            if wanted is None:
                if not self.more_to_come():
                    return
                yield None
                continue
            index, row = wanted
            if row.get("instruction_status", "ok") != "ok":
                self.table.add(index, self._none(row, index))
                continue
            self._flight[index] = row
            yield self._request(row, index)

    def _request(self, row: Row, index: int) -> Request:
        chat, template = (Message("user", row["instruction"]),), self.template
        sampling = replace(self.sampling, seed=self._draw(row, index))
        if template is None:
            return Request(index, messages=chat, sampling=sampling)
        ending = replace(sampling, stop_ids=template.stop_ids, stop=template.response_stop)
        return Request(index, template.response_prompt(chat), sampling=ending)

    def accept(self, done: Completion) -> None:
        index = int(str(done.key))
        source = self._flight.pop(index)
        self.table.add(index, self._row(source, index, done, self._draw(source, index)))

    def lose(self, key: Hashable) -> None:
        del self._flight[int(str(key))]

    def _draw(self, row: Row, index: int) -> int:
        return row_seed(self.seed, row["uuid"], index % self.samples)

    def _none(self, source: Row, index: int) -> Row:
        """The row of an instruction that is none."""
        return self._row(source, index, Completion(index, ""), None) | {"response_status": "no instruction"}

    def _row(self, source: Row, index: int, done: Completion, draw: int | None) -> Row:
        clean = sanitise(done.text)
        return {
            "uuid": source["uuid"],
            "sample": index % self.samples,
            "instruction": source["instruction"],
            "response": clean.text,
            "response_edits": list(clean.edits),
            "response_status": status(done, clean.text),
            "response_stop": stop_text(done, self.template),
            "response_tokens": done.tokens,
            "response_length": len(clean.text),
            "response_seed": draw,
            "response_generator": self.generator,
        }


def unanswered(table: Table, number: int, row: Row, samples: int) -> Iterator[Wanted]:
    """Which answers to instruction `number` the table still lacks."""
    places = range(number * samples, (number + 1) * samples)
    return ((index, row) for index in places if not table.has(index))


def write_responses(engine: Engine, step: Answering) -> Iterator[int]:
    """Run step 2 alone; yields the number of rows done, as it grows."""
    for _ in stream(engine, [step]):
        yield step.table.done


def write_both(engine: Engine, asking: Instructing, answering: Answering, turn: int = TURN) -> Iterator[None]:
    """Run both steps at once, in turns of `turn` requests; yields after every completion.

    What an earlier run wrote and did not answer is answered first.
    """
    written: Iterable[Wanted] = asking.table.finished()
    samples, table = answering.samples, answering.table
    answering.backlog = (w for number, row in written for w in unanswered(table, number, row, samples))
    asking.then, answering.more_to_come = answering.offer, lambda: not asking.ended
    yield from stream(engine, [asking, answering], turn)
