"""What judging answers costs: by what the benchmarks' authors say a run costs with GPT-4-Turbo, at the endpoint's own prices."""

from magpie_align.flow.graph import Node
from magpie_align.pricing.facts import judge_cost
from magpie_align.pricing.flowing import Made
from magpie_align.pricing.span import Span
from magpie_align.stages._judge import Judging


def judged(node: Node) -> bool:
    return isinstance(node.stage, Judging)


def served(node: Node) -> bool:
    """Whether an API judges; else a model here does, for as many hours as nobody has published."""
    return isinstance(node.stage, Judging) and node.stage.engine.kind == "openai"


def judge_money(node: Node, outputs: Made) -> Span | None:
    """What an API asks for judging `outputs`; None where it is not known, 0 where no price is given."""
    stage = node.stage
    assert isinstance(stage, Judging)
    endpoint = stage.engine.endpoint
    if endpoint is None or not (endpoint.price_in or endpoint.price_out):
        return Span.of(0)
    known = judge_cost(node.kind)
    if known is None or outputs.rows is None:
        return None
    ratios = endpoint.price_in / known.price_in, endpoint.price_out / known.price_out
    twice = 2 if getattr(stage, "seats", "drawn") == "both" else 1
    return outputs.rows * known.dollars * Span(min(ratios), max(ratios)) * (twice * stage.repeats / known.questions)
