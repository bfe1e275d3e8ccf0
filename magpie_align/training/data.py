"""From rows to the token ids that trainers take, kept in an Arrow file of the stage's scratch; every token cut off is counted."""

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from magpie_align.errors import StageError
from magpie_align.flow.table import Row, read_rows
from magpie_align.training.chat import Chat
from magpie_align.training.distributed import is_first
from magpie_align.training.frame import Messages

BATCH = 1000


@dataclass(frozen=True)
class Prepared:
    """A `datasets.Dataset` of token ids with the row number that each sample comes from, and what became of the rows.

    `counts` holds rows, tokens and trained tokens kept; rows cut at `max_length` and the tokens lost by that; rows dropped
    because nothing to learn was left of them.
    """

    dataset: Any
    counts: dict[str, int]

    def figures(self) -> dict[str, Any]:
        """For the manifest; what was lost is said in words too, where anything was."""
        lost = {k: v for k, v in self.counts.items() if v and k in ("cut rows", "cut tokens", "dropped rows")}
        return {"data": self.counts, **lost}


def conversations(folder: Path) -> Iterator[tuple[int, Messages]]:
    """(row number, messages) from rows that hold `messages` or `instruction` and `response`. Raises StageError for a bad row."""
    number = -1
    for number, row in enumerate(read_rows(folder)):
        messages = row.get("messages") or [
            {"role": "user", "content": row.get("instruction")},
            {"role": "assistant", "content": row.get("response")},
        ]
        if not any(m["role"] == "assistant" and m["content"] for m in messages):
            raise StageError(
                f"row {number} of {folder} has no assistant turn to learn from; leave such rows out where they are selected"
            )
        yield number, _plain(messages, f"row {number} of {folder}")
    if number < 0:
        raise StageError(f"{folder} holds no rows to train on; look at the stage that made them")


def preferences(folder: Path) -> Iterator[tuple[int, Messages, Messages, Messages]]:
    """(row number, prompt, chosen, rejected) from preference pairs. Raises StageError for a bad row."""
    number = -1
    for number, row in enumerate(read_rows(folder, ["prompt", "chosen", "rejected"])):
        where = f"row {number} of {folder}"
        prompt, chosen, rejected = (_plain(row[name], where) for name in ("prompt", "chosen", "rejected"))
        if chosen == rejected:
            raise StageError(
                f"{where} has the same text chosen and rejected, from which nothing can be learnt; leave it out"
            )
        for name, said in (("chosen", chosen), ("rejected", rejected)):
            if [m["role"] for m in said] != ["assistant"] or not said[0]["content"]:
                raise StageError(f"{where} has no assistant turn under '{name}'; it must hold exactly one, with a text")
        yield number, prompt, chosen, rejected
    if number < 0:
        raise StageError(f"{folder} holds no preference pairs; look at the stage that made them")


def _plain(messages: Iterable[Row], where: str) -> Messages:
    plain = [{"role": m["role"], "content": m["content"]} for m in messages]
    for n, message in enumerate(plain):
        if message["content"] is None:
            raise StageError(f"{where} has no text in turn {n + 1} ({message['role']}); leave such rows out")
    return plain


