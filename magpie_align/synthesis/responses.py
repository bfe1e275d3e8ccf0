"""Step 2 of Magpie: the instruction goes through the full chat template and a model answers (paper, section 2.1).

With more than one sample a row, these are the candidates for preference data (paper, section 2.3).
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pyarrow as pa

from magpie_align.engines.protocol import Completion, Engine, Request, Sampling
from magpie_align.engines.template import Template
from magpie_align.flow.table import Row, Table
from magpie_align.records import Message
from magpie_align.synthesis.instructions import row_seed, stop_text
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


def write_responses(
    engine: Engine,
    template: Template,
    rows: Iterable[Row],
    table: Table,
    *,
    samples: int,
    seed: int,
    sampling: Sampling,
    generator: str,
) -> Iterator[int]:
    """Fill `table` with `samples` answers to each of `rows`; yields the number done, as it grows.

    Table row `i` is sample `i % samples` of input row `i // samples`. An input row without an instruction is answered by a
    row of status `no instruction`, so that rows keep their places and nothing is lost from the count.
    """
    flight: dict[int, Row] = {}
    ending = replace(sampling, stop_ids=template.stop_ids, stop=template.response_stop)

    def requests() -> Iterator[Request]:
        for index, row in _aligned(rows, table.missing(), samples):
            if row.get("instruction_status", "ok") != "ok":
                table.add(index, _none(row, index % samples, generator))
                continue
            flight[index] = row
            prompt = template.response_prompt([Message("user", row["instruction"])])
            draw = row_seed(seed, index // samples, index % samples)
            yield Request(index, prompt, sampling=replace(ending, seed=draw))

    for done in engine.generate(requests()):
        index = int(str(done.key))
        draw = row_seed(seed, index // samples, index % samples)
        stop = stop_text(done, template)
        table.add(index, _row(flight.pop(index), index % samples, done, stop, generator, draw))
        yield table.done


def _aligned(rows: Iterable[Row], missing: Iterator[int], samples: int) -> Iterator[tuple[int, Row]]:
    """(table index, its input row) for the ascending indices still missing, reading the input once."""
    want = next(missing, None)
    for number, row in enumerate(rows):
        while want is not None and want // samples == number:
            yield want, row
            want = next(missing, None)
        if want is None:
            return


def _none(source: Row, sample: int, generator: str) -> Row:
    """The row of an instruction that is none."""
    return _row(source, sample, Completion(sample, ""), None, generator, None) | {"response_status": "no instruction"}


def _row(source: Row, sample: int, done: Completion, stop: str | None, generator: str, draw: int | None) -> Row:
    clean = sanitise(done.text)
    return {
        "uuid": source["uuid"],
        "sample": sample,
        "instruction": source["instruction"],
        "response": clean.text,
        "response_edits": list(clean.edits),
        "response_status": status(done, clean.text),
        "response_stop": stop,
        "response_tokens": len(done.token_ids),
        "response_length": len(clean.text),
        "response_seed": draw,
        "response_generator": generator,
    }
