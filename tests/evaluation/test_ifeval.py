"""lm-eval's IFEval gives published responses their published verdicts; what it needs of nltk is asked for before any work."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from magpie_align.errors import StageError
from magpie_align.evaluation.tasks import load_tasks
from tests.evaluation.lm_eval_files import write
from tests.realdata import ifeval, ifeval_questions, needs_realdata

PUNKT = {"length_constraints:number_sentences", "change_case:capital_word_frequency"}
"""Kinds of instructions that are checked with nltk's punkt_tab."""
CHANCE = {(1122, "keywords:letter_frequency"), (1129, "keywords:letter_frequency")}
"""They ask how often `#` and `!` occur, which are no letters, and lm-eval draws one at random in their place."""
DIFFERENT = {"strict": CHANCE, "loose": CHANCE | {(3112, "language:response_language")}}
"""And the language of a mixed text."""


@pytest.fixture
def verdict(monkeypatch: pytest.MonkeyPatch) -> Any:
    """lm-eval's checks of one instruction; it would fetch punkt_tab when it is imported."""
    import langdetect
    import nltk

    monkeypatch.setattr(nltk, "download", lambda *_, **__: False)
    monkeypatch.setattr(langdetect.DetectorFactory, "seed", 0)
    from lm_eval.tasks.ifeval import utils

    def check(kind: str, name: str, prompt: str, kwargs: dict[str, Any], response: str) -> bool:
        question = utils.InputExample(0, [name], prompt, [kwargs])
        found = getattr(utils, f"test_instruction_following_{kind}")(question, response)
        return bool(found.follow_instruction_list[0])

    return check


@needs_realdata
@pytest.mark.parametrize("kind", ["strict", "loose"])
def test_published_verdicts(kind: str, verdict: Any) -> None:
    questions = {question["prompt"]: question for question in ifeval_questions()}
    compared, different, need_punkt = 0, set(), Counter[str]()
    for row in ifeval(kind):
        question = questions.get(row["prompt"])
        if question is None:
            continue  # one prompt was published in other words
        told = zip(question["instruction_id_list"], question["kwargs"], row["follow_instruction_list"], strict=True)
        for name, kwargs, published in told:
            if name in PUNKT:
                need_punkt[name] += 1
                continue
            compared += 1
            if verdict(kind, name, row["prompt"], kwargs, row["response"]) != published:
                different.add((question["key"], name))
    assert compared == 755
    assert need_punkt == {"length_constraints:number_sentences": 52, "change_case:capital_word_frequency": 25}
    assert different <= DIFFERENT[kind]


def test_punkt_is_asked_for_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nltk

    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    (tmp_path / "own").mkdir()
    (tmp_path / "own/instructions_util.py").touch()
    write(tmp_path / "own/q.jsonl", [{"prompt": "Say it in three sentences."}])
    (tmp_path / "own/checked.yaml").write_text(
        "task: checked\ndataset_path: json\ndataset_kwargs: {data_files: {test: q.jsonl}}\ntest_split: test\n"
        "output_type: generate_until\ndoc_to_text: prompt\ndoc_to_target: prompt\n"
    )
    with pytest.raises(
        StageError, match="the task 'checked' needs nltk's punkt_tab, .*; run `python -m nltk.downloader"
    ):
        load_tasks({"checked": None}, own=tmp_path / "own")
    (tmp_path / "tokenizers/punkt_tab").mkdir(parents=True)
    assert load_tasks({"checked": None}, own=tmp_path / "own").names == ("checked",)
