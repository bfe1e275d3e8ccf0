"""The gate: what it proves, that each check can fail, and the verb that shows it."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from magpie_align.cli import main
from magpie_align.errors import StageError
from magpie_align.training import check, sft
from magpie_align.training.chat import Chat, Encoded
from magpie_align.training.fit import load_tokenizer
from magpie_align.training.settings import DPOSettings, SFTSettings
from magpie_align.training.show import marked, stretches
from tests.synthesis.families import family
from tests.training.conftest import Write, chats, pairs

PACKED = SFTSettings(packing=True)


def verdicts(tokenizer: Any, rows: list[Any], settings: Any = PACKED, model: Path | None = None) -> dict[str, str]:
    return {p.name: p.problem or p.said for p in check.proofs(tokenizer, rows, settings, model)}


@pytest.mark.parametrize("name", ["llama-3", "llama-3.1", "qwen2.5", "qwen3", "gemma", "mistral", "llama-2", "yi"])
def test_what_holds_for_every_family(name: str, tmp_path: Path) -> None:
    tokenizer = family(name)
    turns = [{"role": r, "content": c} for r, c in (("user", "Hi </s>"), ("assistant", "Hello <|im_end|>"))]
    found = list(check.proofs(tokenizer, [*check.EXAMPLES, (2, turns * 2)], PACKED, None))
    assert [p.name for p in found] == ["bos", "mask", "template", "text", "tokens", "packing"]
    assert not [p.problem for p in found if p.problem] and [p.tried for p in found] == [True] * 4 + [False] * 2


def test_packing_is_tried_on_the_models_own_architecture(model: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(model)
    assert "when packed, on a small llama" in verdicts(tokenizer, check.EXAMPLES, PACKED, model)["packing"]
    assert "packing" not in verdicts(tokenizer, check.EXAMPLES, SFTSettings(), model)
    assert "packing" not in verdicts(tokenizer, check.EXAMPLES, DPOSettings(), model)
    (tmp_path / "config.json").write_text('{"model_type": "unheard-of"}')
    assert "no small model can be made of" in verdicts(tokenizer, check.EXAMPLES, PACKED, tmp_path)["packing"]


def test_a_template_of_another_family_is_found(model: Path, tmp_path: Path) -> None:
    known = len(load_tokenizer(model))
    said = verdicts(load_tokenizer(model), check.EXAMPLES, SFTSettings(), model)["tokens"]
    assert said.startswith("texts become the tokens that the model knows") and said.endswith(f"of {known}")
    said = verdicts(family("llama-3"), check.EXAMPLES, SFTSettings(), model)["tokens"]
    assert said == (
        f"the text of row 0 becomes other tokens than by the tokenizer of {model}; give a template of the same family"
    )
    (tmp_path / "config.json").write_text('{"model_type": "llama", "vocab_size": 100}')
    load_tokenizer(model).save_pretrained(tmp_path)
    said = verdicts(load_tokenizer(model), check.EXAMPLES, SFTSettings(), tmp_path)["tokens"]
    assert "but the model has only 100; give its own template" in said


def broken(monkeypatch: pytest.MonkeyPatch, mend: Any) -> dict[str, str]:
    """The verdicts where encoding goes wrong in one way."""
    encode = Chat.encode
    monkeypatch.setattr(Chat, "encode", lambda chat, messages: mend(chat, encode(chat, messages)))
    return verdicts(family("llama-3"), check.EXAMPLES, SFTSettings())


def test_a_doubled_bos_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    said = broken(monkeypatch, lambda chat, e: Encoded([e.ids[0], *e.ids], tuple((a + 1, b + 1) for a, b in e.spans)))
    assert said["bos"].startswith("row 0 holds 2 times <|begin_of_text|>, but the chat template prints it 1 times")
    assert "asks for turn 2 with other tokens than it was trained behind" in said["template"]
    assert "holds 8 special tokens, but the chat template prints 7" in said["text"]


def test_a_template_that_prints_bos_twice_is_found() -> None:
    tokenizer = family("gemma")
    template = tokenizer.chat_template
    try:
        tokenizer.chat_template = "{{ bos_token }}" + template
        assert verdicts(tokenizer, check.EXAMPLES)["bos"] == "row 0 starts with <bos> twice; mend the chat template"
    finally:
        tokenizer.chat_template = template


def test_a_wrong_mask_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    said = broken(monkeypatch, lambda chat, e: Encoded(e.ids, tuple((a + 2, b) for a, b in e.spans)))
    assert said["mask"].startswith("row 0 trains [") and "but its assistant says ['Itis42.<|eot_id|>']" in said["mask"]


def test_an_end_token_left_out_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    said = broken(monkeypatch, lambda chat, e: Encoded(e.ids, tuple((a, b - 1) for a, b in e.spans)))
    assert "row 0 trains" in said["mask"]


def test_a_header_in_the_mask_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    said = broken(monkeypatch, lambda chat, e: Encoded(e.ids, tuple((a - 3, b) for a, b in e.spans)))
    assert "row 0 trains" in said["mask"]


def test_a_failed_check_stops_a_training_unless_it_is_skipped_by_name(
    model: Path, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(*_: Any) -> str:
        raise StageError("samples see each other")

    monkeypatch.setattr(check, "packing_proof", never)
    given: dict[str, Any] = {"packing": True, "batch_size": 2, "max_length": 128, "checkpoints": 0}
    rows, out = write(*chats(6)), tmp_path / "out"
    run = {"template": None, "seed": 0, "progress": lambda *_, **__: None}
    with pytest.raises(StageError) as caught:
        sft.train(model, rows, out, tmp_path / "work", SFTSettings(**given), **run)
    assert str(caught.value) == ("check packing: samples see each other (`skip_checks: [packing]` trains nevertheless)")
    assert not out.exists()
    sft.train(model, rows, out, tmp_path / "work", SFTSettings(**given, skip_checks=["packing"]), **run)
    assert (out / "model.safetensors").exists()
    assert "check   FAILED  packing   samples see each other" in capsys.readouterr().out
    assert SFTSettings(**given, skip_checks=["packing"]).content() == SFTSettings(**given).content()


def test_samples_are_shown_whole_with_their_trained_tokens_marked() -> None:
    chat = Chat(family("qwen2.5"))
    encoded = chat.encode(check.EXAMPLES[0][1])
    assert "".join(text for text, _ in stretches(chat, encoded)) == chat.tokenizer.decode(encoded.ids)
    assert str(marked(chat, encoded, colour=False)).endswith("assistant\n{+It is 42.<|im_end|>+}\n")
    green = [span for span in marked(chat, encoded, colour=True).spans if span.style == "bold green"]
    assert len(green) == 1
    long = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b" * 5000}]
    assert "characters ...]" in str(marked(chat, chat.encode(long), colour=False))


@pytest.fixture
def recipe(workdir: Path, model: Path) -> Path:
    """A recipe with a stage of every kind of training, on a model from outside."""
    stages = {
        "public": {"use": "mini_public", "rows": 30},
        "liked": {"use": "mini_preferences", "rows": 30},
        "sft": {"use": "sft", "model": str(model), "data": "public", "packing": True, "batch_size": 2},
        "dpo": {"use": "dpo", "model": "sft", "data": "liked"},
        "teacher": {"use": "mini_teacher", "base": str(model), "steps": 1},
        "later": {"use": "sft", "model": "teacher", "data": "public"},
    }
    file = workdir / "small.yaml"
    file.write_text(yaml.safe_dump({"defaults": ["base", "_self_"], "name": "small", "stages": stages}))
    return file


def test_the_verb(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", f"recipe={recipe}"]) == 0
    before = capsys.readouterr().out
    assert "'public' is not made yet: 2 examples stand in for it" in before
    assert "skipped all: the tokenizer is that of 'teacher', which is not made yet" in before
    assert before.splitlines()[-1] == "11 checks passed, 1 of 3 trainings could not be checked yet"
    assert "{+It is 42.<|eot_id|>+}" in before
    assert main(["stage", "public", f"recipe={recipe}"]) == main(["stage", "liked", f"recipe={recipe}"]) == 0
    capsys.readouterr()
    assert main(["check", f"recipe={recipe}"]) == 0
    after = capsys.readouterr().out
    assert "the first 30 conversations of 'public'" in after and "the first 60 conversations of 'liked'" in after
    assert "{+It is 42." not in after and after.count("<|eot_id|>+}") == 4


def test_the_verb_says_what_fails(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["check", f"recipe={recipe}", "stages.sft.pad_token=nothing"])
    said = capsys.readouterr()
    assert code == 1 and said.err == "error: checks failed in: sft\n"
    assert "FAILED  pad_token: 'nothing' is no token of the tokenizer of" in said.out
    code = main(["check", f"recipe={recipe}", "stages.sft.skip_checks=[packin]"])
    assert code == 2 and "stages.sft.skip_checks.0: input should be 'bos', 'mask'" in capsys.readouterr().err


def test_pairs_are_checked_with_either_answer(write: Write) -> None:
    rows = check.first_preferences(write(*pairs(3)))
    assert [number for number, _ in rows] == [0, 0, 1, 1, 2, 2]
    assert all([m["role"] for m in messages] == ["user", "assistant"] for _, messages in rows)
