"""The probe lets a good speaker pass and finds each kind of bad one, for the right reason."""

import pytest

from magpie_align.engines import Completion
from magpie_align.engines.scripted import ScriptedEngine
from magpie_align.engines.template import derive
from magpie_align.synthesis.faults import Limits, fault, roles_of
from magpie_align.synthesis.grid import Cell, Grid
from magpie_align.synthesis.instructions import Draws
from magpie_align.synthesis.languages import guess_language
from magpie_align.synthesis.probe import MENDS, examine, refusal, sample
from tests.synthesis import speakers
from tests.synthesis.families import family

GRID = Grid([Cell(temperature=1.0, rows=6000), Cell(temperature=1.2, rows=2000)])
DRAWS = Draws(derive(family("llama-3")), GRID, seed=3, max_tokens=600)


def look(script, n=128, over_long=200):
    return examine(sample(ScriptedEngine(script, family("llama-3")), DRAWS, n), DRAWS, Limits(), over_long)


def test_a_good_speaker_passes():
    found = look(speakers.good)
    assert (found.n, found.reasons, found.mends) == (128, [], [])
    assert found.stops == {"<|eot_id|>": 128} and found.mean_tokens > 5
    assert max(found.languages, key=lambda language: found.languages[language]) == "en"
    assert refusal({"n": 128, "reasons": found.reasons, "mends": found.mends}) is None


@pytest.mark.parametrize(
    ("script", "name"),
    [
        (speakers.empty, "empty"),
        (speakers.fragments, "fragment"),
        (speakers.parrot, "duplicated"),
        (speakers.assistant, "wrong_role"),
        (speakers.headers, "wrong_role"),
        (speakers.lengthy, "over_long"),
        (speakers.endless, "unended"),
    ],
)
def test_a_bad_speaker_is_found_for_the_right_reason(script, name):
    found = look(script)
    assert [reason.split()[1] for reason in found.reasons] == [name]
    assert found.mends == [f"{name}: {MENDS[name]}"]
    said = refusal({"n": found.n, "reasons": found.reasons, "mends": found.mends})
    assert said.startswith(f"the probe of 128 instructions says no: {found.shares[name]:.0%} {name} (at most ")
    assert said.endswith("despite_probe: true goes on all the same") and "\n" not in said


def test_failing_requests_are_found():
    class Broken(ScriptedEngine):
        def _complete(self, request):
            return Completion(request.key, "", finish="error", error="out of memory")

    found = examine(sample(Broken(speakers.good, family("llama-3")), DRAWS, 8), DRAWS, Limits(), 100)
    assert found.reasons == ["100% error (at most 0%)"]
    assert found.examples[0] == {"text": "", "fault": "error", "error": "out of memory"}


def test_the_sample_is_rows_of_the_grid_to_be_drawn_evenly():
    seen = []

    def script(prompt, seed):
        seen.append(seed)
        return speakers.good(prompt, seed)

    look(script, n=16)
    assert sorted(seen) == sorted(DRAWS.request(row).sampling.seed for row in range(0, 8000, 500))
    few = Draws(DRAWS.template, Grid([Cell(temperature=1.0, rows=5)]), 0, 100)
    assert len(sample(ScriptedEngine(speakers.good, family("llama-3")), few, 128)) == 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("How do I bake bread?", None),
        ("write me a poem", None),
        ("17*3=?", None),
        ("请问如何学习法语？", None),
        ("Advertise for a shop assistant.", None),
        ("What does this mean?\n\nThe user is king.", None),
        ("Here, kitty: finish this story", None),
        ("", "empty"),
        ("...", "fragment"),
        ("Yes", "fragment"),
        (") and that is why", "fragment"),
        ("是", "fragment"),
        ("Sure! Bread is made of flour.", "wrong_role"),
        ("Of course, I can help", "wrong_role"),
        ("当然可以", "wrong_role"),
        ("How?\nassistant\nSo.", "wrong_role"),
        ("### Assistant:\nSo.", "wrong_role"),
    ],
)
def test_faults_of_single_texts(text, expected):
    assert fault(Completion(0, text, (1, 2)), roles_of(DRAWS.template), 100) == expected


def test_roles_are_also_read_from_the_template():
    assert "assistant" in roles_of(DRAWS.template)
    assert "model" in roles_of(derive(family("gemma")))


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("How do you bake bread?", "en"),
        ("Wie backe ich ein Brot für die Feier?", "de"),
        ("Comment faire une tarte pour des amis ?", "fr"),
        ("¿Cómo se hace el pan?", "es"),
        ("Come si fa il pane con gli amici?", "it"),
        ("Como eu faço um pão em casa? Escreva uma receita", "pt"),
        ("Ekmek nasıl yapılır ve ne kadar sürer, bu nedir?", "tr"),
        ("如何烤面包？", "zh"),
        ("パンの焼き方を教えて", "ja"),
        ("빵을 어떻게 굽나요?", "ko"),
        ("Как испечь хлеб?", "ru"),
        ("كيف أخبز الخبز؟", "ar"),
        ("रोटी कैसे बनाएं?", "hi"),
        ("1 + 1 = ", "?"),
    ],
)
def test_languages_are_guessed(text, language):
    assert guess_language(text) == language
