"""Judges and trainings as they are spread, priced."""

import pytest

from magpie_align.pricing.span import Span
from tests.pricing.test_plan import SPREAD, told

API = ["judge@stages.arena_hard=gpt4_turbo", "judge@stages.alpaca_eval=gpt4_turbo", "judge@stages.wildbench=gpt4o"]


def test_a_served_judge_costs_what_the_benchmarks_authors_say() -> None:
    found = told("eval_judges", *API)
    assert found["arena_hard"].money == Span.of(25) and found["alpaca_eval"].money == Span(0, 10)
    assert found["wildbench"].money is None  # nobody has published it
    assert found["arena_hard"].gpu_hours == Span.of(0) and found["mt_bench"].gpu_hours is None


def test_its_price_repeats_and_seats_count() -> None:
    cheap = told("eval_judges", *API, "stages.arena_hard.engine.endpoint.price_in=5", "stages.arena_hard.repeats=2")
    assert cheap["arena_hard"].money == Span(25.0, 50.0)
    assert told("eval_judges", *API, "stages.alpaca_eval.seats=both")["alpaca_eval"].money == Span(0, 20)


def test_answers_to_a_question_set_are_as_many_as_it_has_questions() -> None:
    found = told("eval_judges", "stages.arena_outputs.limit=20", "assume.tokens.alpaca_outputs=500")
    rows = {name: one.rows.high for name, one in found.items() if name.endswith("outputs") and one.rows}
    assert rows["alpaca_outputs"] == 805 == rows["gpt4_outputs"] and rows["arena_outputs"] == 20
    assert found["alpaca_outputs"].gpu_hours and found["arena_outputs"].gpu_hours is None


def test_a_training_is_priced_as_it_is_spread() -> None:
    paper = told("dpo_100k", SPREAD)["dpo"]
    assert paper.problem is None  # the paper's ZeRO-3 over 4 GPUs
    whole = told("dpo_100k", SPREAD, "stages.dpo.distributed.kind=ddp")["dpo"]
    assert whole.problem and "what would fit: ZeRO-2" in whole.problem
    two = told("dpo_100k", SPREAD, "stages.dpo.distributed.processes=2")["dpo"]
    assert two.hours and paper.hours and two.hours.high == pytest.approx(2 * paper.hours.high)


def test_an_adapter_takes_less_memory_and_time() -> None:
    full = told("sft_300k", SPREAD)["sft"]
    adapter = told("sft_300k", SPREAD, "stages.sft.adapter={r: 16}")["sft"]
    assert full.gpu_hours and adapter.gpu_hours and adapter.gpu_hours.high == pytest.approx(0.75 * full.gpu_hours.high)
    assert int(adapter.memory) < int(full.memory)
