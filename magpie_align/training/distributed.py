"""How a training is spread over processes: the setting, what it means to TRL, and proofs that it really is.

ddp      every process holds the whole model
zero1-3  DeepSpeed: the optimizer's state (1), the gradients too (2), the weights too (3) are divided among the processes
fsdp2    torch's fully_shard: all three are divided

None of them decides the result. So that none does, a weight is what `weights:` says under each: bfloat16 weights are what the
optimizer itself updates, without a float32 copy, and float32 weights under bfloat16 `precision` are computed with by autocast.
Batch, rate, clipping and such are the stage's; DeepSpeed takes them from there ("auto").
"""

import os
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from magpie_align.errors import StageError
from magpie_align.settings import Settings

if TYPE_CHECKING:
    from magpie_align.training.settings import TrainingSettings

Kind = Literal["ddp", "zero1", "zero2", "zero3", "fsdp2"]


class Distributed(Settings):
    """Where the processes of a training run, and what is divided among them. All of it outside the fingerprint."""

    kind: Kind = "ddp"
    processes: int | Literal["auto"] = Field(default="auto", description="on each machine; auto: one a visible GPU")
    offload: bool = Field(default=False, description="what is divided lies in the machine's memory, not in the GPU's")
    nodes: int = Field(default=1, gt=0, description="machines")
    rendezvous: str = Field(default="", description="HOST:PORT of one machine that all can reach")
    each_node: list[str] = Field(
        default=["srun", "--ntasks-per-node=1"], description="starts the command behind it once on every machine"
    )

    @property
    def stage(self) -> int:
        """The stage of ZeRO; 0 without it."""
        return int(self.kind[-1]) if self.kind.startswith("zero") else 0

    def count(self) -> int:
        """Processes on each machine."""
        if self.processes != "auto":
            return self.processes
        import torch

        return max(int(torch.cuda.device_count()), 1)

    def problems(self) -> list[str]:
        """Sentences on what is wrong with these settings together."""
        found = []
        if self.processes != "auto" and self.processes < 1:
            found.append(f"distributed.processes: {self.processes} is no number of processes; give 1 or more, or auto")
        if self.nodes > 1 and not self.rendezvous:
            found.append("distributed.rendezvous: several machines need HOST:PORT of one of them, such as node1:29500")
        if self.offload and self.kind == "ddp":
            found.append("distributed.offload: ddp divides nothing that could be offloaded; use zero2, zero3 or fsdp2")
        return found


def processes() -> int:
    """How many processes train together, this one being one of them."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_first() -> bool:
    """Whether this process speaks for all."""
    return int(os.environ.get("RANK", "0")) == 0


def distributed_arguments(settings: "TrainingSettings") -> dict[str, Any]:
    """The arguments of TRL's configuration that spread a training; none where one process trains alone."""
    distributed = settings.distributed
    if "WORLD_SIZE" not in os.environ or distributed.kind == "ddp":
        return {}
    if distributed.stage:
        return {"deepspeed": zero_config(settings), "bf16": settings.weights == "bfloat16"}
    mixed = settings.weights == "float32" and settings.precision == "bfloat16"
    wrapped = {"activation_checkpointing": settings.gradient_checkpointing, "cpu_offload": distributed.offload}
    return {
        "fsdp": True,
        "fsdp_config": {"version": 2, "auto_wrap_policy": "TRANSFORMER_BASED_WRAP", "state_dict_type": "SHARDED_STATE_DICT"}
        | wrapped,
        "gradient_checkpointing": False,  # the same, done by the wrapping
        "bf16": mixed,  # else the weights would be turned to float32
    }  # fmt: skip


def zero_config(settings: "TrainingSettings") -> dict[str, Any]:
    """DeepSpeed's configuration."""
    distributed = settings.distributed
    divided: dict[str, Any] = {"stage": distributed.stage, "contiguous_gradients": True, "reduce_bucket_size": "auto"}
    if distributed.stage == 3:
        divided |= {
            "stage3_prefetch_bucket_size": "auto",
            "stage3_param_persistence_threshold": "auto",
            "stage3_gather_16bit_weights_on_model_save": True,
        }
    if distributed.offload:
        divided["offload_optimizer"] = {"device": "cpu"}
        divided |= {"offload_param": {"device": "cpu"}} if distributed.stage == 3 else {}
    pure = settings.weights == "bfloat16"
    return {
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "bf16": {"enabled": pure, "bf16_master_weights_and_grads": pure, "bf16_optimizer_states": pure},
        "torch_autocast": {"enabled": not pure and settings.precision == "bfloat16", "dtype": "bfloat16"},
        "zero_optimization": divided,
    }


def prove_spread(trainer: Any, distributed: Distributed) -> None:
    """Raise StageError unless the training is spread as asked: what is missing is otherwise silently done without.

    To be asked once the trainer has wrapped its model.
    """
    from torch.distributed.fsdp import FSDPModule
    from torch.nn.parallel import DistributedDataParallel

    world, wrapped, asked = processes(), trainer.model_wrapped, distributed.kind
    model = getattr(wrapped, "_orig_mod", wrapped)  # of torch.compile
    if trainer.accelerator.num_processes != world:
        raise StageError(
            f"{world} processes were started and accelerate sees {trainer.accelerator.num_processes}, so each would train alone; "
            "look at the versions of torch and accelerate"
        )
    if "WORLD_SIZE" not in os.environ:
        return
    if distributed.stage:
        found = model.zero_optimization_stage() if trainer.is_deepspeed_enabled else 0
        real = found == distributed.stage
    elif asked == "fsdp2":
        real = trainer.is_fsdp_enabled and any(isinstance(m, FSDPModule) for m in (wrapped, model))
    else:
        real = world == 1 or isinstance(model, DistributedDataParallel)
    if not real:
        raise StageError(
            f"distributed.kind: {asked} was asked for and the model is wrapped as {type(model).__name__}, so it would be trained "
            "otherwise than you think; look at the versions of accelerate and deepspeed"
        )


def let_fsdp_run_on_cpus() -> None:
    """Make accelerate take FSDP on processes without GPUs, where it drops it without a word; for tests and laptops."""
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import DistributedType

    start = AcceleratorState.__init__

    def started(self: Any, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
        start(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
            if self._mixed_precision != "no":
                fsdp_plugin.set_mixed_precision(self._mixed_precision)
            self.fsdp_plugin, self.distributed_type = fsdp_plugin, DistributedType.FSDP
            PartialState._shared_state["distributed_type"] = DistributedType.FSDP

    AcceleratorState.__init__ = started
