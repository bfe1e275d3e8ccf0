"""The settings that decide a training. Imports neither TRL nor torch: planning reads this."""

from typing import Any, Literal

from pydantic import Field

from magpie_align.errors import suggest
from magpie_align.settings import Runtime, Settings
from magpie_align.training.distributed import Distributed
from magpie_align.training.library import peft_fields, transformers_names, trl_fields

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
    "use_liger_kernel": "liger",
    "torch_compile": "compile",
    "chat_template_path": "template",
    "output_dir": "store",
    "cpo_alpha": "likelihood_weight",
    "per_device_eval_batch_size": "micro_batch_size",
    "eval_strategy": "holdout",
    "eval_steps": "evaluations",
    "load_best_model_at_end": "keep",
    "simpo_gamma": "margin",
    **{
        name: name
        for name in (
            "learning_rate",
            "max_length",
            "weight_decay",
            "packing",
            "beta",
            "gradient_checkpointing",
            "seed",
            "desirable_weight",
            "undesirable_weight",
        )
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
    "model_init_kwargs": "the model is loaded before TRL sees it; `weights`, `attention` and `adapter` say how",
    **dict.fromkeys(
        ("metric_for_best_model", "greater_is_better"), "`keep: best` goes by the loss of the held-out rows"
    ),
    **dict.fromkeys(
        ("eval_delay", "eval_on_start"), "held-out rows are evaluated `evaluations` times, evenly over the training"
    ),
    **dict.fromkeys(
        ("dataset_text_field", "dataset_kwargs", "eval_packing"), "the data is rendered before TRL sees it"
    ),
}
OWN_FIELDS = {key: f"set `{name}` in its place" for key, name in _SET_BY.items()} | _FIXED
"""Keys of TRL's configuration that `trl` may not set, and why: set twice, one of the two would be ignored."""
DPO_LOSSES = (
    "sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired", "apo_zero",
    "apo_down", "discopop", "sft", "sigmoid_norm",
)  # fmt: skip
KTO_LOSSES = ("kto", "apo_zero_unpaired")
CPO_LOSSES = ("sigmoid", "hinge", "ipo", "simpo", "alphapo")


class AdapterSettings(Settings):
    """A low-rank adapter in place of all weights (LoRA, Hu et al. 2021; DoRA; QLoRA where `quantization` holds the base in 4 bits).

    `target` names layers, or `all-linear` for all but the output head; `peft` holds any other field of peft's LoraConfig.
    """

    r: int = Field(16, gt=0, description="rank")
    alpha: float = Field(32, gt=0, description="the adapter counts alpha / r")
    dropout: float = Field(0.0, ge=0, lt=1)
    target: list[str] | Literal["all-linear"] = "all-linear"
    dora: bool = False
    quantization: Literal["nf4", "fp4"] | None = None
    peft: dict[str, Any] = {}

    def problems(self) -> list[str]:
        """Sentences on what peft does not have, or what TRL's losses would leave untrained."""
        known = peft_fields()
        owned = {
            "r": "r",
            "lora_alpha": "alpha",
            "lora_dropout": "dropout",
            "target_modules": "target",
            "use_dora": "dora",
        }
        found = [
            f"adapter.peft.{k} cannot be set: set `adapter.{owned[k]}` in its place" for k in self.peft if k in owned
        ]
        found += [f"adapter.peft.{k}: peft has no such setting{suggest(k, known)}" for k in self.peft if k not in known]
        if "lm_head" in self.target:
            found.append(
                "adapter.target: an adapter on lm_head would not be trained, as TRL's losses read its weight; leave it out"
            )
        return found


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
    liger: Runtime[bool] = Field(False, description="Liger's kernels for norms, rotations and MLPs; needs a GPU")
    compile: Runtime[bool] = Field(False, description="torch.compile")
    pad_token: str | None = Field(None, description="for a tokenizer that has none, one of its own tokens")
    adapter: AdapterSettings | None = Field(None, description="train an adapter and not all weights")
    holdout: int = Field(0, ge=0, description="samples kept from training, of which the loss is measured")
    evaluations: int = Field(4, gt=0, description="how often it is measured, evenly spaced, at the end as well")
    keep: Literal["last", "best"] = Field(
        "last", description="the model to end with; best: of the lowest held-out loss"
    )
    checkpoints: Runtime[int] = Field(4, ge=0, description="how often the state is saved on the way")
    distributed: Runtime[Distributed] = Distributed()
    skip_checks: Runtime[list[Check]] = Field([], description="proofs on tokenizer and data that may fail")
    trl: dict[str, Any] = {}

    def refused(self, trainer: str) -> list[str]:
        """Sentences on all that transformers, TRL and peft would not take."""
        named = (("optimizer", self.optimizer, "OptimizerNames"), ("schedule", self.schedule, "SchedulerType"))
        unknown = [
            f"{field}: transformers has no '{value}'{suggest(value, names)}"
            for field, value, kind in named
            if value not in (names := transformers_names(kind))
        ]
        own = self.distributed.problems() + (self.adapter.problems() if self.adapter else [])
        if self.adapter and self.adapter.quantization and self.distributed.kind in ("zero3", "fsdp2"):
            own.append(
                f"adapter.quantization: a base in 4 bits cannot be divided by {self.distributed.kind}; set `distributed: {{kind: ddp}}`"
            )
        if self.keep == "best" and not self.holdout:
            own.append(
                "keep: best goes by the loss of held-out samples, and none are held out; set `holdout: 200`, or `keep: last`"
            )
        if self.distributed.offload and self.distributed.stage and self.weights == "bfloat16":
            own.append(
                "distributed.offload: DeepSpeed keeps what it offloads in float32, which `weights: bfloat16` rules out; set "
                "`weights: float32`, or `kind: fsdp2`"
            )
        return self.unknown_trl_keys(trainer) + unknown + own

    def unknown_trl_keys(self, trainer: str) -> list[str]:
        """Sentences on keys of `trl` that this trainer's configuration does not have, or that are set elsewhere."""
        known = trl_fields(trainer)
        unknown = [f"trl.{key}: TRL has no such setting{suggest(key, known)}" for key in self.trl if key not in known]
        owned = [f"trl.{key} cannot be set: {why}" for key in self.trl if (why := self._owned(key))]
        return unknown + owned

    def _owned(self, key: str) -> str | None:
        return f"set `{key}` in its place" if key in type(self).model_fields else OWN_FIELDS.get(key)


