"""Hours, memory, disk and money of each stage of a graph."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from magpie_align.flow.graph import Node
from magpie_align.pricing.flowing import Made, flow
from magpie_align.pricing.judging import judge_money, judged, served
from magpie_align.pricing.models import config_behind
from magpie_align.pricing.shapes import BYTES, shape_of
from magpie_align.pricing.span import Span
from magpie_align.pricing.speed import Basis, priced
from magpie_align.pricing.work import CHARACTERS, Work, work_of
from magpie_align.training.shape import Shape

STORED = 0.55 * CHARACTERS
"""Bytes on disk of a token of text: zstd makes 0.55 of a byte of each character of the official example responses."""
ROW = 60
"""Bytes of a row beside its text: a uuid is 22, the others are columns of few values."""


@dataclass(frozen=True)
class Estimate:
    """One stage. Figures are None where they cannot be known; `problem` says what does not fit, and what would."""

    node: Node
    rows: Span | None = None
    tokens_in: Span | None = None
    tokens_out: Span | None = None
    gpu_hours: Span | None = Span.of(0)
    hours: Span | None = Span.of(0)
    """By the clock, with as many of the devices as the stage can use."""
    memory: str = ""
    disk: Span | None = None
    money: Span | None = Span.of(0)
    """For APIs, beside the hours."""
    problem: str | None = None

    @property
    def done(self) -> bool:
        return self.node.artifact.done


def estimates(nodes: list[Node], basis: Basis, counted: bool = True) -> list[Estimate]:
    """Of every stage, in order. Rows of what is done are counted, unless a prediction as of before the run is wanted."""
    made = flow(nodes, basis.assume, counted)
    return [_estimate(node, made, basis) for node in nodes]


def _estimate(node: Node, made: Mapping[str, Made], basis: Basis) -> Estimate:
    own, work = made[node.name], work_of(node, made)
    told = Estimate(node, own.rows)
    if judged(node):
        money = judge_money(node, made.get(getattr(node.stage, "outputs", ""), Made()))
        return (
            replace(told, money=money, disk=Span.of(0)) if served(node) else replace(told, gpu_hours=None, hours=None)
        )
    if work is None or work == "unknown":
        told = replace(told, disk=_disk(node, own, None, None))
        return replace(told, gpu_hours=None, hours=None) if work else told
    config = config_behind(node, work.model)
    shape = shape_of(config)
    told = replace(
        told, rows=work.rows, tokens_in=work.tokens_in, tokens_out=work.tokens_out, disk=_disk(node, own, work, shape)
    )
    if work.engine is not None and work.engine.kind in ("openai", "scripted"):
        return replace(told, money=_money(work))
    if shape is None or config is None:
        return replace(told, gpu_hours=None, hours=None)
    price = priced(node, work, shape, config, basis)
    hours = price.gpu_seconds * (1 / 3600) if price.gpu_seconds else None
    clock = hours * (1 / price.devices) if hours else None
    return replace(told, gpu_hours=hours, hours=clock, memory=price.memory, problem=price.problem)


def _money(work: Work) -> Span | None:
    """What an API asks for the tokens; nothing where no price is given."""
    endpoint = work.engine.endpoint if work.engine else None
    if endpoint is None or not (endpoint.price_in or endpoint.price_out):
        return Span.of(0)
    if work.tokens_in is None or work.tokens_out is None:
        return None
    return work.tokens_in * (endpoint.price_in / 1e6) + work.tokens_out * (endpoint.price_out / 1e6)


def _disk(node: Node, made: Made, work: Work | None, shape: Shape | None) -> Span | None:
    """Bytes that the artifact keeps: weights, vectors, or rows with the text that the stage writes or carries."""
    produces = node.stage.produces
    if produces == "model":
        element = BYTES[getattr(node.stage, "weights", "float32")]
        return Span.of(shape.parameters * element) if shape else None
    if produces not in ("rows", "vectors"):
        return Span.of(0)
    if made.rows is None:
        return None
    if produces == "vectors":
        return made.rows * (2.0 * shape.hidden) if shape else None
    text = work.new if work and work.new else Span.of(0)
    if node.kind in ("responses", "select", "turns") and made.instruction is not None:
        text = text + Span.of(made.instruction)
    if node.kind == "select" and made.response:
        text = text + made.response
    return made.rows * (text * STORED + Span.of(ROW))
