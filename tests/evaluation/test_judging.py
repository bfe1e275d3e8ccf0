"""From a judge's words to a verdict: what says nothing is a failure and never a tie; prompts, cache and rewards."""

import importlib.util
import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from magpie_align.engines.protocol import Completion
from magpie_align.errors import ConfigError, StageError
from magpie_align.evaluation.judging.cache import Cache, content_key
from magpie_align.evaluation.judging.cases import Key, Verdict, drawn_first, pair, single
from magpie_align.evaluation.judging.hearing import hear, noise
from magpie_align.evaluation.judging.prompt import messages, package_prompt, published_words
from magpie_align.evaluation.judging.reading import read
from magpie_align.evaluation.judging.reward import RewardJudge, decide
from magpie_align.evaluation.judging.settings import JudgePrompt, RewardRule
from magpie_align.evaluation.outputs import Output
from magpie_align.evaluation.question_sets import Question
from magpie_align.records import Message

BRACKETS = JudgePrompt(user="?", reads="brackets")
UNANIMOUS = JudgePrompt(user="?", reads="brackets", unanimous=True)
CHOICE = JudgePrompt(user="?", reads="choice")
SCORE = JudgePrompt(user="?", reads="score")
RATING = JudgePrompt(user="?", reads="rating")
LABELS = JudgePrompt(user="?", reads="labels")
WEIGHTED = JudgePrompt(user="?", reads="labels", weighted=True, max_tokens=1)


def said(text: str, **more: Any) -> Completion:
    return Completion("k", text, **more)


@pytest.mark.parametrize(
    ("prompt", "text", "value", "decisive"),
    [
        (BRACKETS, "First [[A>B]], but no: [[B>>A]]", 0, True),
        (BRACKETS, "[[A=B]]", 0.5, False),
        (CHOICE, '{"answer A": "so", "choice": "A++"}', 1, True),
        (CHOICE, '```json\n{"choice": "B+",\n}\n```', 0, False),
        (CHOICE, '{"choice": "[A=B]"}', 0.5, False),
        (SCORE, '{"strengths": "a \\"score\\": 3 would be low", "score": "8"}', 8, False),
        (SCORE, '{"score": 7.5}', 7.5, False),
        (RATING, "[[3]] or rather [[9]]", 9, False),
        (LABELS, ' "M".\n', 0, False),
        (LABELS, "m", 1, False),
    ],
)
def test_verdicts(prompt: JudgePrompt, text: str, value: float, decisive: bool) -> None:
    assert read(said(text), prompt) == Verdict(value, decisive, text)


@pytest.mark.parametrize(
    ("prompt", "text", "failure"),
    [
        (BRACKETS, "Both are fine.", "unreadable: no [[verdict]] in it"),
        (UNANIMOUS, "[[A>B]] and [[B>A]]", "both sides: the text gives several verdicts"),
        (CHOICE, '{"choice": "A is the', 'unreadable: no "choice" in it'),
        (CHOICE, '{"choice": "A+++"}', 'unreadable: no "choice" in it'),
        (CHOICE, "A++", 'unreadable: no "choice" in it'),
        (SCORE, '{"score": "70"}', "unreadable: no rating from 1 to 10 in it"),
        (SCORE, '{"score": "7/10"', None),
        (RATING, "[[0]]", "unreadable: no rating from 1 to 10 in it"),
        (LABELS, "m or M", "unreadable: it is neither m nor M"),
        (LABELS, "", "unreadable: it is neither m nor M"),
    ],
)
def test_what_is_none(prompt: JudgePrompt, text: str, failure: str | None) -> None:
    found = read(said(text), prompt)
    assert (found.value, found.failure) == ((None, failure) if failure else (7, None))


def test_a_judge_that_does_not_end_or_answer_has_no_verdict() -> None:
    assert (
        read(said("[[A>B]] but", finish="length"), BRACKETS).failure
        == "cut: the judge did not end within its max_tokens"
    )
    assert read(said("", finish="error", error="a 500"), BRACKETS).failure == "no answer: a 500"


@given(st.text(alphabet='AB>=<[]+"choice:{} 0123456789mM'), st.sampled_from([BRACKETS, UNANIMOUS, CHOICE, LABELS]))
def test_only_a_said_tie_is_a_tie(text: str, prompt: JudgePrompt) -> None:
    found = read(said(text), prompt)
    assert (found.value is None) == (found.failure is not None)
    if found.value == 0.5:
        assert "A=B" in text or "B=A" in text


