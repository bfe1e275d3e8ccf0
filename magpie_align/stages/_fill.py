"""How every stage fills a table through an engine: opened only where rows are missing, and what it was is kept for the manifest."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from magpie_align.engines import EngineSettings, open_engine
from magpie_align.engines.protocol import Capability, Engine
from magpie_align.flow.stage import Context

if TYPE_CHECKING:
    from magpie_align.flow.table import Table


def fill(
    ctx: Context,
    table: "Table",
    engine: EngineSettings,
    model: str,
    write: Callable[[Engine], Iterable[int]],
    needs: Iterable[Capability] = (),
    *,
    shows: Sequence[str],
) -> bool:
    """Fill the rows that `table` still lacks; `write` yields how many are done. True if the table is whole, not one shard.

    `shows` are the columns by which a row is shown while it runs.

    A whole table's engine is noted in the manifest, also where shards or an earlier run did all the work.
    """
    if table.done < table.size:
        with opened(ctx, engine, model, needs) as ready:
            for done in write(ready):
                ctx.progress(done, table.size, sample=sample_of(table, shows))
    table.close()
    return whole(ctx)


def sample_of(table: "Table", shows: Sequence[str]) -> Callable[[], str]:
    """The row that came last, by these columns."""

    def sample() -> str:
        values = (table.latest.get(name) for name in shows)
        return " | ".join(", ".join(map(str, v)) if isinstance(v, list) else str(v) for v in values if v)

    return sample


@contextmanager
def opened(ctx: Context, engine: EngineSettings, model: str, needs: Iterable[Capability] = ()) -> Iterator[Engine]:
    """An engine that is closed at the end, and remembered for `whole`."""
    ready = open_engine(engine, model, needs=needs)
    remember(ctx, ready.provenance)
    try:
        yield ready
    finally:
        ready.close()


def remember(ctx: Context, provenance: dict[str, Any]) -> None:
    """Keep what the engine is beside the unfinished rows."""
    name = f"engine-{ctx.shard.number}-of-{ctx.shard.of}.json" if ctx.shard else "engine.json"
    (ctx.work / name).write_text(json.dumps(provenance, default=str))


def whole(ctx: Context) -> bool:
    """False for a shard; else note the engine that filled the table, the last one if several did."""
    if ctx.shard:
        return False
    kept = sorted(ctx.work.glob("engine*.json"), key=lambda file: file.stat().st_mtime)
    if kept:
        ctx.note(engine=json.loads(kept[-1].read_text()))
    return True
