"""How far a run is and how long the rest may take: from what stages were predicted to take, corrected by what they took."""

import heapq
import time
from collections.abc import Mapping
from statistics import median
from typing import Any

from magpie_align.flow.graph import Node


class Outlook:
    """Told of every event of a run. `expected` is stage -> seconds of its work; a stage that is not in it is taken for short.

    A prediction leaves out what every stage takes beside its work, such as starting a process and loading a model. That is
    learnt from the stages that have finished: the median of what they took above what was predicted.
    """

    def __init__(self, nodes: list[Node], expected: Mapping[str, float], jobs: int) -> None:
        self._nodes, self._expected, self._jobs = nodes, expected, jobs
        self._began = time.monotonic()
        self._done: set[str] = set()
        self._took: dict[str, float] = {}
        self._running: dict[str, tuple[float, float | None]] = {}  # when it began; seconds that it says are left

    def skip(self, node: Node) -> None:
        self._done.add(node.name)

    def start(self, node: Node) -> None:
        self._running[node.name] = (time.monotonic(), None)

    def update(self, node: Node, state: dict[str, Any] | None) -> None:
        if state and state["total"] and state["rate"] > 0:
            began, _ = self._running[node.name]
            self._running[node.name] = (began, (state["total"] - state["done"]) / state["rate"])

    def finish(self, node: Node, seconds: float) -> None:
        self._running.pop(node.name, None)
        self._done.add(node.name)
        self._took[node.name] = seconds

    def fail(self, node: Node) -> None:
        self._running.pop(node.name, None)

    def count(self) -> str:
        """`7 of 31 stages`"""
        return f"{len(self._done)} of {len(self._nodes)} stages"

    @property
    def done(self) -> bool:
        return len(self._done) == len(self._nodes)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._began

    def left(self) -> float | None:
        """Seconds until all is made, `jobs` stages at a time; None before any stage has told how far predictions are off."""
        if not self._took:
            return None
        beside = max(0.0, median(took - self._expected.get(name, 0.0) for name, took in self._took.items()))
        now = time.monotonic()
        ends: dict[str, float] = dict.fromkeys(self._done, 0.0)
        for name, (began, said) in self._running.items():
            rest = self._expected.get(name, 0.0) + beside - (now - began) if said is None else said
            ends[name] = max(0.0, rest)
        return self._whole(ends, beside)

    def _whole(self, ends: dict[str, float], beside: float) -> float:
        """When the last stage ends, if each that waits begins as soon as its inputs are there and a place is free."""
        places = [ends[name] for name in self._running]
        places += [0.0] * (self._jobs - len(places))
        heapq.heapify(places)
        for node in (node for node in self._nodes if node.name not in ends):  # inputs come before what needs them
            ready = max((ends.get(parent.name, 0.0) for parent in node.inputs.values()), default=0.0)
            ends[node.name] = max(heapq.heappop(places), ready) + self._expected.get(node.name, 0.0) + beside
            heapq.heappush(places, ends[node.name])
        return max(ends.values(), default=0.0)
