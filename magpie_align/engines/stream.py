"""Steps that share one running batch: a completion of one may at once become a request of the next, and nothing drains between.

A step hands out requests and takes their completions. Where several share an engine they take long turns: a step goes on for
`TURN` requests, then a later one answers what waits, and as one's last completions come in, the other's first are already running.
Turns keep the batch of one kind: a single sampled request makes an engine prepare random draws for the whole batch, greedy
answers included, which costs about a tenth of the rows a second where steps are mixed throughout (`benchmarks/synthesis.py --turn 1`).
"""

import sys
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol, cast

from magpie_align.engines.protocol import Completion, Engine, Request
from magpie_align.errors import StageError

HOPELESS = 100
"""So many failures in a row end the stage at once."""
TURN = 4096
"""Requests that a step may go on for while another waits; so many rows of it, and those running, wait in memory at most."""


class Step(Protocol):
    """One kind of completion wanted of an engine."""

    def requests(self) -> Iterator[Request | None]:
        """All its requests, lazily; None while there is none, for it waits for completions of another step."""
        ...

    def accept(self, done: Completion) -> None:
        """Take the completion of one of them; what it makes is durable when this returns."""
        ...

    def lose(self, key: Hashable) -> None:
        """A request failed for now: its row stays missing."""
        ...


def stream(engine: Engine, steps: Sequence[Step], turn: int = TURN) -> Iterator[None]:
    """Run the steps, later ones feeding on earlier ones, until all have ended; yields after every completion.

    What failed for now is not accepted, so that it is still missing when the stage runs again. Raises StageError at the end if
    there is any, or at once where nothing else comes.
    """
    lost, streak = Counter[str](), 0
    for done in engine.generate(_pull([step.requests() for step in steps], turn)):
        number, key = cast(tuple[int, Hashable], done.key)
        if done.passing:
            steps[number].lose(key)
            print(f"request {done.key} failed for now: {done.error}", file=sys.stderr)
            lost[str(done.error)] += 1
            streak += 1
            if streak == HOPELESS:
                break
            continue
        streak = 0
        steps[number].accept(replace(done, key=key))
        yield
    if lost:
        ((reason, _),) = lost.most_common(1)
        raise StageError(
            f"{lost.total()} requests failed, most often: {reason}; all others are kept, run again to try these again"
        )


def _pull(sources: list[Iterator[Request | None]], turn: int) -> Iterator[Request | None]:
    """Requests of all sources with their source's number in the key: the last that has one begins, and keeps its turn."""
    live, at, taken = dict(enumerate(sources)), len(sources) - 1, 0
    while live:
        for number in sorted(live, key=lambda n: (n == at and taken < turn, n), reverse=True):
            try:
                request = next(live[number])
            except StopIteration:
                del live[number]
                continue
            if request is not None:
                at, taken = number, taken + 1 if number == at else 1
                yield replace(request, key=(number, request.key))
                break
        else:
            if live:
                yield None
