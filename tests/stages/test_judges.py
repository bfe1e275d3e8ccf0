"""Four benchmarks before a judge whose mind is known: exact scores, honest failures, calls made once, keys that part judges."""

import json
import math
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from magpie_align.errors import ConfigError, StageError
from magpie_align.evaluation.alpaca_eval import win_rate
from magpie_align.evaluation.leaderboard import Row, join
from magpie_align.evaluation.published import published_rows
from magpie_align.evaluation.scored import read_scored
from magpie_align.evaluation.standing import mishaps
from magpie_align.flow.stage import Context
from magpie_align.recipe import check, packaged, stage_class
from magpie_align.stages._leaderboard import training_settings
from tests.engines.test_openai_engine import ODDITIES
from tests.evaluation import question_files
from tests.evaluation.judge_server import MISBEHAVIOURS, JudgeServer, judge_server
from tests.stages.stand import Stand
from tests.synthesis.families import family

CALLS = 14
"""Of the 16 games of Arena-Hard: two questions are answered alike, and then both games ask the very same."""


def _calibration() -> str:
    chance, lines = random.Random(0), ["preference,index,std_delta_len,instruction_difficulty,not_gamed_baseline"]
    for i in range(8):
        for other in (True, False):
            lines.append(f"{chance.random()},{i},{chance.gauss(0, 1)},{chance.gauss(0, 1)},{other}")
    return "\n".join(lines) + "\n"