def log(**shares: float) -> tuple[dict[str, float], ...]:
    return ({name: math.log(share) for name, share in shares.items()},)


def test_weighted_by_log_probabilities() -> None:
    assert read(said("m", finish="length", logprobs=log(m=0.6, M=0.2, The=0.1)), WEIGHTED).value == pytest.approx(0.75)
    assert read(said("M", logprobs=log(M=0.9, x=0.1)), WEIGHTED).value == 0
    none = read(said("m"), WEIGHTED)
    assert none.failure == "no log probabilities: the judge's server gave none"
    other = read(said("The", logprobs=log(The=0.9, Both=0.1)), WEIGHTED)
    assert (other.value, other.failure) == (None, "no log probabilities: neither m nor M is among the likeliest tokens")


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_weighted_verdicts_are_those_of_the_package() -> None:
    parsers = pytest.importorskip("alpaca_eval.completion_parsers")
    chance = random.Random(0)
    for _ in range(50):
        names = chance.sample(["m", "M", "The", "Both", "Based"], 4)
        place = {name: -chance.expovariate(0.5) for name in names}
        top = [{"token": name, "logprob": value} for name, value in place.items()]
        raw = {"logprobs": {"content": [{"top_logprobs": top}]}, "text": names[0]}
        (theirs,) = parsers.logprob_parser(raw, "m", ["m", "M"], is_binarize=False)
        ours = read(said(names[0], logprobs=(place,)), WEIGHTED).value
        assert (ours is None and math.isnan(theirs)) or 2 - (ours or 0) == pytest.approx(theirs, abs=1e-12)


def output(answers: tuple[str, ...], name: str = "m", **question: Any) -> Output:
    asked = Question(**({"id": "q", "turns": ("What {output_1}?",)} | question))
    return Output(asked, answers, ("ok",) * len(answers), (1,) * len(answers), name)


def test_slots_are_filled_once_under_every_published_name() -> None:
    case = pair(output(("mine {answer_b}",)), output(("theirs",), "b"), first=True)
    for template in ("{instruction} {output_1} {output_2}", "{question} {answer_a} {answer_b}",
                     "{$user_query} {$candidate_A} {$candidate_B}", "{QUESTION} {ANSWER_A} {ANSWER_B}",
                     "{question_1} {answer_1} {answer_2}"):  # fmt: skip
        (asked,) = messages(JudgePrompt(user=template, reads="brackets"), case)
        assert asked.content == "What {output_1}? mine {answer_b} theirs"
    with pytest.raises(StageError, match=r"wants \{reference\}, which question q does not have; it has: ANSWER_A, "):
        messages(JudgePrompt(user="{reference}", reads="brackets"), case)


def test_history_checklist_and_turns_are_slots() -> None:
    history = (Message("user", "Hi."), Message("assistant", "Hello."))
    case = single(output(("a",), history=history, turns=("Now?",), checklist=("one", "two")), 0)
    assert case.slots["history"] == "USER: Hi.\n\nASSISTANT: Hello." and case.slots["checklist"] == "- one\n- two"
    assert [message.content for message in case.chat] == ["Hi.", "Hello.", "Now?"]
    second = single(output(("a1", "a2"), turns=("t1", "t2"), references=("r1", "r2")), 1)
    names = ("question_1", "answer_1", "question_2", "answer_2", "ref_answer_2", "model_output")
    assert [second.slots[name] for name in names] == ["t1", "a1", "t2", "a2", "r2", "a2"]


def test_seats_are_drawn_by_question_alone() -> None:
    drawn = [drawn_first(Question(str(i), (f"question {i}",))) for i in range(800)]
    assert 340 < sum(drawn) < 460
    assert drawn == [drawn_first(Question(str(i), (f"question {i}",))) for i in range(800)]


