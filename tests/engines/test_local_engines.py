"""vLLM and transformers on the same tiny random model: the same protocol, and greedy token for token the same text."""

import importlib.util
import json
import os
import re
from collections import deque
from itertools import count, islice

import pytest
import yaml

from magpie_align.curation.tagger import Tagger
from magpie_align.engines import EngineSettings, Request, Sampling, open_engine
from magpie_align.engines.replicas import Replicas
from magpie_align.errors import StageError
from magpie_align.recipe import packaged
from tests.engines.conftest import MAX_LEN

KINDS = [
    pytest.param("vllm", marks=pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="needs vllm")),
    "transformers",
]


@pytest.fixture(scope="module")
def engines(model_path):
    opened = {}

    def get(kind):
        if kind not in opened:
            settings = EngineSettings(kind=kind, dtype="float32", max_num_seqs=4, kv_cache_gb=0.1, threads=2)
            opened[kind] = open_engine(settings, model_path)
        return opened[kind]

    yield get
    for engine in opened.values():
        engine.close()


@pytest.fixture(params=KINDS)
def engine(request, engines):
    return engines(request.param)


def ask(key, prompt=(0, 60, 61, 62), **sampling):
    return Request(key, tuple(prompt), sampling=Sampling(**({"max_tokens": 12} | sampling)))


def prompts(n):
    return [(0, *((7 * k + 3 * j) % 200 + 50 for j in range(2 + k % 9))) for k in range(n)]


def by_key(completions):
    return {c.key: c for c in completions}


@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="needs vllm")
def test_greedy_and_penalised_text_is_the_same_on_both(engines):
    requests = [ask(n, prompt, max_tokens=20) for n, prompt in enumerate(prompts(14))]
    requests += [ask(100 + n, p, max_tokens=20, repetition_penalty=1.3) for n, p in enumerate(prompts(6))]
    ours, theirs = (by_key(engines(kind).generate(requests)) for kind in ("transformers", "vllm"))
    assert ours == theirs
    assert len({c.token_ids for c in ours.values()}) > 10


def test_greedy_does_not_depend_on_company(engine):
    together = by_key(engine.generate(ask(n, p) for n, p in enumerate(prompts(9))))
    alone = {n: next(engine.generate([ask(n, p)])) for n, p in enumerate(prompts(9))}
    assert together == alone


def test_a_seed_decides_the_text_whoever_runs_beside_it(engine):
    def drawn(order, company=()):
        requests = [ask(n, seed=n, temperature=1.0, top_p=0.95) for n in order]
        return {c.key: c.text for c in engine.generate([*company, *requests]) if c.key != "other"}

    first = drawn(range(6))
    assert first == drawn(reversed(range(6)), company=[ask("other", temperature=1.0)] * 3)
    assert len(set(first.values())) == 6


def test_without_a_seed_texts_differ(engine):
    drawn = list(engine.generate(ask(n, temperature=1.5) for n in range(4)))
    assert len({c.text for c in drawn}) > 1


def test_stop_ids_end_a_completion_and_are_left_out(engine):
    (free,) = engine.generate([ask("free")])
    assert (free.finish, free.stop_reason, len(free.token_ids)) == ("length", None, 12)
    stop = next(i for n, i in enumerate(free.token_ids) if n > 2 and i not in free.token_ids[:n])
    at = free.token_ids.index(stop)
    (cut,) = engine.generate([ask("cut", stop_ids=(stop,))])
    assert (cut.finish, cut.stop_reason, cut.token_ids) == ("stop", stop, free.token_ids[:at])


def test_the_models_own_end_ids_end_a_completion(engine, model_path, tokenizer):
    """The generation config lists <|end|> (3) beside </s> (1); among many warm draws some reach one of the two."""
    drawn = list(engine.generate(ask(n, seed=n, temperature=2.0, max_tokens=100) for n in range(24)))
    assert {c.stop_reason for c in drawn if c.finish == "stop"} == {1, 3}
    assert all(not {1, 3} & set(c.token_ids) for c in drawn)


def test_stop_strings_cut_the_text(engine, tokenizer):
    (free,) = engine.generate([ask("free", max_tokens=20)])
    stop = free.text[4:6]
    (cut,) = engine.generate([ask("cut", max_tokens=20, stop=("never there", stop))])
    assert (cut.finish, cut.stop_reason, cut.text) == ("stop", stop, free.text[: free.text.find(stop)])


FORMS = [
    ({"regex": "quality: (very poor|good)\\ncategory: (Coding & Debugging|Math)"}, ["quality: good\ncategory: Math"]),
    ({"choice": ("safe", "unsafe (all of it)")}, ["safe", "unsafe (all of it)"]),
]


