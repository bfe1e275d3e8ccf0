"""A reward does not depend on where a run was interrupted, to the last bit."""

from pathlib import Path
from typing import Any

import pytest

from magpie_align.curation.rewards import SCHEMA, write_rewards
from magpie_align.flow.table import Table, parts
from magpie_align.mini.model import ModelSize, new_model
from magpie_align.mini.tokenizer import build_tokenizer


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import AutoModelForSequenceClassification

    folder, head = tmp_path_factory.mktemp("model"), tmp_path_factory.mktemp("scorer")
    tokenizer = build_tokenizer(folder)
    new_model(tokenizer, ModelSize(hidden=32, layers=2, heads=2, intermediate=64)).save_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)
    model.config.pad_token_id = tokenizer.pad_token_id
    model.save_pretrained(head)
    tokenizer.save_pretrained(head)
    return head


def rows() -> list[dict[str, Any]]:
    return [
        {
            "uuid": f"{i:03d}",
            "sample": 0,
            "instruction": "What is " + "1 + " * (i % 9) + "2?",
            "response": "It is so. " * (i % 7 + 1),
            "response_status": "length" if i % 13 == 5 else "ok",
        }
        for i in range(120)
    ]


def score(scorer: Path, folder: Path, stops: tuple[int, ...]) -> dict[str, bytes]:
    for stop in (*stops, None):
        table = Table(folder / "data", folder / "journal", 120, SCHEMA, chunk=50)
        running = write_rewards(scorer, rows(), table, name="scorer", token_budget=400, dtype="float32")
        for _, _ in zip(range(stop if stop is not None else 10_000), running, strict=False):
            pass
    table.close()
    return {file.name: file.read_bytes() for file in parts(folder / "data")}


def test_interrupted_rewards_are_the_same_bits(scorer: Path, tmp_path: Path) -> None:
    whole = score(scorer, tmp_path / "whole", ())
    assert score(scorer, tmp_path / "broken", (1, 3, 2)) == whole
