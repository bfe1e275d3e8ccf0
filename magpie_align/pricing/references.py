"""Published measurements beside the roofline: what share of it real software reaches."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from magpie_align.pricing.resources import devices
from magpie_align.pricing.roofline import draining_seconds, training_seconds
from magpie_align.pricing.shapes import known_configs
from magpie_align.training.shape import Shape


@dataclass(frozen=True)
class Reference:
    """A measurement: `share` is the roofline's time over the measured one. `spread` if the weights were over several devices."""

    device: str
    spread: bool
    share: float
    source: str


@cache
def generation() -> tuple[Reference, ...]:
    return tuple(_generated(row) for row in _table()["generation"])


@cache
def training() -> tuple[Reference, ...]:
    return tuple(_trained(row) for row in _table()["training"])


def generation_share(device: str, gpus: int) -> float:
    """The share of the roofline to expect of vLLM with a model over `gpus` devices of this kind."""
    alike = [reference for reference in generation() if reference.spread == (gpus > 1)]
    return _median(alike, device)


def training_share(device: str) -> float:
    """The same of a training."""
    return _median(list(training()), device)


def starting_seconds(device: str) -> float:
    """Until an engine takes requests; 0 where it counts for nothing beside its work."""
    return next((float(row["seconds"]) for row in _table()["starting"] if row["device"] == device), 0.0)


def _median(references: list[Reference], device: str) -> float:
    own = [reference.share for reference in references if reference.device == device]
    return median(own or [reference.share for reference in references if reference.device != "cpu"])


def _generated(row: dict[str, Any]) -> Reference:
    lengths = (row["requests"], row["prompt"], row["new"], row["batch"], row["longest"])
    ideal = draining_seconds(_shape(row), devices()[row["device"]], row["count"], *lengths)
    return Reference(row["device"], row["count"] > 1, ideal / row["seconds"], row["source"])


def _trained(row: dict[str, Any]) -> Reference:
    ideal = training_seconds(_shape(row), devices()[row["device"]], row["tokens"], row["context"], row["passes"])
    return Reference(row["device"], False, ideal, row["source"])


def _shape(row: dict[str, Any]) -> Shape:
    return Shape.of(row["config"] if "config" in row else known_configs()[row["model"]])


@cache
def _table() -> dict[str, list[dict[str, Any]]]:
    table: dict[str, list[dict[str, Any]]] = yaml.safe_load(Path(__file__).with_name("references.yaml").read_text())
    return table
