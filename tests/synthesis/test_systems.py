"""Mixtures of system turns: the shares are as asked, a row's turn is its own, and the texts that come with the package work."""

from collections import Counter

import pytest
import yaml
from pydantic import ValidationError

from magpie_align.recipe import load, packaged
from magpie_align.synthesis.systems import Mixture, SystemTurn

GROUPS = sorted(file.stem for file in (packaged("conf") / "system").glob("*.yaml"))
LANGUAGES = [
    "arabic",
    "chinese",
    "french",
    "german",
    "hindi",
    "italian",
    "japanese",
    "korean",
    "portuguese",
    "russian",
    "spanish",
    "turkish",
]
TURNS = {
    "math": SystemTurn(text="You are a mathematician.", weight=3),
    "code": SystemTurn(text="You write programs."),
    "plain": SystemTurn(text=None, weight=1),
}


def test_none_by_default():
    assert Mixture({})[0] == (None, None)


def test_shares_are_the_weights():
    count = Counter(Mixture(TURNS, seed=1)[i][0] for i in range(20_000))
    assert {name: round(n / 20_000, 1) for name, n in count.items()} == {"math": 0.6, "code": 0.2, "plain": 0.2}
    assert {text for _, text in map(Mixture(TURNS).__getitem__, range(100))} == {
        "You are a mathematician.",
        "You write programs.",
        None,
    }


def test_a_rows_turn_depends_on_its_number_and_the_seed_alone():
    shuffled = dict(reversed(TURNS.items()))
    rows = range(500)
    assert [Mixture(TURNS, 5)[i] for i in rows] == [Mixture(shuffled, 5)[i] for i in reversed(rows)][::-1]
    assert [Mixture(TURNS, 5)[i] for i in rows] != [Mixture(TURNS, 6)[i] for i in rows]


def test_a_turn_says_its_text_and_a_weight_above_zero():
    with pytest.raises(ValidationError, match="greater than 0"):
        SystemTurn(text="x", weight=0)
    with pytest.raises(ValidationError, match="text"):
        SystemTurn.model_validate({"weight": 1})


def test_the_languages_and_domains_are_there():
    assert set(LANGUAGES) | {"math", "code", "translation", "persona"} <= set(GROUPS)


@pytest.mark.parametrize("name", GROUPS)
def test_every_group_is_a_mixture(name):
    group = yaml.safe_load((packaged("conf") / "system" / f"{name}.yaml").read_text())
    assert list(group) == ["systems"]
    texts = [SystemTurn.model_validate(turn).text for turn in group["systems"].values()]
    assert texts and all(text and len(text) > 10 for text in texts)


def test_groups_add_up_to_a_mixture_on_the_command_line(workdir):
    plan = load(
        "quickstart", ["+system@stages.instructions=[math,german]", "stages.instructions.systems.german.weight=2"]
    )
    (stage,) = [node.stage for node in plan.nodes if node.name == "instructions"]
    assert {name: turn.weight for name, turn in stage.systems.items()} == {"math": 1, "german": 2}
