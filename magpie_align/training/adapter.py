"""LoRA, DoRA and QLoRA with peft: what is put on a model before training, and what is saved of it.

A trained adapter is kept in `adapter/` beside a plain model with the adapter merged into its weights, which transformers and
vLLM load like any other.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from magpie_align.errors import StageError, suggest
from magpie_align.training.settings import TrainingSettings

FOLDER = "adapter"


def peft_config(settings: TrainingSettings, task: str = "CAUSAL_LM") -> Any:
    """What TRL's trainers put on the model: a LoraConfig, or None where all weights are trained."""
    chosen = settings.adapter
    if chosen is None:
        return None
    from peft import LoraConfig

    return LoraConfig(
        task_type=task,
        r=chosen.r,
        lora_alpha=chosen.alpha,
        lora_dropout=chosen.dropout,
        target_modules=chosen.target,
        use_dora=chosen.dora,
        **chosen.peft,
    )


def quantised(settings: TrainingSettings) -> dict[str, Any]:
    """How `from_pretrained` loads a base in 4 bits (Dettmers et al. 2023). Raises StageError where that cannot be."""
    import torch

    chosen = settings.adapter
    if chosen is None or chosen.quantization is None:
        return {}
    need_gpu(f"adapter.quantization: {chosen.quantization}", "bitsandbytes", "train a plain adapter without it")
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=chosen.quantization,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, settings.precision),
        bnb_4bit_quant_storage=getattr(torch, settings.weights),
    )
    return {"quantization_config": config, "device_map": {"": int(os.environ.get("LOCAL_RANK", "0"))}}


def need_gpu(what: str, package: str, otherwise: str) -> None:
    """Raises StageError unless there is a GPU and the package for it."""
    from importlib.util import find_spec

    import torch

    if not torch.cuda.is_available():
        raise StageError(f"{what} needs a GPU, and there is none here; {otherwise}")
    if find_spec(package) is None:
        raise StageError(
            f"{what} needs the package {package}; install it with `pip install 'magpie_align[gpu]'`, or {otherwise}"
        )


def check_targets(network: Any, settings: TrainingSettings) -> None:
    """Raises StageError where `adapter.target` names layers that the model does not have."""
    if settings.adapter is None or isinstance(settings.adapter.target, str):
        return
    known = {part for name, _ in network.named_modules() for part in _tails(name)}
    last = {name.rpartition(".")[2] for name, module in network.named_modules() if hasattr(module, "weight")}
    missing = [f"'{name}'{suggest(name, last)}" for name in settings.adapter.target if name not in known]
    if missing:
        raise StageError(f"adapter.target: the model has no layer {', no layer '.join(missing)}")


def _tails(name: str) -> list[str]:
    """`a.b.c`, `b.c`, `c`: what peft takes for the name of a layer."""
    parts = name.split(".")
    return [".".join(parts[n:]) for n in range(len(parts))]


def is_adapted(network: Any) -> bool:
    """Whether the model carries an adapter."""
    from peft import PeftModel

    return isinstance(network, PeftModel)


def save(trainer: Any, out: Path) -> None:
    """The adapter into `out/adapter`, and the base with the adapter merged into its weights into `out`.

    The base is loaded anew, so that a base trained on in 4 bits is merged in its own precision, and one that is spread over
    devices is whole.
    """
    from peft import PeftModel

    trainer.save_model(str(out / FOLDER))
    (out / FOLDER / "training_args.bin").unlink(missing_ok=True)
    if trainer.accelerator.is_main_process:
        trained = trainer.model.get_base_model()
        labels = {"num_labels": trained.num_labels} if hasattr(trained, "score") else {}
        with _loading_alone(trainer):
            base = type(trained).from_pretrained(trained.config._name_or_path, dtype=trained.config.dtype, **labels)
        merged = PeftModel.from_pretrained(base, str(out / FOLDER)).merge_and_unload()
        merged.config.pad_token_id = trained.config.pad_token_id
        if hasattr(trained, "generation_config"):
            merged.generation_config = trained.generation_config
        merged.save_pretrained(out)
    trainer.accelerator.wait_for_everyone()


@contextmanager
def _loading_alone(trainer: Any) -> Iterator[None]:
    """Under ZeRO-3 every load is a common act of all processes, unless transformers is told otherwise."""
    if not trainer.is_deepspeed_enabled:
        yield
        return
    from transformers.integrations.deepspeed import set_hf_deepspeed_config, unset_hf_deepspeed_config

    unset_hf_deepspeed_config()
    try:
        yield
    finally:
        set_hf_deepspeed_config(trainer.args.hf_deepspeed_config)
