"""The figures of a report are those of the rows: of a run written by hand, every one is known."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from magpie_align.evaluation.judging.cases import Case, Key, Verdict
from magpie_align.evaluation.judging.hearing import hear
from magpie_align.report.html import browser, figures, items
from magpie_align.report.html.ancestry import nearest, training_sets
from magpie_align.report.html.distributions import distributions
from magpie_align.report.html.items import evaluations, models
from magpie_align.report.html.pipeline import picture
from magpie_align.report.html.points import flat, points
from magpie_align.report.html.pools import connection, data_sets, pools
from magpie_align.report.html.run import Run
from tests.report.html.world import artifact, entry_of, finished, rows, run_of


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return run_of(finished(tmp_path / "store", []))


def test_a_data_set_and_the_pool_it_was_taken_from(run: Run, tmp_path: Path) -> None:
    assert [entry.name for entry in data_sets(run)] == ["selected"]
    with connection(tmp_path) as con:
        (pool,) = pools(run, con)
    assert (pool.name, pool.rows, [(one.name, one.rows) for one in pool.sets]) == (
        "instructions",
        60,
        [("selected", 40)],
    )
    makers = {name: maker for name, (maker, _) in pool.columns.items()}
    assert (makers["instruction"], makers["response"], makers["input_quality"]) == ("instructions", "responses", "tags")


def test_distributions_count_every_row(run: Run, tmp_path: Path) -> None:
    with connection(tmp_path) as con:
        charts = {chart["name"]: chart for chart in distributions(con, pools(run, con))}
    quality = charts["input_quality"]
    assert quality["labels"] == ["poor", "good"]
    assert [(s["name"], s["counts"], s["whole"]) for s in quality["series"]] == [
        ("all of instructions", [20, 40], True),
        ("selected", [0, 40], False),
    ]
    assert charts["sampling_cell"]["labels"] == ["T 1.0, top-p 1.0", "T 1.2, top-p 1.0"]
    lengths = charts["instruction_length"]["series"]
    assert [(s["rows"], sum(s["counts"])) for s in lengths] == [(60, 60), (40, 40)]
    texts = [f"Add {n} and {n + 1}." for n in range(60)]
    assert lengths[0]["mean"] == pytest.approx(sum(map(len, texts)) / 60)


def test_a_label_of_one_value_and_a_number_of_one_value_are_no_chart(tmp_path: Path) -> None:
    folder = artifact(tmp_path / "store", "dataset", 1, {})
    rows(folder, [{"uuid": str(n), "instruction": "same", "response": "r", "language": "en"} for n in range(3)])
    made = {
        "public": folder,
        "sft": artifact(tmp_path / "store", "sft", 2, {"public": folder}, settings={"data": "public"}),
    }
    with connection(tmp_path) as con:
        assert distributions(con, pools(run_of(made), con)) == []


def test_the_map_parts_what_is_apart_and_is_the_same_again() -> None:
    random = np.random.default_rng(1)
    near = random.normal(size=(50, 16)).astype(np.float32) / 10
    vectors = np.vstack([near, near + np.eye(16, dtype=np.float32)[3] * 5])
    places, share = flat(vectors)
    assert share > 0.9
    assert places[50:, 0].min() > places[:50, 0].max() or places[50:, 0].max() < places[:50, 0].min()
    assert (flat(vectors)[0] == places).all()
    assert places.min() >= 0 and places.max() <= 1000


def test_the_map_tells_category_and_data_set(run: Run, tmp_path: Path) -> None:
    with connection(tmp_path) as con:
        (pool,) = pools(run, con)
        drawn = points(run, con, pool)
    assert drawn and len(drawn["x"]) == 60 and drawn["categories"] == ["Math", "Others"]
    assert sum(drawn["member"]) == 40
    place = drawn["uuid"].index("row-003")
    assert (drawn["text"][place], drawn["member"][place]) == ("Add 3 and 4.", 0)


def test_wins_and_losses(run: Run) -> None:
    (task,) = evaluations(run, seed=0)
    assert task["metrics"]["exact_match"] == {"base": "0010", "base + SFT": "1001"}
    assert [item["question"] for item in task["items"]] == [f"Add {n} and {n + 1}." for n in range(20, 24)]
    assert task["items"][3]["answers"] == ["said 3", "said 3"]


def test_values_that_an_evaluation_tells_itself_come_first(run: Run) -> None:
    for entry, values in ((models(run)["base"], [0.0, 0.25]), (models(run)["base + SFT"], [1.0, 0.5])):
        line = {"task": "judged", "metric": "win_rate", "values": {f"q{n}": value for n, value in enumerate(values)}}
        (entry.folder / "data" / "items.jsonl").write_text(json.dumps(line) + "\n")
    (task,) = evaluations(run, seed=0)
    assert (task["task"], task["rows"], task["items"]) == ("judged", 2, [])
    assert task["metrics"]["win_rate"]["base + SFT"] == [1.0, 0.5]


def test_what_a_judge_read_is_shown(tmp_path: Path) -> None:
    store = tmp_path / "store"
    made: dict[str, Path] = {"base": artifact(store, "mini_base", 1, {})}
    for number, name in enumerate(("one", "two")):
        made[f"said_{name}"] = rows(
            artifact(store, "outputs", 2 + number, {"base": made["base"]}, settings={"model": "base"}),
            [
                {"question_id": str(q), "question": json.dumps({"id": str(q), "turns": [f"Q{q}?", "And?"]})}
                | {"answers": [f"{name} says {q}", None]}
                for q in (81, 82)
            ],
        )
        inputs = {f"said_{name}": made[f"said_{name}"]}
        made[name] = artifact(store, "mt_bench", 4 + number, inputs, settings={"outputs": f"said_{name}"})
        line = {"task": "mt_bench", "metric": "turn_1", "values": {"81": 0.7 + number / 10, "82": 0.5}}
        (made[name] / "data" / "items.jsonl").write_text(json.dumps(line) + "\n")
        judged(
            made[name], [("81", 1, 0, 7.0 + number, f"Good, {name}. [[{7 + number}]]"), ("81", 1, 1, 3.0, "a repeat")]
        )
    shown = {"models": {"One": "one", "Two": "two"}}
    made["report"] = artifact(store, "report", 6, {name: made[name] for name in ("one", "two")}, settings=shown)
    (task,) = evaluations(run_of(made), seed=0)
    assert task["metrics"] == {"turn_1": {"One": [0.7, 0.5], "Two": [0.8, 0.5]}}
    first = task["items"][0]
    assert (first["question"], first["target"]) == ("Q81?\n\nAnd?", "")
    assert first["answers"] == ["one says 81\n\n", "two says 81\n\n"]
    # The judge's own words, of the first repeat alone; of the other question it said nothing.
    assert first["judged"] == [[(1, "", 7.0, "Good, one. [[7]]", "")], [(1, "", 8.0, "Good, two. [[8]]", "")]]
    assert "judged" not in task["items"][1]


def judged(folder: Path, said: list[tuple[str, int, int, float, str]]) -> None:
    """What the judge wrote, as an evaluation leaves it."""
    case = Case(Key("", 1, 0), (), (), {})
    verdicts = [(replace(case, key=Key(*named)), Verdict(value, text=text)) for *named, value, text in said]
    judge = SimpleNamespace(name="fixed", judge=lambda _: verdicts)
    hear(judge, [one for one, _ in verdicts], folder / "data", 0, lambda *_: None)


def test_longer_texts_show_fewer_questions(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "MOST_TEXT", 300)
    (task,) = evaluations(run, seed=0)
    assert 0 < len(task["items"]) < 4 and task["rows"] == 4


def test_models_that_answered_other_questions_are_left_out(run: Run) -> None:
    log = models(run)["base + SFT"].folder / "data" / "samples" / "sums.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:2]))
    (task,) = evaluations(run, seed=0)
    assert task["models"] == ["base"]


def test_a_lost_question_leads_to_the_rows_like_it(run: Run, tmp_path: Path) -> None:
    sets = training_sets(run)
    assert {name: entry.name for name, entry in sets.items()} == {"base + SFT": "selected"}
    with connection(tmp_path) as con:
        found = nearest(con, sets["base + SFT"], ["Add 20 and 21.", "Add 21 and 22.", "\u4e2d\u6587"])
    assert (found["searched"], found["of"]) == (40, 40)
    assert found["near"][0][0] == ["row-020", pytest.approx(1.0), "Add 20 and 21."]
    assert found["near"][1][0][0] != "row-021"  # of poor quality, so not trained on
    assert found["near"][2] == []


def test_the_browser_draws_by_seed_and_adds_what_is_pointed_at(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browser, "SAMPLE", 10)
    with connection(tmp_path) as con:
        found = pools(run, con)
        (first,), (again,), (other,) = (browser.browse(con, found, seed, ["row-003"]) for seed in (0, 0, 1))
    assert first == again
    drawn = [{row[0] for row in one["rows"] if row[1]} for one in (first, other)]
    assert [len(uuids) for uuids in drawn] == [10, 10] and drawn[0] != drawn[1]
    row = next(row for row in first["rows"] if row[0] == "row-003")
    assert row[2] == 0 and row[3] == [["user", "Add 3 and 4."], ["assistant", "It is 7."]]
    values = dict(zip([name for name, _ in first["columns"]], row[4], strict=True))
    assert (values["input_quality"], values["quality_generator"], values["input_generator"]) == (
        "poor",
        "a tagger",
        "teacher",
    )
    assert values["sampling_cell"] == "T 1.0, top-p 1.0"


def test_a_row_tells_each_data_set_that_it_is_in(run: Run, tmp_path: Path) -> None:
    responses = entry_of(run, "responses").folder
    few = artifact(tmp_path / "store", "select", 20, {"responses": responses}, settings={"data": "responses"})
    rows(few, [{"uuid": f"row-{n:03d}", "instruction": "i", "response": "r"} for n in (1, 3)])
    other = artifact(tmp_path / "store", "sft", 21, {"few": few}, settings={"data": "few"})
    more = run_of({entry.name: entry.folder for entry in run.made} | {"few": few, "other": other})
    with connection(tmp_path) as con:
        (one,) = browser.browse(con, pools(more, con), 0, [])
    assert [name for name, _ in one["sets"]] == ["selected", "few"]
    member = {row[0]: row[2] for row in one["rows"]}
    # Every third row is not selected; rows 1 and 3 are of the few.
    assert [member[f"row-{n:03d}"] for n in range(5)] == [0b00, 0b11, 0b01, 0b10, 0b01]


def test_rows_over_the_size_are_counted(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser, "MOST_TEXT", 2000)
    with connection(tmp_path) as con:
        (one,) = browser.browse(con, pools(run, con), 0, [])
    assert 0 < len(one["rows"]) < 60 and len(one["rows"]) + one["left_out"] == 60


def test_a_text_longer_than_a_mebibyte_says_what_is_cut() -> None:
    assert browser.cut("x" * ((1 << 20) + 1234)).endswith("x\n[... 1,234 more characters]")


def test_failures_truncations_and_curves(run: Run, tmp_path: Path) -> None:
    with connection(tmp_path) as con:
        assert figures.failures(run, con) == [["responses", "response: cut at the token limit", 6, 60]]
    assert figures.curves(run) == {"sft": {"loss": [[n, 2 / n] for n in range(1, 6)]}}


def test_each_stage_stands_behind_what_it_is_made_of(run: Run) -> None:
    drawn = picture(run.made)
    at = {box.name: box for box in drawn.boxes}
    assert len(at) == len(run.made) and len({(box.x, box.y) for box in drawn.boxes}) == len(run.made)
    assert all(left.x < right.x for left, right in drawn.lines)
    assert (at["responses"], at["selected"]) in drawn.lines
    assert at["instructions"].figures == "60 rows, 2 s"
    assert entry_of(run, "selected").summary["rows"] == 40