@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="needs vllm")
@pytest.mark.parametrize(("form", "among"), FORMS)
def test_a_random_model_keeps_to_the_form_at_any_temperature(engines, form, among):
    requests = [ask(n, seed=n, temperature=2.0, max_tokens=100, **form) for n in range(24)]
    done = list(engines("vllm").generate([ask("greedy", max_tokens=100, **form), *requests]))
    pattern = form.get("regex") or "|".join(map(re.escape, form["choice"]))
    assert all(c.finish == "stop" and re.fullmatch(pattern, c.text) for c in done)
    assert set(among) <= {c.text for c in done}


@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="needs vllm")
def test_a_random_model_fills_in_a_json_schema(engines):
    text, labels = {"type": "string", "maxLength": 10}, {"enum": ["very easy", "very hard"]}
    properties = {"why": text, "label": labels, "more": {"type": "array", "items": labels, "maxItems": 2}}
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    requests = (ask(n, seed=n, temperature=2.0, max_tokens=120, schema=json.dumps(schema)) for n in range(24))
    done = list(engines("vllm").generate(requests))
    # xgrammar lets raw control characters into strings, which JSON proper does not know.
    found = [json.loads(c.text, strict=False) for c in done if c.finish == "stop"]
    assert len(found) >= 20  # a character is up to four tokens here, so the longest texts do not fit
    assert all(list(f) == ["why", "label", "more"] and len(f["why"]) <= 10 for f in found)
    assert {f["label"] for f in found} == set(labels["enum"])


@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="needs vllm")
@pytest.mark.parametrize("name", ["llm", "mini", "category"])
def test_a_tagger_that_knows_nothing_still_tags(engines, name):
    """Held to the form of a published tagger, noise is tags: parsing cannot fail by format."""
    tagger = Tagger(**yaml.safe_load((packaged("conf") / "tagger" / f"{name}.yaml").read_text()))
    requests = (ask(n, seed=n, temperature=2.0, max_tokens=120, **tagger.form) for n in range(12))
    done = list(engines("vllm").generate(requests))
    tags = [tagger.parse(c.text) for c in done if c.finish == "stop"]
    assert len(tags) >= 10 and len({str(one) for one in tags}) > 5  # letter by letter, long lists outrun the tokens


def test_a_form_is_refused_where_it_cannot_be_kept_or_read(engine):
    forms = [{"regex": "(open"}, {"schema": "{"}, {"schema": "{}", "regex": "a"}]
    done = by_key(engine.generate(ask(n, **form) for n, form in enumerate([*forms, {"regex": "a|b"}])))
    if "structured" in engine.capabilities:
        assert "sampling.regex cannot be read: missing )" in done[0].error
        assert "sampling.schema cannot be read: Expecting property name" in done[1].error
        assert done[2].error == "sampling holds the answer to schema and regex; give one of schema, choice, regex"
        assert done[3].text in ("a", "b")
    else:
        assert all("cannot hold an answer to a schema, choice or regex" in c.error for c in done.values())


@pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="needs vllm")
def test_log_probabilities_are_the_networks_own(engines, model_path, tokenizer):
    import torch
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32)
    prompt = tuple(range(50, 60))
    (done,) = engines("vllm").generate([ask("k", prompt, max_tokens=3, logprobs=4, temperature=0.7, seed=1)])
    assert len(done.logprobs) == len(done.token_ids) == 3
    with torch.inference_mode():
        logits = network(torch.tensor([prompt + done.token_ids])).logits[0]
    for place, found in enumerate(done.logprobs):
        truth = logits[len(prompt) - 1 + place].log_softmax(0)
        likeliest = {}
        for value, i in zip(*(kept.tolist() for kept in truth.topk(4)), strict=True):
            likeliest.setdefault(tokenizer.decode([i]), value)
        assert len(found) <= 5  # the drawn token is told too
        assert {text: found[text] for text in likeliest} == pytest.approx(likeliest, abs=0.02)


def test_log_probabilities_are_refused_where_there_are_none(engine):
    (done,) = engine.generate([ask("k", logprobs=2)])
    if "logprobs" in engine.capabilities:
        assert done.logprobs
    else:
        assert done.error == "this engine gives no log probabilities of tokens; open vllm or a server that does"