def hold_out(samples: Any, count: int) -> tuple[Any, Any]:
    """(samples to train on, held-out samples or None): `count` of them, evenly spaced, so that no order of the rows matters.

    Raises StageError where nothing would be left to train on.
    """
    if not count:
        return samples, None
    total = len(samples)
    if total <= count:
        raise StageError(f"there are {total} samples to train on and {count} are held out; lower holdout")
    held = [n * total // count for n in range(count)]
    return samples.select(sorted(set(range(total)).difference(held))), samples.select(held)


def prepare_sft(rows: Path, chat: Chat, max_length: int, work: Path) -> Prepared:
    """Samples with `input_ids` and `labels`, cut at `max_length` tokens."""

    def sample(number: int, messages: Messages) -> tuple[dict[str, Any], Counter[str]] | None:
        encoded = chat.encode(messages)
        ids, labels = encoded.ids[:max_length], encoded.labels[:max_length]
        trained = sum(label != -100 for label in labels)
        if not trained:
            return None
        counts = _counted(len(ids), trained, len(encoded.ids) - len(ids))
        return {"input_ids": ids, "labels": labels, "row": number}, counts

    return _prepare(conversations(rows), sample, rows, max_length, work)


def prepare_dpo(rows: Path, chat: Chat, max_length: int, work: Path) -> Prepared:
    """Samples with `prompt_ids`, `chosen_ids` and `rejected_ids`; each answer with its end token, cut so that with its prompt
    it is no longer than `max_length`."""

    def sample(
        number: int, prompt: Messages, chosen: Messages, rejected: Messages
    ) -> tuple[dict[str, Any], Counter[str]] | None:
        (asked, answer), (_, other) = (_answered(chat, prompt, said) for said in (chosen, rejected))
        room = max(max_length - len(asked), 0)
        if answer[:room] == other[:room]:
            return None
        kept = len(answer[:room]) + len(other[:room])
        counts = _counted(2 * len(asked) + kept, kept, len(answer) + len(other) - kept)
        ids = {"prompt_ids": asked, "chosen_ids": answer[:room], "rejected_ids": other[:room]}
        return {**ids, "row": number}, counts

    return _prepare(preferences(rows), sample, rows, max_length, work)


def prepare_rewards(rows: Path, chat: Chat, max_length: int, work: Path) -> Prepared:
    """Samples with `chosen_ids` and `rejected_ids`, whole conversations; a pair that is longer than `max_length` is dropped."""

    def sample(
        number: int, prompt: Messages, chosen: Messages, rejected: Messages
    ) -> tuple[dict[str, Any], Counter[str]] | None:
        good, bad = (chat.encode([*prompt, *said]).ids for said in (chosen, rejected))
        if max(len(good), len(bad)) > max_length:
            return None
        return {"chosen_ids": good, "rejected_ids": bad, "row": number}, _counted(len(good) + len(bad), 0, 0)

    return _prepare(preferences(rows), sample, rows, max_length, work)


def _answered(chat: Chat, prompt: Messages, said: Messages) -> tuple[list[int], list[int]]:
    encoded = chat.encode([*prompt, *said])
    first, end = encoded.spans[-1]
    return encoded.ids[:first], encoded.ids[first:end]


def _counted(tokens: int, trained: int, cut: int) -> Counter[str]:
    return Counter(
        {"rows": 1, "tokens": tokens, "trained tokens": trained, "cut rows": int(cut > 0), "cut tokens": cut}
    )


def _prepare(
    rows: Iterator[tuple[Any, ...]], sample: Callable[..., Any], source: Path, max_length: int, work: Path
) -> Prepared:
    """Encode every row into `work/samples.arrow`, which a resumed run finds again; its counts beside it say that it is whole.

    Of several processes the first one does, and the others wait for as long as it takes: if it fails, they are ended.
    """
    from datasets import Dataset

    file, beside = work / "samples.arrow", work / "samples.json"
    while not is_first() and not beside.exists():
        time.sleep(0.2)
    if not beside.exists():
        work.mkdir(parents=True, exist_ok=True)
        scratch = file.with_suffix(f".{os.getpid()}.tmp")
        counts = _write(rows, sample, source, scratch)
        if not counts["rows"]:
            raise StageError(
                f"every row of {source} is longer than max_length {max_length} before anything to learn; raise max_length"
            )
        os.replace(scratch, file)
        scratch.write_text(json.dumps(counts))
        os.replace(scratch, beside)
    return Prepared(Dataset.from_file(str(file)), json.loads(beside.read_text()))


def _write(rows: Iterator[tuple[Any, ...]], sample: Callable[..., Any], source: Path, file: Path) -> dict[str, int]:
    import pyarrow as pa

    counts: Counter[str] = Counter()
    writer = None

    def samples() -> Iterator[dict[str, Any]]:
        for row in rows:
            try:
                made = sample(*row)
            except StageError as error:
                raise StageError(f"row {row[0]} of {source}: {error}") from error
            if made is None:
                counts["dropped rows"] += 1
                continue
            counts.update(made[1])
            yield made[0]

    kept = samples()
    while batch := list(islice(kept, BATCH)):
        schema = pa.schema([(k, pa.int64() if k == "row" else pa.list_(pa.int32())) for k in batch[0]])
        writer = writer or pa.ipc.new_stream(str(file), schema)
        writer.write_table(pa.Table.from_pylist(batch, schema))
    if writer:
        writer.close()
    names = ("rows", "tokens", "trained tokens", "cut rows", "cut tokens", "dropped rows")
    return {name: counts[name] for name in names}
