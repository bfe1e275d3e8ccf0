"""Step 1 of Magpie: the aligned model, given only its pre-query template, writes user instructions (paper, section 2.1)."""

import hashlib
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from magpie_align.engines.protocol import Completion, Engine, Request, Sampling
from magpie_align.engines.template import Template
from magpie_align.flow.table import Table
from magpie_align.synthesis.grid import Cell, Grid

SCHEMA = pa.schema(
    [
        ("uuid", pa.string()),
        ("instruction", pa.string()),
        ("instruction_status", pa.string()),
        ("temperature", pa.float64()),
        ("top_p", pa.float64()),
        ("seed", pa.int64()),
        ("instruction_tokens", pa.int64()),
        ("pre_query_template", pa.string()),
        ("input_generator", pa.string()),
    ]
)


def row_seed(seed: int, index: int, sample: int = 0) -> int:
    """The sampling seed of one completion: a function of the data set's seed and the row, recorded with the row."""
    digest = hashlib.sha256(f"{seed}/{index}/{sample}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def write_instructions(
    engine: Engine, template: Template, grid: Grid, table: Table, *, seed: int, max_tokens: int, generator: str
) -> Iterator[int]:
    """Fill `table` with one instruction a row; yields the number of rows done, as it grows.

    Each request is the bare pre-query template, at its row's own temperature, top_p and seed.
    """

    def requests() -> Iterator[Request]:
        for index in table.missing():
            cell = grid[index]
            sampling = Sampling(
                cell.temperature,
                cell.top_p,
                max_tokens,
                template.stop_ids,
                template.question_stop,
                seed=row_seed(seed, index),
            )
            yield Request(index, template.pre_query, sampling=sampling)

    for done in engine.generate(requests()):
        index = int(str(done.key))
        table.add(index, _row(done, grid[index], row_seed(seed, index), template, generator))
        yield table.done


def _row(done: Completion, cell: Cell, draw: int, template: Template, generator: str) -> dict[str, Any]:
    """`instruction_status` is `ok`, or why there is no instruction: empty, length, or an engine's error."""
    text = clean(done.text)
    identity = f"{generator}/{template.hash}/{cell.temperature}/{cell.top_p}/{draw}/{text}"
    return {
        "uuid": hashlib.sha256(identity.encode()).hexdigest()[:32],
        "instruction": text,
        "instruction_status": status(done, text),
        "temperature": cell.temperature,
        "top_p": cell.top_p,
        "seed": draw,
        "instruction_tokens": len(done.token_ids),
        "pre_query_template": template.hash,
        "input_generator": generator,
    }


def clean(text: str) -> str:
    """Outer whitespace goes; lone surrogates, which no file can hold, become the replacement character."""
    return text.strip().encode("utf-8", "replace").decode()


def status(done: Completion, text: str) -> str:
    """`ok`, or why this completion is no use: `empty`, `length` (cut at the token limit), `error: ...`."""
    if done.finish == "error":
        return f"error: {done.error}"
    if done.finish == "length":
        return "length"
    return "ok" if text else "empty"
