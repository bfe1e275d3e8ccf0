"""The config.json of a model that is not loaded: from a folder, the hub's cache, or a table of those that recipes name."""

import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from magpie_align.errors import ConfigError
from magpie_align.training.shape import Shape

Config = Mapping[str, Any]
BYTES = {"auto": 2, "bfloat16": 2, "float16": 2, "float32": 4}
"""Of one parameter; models are published in 16 bits."""


def config_of(model: str) -> Config | None:
    """The configuration of a folder or hub id, as far as it can be known without a network."""
    name, folder = model.partition("@")[0], Path(model).expanduser()
    file = folder / "config.json" if folder.is_dir() else _cached(name)
    if file is not None and file.is_file():
        config: Config = json.loads(file.read_text())
        return config
    return known_configs().get(name)


def shape_of(config: Config | None) -> Shape | None:
    """Its shape; None where it is not known, or of a kind whose work is not told by it (a mixture of experts)."""
    try:
        shape = Shape.of(config) if config is not None else None
    except ConfigError:
        return None
    return None if shape is None or shape.experts > 1 else shape


def kv_bytes(shape: Shape, element: int = 2) -> int:
    """Of the KV cache, a token."""
    return 2 * shape.layers * shape.key * element


def forward_flops(shape: Shape, context: float) -> float:
    """Of one token with `context` tokens to look at: 2 a parameter, and 4 a layer, query unit and token looked at."""
    return 2 * shape.parameters + 4 * shape.layers * shape.query * context


@cache
def known_configs() -> dict[str, Config]:
    """Hub id -> configuration, from models.yaml."""
    table = yaml.safe_load(Path(__file__).with_name("models.yaml").read_text())
    return {name: table[row["of"]] if "of" in row else row for name, row in table.items()}


def _cached(name: str) -> Path | None:
    """The configuration in the hub's cache; looked up by path, for importing the hub's client takes a second."""
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    cache_folder = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    found = sorted((cache_folder / f"models--{name.replace('/', '--')}" / "snapshots").glob("*/config.json"))
    return found[-1] if found else None
