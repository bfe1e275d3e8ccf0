"""What the paper says of its data, and nothing more."""

import pytest

from magpie_align.curation.conditions import All
from magpie_align.curation.predicates import parse_predicate
from magpie_align.pricing.facts import lengths, passing
from magpie_align.pricing.span import Span, added, brief

PRO, AIR = "meta-llama/Meta-Llama-3-70B-Instruct", "meta-llama/Meta-Llama-3-8B-Instruct"
FILTER5 = ["input_quality >= 'good'", "difficulty >= 'easy'", "min_neighbor_distance > 0", "instruct_reward > -12"]


def where(*texts: str) -> All:
    return tuple(parse_predicate(text).condition for text in texts)


def test_a_known_filter_keeps_what_the_paper_says() -> None:
    assert passing(PRO, where(*FILTER5), {}) == Span.of(0.338)


def test_a_filter_that_asks_for_less_keeps_at_least_as_much() -> None:
    pro = where(
        "response_status = 'ok'", "input_quality >= 'average'", "min_neighbor_distance > 0", "instruct_reward > -12"
    )
    assert passing(PRO, pro, {}) == Span(0.338, 1.0)


def test_a_filter_that_asks_for_more_keeps_at_most_as_much() -> None:
    assert passing(PRO, where(*FILTER5, "response_length > 100"), {}) == Span(0.0, 0.338)


def test_of_other_models_and_filters_nothing_is_known() -> None:
    assert passing("Qwen/Qwen2-72B-Instruct", where(*FILTER5), {}) == Span(0.0, 1.0)
    assert passing(PRO, where("language = 'EN'"), {}) == Span(0.0, 1.0)
    assert lengths("mistralai/Mistral-7B-Instruct-v0.3") is None


def test_rows_that_were_made_are_taken_for_granted() -> None:
    assert passing(None, where("response_status = 'ok'"), {}) == Span.of(1)


def test_what_the_user_says_goes_first() -> None:
    assert passing(None, where("language = 'EN'", "response_status = 'ok'"), {"language = 'EN'": 0.8}) == Span.of(0.8)


def test_a_turn_has_the_papers_tokens() -> None:
    air, pro = lengths(AIR), lengths(PRO + "@main")
    assert air and air[0] + air[1].low == pytest.approx(426)
    assert pro and pro[0] + pro[1].high == pytest.approx(478)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (7, "7"),
        (999, "999"),
        (1000, "1K"),
        (999_999, "1M"),
        (1.278e9, "1.28B"),
        (0.1234, "0.123"),
        (2.5e16, "25,000T"),
    ],
)
def test_numbers_are_brief(value: float, text: str) -> None:
    assert brief(value) == text


def test_spans() -> None:
    assert Span(338_000, 1e6).text() == "338K-1M" and Span(160e6, 470e6).text() == "160-470M"
    assert Span(0, 5).text() == "≤ 5" and Span.of(3).text() == "3"
    assert added([Span(1, 2), Span.of(3)]) == Span(4, 5) and Span(1, 2) * 2.0 == Span(2, 4)
    assert Span(1, 9).at_most(5) == Span(1, 5)
