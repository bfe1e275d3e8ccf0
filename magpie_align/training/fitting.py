"""What would make a training fit that does not: changes that leave the result as it is first, then those that do not."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from magpie_align.training.memory import TrainingJob, predict

MOST_GPUS = 1024
RANK = 16


def advice(config: Mapping[str, Any], job: TrainingJob, gpu_gb: float) -> list[str]:
    """What would fit GPUs of `gpu_gb` GB: each change that is enough by itself, else the first that are enough together.

    Empty where the job fits as it is, and where nothing is enough.
    """
    if predict(config, job).fits(gpu_gb):
        return []
    changes = list(_changes(job))
    alone = [said for said, changed in changes if predict(config, replace(job, **changed)).fits(gpu_gb)]
    if alone:
        return alone + _more_gpus(config, job, gpu_gb)
    together: TrainingJob = job
    names: list[str] = []
    for said, changed in changes:
        if all(getattr(together, name) == value for name, value in changed.items()):
            continue
        together, names = replace(together, **changed), [*names, said]
        if predict(config, together).fits(gpu_gb):
            return [" and ".join(names), *_more_gpus(config, job, gpu_gb)]
    return _more_gpus(config, job, gpu_gb)


def _changes(job: TrainingJob) -> Iterator[tuple[str, dict[str, Any]]]:
    """In the order of what they cost. Those that need several GPUs are left out for one, and what is so already everywhere."""
    if not job.gradient_checkpointing:
        yield "gradient_checkpointing: true", {"gradient_checkpointing": True}
    least = 2 if job.method == "kto" else 1
    if job.micro_batch_size > least:
        yield f"micro_batch_size: {least}", {"micro_batch_size": least}
    if job.gpus > 1:
        for stage in range(max(job.zero_stage, 1) + 1, 4):
            yield f"ZeRO-{stage}", {"zero_stage": stage}
    if not job.offload and job.zero_stage:
        yield "the optimizer offloaded to host memory", {"offload": True}
    if "8bit" not in job.optimizer and not job.zero_stage and job.adapter_rank is None:
        yield "optimizer: paged_adamw_8bit", {"optimizer": "paged_adamw_8bit"}
    if job.adapter_rank is None:
        yield f"a LoRA adapter of rank {RANK}", {"adapter_rank": RANK, "dtype_bytes": 2}
    if job.dtype_bytes >= 2:
        yield (
            f"a QLoRA adapter of rank {job.adapter_rank or RANK} on a base in 4 bits",
            {"adapter_rank": job.adapter_rank or RANK, "dtype_bytes": 0.5},
        )


def _more_gpus(config: Mapping[str, Any], job: TrainingJob, gpu_gb: float) -> list[str]:
    gpus = 2 * job.gpus
    while gpus <= MOST_GPUS:
        if predict(config, replace(job, gpus=gpus, zero_stage=3)).fits(gpu_gb):
            return [f"{gpus} GPUs with ZeRO-3"]
        gpus *= 2
    return []
