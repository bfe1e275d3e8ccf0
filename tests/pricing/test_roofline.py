"""The roofline against arithmetic done by hand, its limits, and the published measurements."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from magpie_align.pricing.references import generation, generation_share, training, training_share
from magpie_align.pricing.resources import devices
from magpie_align.pricing.roofline import draining_seconds, step_seconds, streaming_seconds, training_seconds
from magpie_align.pricing.shapes import forward_flops, known_configs, kv_bytes, shape_of
from magpie_align.training.shape import Shape

A100 = devices()["a100"]
LLAMA_8B = Shape.of(known_configs()["meta-llama/Meta-Llama-3-8B-Instruct"])

PUBLISHED = {  # billions of parameters, from the models' cards
    "meta-llama/Meta-Llama-3-8B": 8.03,
    "meta-llama/Meta-Llama-3-70B-Instruct": 70.6,
    "meta-llama/Llama-3.1-405B-Instruct": 406,
    "Qwen/Qwen2-7B-Instruct": 7.62,
    "Qwen/Qwen2-72B-Instruct": 72.7,
    "Qwen/Qwen2.5-14B-Instruct": 14.8,
    "Qwen/Qwen2.5-Coder-32B-Instruct": 32.8,
    "Qwen/Qwen2.5-0.5B": 0.494,
    "google/gemma-2-27b-it": 27.2,
    "mistralai/Mistral-7B-Instruct-v0.3": 7.25,
    "microsoft/Phi-3-medium-128k-instruct": 14.0,
    "sentence-transformers/all-mpnet-base-v2": 0.109,
}


@pytest.mark.parametrize(("model", "billions"), PUBLISHED.items())
def test_the_shapes_have_as_many_parameters_as_the_models(model: str, billions: float) -> None:
    shape = shape_of(known_configs()[model])
    assert shape is not None and shape.parameters / 1e9 == pytest.approx(billions, rel=0.01)


def test_the_kv_cache_of_llama_3_8b_is_128_kib_a_token() -> None:
    assert kv_bytes(LLAMA_8B) == 2 * 32 * 8 * 128 * 2 == 131072


def test_a_small_batch_waits_for_the_weights_and_a_training_for_arithmetic() -> None:
    alone = step_seconds(LLAMA_8B, A100, 1, 1, 100)
    assert alone == pytest.approx((LLAMA_8B.parameters * 2 + 100 * 131072) / 2.039e12)
    assert step_seconds(LLAMA_8B, A100, 1, 4, 100) < 1.01 * alone
    assert training_seconds(LLAMA_8B, A100, 1000, 0, 3) == pytest.approx(6 * LLAMA_8B.parameters * 1000 / 312e12)


def test_a_mixture_of_experts_is_not_guessed_at() -> None:
    config = dict(known_configs()["mistralai/Mistral-7B-Instruct-v0.3"]) | {"num_local_experts": 8}
    assert shape_of(config) is None and shape_of({"model_type": "mamba"}) is None


@settings(max_examples=20)
@given(st.integers(8, 400), st.floats(10, 200), st.integers(1, 8))
def test_a_call_that_drains_is_never_faster_than_a_stream(requests: int, new: float, gpus: int) -> None:
    longest = math.ceil(new * 8)
    drained = draining_seconds(LLAMA_8B, A100, gpus, requests, 20, new, 256, longest)
    # The stream's sequences are older on average, so it may read a little more of the cache a step.
    assert drained > 0.9 * streaming_seconds(LLAMA_8B, A100, gpus, requests, 20, new, min(requests, 256))


@pytest.mark.parametrize("reference", [*generation(), *training()], ids=lambda r: f"{r.device}: {r.source[:40]}")
def test_every_reference_has_a_source_and_lies_under_the_roof(reference) -> None:  # type: ignore[no-untyped-def]
    assert any(where in reference.source for where in ("github.com/", ".dev/", "the same", "measured for this project"))
    assert 0.2 < reference.share < (1.3 if reference.device == "cpu" else 1.0)  # a core has no data sheet to stay under


def test_the_shares_are_medians_of_the_same_device_or_of_all_gpus() -> None:
    assert generation_share("h100", 1) == generation()[2].share
    spread = sorted(r.share for r in generation() if r.device == "a100" and r.spread)
    assert generation_share("a100", 4) == pytest.approx(sum(spread) / 2)
    gpus = sorted(r.share for r in training() if r.device != "cpu")
    assert training_share("h200") == gpus[len(gpus) // 2]


def test_one_reference_predicts_another_one() -> None:
    """The share of the 8B model on an A100 predicts its time on an H100 within a fifth, and that of 70B on 4 likewise."""
    found = {(r.device, r.spread): r.share for r in generation()[:4]}
    assert found["a100", False] == pytest.approx(found["h100", False], rel=0.2)
    assert found["a100", True] == pytest.approx(found["h100", True], rel=0.2)
    assert forward_flops(LLAMA_8B, 0) == 2 * LLAMA_8B.parameters
