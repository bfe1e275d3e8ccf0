"""Rewards by a sequence-classifier reward model over the chat template (paper, section 3.1: `instruct_reward`)."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from magpie_align.flow.table import Row, Table

SCHEMA = pa.schema(
    [("uuid", pa.string()), ("sample", pa.int64()), ("instruct_reward", pa.float64()), ("reward_model", pa.string())]
)
_WINDOW = 2000  # rows read ahead and sorted by length, so that a batch holds little padding

Item = tuple[int, Row, list[int], bool]
"""Index, row, token ids, and whether its reward is still missing."""


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
        width = max(len(ids) for _, _, ids, _ in batch)
        ids = torch.tensor([ids + [pad] * (width - len(ids)) for _, _, ids, _ in batch], device=device)
        mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for _, _, ids, _ in batch], device=device)
        with torch.no_grad():
            scores = scorer(input_ids=ids, attention_mask=mask).logits[:, 0].float().tolist()
        for (index, row, _, wanted), score in zip(batch, scores, strict=True):
            if wanted:
                table.add(index, _row(row, score, name))
        yield table.done


def _batches(tokenizer: Any, rows: Iterable[Row], table: Table, token_budget: int, name: str) -> Iterator[list[Item]]:
    """Batches of similar length and at most `token_budget` tokens, padding included, that hold a row still missing.

    They are cut from fixed windows of rows, whatever is done already: a row's neighbours in its batch touch the last bits of
    its reward, so a resumed run must make the very batches that an undisturbed one makes.
    """
    missing = table.missing()
    want = next(missing, None)
    window: list[Item] = []
    for index, row in enumerate(rows):
        wanted = index == want
        if wanted:
            want = next(missing, None)
        if row.get("response_status", "ok") == "ok":
            chat = [{"role": "user", "content": row["instruction"]}, {"role": "assistant", "content": row["response"]}]
            window.append((index, row, tokenizer.apply_chat_template(chat, return_dict=True)["input_ids"], wanted))
        elif wanted:
            table.add(index, _row(row, None, name))
        if (index + 1) % _WINDOW == 0:
            yield from _split(window, token_budget)
            window = []
    yield from _split(window, token_budget)


def _split(window: list[Item], token_budget: int) -> Iterator[list[Item]]:
    batch: list[Item] = []
    for item in sorted(window, key=lambda entry: len(entry[2])):
        if batch and len(item[2]) * (len(batch) + 1) > token_budget:
            if any(entry[3] for entry in batch):
                yield batch
            batch = []
        batch.append(item)
    if any(entry[3] for entry in batch):
        yield batch


def _row(row: Row, score: float | None, name: str) -> Row:
    return {"uuid": row["uuid"], "sample": row["sample"], "instruct_reward": score, "reward_model": name}