CALIBRATION = _calibration()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    family("llama-3").save_pretrained(folder)
    (folder / "config.json").write_text("{}")
    return str(folder)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[JudgeServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("magpie_align.engines.openai.FIRST_PAUSE_S", 0.01)
    with judge_server() as server:
        yield server


@pytest.fixture(scope="module")
def answered(model: str, tmp_path_factory: pytest.TempPathFactory) -> Stand:
    """Answers of a model (`SET`) and of a baseline (`SET_base`) to all four question sets."""
    stand = Stand(tmp_path_factory.mktemp("answered"))
    for name in ("alpaca", "arena", "wildbench", "mt_bench"):
        questions = getattr(question_files, name)(stand.root)
        for script, suffix in (("uneven", ""), ("exact", "_base")):
            engine = {"kind": "scripted", "script": f"tests.evaluation.speakers:{script}"}
            settings = {"model": model, "engine": engine, "questions": questions, "max_tokens": 60}
            stand.run(f"{name}{suffix}", "outputs", **settings)
    engine = {"kind": "scripted", "script": "tests.evaluation.speakers:more"}
    questions = question_files.arena(stand.root)
    stand.run("arena_more", "outputs", model=model, engine=engine, questions=questions, max_tokens=60)
    # All speak through one tokenizer folder, and a name must tell them apart.
    for name in ("alpaca_base", "arena_base", "wildbench_base"):
        rename(stand, name, "baseline-1")
    return stand


@pytest.fixture
def world(answered: Stand, stand: Stand) -> Stand:
    """These answers, and a store of its own."""
    stand.inputs = dict(answered.inputs)
    return stand


def rename(stand: Stand, name: str, generator: str) -> None:
    rows = [row | {"generator": generator} for row in stand.rows(name)]
    described = json.loads((stand.inputs[name] / "outputs.json").read_text()) | {"generator": generator}
    stand.give(name, rows)
    (stand.inputs[name] / "outputs.json").write_text(json.dumps(described))


def prompt(name: str) -> Any:
    return yaml.safe_load((packaged("conf") / "judge_prompt" / f"{name}.yaml").read_text())


def by(server: JudgeServer, asked: str, **more: Any) -> dict[str, Any]:
    engine = server.engine
    engine["endpoint"] |= more.pop("endpoint", {})
    return {"judge": "served/judge", "engine": engine, "prompt": prompt(asked), **more}


def counts(world: Stand, name: str) -> dict[str, int]:
    """Question -> how many x its last answer has."""
    return {row["question_id"]: row["answers"][-1].count("x") for row in world.rows(name)}


def gaps(world: Stand, name: str) -> dict[str, int]:
    ours, theirs = counts(world, name), counts(world, f"{name}_base")
    return {question: ours[question] - theirs[question] for question in ours}


def values(made: Context) -> dict[str, float]:
    return {one.score.metric: one.score.value for one in read_scored(made.out)}


def sigmoid(gap: float) -> float:
    return 1 / (1 + math.exp(-gap))


def test_alpaca_eval_weighs_by_log_probabilities(world: Stand, server: JudgeServer) -> None:
    made = world.run("a", "alpaca_eval", outputs="alpaca", baseline="alpaca_base", **by(server, "alpaca_eval"))
    gap = gaps(world, "alpaca")
    same = sum(value == 0 for value in gap.values())
    assert len(server.seen) == 8 - same > 3
    (one,) = read_scored(made.out)
    assert one.items == pytest.approx({question: sigmoid(value) for question, value in gap.items()})
    annotations = json.loads((made.out / "annotations.json").read_text())
    assert win_rate(annotations).win_rate == pytest.approx(100 * one.score.value)
    assert made.summary["same_answers"] == same and made.summary["failures"] == {}
    assert {a["generator_1"] for a in annotations} == {"baseline-1"}
    both = world.run(
        "b", "alpaca_eval", outputs="alpaca", baseline="alpaca_base", seats="both", **by(server, "alpaca_eval")
    )
    assert (
        values(both) == pytest.approx(values(made)) and both.summary["cached"] == both.summary["calls_now"] == 8 - same
    )


def test_alpaca_eval_by_the_letter_that_was_written(world: Stand, server: JudgeServer) -> None:
    written = by(server, "alpaca_eval")
    written["prompt"] |= {"weighted": False, "max_tokens": 8}
    made = world.run("a", "alpaca_eval", outputs="alpaca", baseline="alpaca_base", **written)
    (one,) = read_scored(made.out)
    assert one.items == {q: 0.5 if not gap else float(gap > 0) for q, gap in gaps(world, "alpaca").items()}


def test_what_went_wrong_in_the_answers_is_told_beside_the_score(
    world: Stand, server: JudgeServer, model: str, tmp_path: Path
) -> None:
    """Of eight answers one is empty, one is cut, one draws a special token; the judge sees no special token."""
    engine = {"kind": "scripted", "script": "tests.evaluation.speakers:faulty"}
    questions = question_files.alpaca(tmp_path)
    world.run("faulty", "outputs", model=model, engine=engine, questions=questions, max_tokens=60)
    made = world.run("a", "alpaca_eval", outputs="faulty", baseline="alpaca_base", **by(server, "alpaca_eval"))
    assert not any("<|" in message["content"] for *_, body in server.seen for message in body["messages"])
    assert mishaps({"ours": read_scored(made.out)}) == [
        ("ours", "alpaca_eval", "answers cut at the token limit", 1, 8),
        ("ours", "alpaca_eval", "empty answers", 1, 8),
        ("ours", "alpaca_eval", "answers ended by a special token that does not stop the model", 1, 8),
    ]


def test_length_control_on_the_same_annotations(world: Stand, server: JudgeServer, tmp_path: Path) -> None:
    (tmp_path / "df_gamed.csv").write_text(CALIBRATION)
    made = world.run(
        "a", "alpaca_eval", outputs="alpaca", baseline="alpaca_base", calibration=str(tmp_path / "df_gamed.csv"),
        **by(server, "alpaca_eval"),
    )  # fmt: skip
    lc, plain = read_scored(made.out)
    assert (lc.score.metric, plain.score.metric) == ("lc_win_rate", "win_rate")
    assert 0 < lc.score.low < lc.score.value < lc.score.high < 1 and not lc.items


def test_arena_hard_plays_two_games_from_both_seats(world: Stand, server: JudgeServer) -> None:
    made = world.run(
        "a", "arena_hard", outputs="arena", baseline="arena_base", style_control=["length"], **by(server, "arena_hard")
    )
    gap = gaps(world, "arena")
    assert len(server.seen) == CALLS == 16 - sum(value == 0 for value in gap.values())
    won = {q: 0.5 if not value else float(value > 0) for q, value in gap.items()}
    weights = {q: 3 if abs(value) > 3 else 1 for q, value in gap.items()}
    found = values(made)
    assert found["score"] == pytest.approx(sum(won[q] * weights[q] for q in won) / sum(weights.values()))
    assert found["win_rate"] == pytest.approx(sum(won.values()) / 8)
    assert 0 <= found["style_controlled"] <= 1
    lines = [json.loads(line) for line in (made.out / "model_judgment.jsonl").read_text().splitlines()]
    for line in lines:
        first, second = (game["score"] for game in line["games"])
        assert {first, second} in ({"A=B"}, {"A>B", "B>A"}, {"A>>B", "B>>A"})


def test_wild_bench_both_ways(world: Stand, server: JudgeServer) -> None:
    scored = world.run("s", "wildbench", outputs="wildbench", **by(server, "wildbench_score"))
    ratings = {q: min(10, 1 + n) for q, n in counts(world, "wildbench").items()}
    found = values(scored)
    assert found["score"] == pytest.approx(sum(ratings.values()) / 100)
    # Session 0 counts in Creative Tasks and in Planning & Reasoning; the five groups have weights 0.5, 1.25, 1, 0.75, 1.25.
    groups = [(0, 5), (0, 1, 6), (2, 7), (3, 8), (4, 9)]
    means = [sum(2 * (ratings[f"s{i}"] - 5) for i in group) / len(group) for group in groups]
    macro = sum(w * m for w, m in zip((0.5, 1.25, 1, 0.75, 1.25), means, strict=True)) / 4.75
    assert found["task_macro"] == pytest.approx(macro / 10)
    asked = " ".join(body["messages"][-1]["content"] for *_, body in server.seen)
    assert asked.count("- Are there enough x?\n- Is there nothing else?") == 10
    assert asked.count("USER: Hello.\n\nASSISTANT: Hello to you.") == 5
    rewarded = world.run(
        "r", "wildbench", outputs="wildbench", baseline="wildbench_base", **by(server, "wildbench_reward")
    )
    gap = gaps(world, "wildbench")
    reward = {q: (1 if abs(g) > 3 else 0.5) * ((g > 0) - (g < 0)) for q, g in gap.items()}
    (_, plain) = read_scored(rewarded.out)
    assert plain.score.metric == "reward" and plain.items == pytest.approx(reward)


def test_wild_bench_from_both_seats(world: Stand, server: JudgeServer) -> None:
    """A judge that likes whoever sits first says nothing; a session of which it fails one seat is in no figure."""
    pairs = {"outputs": "wildbench", "baseline": "wildbench_base", **by(server, "wildbench_reward", max_failures=0.1)}

    def rewards(name: str, **more: Any) -> dict[str, float]:
        made = world.run(name, "wildbench", **pairs, **more)
        return next(dict(one.items) for one in read_scored(made.out) if one.score.metric == "reward")

    once, fair = rewards("once"), rewards("fair", seats="both")
    assert fair == once and {abs(value) for value in once.values()} == {0, 0.5, 1}
    server.behave = lambda body: 'say {"choice": "A++"}'
    cache = {"cache": str(world.root / "partial.sqlite")}
    assert set(rewards("first", **cache).values()) == {1, -1}
    assert set(rewards("swapped", seats="both", **cache).values()) == {0}
    records = json.loads((world.inputs["swapped"] / "pairwise.wb.json").read_text())
    assert [record["session_id"] for record in records] == [f"s{i // 2}" for i in range(20)]
    assert all({a["winner"], b["winner"]} == {*a["model_outputs"]} for a, b in zip(*[iter(records)] * 2, strict=True))

    first = [True]
    server.behave = lambda body: "refusal" if first and first.pop() else "well"
    cut = rewards("cut", seats="both", cache=str(world.root / "cut.sqlite"))
    assert len(cut) == 9 and cut.items() <= fair.items()


def test_mt_bench_rates_every_turn_beside_its_reference(world: Stand, server: JudgeServer, tmp_path: Path) -> None:
    prompts = yaml.safe_load((packaged("conf") / "judge_prompts/mt_bench.yaml").read_text())
    settings = by(server, "arena_hard") | {"prompt": None, "prompts_by_turn": prompts}
    references = question_files.mt_bench_references(tmp_path)
    made = world.run("m", "mt_bench", outputs="mt_bench", references=references, **settings)
    turns = [[min(10, 1 + a.count("x")) / 10 for a in row["answers"]] for row in world.rows("mt_bench")]
    found = values(made)
    assert found["turn_1"] == pytest.approx(sum(first for first, _ in turns) / 6)
    assert found["score"] == pytest.approx(sum(map(sum, turns)) / 12)
    asked = [body["messages"][-1]["content"] for *_, body in server.seen]
    assert len(asked) == 12 and sum("<reference>" in text for text in asked) == 4
    assert sum("<second_answer>" in text for text in asked) == 6


def test_a_hostile_judge(world: Stand, server: JudgeServer) -> None:
    """Nearly a third of the calls fail in one of many ways: none becomes a tie, all are listed, and only they are asked again."""
    chance = random.Random(3)
    ways = [*ODDITIES, *MISBEHAVIOURS, "content_filter"]
    done: list[str] = []

    def behave(body: dict[str, Any]) -> str:
        done.append(chance.choice(ways) if chance.random() < 0.3 else "well")
        return done[-1]

    server.behave = behave
    settings = by(server, "arena_hard", max_failures=0.0, endpoint={"timeout": 60})
    settings["prompt"] |= {"unanimous": True}
    games = {"outputs": "arena_more", "baseline": "arena_base", **settings}
    asked, failed, run = [], 16, world.run
    for _ in range(20):
        before = len(done)
        try:
            made = run("a", "arena_hard", **games)
        except StageError as error:
            assert len(done) - before == failed, "only what was missing is asked again"
            failed = sum(how != "well" for how in done[before:])
            assert f"gave no verdict on {failed} of 16 cases (" in str(error) and "max_failures is 0" in str(error)
            folder = world.root / "arena_hard-a/data"
            listed = [json.loads(line) for line in (folder / "failures.jsonl").read_text().splitlines()]
            assert len(listed) == failed and all(line["failure"] and line["value"] is None for line in listed)
            assert not (folder / "scores.json").exists()
            asked.append(len(done) - before)
            run = world.again
            continue
        break
    assert len(asked) > 1 and len(done) - before == failed
    assert set(done) & set(MISBEHAVIOURS) and set(done) & set(ODDITIES)
    server.behave = lambda body: "well"
    undisturbed = world.run("b", "arena_hard", **games | {"cache": str(world.root / "other.sqlite")})
    assert values(made) == values(undisturbed)
    assert made.summary["calls"] == len(done) and made.summary["failed_calls"] <= sum(how != "well" for how in done)


def test_failures_below_the_limit_are_in_no_figure(world: Stand, server: JudgeServer) -> None:
    first = [True]

    def behave(body: dict[str, Any]) -> str:
        return "refusal" if first and first.pop() else "well"

    server.behave = behave
    settings = by(server, "arena_hard", max_failures=0.1, endpoint={"concurrency": 1})
    made = world.run("a", "arena_hard", outputs="arena_more", baseline="arena_base", **settings)
    assert made.summary["failures"] == {"unreadable": 1} and made.summary["failed_games"] == 1
    lines = [json.loads(line) for line in (made.out / "model_judgment.jsonl").read_text().splitlines()]
    scores = [game["score"] for line in lines for game in line["games"]]
    assert (scores.count(None), scores.count("A=B"), made.summary["games"]) == (1, 0, 15)
    assert values(made) == {"score": 1, "win_rate": 1}


def test_missing_log_probabilities_are_failures(world: Stand, server: JudgeServer) -> None:
    server.behave = lambda body: "no logprobs"
    with pytest.raises(StageError, match=r"no verdict on \d of \d cases .\d no log probabilities., a share of 1 "):
        world.run("a", "alpaca_eval", outputs="alpaca", baseline="alpaca_base", **by(server, "alpaca_eval"))


def test_cost_before_and_after(world: Stand, server: JudgeServer, capsys: pytest.CaptureFixture[str]) -> None:
    prices = {"endpoint": {"price_in": 1000.0, "price_out": 10_000.0}}
    settings = by(server, "arena_hard", max_cost=1.0, **prices)
    with pytest.raises(
        StageError, match=rf"{CALLS} calls of the judge may cost \d+.\d\d, more than max_cost 1; none was made"
    ):
        world.run("a", "arena_hard", outputs="arena", baseline="arena_base", **settings)
    assert not server.seen
    made = world.run("b", "arena_hard", outputs="arena", baseline="arena_base", **settings | {"max_cost": 1000.0})
    assert f"{CALLS} calls of the judge judge at 127.0.0.1: about " in capsys.readouterr().err
    assert made.summary["cost"] == pytest.approx(CALLS * (100 * 1000 + 10 * 10_000) / 1e6)
    assert made.summary["cost"] < made.summary["estimated_cost"]
    assert (made.summary["tokens_in"], made.summary["tokens_out"]) == (100 * CALLS, 10 * CALLS)
    again = world.run("c", "arena_hard", outputs="arena", baseline="arena_base", **settings | {"max_cost": 0.0})
    assert again.summary["calls_now"] == 0 and again.summary["cached"] == 16 and values(again) == values(made)


def test_touched_questions_are_left_out_and_nothing_is_asked_again(
    world: Stand, server: JudgeServer, tmp_path: Path
) -> None:
    """In every figure, whether it is a mean of items or not; questions that nobody looked for are no clean ones."""
    world.give("data", [{"uuid": "1", "instruction": "Say x 3 times, hard.", "response": "Say x 6 times."}])
    files = {"a": question_files.arena(tmp_path), "b": question_files.alpaca(tmp_path)}
    world.run("touched", "contamination", data="data", items=files, shortest=4)
    calibration = tmp_path / "df_gamed.csv"
    calibration.write_text(CALIBRATION)
    runs: list[tuple[str, str, set[str], dict[str, Any]]] = [
        ("arena_hard", "arena", {"u3"}, {}),
        ("alpaca_eval", "alpaca", {"3", "6"}, {"calibration": str(calibration)}),
    ]
    for kind, outputs, touched, more in runs:
        settings = {"outputs": outputs, "baseline": f"{outputs}_base", **more, **by(server, kind)}
        whole, rest = world.run("whole", kind, **settings), world.run("rest", kind, without="touched", **settings)
        assert (rest.summary["calls_now"], rest.summary["left_out"]) == (0, len(touched))
        before, after = read_scored(whole.out), read_scored(rest.out)
        assert [one.score.metric for one in before] == [one.score.metric for one in after]
        for one, other in zip(before, after, strict=True):
            assert (one.score.n, other.score.n) == (8, 8 - len(touched))
            assert other.score.value != one.score.value
            assert dict(other.items) == {item: value for item, value in one.items.items() if item not in touched}
            assert other.key["without"] and other.key["questions"] != one.key["questions"]
    with pytest.raises(
        StageError, match="nobody looked for question s0 .'Say x 0 times, in the wild.'. in the training"
    ):
        world.run("wild", "wildbench", outputs="wildbench", without="touched", **by(server, "wildbench_score"))
    with pytest.raises(StageError, match="was judged; give its stage `without: STAGE`"):
        world.run("again", "untouched", scores="whole", contamination="touched")


def test_repeats_tell_how_far_the_judge_agrees_with_itself(world: Stand, server: JudgeServer) -> None:
    settings = by(server, "arena_hard", repeats=3)
    made = world.run("a", "arena_hard", outputs="arena", baseline="arena_base", **settings)
    assert len(server.seen) == 3 * CALLS
    assert made.summary["repeat_agreement"] == 1 and made.summary["repeat_sd"] == 0
    assert made.summary["repeat_scores"] == [pytest.approx(100 * values(made)["score"])] * 3


def test_judges_and_prompts_never_share_a_column(world: Stand, server: JudgeServer) -> None:
    settings = by(server, "alpaca_eval")
    runs = {"outputs": "alpaca", "baseline": "alpaca_base"}
    other = json.loads(json.dumps(settings))
    other["engine"]["endpoint"]["model"] = "another"
    reworded = json.loads(json.dumps(settings))
    reworded["prompt"]["system"] += " Be fair."
    rows = []
    for name, one in (("a", settings), ("again", settings), ("b", other), ("c", reworded)):
        (found,) = read_scored(world.run(name, "alpaca_eval", **runs, **one).out)
        rows.append(Row(found.score, found.key))
    columns = join(rows, published_rows())
    assert [len(column.rows) for column in columns] == [2, 1, 1]
    assert not any(column.published for column in columns)
    assert any(
        line.startswith("judge is judge at 127.0.0.1, published with gpt-4-1106-preview") for line in columns[0].apart
    )


def test_what_cannot_be_judged_is_refused_before_any_work(server: JudgeServer) -> None:
    def problems(kind: str, **settings: Any) -> list[str]:
        common = {"outputs": "o", "baseline": "b", "judge": "a/b"} | settings
        return stage_class(kind).model_validate({k: v for k, v in common.items() if v is not None}).problems()

    chat = server.engine
    assert problems("alpaca_eval") == [
        "give either a prompt (for a language model) or reward (for a reward model), and not both"
    ]
    assert problems("alpaca_eval", prompt={"user": "?", "reads": "rating"}, engine=chat) == [
        "prompt.reads is rating, but this benchmark compares two answers: labels, brackets or choice"
    ]
    assert problems("wildbench", baseline=None, prompt={"user": "?", "reads": "choice"}, engine=chat) == [
        "prompt.reads is choice, but this benchmark rates one: rating or score"
    ]
    assert problems("arena_hard", prompt={"reads": "brackets"}, engine=chat) == [
        "prompt.user is empty and there is no prompt_file; give the judge its words"
    ]
    weighted = {"user": "?", "reads": "labels", "weighted": True}
    assert problems("alpaca_eval", prompt=weighted, engine={"kind": "transformers"}) == [
        "the transformers engine gives no log probabilities (logprobs); use engine.kind=vllm or a server that does"
    ]
    greedy = {"user": "?", "reads": "brackets"}
    assert problems("arena_hard", prompt=greedy, repeats=3, engine={"kind": "transformers"}) == [
        "repeats is 3 at prompt.temperature 0, where a local judge says the same each time; raise it"
    ]
    assert problems("wildbench", baseline=None, reward={}) == [
        "a reward model gives no rating from 1 to 10; give a prompt, or compare with a baseline"
    ]
    assert problems("wildbench", baseline=None, prompt={"user": "?", "reads": "score"}, seats="both", engine=chat) == [
        "seats: WB-Score rates one answer, which has no seat; leave seats out or give a baseline"
    ]
    assert problems("arena_hard", reward={}, repeats=2) == [
        "repeats is 2, but a reward model says the same each time; leave it out"
    ]
    assert problems("mt_bench", baseline=None, prompts_by_turn={"first": {"user": "?", "reads": "rating"}}) == [
        "prompts_by_turn has first; it must have first, second, first_with_reference, second_with_reference"
    ]


def test_a_baseline_of_other_questions(world: Stand, server: JudgeServer, tmp_path: Path) -> None:
    with pytest.raises(StageError, match="the baseline baseline-1 does not answer question 0 .'Say x 0 times.'. of "):
        world.run("a", "alpaca_eval", outputs="alpaca", baseline="arena_base", **by(server, "alpaca_eval"))
    world.give("rows", [{"uuid": "1"}])
    with pytest.raises(StageError, match="'rows' holds no answers to a question set; name a stage `outputs`"):
        world.run("b", "alpaca_eval", outputs="rows", baseline="alpaca_base", **by(server, "alpaca_eval"))


def test_wrong_settings_are_all_told_at_once(server: JudgeServer) -> None:
    stages = {
        "a": {"use": "alpaca_eval", "outputs": "o", "baseline": "b", "judge": "a/b", "prompt": {"reads": "label"}},
        "b": {"use": "arena_hard", "outputs": "o", "baseline": "b", "judge": "a/b", "reward": {"margins": 1}},
    }
    with pytest.raises(ConfigError) as refused:
        check({"name": "x", "stages": stages, "engine": server.engine})
    first, second = str(refused.value).splitlines()
    assert first.startswith("stages.a.prompt.reads: input should be 'labels', 'brackets'")
    assert second == "stages.b.reward.margins: there is no such setting; did you mean 'margin'?"


def test_the_cache_holds_no_failure(world: Stand, server: JudgeServer) -> None:
    server.behave = lambda body: "500"
    with pytest.raises(StageError, match="gave no verdict on 16 of 16 cases"):
        world.run("a", "arena_hard", outputs="arena", baseline="arena_base", **by(server, "arena_hard"))
    base = sqlite3.connect(world.root / "judgments.sqlite")
    assert base.execute("select count(*) from answers").fetchone() == (0,)
    assert base.execute("select count(*), sum(failed) from calls").fetchone() == (CALLS, CALLS)


@pytest.mark.parametrize("kind", ["alpaca_eval", "arena_hard", "wildbench", "mt_bench"])
def test_of_a_served_judge_nothing_is_fetched(kind: str, server: JudgeServer) -> None:
    common = {"outputs": "o", "judge": "served/judge"} | (
        {"baseline": "b"} if kind in ("alpaca_eval", "arena_hard") else {}
    )

    def fetched(**settings: Any) -> str:
        stage = stage_class(kind).model_validate(common | settings)
        return next(stage.reads(ref) for field, _, ref in stage.refs() if field == "judge")

    assert fetched(engine=server.engine) == "nothing"
    assert fetched(engine={"kind": "vllm"}) == fetched(engine=server.engine, reward={}) == "weights"


def test_a_judged_score_knows_how_its_model_was_trained(tmp_path: Path) -> None:
    """Through the outputs that were judged; of published ones nothing is known."""
    made = {
        "sft-1": ({"model": "meta-llama/Meta-Llama-3-8B", "learning_rate": 2e-5}, {"meta-llama/Meta-Llama-3-8B": "x"}),
        "outputs-2": ({"model": "sft", "questions": "./q.json"}, {"sft": "sft-1", "./q.json": "y"}),
        "published_outputs-3": ({"answers": "./a.json", "questions": "./q.json"}, {"./a.json": "z", "./q.json": "y"}),
        "alpaca_eval-4": ({"outputs": "ours", "baseline": "theirs"}, {"ours": "outputs-2", "theirs": "published_outputs-3"}),
        "alpaca_eval-5": ({"outputs": "theirs", "baseline": "ours"}, {"ours": "outputs-2", "theirs": "published_outputs-3"}),
    }  # fmt: skip
    for name, (settings, inputs) in made.items():
        (tmp_path / name).mkdir()
        manifest = {"kind": name.rpartition("-")[0], "settings": settings, "inputs": inputs, "summary": {}}
        (tmp_path / name / "manifest.json").write_text(json.dumps(manifest))
    assert training_settings(tmp_path / "alpaca_eval-4") == {"base": "Llama-3-8B", "learning_rate": 2e-5}
    assert training_settings(tmp_path / "alpaca_eval-5") == {}
