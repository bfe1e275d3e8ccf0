"""The machine that a plan is priced for, and what an hour of it costs. Nothing here decides what is made."""

import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, field_validator

from magpie_align.errors import suggest
from magpie_align.settings import Settings


@dataclass(frozen=True)
class Device:
    """Peaks of one device: `flops` dense bfloat16 operations and `bandwidth` bytes of its memory a second."""

    kind: str
    title: str
    flops: float
    bandwidth: float
    memory_gib: float | None
    """None for a CPU core, which has no memory of its own."""


@cache
def devices() -> dict[str, Device]:
    """Kind -> device."""
    return {kind: Device(kind=kind, **{k: v for k, v in row.items() if k != "names"}) for kind, row in _table().items()}


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("hardware.yaml").read_text())
    return table


class Resources(Settings):
    """`resources=h100 resources.count=16` on the command line; `conf/resources/` has the usual ones."""

    gpu: str
    """A kind of `pricing/hardware.yaml`; `cpu` counts cores."""
    count: int = Field(default=1, ge=1)
    price: float | None = Field(default=None, ge=0)
    """What one of them costs an hour."""
    currency: str = "$"
    memory_gib: float | None = Field(default=None, gt=0)
    """Where yours has another size than usual."""

    @field_validator("gpu")
    @classmethod
    def _known(cls, kind: str) -> str:
        if kind not in devices():
            raise ValueError(
                f"there is no such kind{suggest(kind, devices()) or '; known are: ' + ', '.join(devices())}"
            )
        return kind

    @property
    def device(self) -> Device:
        device = devices()[self.gpu]
        return device if self.memory_gib is None else Device(**(vars(device) | {"memory_gib": self.memory_gib}))

    @property
    def title(self) -> str:
        return f"{self.count} x {self.device.title}"


PAPER = Resources(gpu="a100", count=4, price=1.77)
"""The paper's machine (section 3); the price is what its hours and its cost a thousand rows come to."""


def found_here() -> Resources | None:
    """The GPUs of this machine, if it has any of one known kind."""
    if shutil.which("nvidia-smi") is None:
        return None
    asked = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, timeout=2, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return recognised([line.strip() for line in told.splitlines() if line.strip()])


def recognised(names: list[str]) -> Resources | None:
    """The resources that these names of `nvidia-smi` stand for; None where they differ or are not known."""
    if len(set(names)) != 1:
        return None
    kinds = [kind for kind, row in _table().items() if any(name in names[0] for name in row["names"])]
    return Resources(gpu=kinds[0], count=len(names)) if kinds else None
