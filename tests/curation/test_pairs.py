"""Best and worst of k by reward, every instruction accounted for; on the official scores, the official choice."""

import json
from collections import Counter
from pathlib import Path

import pytest

from magpie_align.curation.pairs import preference_pairs

OFFICIAL = Path(__file__).parents[3] / "shared" / "realdata" / "magpie" / "example_instructions_5res_armorm.json"


def rows(uuid: str, *responses: str) -> list[dict[str, object]]:
    return [{"uuid": uuid, "sample": i, "instruction": f"Do {uuid}.", "response": r} for i, r in enumerate(responses)]


def test_best_against_worst() -> None:
    rewards = {("a", 0): 0.1, ("a", 1): 0.9, ("a", 2): -0.5}
    (pair,), counts = preference_pairs(rows("a", "x", "y", "z"), rewards, 0.0)
    assert counts == {"paired": 1}
    assert pair["prompt"] == [{"role": "user", "content": "Do a."}]
    assert (pair["chosen"][0]["content"], pair["rejected"][0]["content"]) == ("y", "z")
    assert (pair["chosen_reward"], pair["rejected_reward"]) == (0.9, -0.5)


def test_every_instruction_is_counted() -> None:
    data = rows("a", "x", "y") + rows("b", "same", "same") + rows("c", "x", "y") + rows("d", "x", "y")
    rewards = {
        ("a", 0): 1.0,
        ("a", 1): 0.0,
        ("b", 0): 1.0,
        ("b", 1): 1.0,
        ("c", 0): 1.0,
        ("c", 1): None,
        ("d", 0): 1.0,
        ("d", 1): 0.9,
    }
    pairs, counts = preference_pairs(data, rewards, 0.5)
    assert [pair["uuid"] for pair in pairs] == ["a"]
    assert counts == Counter({"paired": 1, "all alike": 1, "too few responses": 1, "margin too small": 1})


@pytest.mark.skipif(not OFFICIAL.exists(), reason="the published example is not beside the project")
def test_official_example_gives_the_official_choice() -> None:
    official = json.loads(OFFICIAL.read_text())
    assert official
    data, rewards = [], {}
    for entry in official:
        data += [row | {"instruction": entry["instruction"]} for row in rows(entry["uuid"], *entry["responses"])]
        rewards |= {(entry["uuid"], i): scored["score"] for i, scored in enumerate(entry["rewards_armorm"])}
    pairs, _ = preference_pairs(data, rewards, 0.0)
    for pair, entry in zip(pairs, official, strict=True):
        scores = [scored["score"] for scored in entry["rewards_armorm"]]
        assert pair["chosen"][0]["content"] == entry["responses"][scores.index(max(scores))]
        assert pair["rejected"][0]["content"] == entry["responses"][scores.index(min(scores))]
