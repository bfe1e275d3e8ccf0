"""From rows to what trainers take."""

from pathlib import Path
from typing import Any

from magpie_align.errors import StageError
from magpie_align.flow.table import read_rows


def conversations(folder: Path, limit: int | None = None) -> Any:
    """A `datasets.Dataset` with one column, `messages`, from rows that hold `messages` or `instruction` and `response`."""
    from datasets import Dataset

    rows = []
    for number, row in enumerate(read_rows(folder)):
        if limit is not None and number >= limit:
            break
        messages = row.get("messages") or [
            {"role": "user", "content": row.get("instruction")},
            {"role": "assistant", "content": row.get("response")},
        ]
        if not any(m["role"] == "assistant" and m["content"] for m in messages):
            raise StageError(f"row {number} of {folder} has no assistant turn to learn from")
        rows.append({"messages": messages})
    if not rows:
        raise StageError(f"{folder} holds no rows to train on")
    return Dataset.from_list(rows)


def preferences(folder: Path) -> Any:
    """A `datasets.Dataset` with `prompt`, `chosen`, `rejected`, each a list of messages."""
    from datasets import Dataset

    rows = []
    for number, row in enumerate(read_rows(folder, ["prompt", "chosen", "rejected"])):
        if row["chosen"] == row["rejected"]:
            raise StageError(f"row {number} of {folder} has the same text chosen and rejected")
        rows.append(row)
    if not rows:
        raise StageError(f"{folder} holds no preference pairs")
    return Dataset.from_list(rows)
