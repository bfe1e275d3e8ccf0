"""What every trainer shares: settings in the words people reason in, TRL's own for all else, progress, resume."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from magpie_align.errors import AgainError, StageError, suggest
from magpie_align.training import adapter
from magpie_align.training.checkpoints import newest_checkpoint
from magpie_align.training.distributed import Distributed, distributed_arguments, processes
from magpie_align.training.order import hold_order
from magpie_align.training.packing import packed_attention
from magpie_align.training.series import NAME as SERIES
from magpie_align.training.series import Series
from magpie_align.training.settings import SFTSettings, TrainingSettings
from magpie_align.training.stopping import conduct, stoppable
from magpie_align.training.watch import watch_loss

Progress = Callable[..., None]


def trl_arguments(settings: TrainingSettings, work: Path, seed: int) -> dict[str, Any]:
    """The arguments of TRL's configuration for these settings."""
    import torch

    world = processes()
    per_step = settings.micro_batch_size * world
    if settings.batch_size % per_step:
        raise StageError(
            f"batch_size {settings.batch_size} is not a multiple of micro_batch_size {settings.micro_batch_size} x {world} processes; "
            "change micro_batch_size: the batch size decides the result and is not changed for you"
        )
    if "8bit" in settings.optimizer or settings.optimizer.startswith("paged"):
        adapter.need_gpu(f"optimizer: {settings.optimizer}", "bitsandbytes", "take adamw_torch_fused")
    if settings.liger:
        adapter.need_gpu("liger", "liger_kernel", "leave it out")
    given = {
        "output_dir": str(work / "checkpoints"),
        "learning_rate": settings.learning_rate,
        "num_train_epochs": settings.epochs,
        "per_device_train_batch_size": settings.micro_batch_size,
        "per_device_eval_batch_size": settings.micro_batch_size,
        "gradient_accumulation_steps": settings.batch_size // per_step,
        "max_length": settings.max_length,
        "warmup_steps": settings.warmup,
        "lr_scheduler_type": settings.schedule,
        "optim": settings.optimizer,
        "weight_decay": settings.weight_decay,
        "bf16": settings.precision == "bfloat16",
        "use_cpu": not torch.cuda.is_available(),
        "ddp_find_unused_parameters": False,
        "gradient_checkpointing": settings.gradient_checkpointing,
        "use_liger_kernel": settings.liger,
        "torch_compile": settings.compile,
        "save_strategy": "steps" if settings.checkpoints else "no",
        "save_steps": 1 / (settings.checkpoints + 1),
        "save_total_limit": 2,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
        "seed": seed,
    }
    return given | distributed_arguments(settings) | settings.trl


def loading(settings: TrainingSettings, seed: int) -> dict[str, Any]:
    """How the weights are loaded; weights that the model does not bring, such as a new head, are drawn by `seed`."""
    import torch
    from transformers import set_seed

    set_seed(seed)

    if torch.cuda.device_count() > 1 and "WORLD_SIZE" not in os.environ:
        raise StageError(
            f"{torch.cuda.device_count()} GPUs are visible to one training process, which would train on copies of the batch; "
            "start it by magpie_align.training.processes.train_spread, or set CUDA_VISIBLE_DEVICES to one of them"
        )
    if distributed_arguments(settings) and settings.distributed.stage == 3:
        _load_parts(trl_arguments(settings, Path(), seed))
    packed = isinstance(settings, SFTSettings) and settings.packing
    attention = packed_attention(settings.attention) if packed else settings.attention
    chosen = {"attn_implementation": attention} if attention else {}
    return {"dtype": getattr(torch, settings.weights), **chosen, **adapter.quantised(settings)}


def _load_parts(arguments: dict[str, Any]) -> None:
    """Let `from_pretrained` divide the weights as they are loaded, which it does while such a configuration is alive."""
    import deepspeed
    from transformers import TrainingArguments

    known = {field.name for field in dataclasses.fields(TrainingArguments)}
    _alive.append(TrainingArguments(**{name: value for name, value in arguments.items() if name in known}))
    deepspeed.init_distributed(auto_mpi_discovery=False)  # on CPUs transformers does not


_alive: list[Any] = []
ALONE = Distributed(processes=1)


def run_trainer(
    trainer: Any, samples: Any, work: Path, progress: Progress, distributed: Distributed = ALONE
) -> dict[str, Any]:
    """Train from the newest whole checkpoint in `work`, if any; returns the last figures logged, the loss of ten steps.

    `samples` are those of `data.Prepared`. Raises StageError, naming the rows, as soon as a loss is no number, and AgainError
    when asked to stop by SIGTERM or SIGUSR1, with a checkpoint written.
    """
    hold_order(trainer)
    watch_loss(trainer, samples)
    newest = newest_checkpoint(work / "checkpoints", distributed)
    with stoppable() as stop:
        stop.begun = True
        trainer.add_callback(conduct(trainer, distributed, stop))
        series = Series(trainer, work / SERIES, progress)
        trainer.add_callback(series.callback())
        trainer.train(resume_from_checkpoint=newest)
        steps, last = trainer.state.global_step, trainer.state.max_steps
        if stop.asked and steps < last:
            raise AgainError(f"a checkpoint holds {steps} of {last} steps")
    return series.figures()


def load_tokenizer(folder: Path, pad_token: str | None = None) -> Any:
    """The tokenizer to train with, its padding token set if one is given.

    Raises StageError where it has no chat template, so that which one is used is explicit, or no padding token.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    if not tokenizer.chat_template:
        raise StageError(
            f"the tokenizer of {folder} has no chat template; name a model whose template to use with `template:`"
        )
    if pad_token is not None:
        known = tokenizer.get_vocab()
        if pad_token not in known:
            special = [token.content for token in tokenizer.added_tokens_decoder.values()]
            raise StageError(
                f"pad_token: '{pad_token}' is no token of the tokenizer of {folder}{suggest(pad_token, special)}"
            )
        tokenizer.pad_token = pad_token
    if tokenizer.pad_token is None:
        raise StageError(f"the tokenizer of {folder} has no pad token; name one with `pad_token: ...`")
    return tokenizer
