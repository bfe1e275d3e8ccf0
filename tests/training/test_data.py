"""What trainers are given, what is counted, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from magpie_align.errors import StageError
from magpie_align.training import data
from magpie_align.training.chat import Chat
from magpie_align.training.fit import load_tokenizer, trl_arguments
from magpie_align.training.library import trl_fields
from magpie_align.training.settings import OWN_FIELDS, DPOSettings, RewardModelSettings, SFTSettings
from tests.training.conftest import Write, chats, pairs

ASKED = [{"role": "user", "content": "q"}]


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


@pytest.fixture(scope="module")
def chat(model: Path) -> Chat:
    return Chat(load_tokenizer(model))


def sft(chat: Chat, rows: Path, tmp_path: Path, max_length: int = 512) -> data.Prepared:
    return data.prepare_sft(rows, chat, max_length, tmp_path / f"work-{rows.name}-{max_length}")


def test_instruction_and_response_become_a_conversation(write: Write) -> None:
    rows = list(data.conversations(write({"instruction": "2 + 2?", "response": "4"})))
    assert rows == [(0, [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}])]


def test_samples_are_those_that_trl_would_make(model: Path, chat: Chat, write: Write, tmp_path: Path) -> None:
    """The miniature's template has generation markers, so TRL can mask it too: nothing changes for the quickstart."""
    items = chats(30)
    prepared = sft(chat, write(*items), tmp_path)
    assert prepared.dataset["row"][:] == list(range(30))
    for sample, item in zip(prepared.dataset, items, strict=True):
        trl = chat.tokenizer.apply_chat_template(item["messages"], return_dict=True, return_assistant_tokens_mask=True)
        assert sample["input_ids"] == trl["input_ids"]
        masked = zip(trl["input_ids"], trl["assistant_masks"], strict=True)
        assert sample["labels"] == [i if mask else -100 for i, mask in masked]


def test_what_is_cut_is_counted(chat: Chat, write: Write, tmp_path: Path) -> None:
    rows = write(*chats(40), {"messages": [{"role": "user", "content": "a " * 300}, *said("b")]})
    whole, cut = sft(chat, rows, tmp_path), sft(chat, rows, tmp_path, 60)
    lengths = [len(ids) for ids in whole.dataset["input_ids"]]
    kept = [sample for sample in whole.dataset if any(label != -100 for label in sample["labels"][:60])]
    assert whole.counts == {
        "rows": 41, "tokens": sum(lengths), "cut rows": 0, "cut tokens": 0, "dropped rows": 0,
        "trained tokens": sum(label != -100 for labels in whole.dataset["labels"] for label in labels),
    }  # fmt: skip
    assert cut.counts["rows"] == len(kept) and 0 < cut.counts["dropped rows"] == 41 - len(kept)
    lost = [len(sample["input_ids"]) - 60 for sample in kept if len(sample["input_ids"]) > 60]
    assert (cut.counts["cut rows"], cut.counts["cut tokens"]) == (len(lost), sum(lost)) and lost
    assert [sample["row"] for sample in cut.dataset] == [sample["row"] for sample in kept]
    assert cut.figures()["cut tokens"] == sum(lost) and "cut tokens" not in whole.figures()


def test_prepared_samples_are_found_again(chat: Chat, write: Write, tmp_path: Path) -> None:
    first = data.prepare_sft(write(*chats(5)), chat, 512, tmp_path / "work")
    again = data.prepare_sft(tmp_path / "nowhere", chat, 512, tmp_path / "work")
    assert (again.dataset[:], again.counts) == (first.dataset[:], first.counts)


def test_pairs(chat: Chat, write: Write, tmp_path: Path) -> None:
    items: list[Any] = pairs(30)
    rows = write(*items)
    prepared = data.prepare_dpo(rows, chat, 512, tmp_path / "dpo")
    whole = data.prepare_rewards(rows, chat, 512, tmp_path / "rewards")
    for sample, both, item in zip(prepared.dataset, whole.dataset, items, strict=True):
        for name in ("chosen", "rejected"):
            ids = chat.tokenizer.apply_chat_template(item["prompt"] + item[name])["input_ids"]
            assert sample["prompt_ids"] + sample[f"{name}_ids"] == both[f"{name}_ids"] == ids
        asked = chat.tokenizer.apply_chat_template(item["prompt"], add_generation_prompt=True)["input_ids"]
        assert sample["prompt_ids"] == asked
    short = data.prepare_dpo(rows, chat, 30, tmp_path / "short")
    assert short.counts["dropped rows"] and short.counts["cut tokens"]
    assert max(len(s["prompt_ids"] + s[f"{n}_ids"]) for s in short.dataset for n in ("chosen", "rejected")) == 30
    assert all(s["chosen_ids"] != s["rejected_ids"] for s in short.dataset)
    fitting = data.prepare_rewards(rows, chat, 30, tmp_path / "fitting")
    assert fitting.counts["rows"] + fitting.counts["dropped rows"] == 30 and fitting.counts["dropped rows"]


