"""Rewards of responses by a reward model over the chat template (paper, section 3.1: `instruct_reward`)."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from math import isfinite

import pyarrow as pa

from magpie_align.curation.scorer import Chat, Scorer
from magpie_align.flow.table import Row, Table

SCHEMA = pa.schema(
    [
        ("uuid", pa.string()),
        ("sample", pa.int64()),
        ("instruct_reward", pa.float64()),
        ("reward_status", pa.string()),
        ("reward_model", pa.string()),
    ]
)
_WINDOW = 2000  # rows read ahead and sorted by length, so that a batch holds little padding

Make = Callable[[Row, float | None, str], Row]
"""From a row, its reward and the reward's status to the row of the table."""


@dataclass(frozen=True)
class _Item:
    index: int
    row: Row
    chat: Chat


def write_rewards(scorer: Scorer, rows: Iterable[Row], table: Table, make: Make, *, token_budget: int) -> Iterator[int]:
    """Score each row's (instruction, response); yields the number of rows done. `rows` begin with row `first_row(table)`.

    A row's status is `ok`, `cut` (scored without the end of its response), or why it has no reward: `no response`,
    `too long`, `not a number`.
    """
    for window in _windows(rows, table):
        chats = [_Item(i, row, scorer.chat(row["instruction"], row["response"])) for i, row in window if _answered(row)]
        for batch in _batches([item for item in chats if item.chat.ids], table, token_budget):
            scores = scorer.score([item.chat.ids for item in batch])
            for item, score in zip(batch, scores, strict=True):
                if table.lacks(item.index):
                    good = isfinite(score)
                    status = item.chat.status if good else "not a number"
                    table.add(item.index, make(item.row, score if good else None, status))
            yield table.done
        unscored = {item.index: item.chat.status for item in chats if not item.chat.ids}
        for index, row in window:
            if table.lacks(index):
                table.add(index, make(row, None, unscored.get(index, "no response")))
        yield table.done


def reward_row(row: Row, reward: float | None, status: str, name: str) -> Row:
    """A row of `SCHEMA`."""
    scored = {"instruct_reward": reward, "reward_status": status, "reward_model": name}
    return {"uuid": row["uuid"], "sample": row["sample"], **scored}


def first_row(table: Table) -> int:
    """The first row that is read to score those of `table`: where the window begins that holds its first."""
    return table.first // _WINDOW * _WINDOW


def _answered(row: Row) -> bool:
    return bool(row.get("response_status", "ok") == "ok")


def _windows(rows: Iterable[Row], table: Table) -> Iterator[list[tuple[int, Row]]]:
    """Fixed windows of rows with their indices, those that lack a row.

    They are the same whatever is done already and whichever shard this is: a row's neighbours in its batch touch the last bits
    of its reward, so a resumed run must make the very batches that an undisturbed one makes.
    """
    numbered = enumerate(rows, first_row(table))
    while window := list(islice(numbered, _WINDOW)):
        if window[0][0] >= table.first + table.size:
            return
        if any(table.lacks(index) for index, _ in window):
            yield window


def _batches(window: list[_Item], table: Table, token_budget: int) -> Iterator[list[_Item]]:
    """Batches of similar length and at most `token_budget` tokens, padding included, that hold a row still missing."""
    batches: list[list[_Item]] = [[]]
    for item in sorted(window, key=lambda item: len(item.chat.ids)):
        if batches[-1] and len(item.chat.ids) * (len(batches[-1]) + 1) > token_budget:
            batches.append([])
        batches[-1].append(item)
    yield from (batch for batch in batches if any(table.lacks(item.index) for item in batch))