def test_impossible_requests_are_refused_one_by_one(engine):
    done = by_key(
        engine.generate(
            [
                ask("long", [50] * MAX_LEN),
                ask("fits", [50] * (MAX_LEN - 3)),
                ask("empty", []),
                ask("strange", [0, 99_999]),
                ask("negative", [0, -1]),
                ask("none", max_tokens=0),
            ]
        )
    )
    assert f"prompt of {MAX_LEN} tokens leaves no room in max_model_len={MAX_LEN}" in done["long"].error
    assert (done["fits"].finish, len(done["fits"].token_ids)) == ("length", 3)
    assert "no prompt ids" in done["empty"].error
    assert "outside the model's vocabulary" in done["strange"].error
    assert "outside the model's vocabulary" in done["negative"].error
    assert "at least 1" in done["none"].error
    assert {c.finish for k, c in done.items() if k != "fits"} == {"error"}


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        ({"top_p": 7.0, "temperature": 1.0}, "sampling.top_p is 7.0; it must be above 0 and at most 1"),
        ({"temperature": -1.0}, "sampling.temperature is -1.0"),
        ({"temperature": 2.5}, "it must be between 0 (greedy) and 2"),
        ({"repetition_penalty": 0.0}, "sampling.repetition_penalty is 0.0"),
        ({"seed": 1 << 63}, "sampling.seed is 9223372036854775808"),
        ({"stop": ("dog", "")}, "sampling.stop has an empty string"),
    ],
)
def test_bad_sampling_is_an_error_of_its_own_request(engine, sampling, message):
    done = by_key(engine.generate([ask("bad", **sampling), ask("good")]))
    assert message in done["bad"].error
    assert done["good"].finish == "length"


def test_what_vllm_itself_refuses_is_an_error_of_its_own_request(engines, monkeypatch):
    pytest.importorskip("vllm")
    engine = engines("vllm")
    monkeypatch.setattr("magpie_align.engines.intake.Limits.refuse", lambda self, request: None)
    done = by_key(engine.generate([ask("bad", [50] * (MAX_LEN + 1)), ask("good")]))
    assert "vLLM refused the request: The decoder prompt" in done["bad"].error
    assert done["good"].finish == "length"


def test_an_endless_source_is_pulled_only_as_far_as_there_is_room(engine):
    pulled = []

    def source():
        for n in count():
            pulled.append(n)
            yield ask(n, max_tokens=1 + n % 5)

    assert len({c.key for c in islice(engine.generate(source()), 30)}) == 30
    assert len(pulled) < 50


def test_completions_feed_requests_and_none_means_later(engine):
    queue, seen = deque([ask((0, k)) for k in range(3)]), []

    def source():
        while len(seen) < 9:
            yield queue.popleft() if queue else None

    for completion in engine.generate(source()):
        depth, chain = completion.key
        seen.append(completion.key)
        if depth < 2:
            queue.append(ask((depth + 1, chain), (0, *completion.token_ids[-4:])))
    assert sorted(seen) == [(d, c) for d in range(3) for c in range(3)]


def test_a_caller_who_leaves_early_leaves_the_engine_usable(engine):
    completions = engine.generate(ask(n) for n in range(50))
    next(completions)
    completions.close()
    assert len(list(engine.generate(ask(n) for n in range(5)))) == 5


def test_provenance_names_what_produced_the_text(engine, model_path):
    assert engine.provenance["model"] == model_path
    assert engine.provenance["dtype"] == "float32"
    assert engine.provenance["max_model_len"] == MAX_LEN
    assert engine.capabilities >= {"tokens", "seed"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_without_a_model_is_one_sentence(kind, tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(StageError, match=f"could not load '{tmp_path}': ") as caught:
        open_engine(EngineSettings(kind=kind), str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_closed_engine_says_so(model_path):
    engine = open_engine(EngineSettings(kind="transformers"), model_path)
    engine.close()
    with pytest.raises(StageError, match="closed"):
        next(engine.generate([ask(1)]))


@pytest.mark.skipif(
    importlib.util.find_spec("vllm") is None or (os.cpu_count() or 1) < 2, reason="needs vllm and 2 cores"
)
def test_a_model_split_over_two_workers_is_the_same_model(engines, model_path, monkeypatch):
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "0|1")
    whole = engines("vllm")
    settings = EngineSettings(kind="vllm", dtype="float32", max_num_seqs=4, kv_cache_gb=0.1, tensor_parallel_size=2)
    split = Replicas(settings, model_path, None, set(), 1)
    wanted = [ask(n, prompt) for n, prompt in enumerate(prompts(9))]
    expected = {c.key: c.token_ids for c in whole.generate(wanted)}
    assert {c.key: c.token_ids for c in split.generate(wanted)} == expected
    split.close()