@pytest.mark.skipif(importlib.util.find_spec("alpaca_eval") is None, reason="needs the alpaca-eval package")
def test_the_prompt_of_the_package_is_known_by_its_published_name() -> None:
    file = package_prompt()
    assert file is not None
    prompt = WEIGHTED.model_copy(update=published_words(file))
    assert prompt.name == "weighted_alpaca_eval_gpt4_turbo"
    assert LABELS.model_copy(update=published_words(file)).name.startswith("own:")
    changed = prompt.model_copy(update={"user": prompt.user + " Be kind."})
    assert changed.name == f"own:{changed.hash}" != prompt.name


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_package_asks_the_same() -> None:
    utils, pandas = pytest.importorskip("alpaca_eval.utils"), pytest.importorskip("pandas")
    file = package_prompt()
    assert file is not None
    # No slot is spelled in these texts: the package would fill it once more.
    asked = {"turns": ('Say "{x}" in\n\nJSON.',)}
    case = pair(output(('mine "{x}"',), **asked), output(("theirs",), "b", **asked), first=True)
    row = {"instruction": 'Say "{x}" in\n\nJSON.', "output_1": 'mine "{x}"', "output_2": "theirs"}
    (text,), _ = utils.make_prompts(pandas.DataFrame([row]), file.read_text())
    ours = messages(WEIGHTED.model_copy(update=published_words(file)), case)
    assert [(m.role, m.content) for m in ours] == [(m["role"], m["content"]) for m in utils.prompt_to_chatml(text)]


def test_published_prompt_files(tmp_path: Path) -> None:
    arena = tmp_path / "judge_config.yaml"
    arena.write_text("system_prompt: Judge.\nprompt_template: ['{question_1} {answer_1} {answer_2}']\n")
    assert published_words(arena) == {"system": "Judge.", "user": "{question_1} {answer_1} {answer_2}"}
    wild = tmp_path / "eval.md"
    wild.write_text("# Rate {$model_output}")
    assert published_words(wild) == {"user": "# Rate {$model_output}"}
    chat = tmp_path / "judge_prompts.jsonl"
    chat.write_text(json.dumps({"name": "single-v1", "system_prompt": "S", "prompt_template": "{question}"}) + "\n")
    assert published_words(chat, "single-v1") == {"system": "S", "user": "{question}"}
    with pytest.raises(ConfigError, match="has no prompt 'pair'; it has: single-v1"):
        published_words(chat, "pair")
    arena.write_text("a: 1")
    with pytest.raises(ConfigError, match="has no prompt_template; name Arena-Hard's configuration"):
        published_words(arena)


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(ValidationError, match="weighted reads the probabilities of labels, but the form is brackets"):
        JudgePrompt(user="?", reads="brackets", weighted=True)
    with pytest.raises(ValidationError, match="brackets stand in free text, which has no form; leave structured out"):
        JudgePrompt(user="?", reads="brackets", structured=True)
    with pytest.raises(ValidationError, match="the two labels are the same"):
        JudgePrompt(user="?", reads="labels", labels=("m", "m"))
    with pytest.raises(ValidationError, match=r"decisive \(1\) must be more than margin \(2\)"):
        RewardRule(margin=2, decisive=1)
    with pytest.raises(ValidationError, match="a weighted verdict has no ties"):
        RewardRule(margin=2, weighted=True)


@pytest.mark.parametrize(
    ("rule", "gap", "value", "decisive"),
    [
        (RewardRule(), 0.01, 1, False),
        (RewardRule(), 0, 0.5, False),
        (RewardRule(margin=0.5), 0.5, 0.5, False),
        (RewardRule(margin=0.5, decisive=2), -0.6, 0, False),
        (RewardRule(margin=0.5, decisive=2), -2.5, 0, True),
        (RewardRule(weighted=True), 1.5, 1 / (1 + math.exp(-1.5)), False),
        (RewardRule(weighted=True), -1000, 0, False),
    ],
)
def test_the_higher_reward_wins_by_the_rule(rule: RewardRule, gap: float, value: float, decisive: bool) -> None:
    found = decide(1 + gap, 1, rule)
    assert found.value == pytest.approx(value) and found.decisive == decisive


