"""What judges said, by the content of what they were asked, in one SQLite file that many stages and processes share.

An answer is durable when it is put. What failed is never kept, so it is asked again; what was said but cannot be read is kept
and replaced when it is asked again. `calls` logs every call with its tokens and money, for the account of a stage.
"""

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_TABLES = """
create table if not exists answers (key text primary key, answer text not null);
create table if not exists calls (owner text not null, failed int not null, tokens_in int, tokens_out int, cost real);
create index if not exists calls_of on calls (owner);
"""


def content_key(**content: Any) -> str:
    """Stands for all that decides an answer."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


class Cache:
    """The answers in `file`; `owner` is who calls, such as the artifact that is made."""

    def __init__(self, file: Path, owner: str) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._owner = owner
        self._base = sqlite3.connect(file, timeout=120)
        self._base.executescript(_TABLES)

    def get(self, key: str) -> dict[str, Any] | None:
        """The answer kept under `key`."""
        row = self._base.execute("select answer from answers where key = ?", (key,)).fetchone()
        return json.loads(row[0]) if row else None

    def put(self, key: str, answer: Mapping[str, Any]) -> None:
        """Keep an answer in place of any other."""
        with self._base:
            self._base.execute("insert or replace into answers values (?, ?)", (key, json.dumps(answer)))

    def log(self, failed: bool, tokens_in: int, tokens_out: int, cost: float) -> None:
        """Account for one call."""
        with self._base:
            self._base.execute(
                "insert into calls values (?, ?, ?, ?, ?)", (self._owner, int(failed), tokens_in, tokens_out, cost)
            )

    def account(self) -> dict[str, float]:
        """What the owner's calls took in all its runs."""
        sums = "count(*), sum(failed), sum(tokens_in), sum(tokens_out), sum(cost)"
        row = self._base.execute(f"select {sums} from calls where owner = ?", (self._owner,)).fetchone()
        names = ("calls", "failed_calls", "tokens_in", "tokens_out", "cost")
        return {name: value or 0 for name, value in zip(names, row, strict=True)}

    def close(self) -> None:
        """Let go of the file."""
        self._base.close()
