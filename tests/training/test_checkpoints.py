"""Which checkpoint a training goes on from."""

import json
from pathlib import Path

import pytest

from magpie_align.errors import StageError
from magpie_align.training.checkpoints import LIST, declare_whole, newest_checkpoint
from magpie_align.training.distributed import Distributed


def checkpoint(folder: Path, step: int, way: Distributed | None = None) -> Path:
    """One that was written whole."""
    made = folder / f"checkpoint-{step}"
    (made / "global_step").mkdir(parents=True)
    (made / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    (made / "global_step" / "rank_0.pt").write_bytes(bytes(step))
    declare_whole(made, way or Distributed())
    return made


def test_the_newest_whole_one_is_taken_and_the_others_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = checkpoint(tmp_path, 9)
    checkpoint(tmp_path, 5)
    (checkpoint(tmp_path, 10) / "global_step" / "rank_0.pt").write_bytes(bytes(4))
    (checkpoint(tmp_path, 20) / "global_step" / "rank_0.pt").unlink()
    (checkpoint(tmp_path, 30) / LIST).unlink()
    (checkpoint(tmp_path, 40) / LIST).write_text('{"files": {"trainer_sta')
    assert newest_checkpoint(tmp_path) == str(whole)
    assert capsys.readouterr().out.splitlines() == [
        "checkpoint-40 is left out: it was not written whole",
        "checkpoint-30 is left out: it was not written whole",
        "checkpoint-20 is left out: its file global_step/rank_0.pt has no bytes, not 20",
        "checkpoint-10 is left out: its file global_step/rank_0.pt has 4 bytes, not 10",
        "resuming from checkpoint-9",
    ]
    assert sorted(f.name for f in tmp_path.iterdir()) == ["checkpoint-5", "checkpoint-9"]


def test_none_is_none(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path / "not there") is None


def test_one_that_cannot_be_read_is_no_reason_to_start_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    checkpoint(tmp_path, 10, Distributed(kind="zero2"))
    assert newest_checkpoint(tmp_path, Distributed(kind="zero2", offload=True))
    for way, world, ours in (
        ("zero2", "4", "zero2 on 4 processes"),
        ("zero3", "2", "zero3 on 2 processes"),
        ("ddp", "2", "ddp"),
    ):
        monkeypatch.setenv("WORLD_SIZE", world)
        with pytest.raises(
            StageError, match=f"written under zero2 on 2 processes and this is {ours}, which cannot go on"
        ):
            newest_checkpoint(tmp_path, Distributed(kind=way))


def test_whole_models_go_on_on_any_number_of_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("ddp", "fsdp2"):
        monkeypatch.setenv("WORLD_SIZE", "2")
        made = checkpoint(tmp_path / kind, 10, Distributed(kind=kind))
        monkeypatch.setenv("WORLD_SIZE", "4")
        assert newest_checkpoint(tmp_path / kind, Distributed(kind=kind)) == str(made)
