"""Which files of a folder a task reads, and what is said where it has none."""

from pathlib import Path
from typing import Any

import pytest

from magpie_align.errors import StageError
from magpie_align.evaluation.local_data import local_fields

GSM: dict[str, Any] = {
    "task": "gsm8k", "dataset_path": "openai/gsm8k", "dataset_name": "main", "training_split": "train",
    "fewshot_split": "train", "test_split": "test",
}  # fmt: skip


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("place", "kind"), [("gsm8k", "csv"), ("openai/gsm8k/main", "parquet"), ("openai/gsm8k/data", "jsonl.gz")]
)
def test_files_are_found_where_a_copy_of_the_hub_has_them(tmp_path: Path, place: str, kind: str) -> None:
    parts = [f"{place}/test-00000-of-00002.{kind}", f"{place}/test-00001-of-00002.{kind}"]
    touch(tmp_path, *parts, f"{place}/train.{kind}", f"{place}/testimony.{kind}", f"{place}/README.md")
    fields = local_fields(GSM, 5, tmp_path)
    assert fields["dataset_path"] == {"csv": "csv", "parquet": "parquet", "jsonl.gz": "json"}[kind]
    assert fields["dataset_name"] is None
    assert fields["dataset_kwargs"]["data_files"] == {
        "train": [str(tmp_path / place / f"train.{kind}")],
        "test": [str(tmp_path / part) for part in parts],
    }


def test_the_only_file_is_what_is_asked(tmp_path: Path) -> None:
    touch(tmp_path, "google/IFEval/ifeval_input_data.jsonl")
    fields = local_fields({"task": "ifeval", "dataset_path": "google/IFEval", "test_split": "train"}, 0, tmp_path)
    (files,) = fields["dataset_kwargs"]["data_files"].values()
    assert [Path(file).name for file in files] == ["ifeval_input_data.jsonl"]


def test_splits_that_nobody_reads_may_be_absent(tmp_path: Path) -> None:
    touch(tmp_path, "gsm8k/test.jsonl", "gsm8k/other.jsonl")
    fields = local_fields(GSM, 0, tmp_path)
    assert (fields["training_split"], fields["fewshot_split"]) == (None, None)
    assert "test_split" not in fields


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        StageError,
        match="has no files for the task 'gsm8k'; looked in gsm8k/, openai/gsm8k/main/, openai/gsm8k/data/, openai/gsm8k/$",
    ):
        local_fields(GSM, 0, tmp_path)
    touch(tmp_path, "gsm8k/test.jsonl", "gsm8k/dev.jsonl")
    with pytest.raises(
        StageError, match="gsm8k has no file for the split 'train' of the task 'gsm8k'; name one train.jsonl"
    ):
        local_fields(GSM, 5, tmp_path)
    touch(tmp_path, "gsm8k/train.csv")
    with pytest.raises(StageError, match="the files of the task 'gsm8k' in .* are of several kinds: "):
        local_fields(GSM, 5, tmp_path)