def test_bad_rows(chat: Chat, write: Write, tmp_path: Path) -> None:
    def refused(rows: Path, prepare: Any = data.prepare_sft, max_length: int = 512) -> str:
        with pytest.raises(StageError) as caught:
            prepare(rows, chat, max_length, tmp_path / "work" / rows.name)
        return str(caught.value)

    good, bad = {"instruction": "a", "response": "b"}, {"instruction": "a", "response": ""}
    rows = write(good, bad)
    assert refused(rows) == (
        f"row 1 of {rows} has no assistant turn to learn from; leave such rows out where they are selected"
    )
    rows = write({"messages": [{"role": "user", "content": None}, *said("b")]})
    assert refused(rows) == f"row 0 of {rows} has no text in turn 1 (user); leave such rows out"
    rows = write({"messages": [*ASKED, *said("b")]}, {"messages": said("b")})
    assert (
        refused(rows) == f"row 1 of {rows}: the conversation begins with the assistant's turn, which nobody asked for"
    )
    long = write({"instruction": "a " * 200, "response": "b"})
    assert refused(long, max_length=50) == (
        f"every row of {long} is longer than max_length 50 before anything to learn; raise max_length"
    )
    alike = write({"prompt": ASKED, "chosen": said("x"), "rejected": said("x")})
    assert refused(alike, data.prepare_dpo) == (
        f"row 0 of {alike} has the same text chosen and rejected, from which nothing can be learnt; leave it out"
    )
    silent = write({"prompt": ASKED, "chosen": said("x"), "rejected": said("")})
    assert refused(silent, data.prepare_dpo) == (
        f"row 0 of {silent} has no assistant turn under 'rejected'; it must hold exactly one, with a text"
    )


def test_empty_data(chat: Chat, tmp_path: Path) -> None:
    import pyarrow as pa

    from magpie_align.flow.table import write_rows

    texts = pa.schema([("instruction", pa.string()), ("response", pa.string())])
    write_rows(tmp_path / "chats", texts.empty_table())
    with pytest.raises(StageError, match="holds no rows to train on; look at the stage that made them"):
        data.prepare_sft(tmp_path / "chats", chat, 512, tmp_path / "work")
    turns = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
    write_rows(
        tmp_path / "pairs", pa.schema([(name, turns) for name in ("prompt", "chosen", "rejected")]).empty_table()
    )
    with pytest.raises(StageError, match="holds no preference pairs; look at the stage that made them"):
        data.prepare_dpo(tmp_path / "pairs", chat, 512, tmp_path / "work")


def test_the_tokenizer_must_say_how_it_chats_and_pads(model: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(model)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path / "unpadded")
    with pytest.raises(StageError, match=r"has no pad token; name one with `pad_token: \.\.\.`"):
        load_tokenizer(tmp_path / "unpadded")
    assert load_tokenizer(tmp_path / "unpadded", "<|end_of_text|>").pad_token == "<|end_of_text|>"
    with pytest.raises(StageError, match=r"'<\|end_of_txt\|>' is no token .*; did you mean '<\|end_of_text\|>'\?"):
        load_tokenizer(tmp_path / "unpadded", "<|end_of_txt|>")
    tokenizer.chat_template = None
    tokenizer.save_pretrained(tmp_path / "base")
    with pytest.raises(StageError, match="has no chat template; name a model whose template to use with `template:`"):
        load_tokenizer(tmp_path / "base")


def test_batch_size_holds_over_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = DPOSettings(micro_batch_size=2)
    for world, steps in ((1, 64), (4, 16), (64, 1)):
        monkeypatch.setenv("WORLD_SIZE", str(world))
        assert trl_arguments(settings, tmp_path, 0)["gradient_accumulation_steps"] == steps
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(StageError, match="batch_size 128 is not a multiple of micro_batch_size 2 x 3 processes"):
        trl_arguments(settings, tmp_path, 0)


def test_known_trl_fields_are_trls_own() -> None:
    from trl import DPOConfig, KTOConfig, RewardConfig, SFTConfig
    from trl.experimental.cpo import CPOConfig
    from trl.experimental.orpo import ORPOConfig

    configs = (
        ("sft", SFTConfig), ("dpo", DPOConfig), ("reward", RewardConfig), ("kto", KTOConfig), ("cpo", CPOConfig),
        ("orpo", ORPOConfig),
    )  # fmt: skip
    for name, config in configs:
        assert set(config.__dataclass_fields__) <= trl_fields(name)
    assert OWN_FIELDS.keys() <= {field for _, config in configs for field in config.__dataclass_fields__}
    assert SFTSettings(trl={"packing_stratgy": "bfd"}).unknown_trl_keys("sft") == [
        "trl.packing_stratgy: TRL has no such setting; did you mean 'packing_strategy'?"
    ]


def test_what_a_setting_of_ours_decides_is_not_for_trl() -> None:
    settings = RewardModelSettings(trl={"max_length": 5, "assistant_only_loss": True, "packing_strategy": "wrapped"})
    assert settings.unknown_trl_keys("sft") == [
        "trl.max_length cannot be set: set `max_length` in its place",
        "trl.assistant_only_loss cannot be set: the loss is always on the assistant's turns",
        "trl.packing_strategy cannot be set: packing never cuts a sample or mixes two",
    ]
