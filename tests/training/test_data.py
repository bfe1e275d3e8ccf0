"""What trainers are given, and what is refused."""

from pathlib import Path

import pyarrow as pa
import pytest

from magpie_align.errors import StageError
from magpie_align.flow.table import write_rows
from magpie_align.training import data
from magpie_align.training.fit import newest_checkpoint, trl_arguments
from magpie_align.training.settings import DPOSettings, SFTSettings, trl_fields


def rows(folder: Path, *items: dict[str, object]) -> Path:
    write_rows(folder, pa.Table.from_pylist(list(items)))
    return folder


def test_instruction_and_response_become_a_conversation(tmp_path: Path) -> None:
    dataset = data.conversations(rows(tmp_path, {"instruction": "2 + 2?", "response": "4"}))
    assert dataset[0]["messages"] == [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]


def test_messages_are_taken_as_they_are(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}] * 2
    assert data.conversations(rows(tmp_path, {"messages": messages}))[0]["messages"] == messages


def test_a_row_without_an_answer(tmp_path: Path) -> None:
    folder = rows(tmp_path, {"instruction": "a", "response": "b"}, {"instruction": "a", "response": ""})
    with pytest.raises(StageError, match="row 1 of .* has no assistant turn to learn from"):
        data.conversations(folder)


def test_chosen_equal_to_rejected(tmp_path: Path) -> None:
    answer = [{"role": "assistant", "content": "x"}]
    folder = rows(tmp_path, {"prompt": [{"role": "user", "content": "q"}], "chosen": answer, "rejected": answer})
    with pytest.raises(StageError, match="row 0 of .* has the same text chosen and rejected"):
        data.preferences(folder)


def test_batch_size_holds_over_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = DPOSettings(micro_batch_size=2)
    for world, steps in ((1, 64), (4, 16), (64, 1)):
        monkeypatch.setenv("WORLD_SIZE", str(world))
        assert trl_arguments(settings, tmp_path, 0)["gradient_accumulation_steps"] == steps
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(StageError, match="batch_size 128 is not a multiple of micro_batch_size 2 x 3 devices"):
        trl_arguments(settings, tmp_path, 0)


def test_known_trl_fields_are_trls_own() -> None:
    from trl import DPOConfig, RewardConfig, SFTConfig

    for name, config in (("sft", SFTConfig), ("dpo", DPOConfig), ("reward", RewardConfig)):
        assert set(config.__dataclass_fields__) <= trl_fields(name)
    assert SFTSettings(trl={"packing_stratgy": "bfd"}).unknown_trl_keys("sft") == [
        "trl.packing_stratgy: TRL has no such setting; did you mean 'packing_strategy'?"
    ]


def test_a_checkpoint_that_was_not_written_whole_is_left_out(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path) is None
    for step, state in ((10, "{}"), (20, '{"global_step": '), (30, None)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if state is not None:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    assert newest_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")
    assert sorted(f.name for f in tmp_path.iterdir()) == ["checkpoint-10"]
