"""Sharded synthesis on paper: 4M to 1B rows on 8 to 1,024 GPUs, with stragglers, node failures and requeues. Seconds to run.

    python benchmarks/scaling.py                  # Llama-3-8B-Instruct, a GPU a copy, H100
    python benchmarks/scaling.py --model meta-llama/Meta-Llama-3-70B-Instruct --spread 4
    python benchmarks/scaling.py --rows-per-second 31.5      # of one copy, where you have measured it

A discrete-event simulation, the same for the same seed. A shard is a task of a job array: it starts an engine, makes its chunks,
and ends; a free copy takes the next one. A node that fails kills the copies on it. What they had in flight is lost, finished rows
are not (they lie in the journals of `flow/table.py`), and after the requeue each goes on with its shard. Rates of rows come from
the plan's roofline and references. The last line is one JSON object of the 1B rows on 1,024 GPUs.
"""

import argparse
import heapq
import json
import random
from collections import deque
from dataclasses import dataclass, replace

from magpie_align.flow.progress import INTERVAL, SHARD_INTERVAL
from magpie_align.flow.table import chunk_rows
from magpie_align.pricing.facts import lengths
from magpie_align.pricing.references import generation_share
from magpie_align.pricing.resources import devices
from magpie_align.pricing.roofline import streaming_seconds
from magpie_align.pricing.shapes import config_of, shape_of
from magpie_align.pricing.span import brief
from magpie_align.pricing.work import FRAME

ROWS = (4_000_000, 100_000_000, 1_000_000_000)
BATCH = 256
"""Requests in flight on a copy."""
FAILURES = 419 / (54 * 24 * 16384)
"""Of a GPU an hour: 419 unexpected interruptions of 16,384 H100 in 54 days (Llama 3 report, arXiv 2407.21783, section 3.3.4)."""
METADATA = 6
"""Operations on the file system that a chunk costs: its journal made, read, removed; its part made, synced, renamed."""


