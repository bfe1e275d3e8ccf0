"""A plan, priced: which resources, what each stage costs, what does not fit, what push-down saves, what was predicted."""

import os
from dataclasses import dataclass, replace

from magpie_align.errors import ConfigError
from magpie_align.flow.graph import Node
from magpie_align.pricing.assume import Assume
from magpie_align.pricing.estimate import Estimate, estimates
from magpie_align.pricing.flowing import flow
from magpie_align.pricing.models import config_behind
from magpie_align.pricing.resources import PAPER, Resources, found_here
from magpie_align.pricing.shapes import shape_of
from magpie_align.pricing.speed import Basis
from magpie_align.pricing.work import Work, work_of

LARGE = 300e6
"""Parameters from which on a model is not for a CPU."""


@dataclass(frozen=True)
class Comparison:
    """A stage that is done: hours by the clock and rows, as predicted before the run and as they were."""

    name: str
    predicted_rows: tuple[float, float] | None
    rows: int | None
    predicted_seconds: tuple[float, float] | None
    seconds: float


def choose(nodes: list[Node], given: Resources | None, assume: Assume) -> tuple[Basis, str]:
    """What to price on: what is given, else this machine's GPUs, else the paper's; and a few words where it was not given."""
    if given:
        return Basis(given, assume), ""
    here = found_here()
    if here:
        return Basis(
            here, assume, explicit=False
        ), "the GPUs of this machine; others: resources=h100 resources.count=16"
    if _largest(nodes, assume) < LARGE:
        return Basis(Resources(gpu="cpu", count=os.cpu_count() or 1, price=0), assume, explicit=False), "this machine"
    return Basis(
        PAPER, assume, explicit=False
    ), "the paper's machine, as none was given; yours: resources=h100 resources.count=16"


def probed(nodes: list[Node], basis: Basis, given: Resources | None) -> Basis:
    """The same with what the engine reaches on this machine. Raises ConfigError where that is not the machine that is priced."""
    from magpie_align.pricing.probe import measured

    here = found_here() or Resources(gpu="cpu", count=os.cpu_count() or 1)
    if given and given.gpu != here.gpu:
        raise ConfigError(
            f"--probe measures this machine ({here.title}) and resources.gpu is {given.gpu}; leave resources out, or probe there"
        )
    todo = [node for node in nodes if not node.artifact.done]
    return replace(basis, measured=measured(todo, flow(nodes, basis.assume), basis.resources))


def refusals(told: list[Estimate]) -> list[str]:
    """A sentence for each stage that is still to run and does not fit."""
    return [f"stages.{one.node.name}: {one.problem}" for one in told if one.problem and not one.done]


def comparisons(nodes: list[Node], basis: Basis) -> list[Comparison]:
    """Of each stage that is done, in order; predicted as before anything was made."""
    return [_compared(one) for one in estimates(nodes, basis, counted=False) if one.done]


def _compared(one: Estimate) -> Comparison:
    manifest = one.node.artifact.manifest
    rows = manifest.get("summary", {}).get("rows")
    return Comparison(
        one.node.name,
        (one.rows.low, one.rows.high) if one.rows else None,
        rows if isinstance(rows, int) else None,
        (one.hours.low * 3600, one.hours.high * 3600) if one.hours and one.hours.high else None,
        float(manifest.get("seconds", 0.0)),
    )


def _largest(nodes: list[Node], assume: Assume) -> float:
    """Parameters of the largest model that a stage still to run works with; without bound where one is not known."""
    made = flow(nodes, assume)
    works = [(node, work) for node in nodes if isinstance(work := work_of(node, made), Work)]
    shapes = [shape_of(config_behind(node, work.model)) for node, work in works]
    return max((float("inf") if shape is None else shape.parameters for shape in shapes), default=0.0)
