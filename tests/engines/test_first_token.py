"""Control of the first token alone, on both local engines, and the sentences of the engines that have none."""

import importlib.util
from collections import Counter

import pytest

from magpie_align.engines import EndpointSettings, EngineSettings, Request, Sampling, open_engine, problems
from magpie_align.engines.vllm import engine_args
from magpie_align.engines.wire import refuse

KINDS = [
    pytest.param("vllm", marks=pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="needs vllm")),
    "transformers",
]
PROMPT = (0, 60, 61, 62)


@pytest.fixture(scope="module", params=KINDS)
def engine(request, model_path):
    settings = EngineSettings(kind=request.param, dtype="float32", max_num_seqs=4, kv_cache_gb=0.1, threads=2)
    opened = open_engine(settings, model_path, needs={"tokens", "first_token"})
    yield opened
    opened.close()


def draw(engine, n=1, **sampling):
    requests = (Request(k, PROMPT, sampling=Sampling(**({"max_tokens": 6, "seed": k} | sampling))) for k in range(n))
    return {c.key: c.token_ids for c in engine.generate(requests)}


def test_banned_ids_are_not_drawn_first_but_may_come_later(engine):
    free = draw(engine)[0]
    steered = draw(engine, first_banned=(free[0],))[0]
    assert steered[0] != free[0]
    drawn = draw(engine, 40, temperature=2.0, first_banned=tuple(range(4, 300)), max_tokens=4)
    assert all(ids[0] not in range(4, 300) for ids in drawn.values() if ids)
    assert any(i in range(4, 300) for ids in drawn.values() for i in ids[1:])


def test_rows_without_control_are_drawn_as_ever_beside_rows_with_it(engine):
    alone = draw(engine, 8, temperature=1.0)
    banned = {k: (ids[0],) for k, ids in alone.items() if ids and k % 2}
    requests = (
        Request(k, PROMPT, sampling=Sampling(1.0, max_tokens=6, seed=k, first_banned=banned.get(k, ())))
        for k in range(8)
    )
    mixed = {c.key: c.token_ids for c in engine.generate(requests)}
    assert {k for k in mixed if mixed[k] != alone[k]} == set(banned)


def test_a_hotter_first_token_spreads_it_and_leaves_the_rest(engine):
    cold = draw(engine, 60, temperature=0.2, max_tokens=3)
    hot = draw(engine, 60, temperature=0.2, first_temperature=2.0, max_tokens=3)
    spread = [len(Counter(ids[at] for ids in drawn.values() if len(ids) > at)) for drawn in (cold, hot) for at in (0,)]
    assert spread[1] > 2 * spread[0]
    same = draw(engine, 20, temperature=0.7, first_temperature=0.7)
    assert same == draw(engine, 20, temperature=0.7)


def test_bad_first_temperatures_are_refused(engine):
    done = list(engine.generate([Request(0, PROMPT, sampling=Sampling(0.0, first_temperature=1.0))]))
    assert "temperature 0 is greedy" in done[0].error
    done = list(engine.generate([Request(0, PROMPT, sampling=Sampling(1.0, first_temperature=3.0))]))
    assert "first_temperature is 3.0" in done[0].error


def test_a_request_that_cannot_be_honoured_fails_rather_than_be_drawn_otherwise(model_path):
    engine = open_engine(EngineSettings(kind="scripted", script="tests.engines.scripts:echo"), model_path)
    (done,) = engine.generate([Request(0, PROMPT, sampling=Sampling(1.0, first_banned=(5,)))])
    assert "cannot control the first token" in done.error
    endpoint = EndpointSettings(base_url="http://localhost:1/v1", mode="completions")
    assert "cannot control" in refuse(Request(0, PROMPT, sampling=Sampling(1.0, first_banned=(5,))), endpoint)


def test_engines_that_cannot_say_so_before_any_work():
    endpoint = EndpointSettings(base_url="http://localhost:1/v1", mode="completions")
    for settings in (
        EngineSettings(kind="scripted", script="tests.engines.scripts:echo"),
        EngineSettings(kind="openai", endpoint=endpoint),
    ):
        (said,) = problems(settings, {"tokens", "first_token"})
        assert said.endswith("cannot control the first token (first_token); use engine.kind=vllm or transformers")


def test_the_processor_is_loaded_only_where_it_is_wanted():
    plain = engine_args(EngineSettings(), "m", None, on_cpu=True)
    steered = engine_args(EngineSettings(), "m", None, on_cpu=True, first_token=True)
    assert set(steered) - set(plain) == {"logits_processors"}