def unknown_losses(given: list[str], known: tuple[str, ...]) -> list[str]:
    """Sentences on losses that this trainer of TRL does not have."""
    return [
        f"loss_type: there is no loss '{name}'{suggest(name, known) or '; known are: ' + ', '.join(known)}"
        for name in given
        if name not in known
    ]


class SFTSettings(TrainingSettings):
    """Adds packing: whole samples laid together into sequences of `max_length`; `batch_size` then counts those."""

    learning_rate: float = 2e-5
    packing: bool = False


class DPOSettings(TrainingSettings):
    """Adds beta, the strength of the pull to the reference model, and the loss; several are added up by `trl.loss_weights`."""

    learning_rate: float = 5e-7
    batch_size: int = 128
    beta: float = Field(0.01, gt=0)
    loss_type: str | list[str] = "sigmoid"

    @property
    def losses(self) -> list[str]:
        """The names of the losses that are added up."""
        return [self.loss_type] if isinstance(self.loss_type, str) else self.loss_type

    def content(self) -> dict[str, Any]:
        """Losses that compare the samples of a micro batch with one another make its size decide the result."""
        together = {"aot", "aot_unpaired", "sft"}.intersection(self.losses)
        return super().content() | ({"micro_batch_size": self.micro_batch_size} if together else {})


class KTOSettings(TrainingSettings):
    """Adds beta and the weights of chosen and rejected answers (Ethayarajh et al. 2024, equation 8)."""

    learning_rate: float = 5e-7
    batch_size: int = 128
    micro_batch_size: Runtime[int] = Field(
        2, ge=2, description="answers a device holds at once; TRL takes no less than 2"
    )
    beta: float = Field(0.1, gt=0)
    loss_type: str = "kto"
    desirable_weight: float = Field(1.0, ge=0)
    undesirable_weight: float = Field(1.0, ge=0)


class ORPOSettings(TrainingSettings):
    """Adds beta, the weight of the odds ratio beside the likelihood (lambda in Hong et al. 2024). It has no reference model."""

    learning_rate: float = 8e-6
    batch_size: int = 64
    beta: float = Field(0.1, gt=0)


class CPOSettings(TrainingSettings):
    """Preference without a reference: CPO (`sigmoid`), SimPO (`simpo`), AlphaPO (`alphapo`).

    `likelihood_weight` is that of the chosen answer's likelihood beside the preference loss; left out it is what the papers
    have, 1 for CPO and 0 for SimPO and AlphaPO. `margin` is SimPO's target reward margin, gamma.
    """

    learning_rate: float = 1e-6
    batch_size: int = 128
    beta: float = Field(0.1, gt=0)
    loss_type: str = "sigmoid"
    margin: float = Field(0.5, ge=0)
    likelihood_weight: float | None = Field(None, ge=0)


class RewardModelSettings(TrainingSettings):
    """The held-out pairs also measure how often the chosen response gets the higher reward."""

    learning_rate: float = 1e-5
    holdout: int = Field(200, gt=0, description="pairs kept from training, the first ones")
