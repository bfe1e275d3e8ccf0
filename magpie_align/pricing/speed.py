"""GPU-seconds of a piece of work on given resources: the roofline, by the share of it that real software reaches."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from magpie_align.flow.graph import Node
from magpie_align.pricing import training
from magpie_align.pricing.assume import Assume
from magpie_align.pricing.memory import GIB, Fit, fit, laid_out, refusal
from magpie_align.pricing.references import generation_share, starting_seconds, training_share
from magpie_align.pricing.resources import Resources
from magpie_align.pricing.roofline import draining_seconds, reading_seconds, streaming_seconds, training_seconds
from magpie_align.pricing.shapes import BYTES, Config
from magpie_align.pricing.span import Span
from magpie_align.pricing.work import Work
from magpie_align.training.shape import Shape


@dataclass(frozen=True)
class Basis:
    """What a plan is priced on. Where the user gave the resources (`explicit`), what does not fit on them is a problem; else a
    model takes as many devices as it needs. `measured` has the share of the roofline that models reached on this machine."""

    resources: Resources
    assume: Assume = Assume()
    explicit: bool = True
    measured: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Priced:
    """GPU-seconds of a piece of work (None: unknown), how many devices share it, and whether its model fits."""

    gpu_seconds: Span | None
    devices: int = 1
    memory: str = ""
    problem: str | None = None


def priced(node: Node, work: Work, shape: Shape, config: Config, basis: Basis) -> Priced:
    """What this stage's work takes."""
    if work.doing == "generate":
        return _generating(work, shape, basis)
    if work.doing == "read":
        held = f"{shape.parameters * 2 / GIB:.0f}" if basis.resources.device.memory_gib else ""
        return Priced(_reading(work, shape, basis.resources), memory=held)
    memory, problem = training.memory(node, config, basis.resources)
    return Priced(
        _training(work, shape, basis.resources),
        training.gpus(node, basis.resources),
        memory,
        problem if basis.explicit else None,
    )


def _generating(work: Work, shape: Shape, basis: Basis) -> Priced:
    """Copies of the model, each over as many devices as it is told to take, share the rows."""
    made, problem = _fitted(work, shape, basis)
    if made is None:
        return Priced(None, problem=problem)
    seconds, devices = None, max(1, basis.resources.count // made.gpus) * made.gpus
    if work.rows and work.new and work.prompt:
        low, high = (_request(work, shape, basis, made, new) for new in (work.new.low, work.new.high))
        starting = Span.of(starting_seconds(basis.resources.device.kind) * devices)
        seconds = work.rows * Span(low, high) * float(made.gpus) + starting
    return Priced(seconds, devices, made.text if basis.resources.device.memory_gib else "", problem)


def _fitted(work: Work, shape: Shape, basis: Basis) -> tuple[Fit | None, str | None]:
    """How the model is laid out, and what is wrong with that where the resources are the user's own."""
    assert work.engine is not None
    mean = (work.prompt.high if work.prompt else 0) + (work.new.high if work.new else work.longest)
    made = fit(shape, work.engine, basis.resources, mean)
    if made.fits:
        return made, None
    better = laid_out(shape, work.engine, basis.resources, mean)
    if basis.explicit:
        return better, refusal(work.model, made, better, basis.resources)
    return better, None


def _request(work: Work, shape: Shape, basis: Basis, made: Fit, new: float) -> float:
    """Seconds of one request among many on one copy of the model."""
    assert work.prompt is not None and work.engine is not None
    device, prompt, rounds = basis.resources.device, work.prompt.high, basis.assume.rounds
    share = basis.measured.get(work.model) or generation_share(device.kind, made.gpus)
    if rounds:
        all_of_it = draining_seconds(shape, device, made.gpus, rounds, prompt, new, made.batch, work.longest)
        return all_of_it / share / rounds
    return streaming_seconds(shape, device, made.gpus, 1, prompt, new, made.batch, BYTES[work.engine.dtype]) / share


def _reading(work: Work, shape: Shape, resources: Resources) -> Span | None:
    """Scores and vectors are made on one device, by forward passes that reach what those of a training do."""
    if not work.tokens_in or not work.prompt:
        return None
    share = training_share(resources.device.kind)
    return work.tokens_in * (reading_seconds(shape, resources.device, 1, 1, work.prompt.high) / share)


def _training(work: Work, shape: Shape, resources: Resources) -> Span | None:
    if not work.tokens_in or not work.prompt:
        return None
    share = training_share(resources.device.kind)
    return work.tokens_in * (training_seconds(shape, resources.device, 1, work.prompt.high, work.passes) / share)