@dataclass(frozen=True)
class Cluster:
    """`spread` GPUs hold one copy of the model, which makes `rate` rows a second once its engine has started."""

    gpus: int
    spread: int
    rate: float
    start: float = 120.0
    """Seconds until an engine makes its first row: weights read, kernels compiled, graphs captured."""
    requeue: float = 600.0
    """Seconds from a node's failure until its tasks run again on a spare one."""
    node: int = 8
    failures: float = FAILURES
    jitter: float = 0.05
    """Spread of the copies' speeds, as the deviation of its logarithm."""
    slow: float = 0.02
    """Share of copies at two thirds of the speed, for as long as nobody notices."""
    journals: bool = True
    """Finished rows outlive a kill; else whole chunks alone."""
    keep: bool = False
    """An engine goes on from shard to shard; else each shard starts one."""

    @property
    def copies(self) -> int:
        return self.gpus // self.spread

    @property
    def per_node(self) -> int:
        return max(1, self.node // self.spread)


@dataclass
class Outcome:
    """Hours by the clock, and GPU-hours by what they went to; `idle` has what slow copies took too long."""

    hours: float
    useful: float
    starting: float
    lost: float
    down: float
    idle: float
    failures: int

    def percent(self, what: str) -> float:
        whole = self.useful + self.starting + self.lost + self.down + self.idle
        return 100 * float(getattr(self, what)) / whole


@dataclass
class _Copy:
    number: int
    speed: float
    left: float = 0.0
    """Rows of its shard that were not made when it last began."""
    began: float = 0.0
    """When it makes rows: once its engine has started."""
    planned: int = 0
    """Goes up when the end that was planned for it no longer holds."""
    busy: bool = False


class Run:
    """One run of `rows` rows in `shards` shards of whole chunks; the same for the same seed."""

    def __init__(self, rows: int, shards: int, cluster: Cluster, seed: int = 0) -> None:
        self._draw, self._chunk, self._cluster, self._rows = random.Random(seed), chunk_rows(rows), cluster, rows
        total = -(-rows // self._chunk)
        ends = [min(rows, (k + 1) * total // shards * self._chunk) for k in range(shards)]
        self._waiting = deque(end - begin for begin, end in zip([0, *ends], ends, strict=False) if end > begin)
        self._copies = [_Copy(number, cluster.rate * self._speed()) for number in range(cluster.copies)]
        self._events: list[tuple[float, int, int]] = []
        """When, what was planned (-1 for a failure), and the number of the copy or node."""
        self._failed, self._busy = 0, 0
        self._spent = dict.fromkeys(("starting", "lost", "down"), 0.0)
        self._rate = cluster.failures / 3600 * min(cluster.node, cluster.gpus)

    def outcome(self) -> Outcome:
        """What happens until the last row is made."""
        now = 0.0
        for copy in self._copies:
            self._take(copy, now, self._cluster.start)
        for node in range(-(-len(self._copies) // self._cluster.per_node)):
            self._fail_after(node, now)
        while self._busy:
            now, planned, number = heapq.heappop(self._events)
            if planned < 0:
                self._fail(number, now)
            elif planned == self._copies[number].planned:
                self._busy -= 1
                self._take(self._copies[number], now, 0.0 if self._cluster.keep else self._cluster.start)
        return self._summed(now / 3600)

    def _summed(self, hours: float) -> Outcome:
        spent = {what: seconds * self._cluster.spread / 3600 for what, seconds in self._spent.items()}
        useful = self._rows / self._cluster.rate * self._cluster.spread / 3600
        idle = self._cluster.gpus * hours - useful - sum(spent.values())
        return Outcome(hours, useful, spent["starting"], spent["lost"], spent["down"], idle, self._failed)

    def _speed(self) -> float:
        usual = self._draw.lognormvariate(-(self._cluster.jitter**2) / 2, self._cluster.jitter)
        return usual * (2 / 3 if self._draw.random() < self._cluster.slow else 1)

    def _take(self, copy: _Copy, now: float, start: float) -> None:
        """The next shard, if one is left."""
        copy.busy = bool(self._waiting)
        if copy.busy:
            self._busy += 1
            copy.left = float(self._waiting.popleft())
            self._begin(copy, now, start)

    def _begin(self, copy: _Copy, now: float, start: float) -> None:
        self._spent["starting"] += start
        copy.began, copy.planned = now + start, copy.planned + 1
        heapq.heappush(self._events, (copy.began + copy.left / copy.speed, copy.planned, copy.number))

    def _fail_after(self, node: int, now: float) -> None:
        if self._rate:
            heapq.heappush(self._events, (now + self._draw.expovariate(self._rate), -1, node))

    def _fail(self, node: int, now: float) -> None:
        """Its copies lose what was not durable, and begin again once they are requeued."""
        self._failed += 1
        per = self._cluster.per_node
        for copy in self._copies[node * per : (node + 1) * per]:
            if copy.busy:
                self._lose(copy, now)
                self._spent["down"] += self._cluster.requeue
                self._begin(copy, now + self._cluster.requeue, self._cluster.start)
        self._fail_after(node, now + self._cluster.requeue)

    def _lose(self, copy: _Copy, now: float) -> None:
        """Every finished row is durable, or whole chunks alone; of those in flight half was done on average."""
        if now < copy.began:
            self._spent["starting"] -= copy.began - now
            return
        made = min(copy.left, (now - copy.began) * copy.speed)
        kept = max(0.0, made - BATCH / 2) if self._cluster.journals else made // self._chunk * self._chunk
        self._spent["lost"] += (made - kept) / copy.speed
        copy.left -= kept


def simulate(rows: int, shards: int, cluster: Cluster, seed: int = 0) -> Outcome:
    return Run(rows, shards, cluster, seed).outcome()


def rows_per_second(model: str, kind: str, spread: int) -> float:
    """Of one copy, both steps of synthesis in one stream, by the plan's roofline and references."""
    shape, known = shape_of(config_of(model)), lengths(model)
    if shape is None or known is None:
        raise SystemExit(f"of {model} no shape or no mean length is known; give --rows-per-second")
    asked, said = known[0], known[1].high
    steps = ((FRAME / 2, asked), (asked + FRAME, said))
    ideal = sum(streaming_seconds(shape, devices()[kind], spread, 1, prompt, new, BATCH) for prompt, new in steps)
    return generation_share(kind, spread) / ideal


def best(rows: int, cluster: Cluster) -> tuple[int, Outcome]:
    """The number of shards with which it ends first: 1 to 64 a copy, never more than chunks."""
    chunks = -(-rows // chunk_rows(rows))
    tried = {min(each * cluster.copies, chunks) for each in (1, 2, 4, 8, 16, 32, 64)}
    return min(((shards, simulate(rows, shards, cluster)) for shards in sorted(tried)), key=lambda one: one[1].hours)


def table(title: str, headings: list[str], lines: list[list[str]]) -> None:
    print(f"\n{title}\n\n| {' | '.join(headings)} |\n|{'---:|' * len(headings)}")
    for line in lines:
        print(f"| {' | '.join(line)} |")


def sizes(clusters: list[Cluster]) -> None:
    """An engine for each shard, and one that goes on from shard to shard."""
    lines = []
    for rows in ROWS:
        for cluster in clusters:
            (shards, out), (_, kept) = best(rows, cluster), best(rows, replace(cluster, keep=True))
            efficiency = [f"{one.percent('useful'):.0f}%" for one in (out, kept)]
            rates = [f"{cluster.copies * cluster.rate:,.0f}", f"{out.failures:,}"]
            lines.append([brief(rows), f"{cluster.gpus:,}", f"{shards:,}", f"{out.hours:,.1f}", *efficiency, *rates])
    headings = ["rows", "GPUs", "shards", "hours", "efficiency", "engines kept", "rows a second", "nodes failed"]
    table("## Sizes", headings, lines)


def shards_a_copy(cluster: Cluster) -> None:
    """Where the time goes, by the number of shards a copy."""
    lines = []
    for rows in ROWS:
        for each in (1, 4, 16, 64):
            if each * cluster.copies <= -(-rows // chunk_rows(rows)):
                out = simulate(rows, each * cluster.copies, cluster)
                parts = [f"{out.percent(what):.2f}%" for what in ("useful", "starting", "down", "lost", "idle")]
                lines.append([brief(rows), str(each), f"{out.hours:,.1f}", *parts])
    headings = ["rows", "shards a copy", "hours", "useful", "starting", "requeued", "lost", "slow or idle"]
    table(f"## Where the time goes on {cluster.gpus:,} GPUs", headings, lines)


def weather(cluster: Cluster, rows: int = 1_000_000_000) -> None:
    """As failures become frequent, as on preemptible machines; rows durable one by one, against whole chunks."""
    shards, lines = 8 * cluster.copies, []
    for times in (1, 10, 100, 1000):
        one = replace(cluster, failures=FAILURES * times)
        out, chunks = (simulate(rows, shards, replace(one, journals=kept)) for kept in (True, False))
        lost = [f"{run.lost:.2f}" for run in (out, chunks)]
        lines.append([str(times), f"{out.failures:,}", f"{out.hours:.1f}", f"{out.percent('useful'):.0f}%", *lost])
    headings = ["failures x", "nodes failed", "hours", "efficiency", "GPU-hours lost", "lost if only chunks were kept"]
    table(f"## Failures, {brief(rows)} rows on {cluster.gpus:,} GPUs in {shards:,} shards", headings, lines)


def files(cluster: Cluster) -> None:
    """What the file system sees, with the chunks of 1,000 rows and with those of the rule."""
    lines = []
    for rows in ROWS:
        hours = best(rows, cluster)[1].hours
        for chunk in dict.fromkeys((1000, chunk_rows(rows))):
            chunks, a_second = -(-rows // chunk), cluster.copies * cluster.rate
            operations = METADATA * chunks / hours / 3600
            lines.append([brief(rows), f"{chunk:,}", f"{chunks:,}", f"{a_second:,.0f}", f"{operations:.1f}"])
    headings = ["rows", "rows a chunk", "files", "journal lines/s", "operations/s"]
    table(f"## Files, on {cluster.gpus:,} GPUs", headings, lines)
    looks = [f"{cluster.copies * 2 / every:,.0f} a second every {every:g} s" for every in (INTERVAL, SHARD_INTERVAL)]
    print(f"\nprogress files, each written and renamed: {', '.join(looks)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="meta-llama/Meta-Llama-3-8B-Instruct")
    parser.add_argument("--gpu", default="h100", choices=[kind for kind in devices() if kind != "cpu"])
    parser.add_argument("--spread", type=int, default=1, help="GPUs that hold one copy")
    parser.add_argument("--rows-per-second", type=float, help="of one copy, in place of the prediction")
    parser.add_argument("--start", type=float, default=120.0, help="seconds until an engine makes rows")
    given = parser.parse_args()
    rate = given.rows_per_second or rows_per_second(given.model, given.gpu, given.spread)
    clusters = [Cluster(gpus, given.spread, rate, given.start) for gpus in (8, 64, 256, 1024)]
    print(
        f"{given.model}, {given.spread} {given.gpu} a copy, {rate:.1f} rows a second each, started in {given.start:.0f} s"
    )
    sizes(clusters)
    shards_a_copy(clusters[-1])
    weather(clusters[-1])
    files(clusters[-1])
    rows, figures = ROWS[-1], {}
    for name, cluster in (("efficiency", clusters[-1]), ("efficiency_engines_kept", replace(clusters[-1], keep=True))):
        figures[name] = round(best(rows, cluster)[1].percent("useful") / 100, 4)
    print(json.dumps(figures | {"files": -(-rows // chunk_rows(rows))}))


if __name__ == "__main__":
    main()
