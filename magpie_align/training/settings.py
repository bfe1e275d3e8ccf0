"""The settings that decide a training, and which of TRL's own exist. Imports no TRL: it takes seconds, and planning reads this."""

import ast
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from magpie_align.errors import StageError, suggest
from magpie_align.settings import Runtime, Settings
from magpie_align.training.distributed import Distributed

CHECKPOINT_GRACE = 1800.0
"""Seconds that a training which is asked to stop may take for its step and its checkpoint."""

Check = Literal["bos", "mask", "packing", "template", "text", "tokens"]
"""What is proved before a training (see `magpie_align.training.check`)."""

_SET_BY = {
    "num_train_epochs": "epochs",
    "per_device_train_batch_size": "micro_batch_size",
    "gradient_accumulation_steps": "batch_size",
    "warmup_steps": "warmup",
    "lr_scheduler_type": "schedule",
    "optim": "optimizer",
    "bf16": "precision",
    "fp16": "precision",
    "padding_free": "packing",
    "chat_template_path": "template",
    "output_dir": "store",
    **{
        name: name
        for name in ("learning_rate", "max_length", "weight_decay", "packing", "beta", "gradient_checkpointing", "seed")
    },
}
_FIXED = {
    **dict.fromkeys(
        ("deepspeed", "fsdp", "fsdp_config", "use_cpu", "accelerator_config"), "set `distributed` in its place"
    ),
    "assistant_only_loss": "the loss is always on the assistant's turns",
    "completion_only_loss": "the loss is always on the assistant's turns",
    "packing_strategy": "packing never cuts a sample or mixes two",
    "truncation_mode": "what is longer than max_length is cut at its end, and counted",
    **dict.fromkeys(
        ("dataset_text_field", "dataset_kwargs", "eval_packing"), "the data is rendered before TRL sees it"
    ),
}
OWN_FIELDS = {key: f"set `{name}` in its place" for key, name in _SET_BY.items()} | _FIXED
"""Keys of TRL's configuration that `trl` may not set, and why: set twice, one of the two would be ignored."""


class TrainingSettings(Settings):
    """The settings that decide a training. `trl` holds any other field of TRL's own configuration, verbatim."""

    learning_rate: float = Field(gt=0)
    epochs: float = Field(1.0, gt=0)
    batch_size: int = Field(32, gt=0, description="sequences an optimizer step, over all devices")
    micro_batch_size: Runtime[int] = Field(1, gt=0, description="sequences a device holds at once")
    max_length: int = Field(2048, gt=0, description="tokens; longer samples are cut, and counted")
    warmup: float = Field(0.0, ge=0, description="steps, or a share of all steps if below 1")
    schedule: str = "cosine"
    optimizer: str = "adamw_torch"
    weight_decay: float = Field(0.0, ge=0)
    weights: Literal["float32", "bfloat16"] = "float32"
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    attention: Runtime[str | None] = Field(
        None, description="transformers' attn_implementation; its own choice if left out"
    )
    gradient_checkpointing: Runtime[bool] = False
    checkpoints: Runtime[int] = Field(4, ge=0, description="how often the state is saved on the way")
    distributed: Runtime[Distributed] = Distributed()
    skip_checks: Runtime[list[Check]] = Field([], description="proofs on tokenizer and data that may fail")
    trl: dict[str, Any] = {}

    def unknown_trl_keys(self, trainer: str) -> list[str]:
        """Sentences on keys of `trl` that this trainer's configuration does not have, or that are set elsewhere."""
        known = trl_fields(trainer)
        unknown = [f"trl.{key}: TRL has no such setting{suggest(key, known)}" for key in self.trl if key not in known]
        owned = [f"trl.{key} cannot be set: {OWN_FIELDS[key]}" for key in self.trl if key in OWN_FIELDS]
        return unknown + owned


@cache
def trl_fields(trainer: str) -> frozenset[str]:
    """Field names of TRL's configuration for `sft`, `dpo` or `reward`, read from its source: importing it takes seconds."""
    names: set[str] = set()
    for package, files in (
        ("trl", (f"trainer/{trainer}_config.py", "trainer/base_config.py")),
        ("transformers", ("training_args.py",)),
    ):
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise StageError(f"the package {package} is not installed; run `make install`")
        for file in files:
            tree = ast.parse((Path(spec.origin).parent / file).read_text())
            for node in ast.walk(tree):
                if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                    names.add(node.target.id)
    return frozenset(names)


class SFTSettings(TrainingSettings):
    """Adds packing: whole samples laid together into sequences of `max_length`; `batch_size` then counts those."""

    learning_rate: float = 2e-5
    packing: bool = False


class DPOSettings(TrainingSettings):
    """Adds beta, the strength of the pull to the reference model."""

    learning_rate: float = 5e-7
    batch_size: int = 128
    beta: float = 0.01


class RewardModelSettings(TrainingSettings):
    """`holdout` pairs are kept from training to measure how often the chosen response gets the higher reward."""

    learning_rate: float = 1e-5
    holdout: int = 200
