"""Rewards by a sequence-classifier reward model over the chat template (paper, section 3.1: `instruct_reward`)."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from magpie_align.flow.table import Row, Table

SCHEMA = pa.schema(
    [("uuid", pa.string()), ("sample", pa.int64()), ("instruct_reward", pa.float64()), ("reward_model", pa.string())]
)
_WINDOW = 64  # batches read ahead and sorted by length, so that a batch holds little padding


def write_rewards(
    model: Path, rows: Iterable[Row], table: Table, *, name: str, token_budget: int = 16384, dtype: str = "bfloat16"
) -> Iterator[int]:
    """Score each row's (instruction, response); a row without a good response gets no reward (null). Yields rows done."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    scorer = AutoModelForSequenceClassification.from_pretrained(model, dtype=getattr(torch, dtype)).to(device).eval()
    tokenizer = AutoTokenizer.from_pretrained(model)
    pad = scorer.config.pad_token_id
    for batch in _batches(tokenizer, rows, table, token_budget, name):
        width = max(len(ids) for _, _, ids in batch)
        ids = torch.tensor([ids + [pad] * (width - len(ids)) for _, _, ids in batch], device=device)
        mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for _, _, ids in batch], device=device)
        with torch.no_grad():
            scores = scorer(input_ids=ids, attention_mask=mask).logits[:, 0].float().tolist()
        for (index, row, _), score in zip(batch, scores, strict=True):
            table.add(index, _row(row, score, name))
        yield table.done


def _batches(
    tokenizer: Any, rows: Iterable[Row], table: Table, token_budget: int, name: str
) -> Iterator[list[tuple[int, Row, list[int]]]]:
    """Batches of similar length and at most `token_budget` tokens, padding included."""
    missing = table.missing()
    want = next(missing, None)
    window: list[tuple[int, Row, list[int]]] = []
    for index, row in enumerate(rows):
        if index != want:
            continue
        want = next(missing, None)
        if row.get("response_status", "ok") != "ok":
            table.add(index, _row(row, None, name))
            continue
        chat = [{"role": "user", "content": row["instruction"]}, {"role": "assistant", "content": row["response"]}]
        window.append((index, row, tokenizer.apply_chat_template(chat, return_dict=True)["input_ids"]))
        if sum(len(ids) for _, _, ids in window) > token_budget * _WINDOW:
            yield from _split(window, token_budget)
            window = []
    yield from _split(window, token_budget)


def _split(window: list[tuple[int, Row, list[int]]], token_budget: int) -> Iterator[list[tuple[int, Row, list[int]]]]:
    batch: list[tuple[int, Row, list[int]]] = []
    for item in sorted(window, key=lambda entry: len(entry[2])):
        if batch and len(item[2]) * (len(batch) + 1) > token_budget:
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def _row(row: Row, score: float | None, name: str) -> Row:
    return {"uuid": row["uuid"], "sample": row["sample"], "instruct_reward": score, "reward_model": name}