def test_a_reward_model_scores_each_answer_once_and_again_only_what_failed(tmp_path: Path) -> None:
    seen: list[str] = []

    def score(chats: Any) -> Any:
        seen.extend(chat[-1].content for chat in chats)
        return (
            (i, math.nan if chat[-1].content == "odd" else float(len(chat[-1].content))) for i, chat in enumerate(chats)
        )

    cases = [
        pair(output((text,), id=str(n)), output(("four",), "b", id=str(n)), first=first, part=1 + first)
        for n, text in enumerate(("longer", "odd"))
        for first in (False, True)
    ]
    cache = Cache(tmp_path / "c.sqlite", "me")
    judge = RewardJudge("rm", {"model": "rm"}, RewardRule(), cache, score)
    found = {case.key: verdict for case, verdict in judge.judge(cases)}
    assert [found[Key("0", part, 0)].value for part in (1, 2)] == [0, 1]
    assert (
        found[Key("1", 1, 0)].failure
        == found[Key("1", 2, 0)].failure
        == ("no reward: the chat is too long for the reward model, or its reward is no number")
    )
    assert sorted(seen) == ["four", "longer", "odd"]
    seen.clear()
    list(RewardJudge("rm", {"model": "rm"}, RewardRule(), cache, score).judge(cases))
    assert seen == ["odd"]


def test_a_verdict_is_given_as_soon_as_both_answers_are_scored(tmp_path: Path) -> None:
    events: list[str] = []

    def score(chats: Any) -> Any:
        for i, chat in enumerate(chats):
            events.append(chat[-1].content)
            yield i, float(i)

    cases = [pair(output((f"{n}a",), id=n), output((f"{n}b",), "b", id=n), first=True) for n in ("first", "second")]
    for case, _ in RewardJudge("rm", {}, RewardRule(), Cache(tmp_path / "c.sqlite", "me"), score).judge(cases):
        events.append(case.key.question)
    assert events == ["firsta", "firstb", "first", "seconda", "secondb", "second"]


def test_the_cache_is_by_content_and_shared(tmp_path: Path) -> None:
    file = tmp_path / "c.sqlite"
    one, two = Cache(file, "one"), Cache(file, "two")
    key = content_key(judge="j", messages=["a"])
    assert key == content_key(messages=["a"], judge="j") != content_key(judge="j", messages=["b"])
    one.put(key, {"text": "first"})
    two.put(key, {"text": "second"})
    assert one.get(key) == {"text": "second"} and one.get("other") is None
    one.log(False, 10, 2, 0.5)
    one.log(True, 0, 0, 0.25)
    assert one.account() == {"calls": 2, "failed_calls": 1, "tokens_in": 10, "tokens_out": 2, "cost": 0.75}
    assert two.account()["calls"] == 0


class Fixed:
    """A judge that says what it is told to say."""

    name = "fixed"

    def __init__(self, verdicts: list[Verdict]) -> None:
        self.verdicts = verdicts

    def judge(self, cases: Any) -> Any:
        return zip(cases, self.verdicts, strict=True)


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.sampled_from([0.0, 0.1, 0.5]))
def test_the_limit_of_failures(tmp_path_factory: Any, good: list[bool], limit: float) -> None:
    folder = tmp_path_factory.mktemp("heard")
    cases = [pair(output(("a",), id=str(n)), output(("b",), id=str(n)), first=True) for n in range(len(good))]
    judge = Fixed([Verdict(1.0) if one else Verdict(None, failure="refused: no") for one in good])
    bad = good.count(False)
    if bad and (bad / len(good) > limit or bad == len(good)):
        with pytest.raises(StageError, match=f"gave no verdict on {bad} of {len(good)} cases .{bad} refused."):
            hear(judge, cases, folder, limit, lambda done, total, said: None)  # type: ignore[arg-type]
    else:
        assert len(hear(judge, cases, folder, limit, lambda done, total, said: None)) == len(good)  # type: ignore[arg-type]
    listed = [json.loads(line) for line in (folder / "failures.jsonl").read_text().splitlines()]
    assert sorted(line["question"] for line in listed) == sorted(str(n) for n, one in enumerate(good) if not one)
    assert len((folder / "judgments.jsonl").read_text().splitlines()) == len(good)


def test_how_far_a_judge_agrees_with_itself() -> None:
    values = {"a": [1.0, 1.0, 1.0], "b": [1.0, 0.0, 1.0], "c": [0.5, None, 0.5]}
    verdicts = {Key(q, 1, n): Verdict(v) for q, found in values.items() for n, v in enumerate(found)}
    found = noise(verdicts, [60.0, 62.0, 64.0])
    assert (found["repeat_sd"], found["repeat_agreement"]) == (2.0, 0.5)
    assert noise(verdicts, [60.0]) == {}
