"""A model of the miniature's kind, too small to learn and quick to train, and rows for it."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pyarrow as pa
import pytest

from magpie_align.flow.table import write_rows
from magpie_align.mini.language import generate
from magpie_align.mini.model import ModelSize, new_model, save_model
from magpie_align.mini.preferences import private_pair
from magpie_align.mini.tokenizer import build_tokenizer

Write = Callable[..., Path]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random model of two layers and the miniature's tokenizer."""
    return make_model(tmp_path_factory.mktemp("model"))


def make_model(folder: Path, hidden: int = 32) -> Path:
    folder.mkdir(exist_ok=True)
    tokenizer = build_tokenizer(folder, samples=500)
    save_model(
        new_model(tokenizer, ModelSize(hidden=hidden, layers=2, heads=2, intermediate=2 * hidden)), tokenizer, folder
    )
    return folder


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Rows into a folder of their own."""

    def write(*items: dict[str, object]) -> Path:
        folder = tmp_path / f"rows-{len(list(tmp_path.iterdir()))}"
        write_rows(folder, pa.Table.from_pylist(list(items)))
        return folder

    return write


def chats(count: int) -> list[dict[str, object]]:
    """Conversations of one to three questions, of unequal lengths."""
    rng = Random(0)
    rows = []
    for n in range(count):
        items = [generate(rng) for _ in range(1 + n % 3)]
        turns = [(("user", i.instruction), ("assistant", i.answer)) for i in items]
        rows.append({"messages": [{"role": r, "content": c} for turn in turns for r, c in turn]})
    return rows


def pairs(count: int) -> list[dict[str, object]]:
    return [private_pair(0, n) for n in range(count)]
