"""The scripted engine keeps the protocol: lazy, complete, order-free, with the stops and errors of a real engine."""

from collections import Counter, deque
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from magpie_align.engines import EngineSettings, Request, Sampling, open_engine
from magpie_align.engines.scripted import ScriptedEngine, load_script
from magpie_align.errors import ConfigError


def ask(tokenizer, key, text="fox", **sampling):
    return Request(key, tuple(tokenizer.encode(text, add_special_tokens=False)), sampling=Sampling(**sampling))


def by_key(completions):
    return {c.key: c for c in completions}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=st.lists(st.one_of(st.none(), st.text(max_size=6)), max_size=30), window=st.integers(1, 9))
def test_every_request_comes_back_once_whatever_the_pauses(tokenizer, plan, window):
    engine = ScriptedEngine(lambda text, seed: text, tokenizer, window=window)
    requests = [None if text is None else ask(tokenizer, (n, text), text) for n, text in enumerate(plan)]
    keys = Counter(c.key for c in engine.generate(requests))
    assert keys == Counter(r.key for r in requests if r)


def test_pulls_lazily_from_an_endless_source(tokenizer):
    pulled = []

    def source():
        for n in count():
            pulled.append(n)
            yield ask(tokenizer, n)

    completions = ScriptedEngine(lambda text, seed: "dog", tokenizer, window=4).generate(source())
    for done in range(1, 20):
        next(completions)
        assert len(pulled) <= done + 4


def test_completions_feed_new_requests(tokenizer):
    queue, answers = deque([ask(tokenizer, 0)]), []

    def source():
        while len(answers) < 5:
            yield queue.popleft() if queue else None

    for completion in ScriptedEngine(lambda text, seed: "dog", tokenizer).generate(source()):
        answers.append(completion.key)
        queue.append(ask(tokenizer, completion.key + 1))
    assert answers == [0, 1, 2, 3, 4]


def test_order_is_shuffled_but_the_same_every_time(tokenizer):
    engine = ScriptedEngine(lambda text, seed: "dog", tokenizer)
    orders = [[c.key for c in engine.generate(ask(tokenizer, n) for n in range(40))] for _ in range(2)]
    assert orders[0] == orders[1] != sorted(orders[0])


def test_stop_ids_end_ids_stop_strings_and_length(tokenizer):
    eos, end = tokenizer.convert_tokens_to_ids(["</s>", "<|end|>"])
    engine = ScriptedEngine(lambda text, seed: "a dog<|end|> and a fox</s> ran", tokenizer, ends=(eos,))
    done = by_key(
        engine.generate(
            [
                ask(tokenizer, "stop id", stop_ids=(end,)),
                ask(tokenizer, "end id"),
                ask(tokenizer, "string", stop=("zebra", "do")),
                ask(tokenizer, "length", max_tokens=1),
            ]
        )
    )
    assert (done["stop id"].text, done["stop id"].stop_reason) == ("a dog", end)
    assert end not in done["stop id"].token_ids
    assert (done["end id"].text, done["end id"].stop_reason) == ("a dog and a fox", eos)
    assert (done["string"].text, done["string"].stop_reason) == ("a ", "do")
    assert (done["length"].finish, done["length"].stop_reason, len(done["length"].token_ids)) == ("length", None, 1)


def test_the_script_is_named_in_settings_and_sees_the_seed(model_path, tokenizer):
    engine = open_engine(EngineSettings(kind="scripted", script="tests.engines.scripts:echo"), model_path)
    done = by_key(engine.generate([ask(tokenizer, 1, "<|user|>fox", seed=7), ask(tokenizer, 2, "dog")]))
    assert done[1].text == "fox 7"
    assert done[2].text == "dog"
    assert engine.provenance["script"] == "tests.engines.scripts:echo"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("tests.engines.scripts:eco", "'tests.engines.scripts' has no function 'eco'; did you mean 'echo'"),
        ("tests.engines.scripts:NOT_A_FUNCTION", "has no function 'NOT_A_FUNCTION'"),
        ("no_such_module:echo", "cannot import 'no_such_module'"),
        ("", "cannot import ''"),
    ],
)
def test_a_script_that_is_not_there_is_refused(path, message):
    with pytest.raises(ConfigError, match=message):
        load_script(path)


def test_a_missing_tokenizer_is_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match="no tokenizer could be loaded from"):
        open_engine(EngineSettings(kind="scripted", script="tests.engines.scripts:echo"), str(tmp_path))
