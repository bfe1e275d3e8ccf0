"""The settings that TRL, peft and transformers have, read from their source: importing them takes seconds, and planning asks."""

import ast
import importlib.util
from functools import cache
from pathlib import Path

from magpie_align.errors import StageError

EXPERIMENTAL = ("cpo", "orpo")
"""Trainers that TRL keeps under `trl.experimental`."""


@cache
def trl_fields(trainer: str) -> frozenset[str]:
    """Field names of TRL's configuration for a trainer, `sft` or `dpo`, read from its source: importing it takes seconds."""
    folder = f"experimental/{trainer}" if trainer in EXPERIMENTAL else "trainer"
    files = [f"{folder}/{trainer}_config.py", "trainer/base_config.py"]
    return _fields("trl", *files) | _fields("transformers", "training_args.py")


@cache
def peft_fields() -> frozenset[str]:
    """Field names of peft's LoraConfig."""
    return _fields("peft", "tuners/lora/config.py", "config.py")


@cache
def transformers_names(kind: str) -> frozenset[str]:
    """The values of one of transformers' enumerations, `OptimizerNames` or `SchedulerType`."""
    trees = (_tree("transformers", file) for file in ("training_args.py", "trainer_utils.py"))
    classes = [n for tree in trees for n in tree.body if isinstance(n, ast.ClassDef) and n.name == kind]
    values = (node.value for found in classes for node in found.body if isinstance(node, ast.Assign))
    return frozenset(str(value.value) for value in values if isinstance(value, ast.Constant))


def _fields(package: str, *files: str) -> frozenset[str]:
    nodes = (node for file in files for node in ast.walk(_tree(package, file)))
    targets = (node.target for node in nodes if isinstance(node, ast.AnnAssign))
    return frozenset(target.id for target in targets if isinstance(target, ast.Name))


def _tree(package: str, file: str) -> ast.Module:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise StageError(f"the package {package} is not installed; run `make install`")
    return ast.parse((Path(spec.origin).parent / file).read_text())
