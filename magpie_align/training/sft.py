"""Supervised fine-tuning with TRL: the loss is on the assistant's turns only (paper, section 4 and table 8)."""

from pathlib import Path
from typing import Any

from magpie_align.training import data, fit
from magpie_align.training.settings import SFTSettings


def train(
    model: Path,
    rows: Path,
    out: Path,
    work: Path,
    settings: SFTSettings,
    *,
    template: Path | None,
    seed: int,
    progress: fit.Progress,
) -> dict[str, Any]:
    """Fine-tune `model` on the conversations in `rows`; saves into `out` and returns the figures to note."""
    from transformers import AutoModelForCausalLM
    from trl import SFTConfig, SFTTrainer

    tokenizer = fit.load_tokenizer(model, template)
    dataset = data.conversations(rows)
    arguments = fit.trl_arguments(settings, work, seed)
    config = SFTConfig(**{"packing": settings.packing, "assistant_only_loss": True} | arguments)
    network = AutoModelForCausalLM.from_pretrained(model, **fit.loading(settings, seed))
    trainer = SFTTrainer(model=network, args=config, train_dataset=dataset, processing_class=tokenizer)
    logged = fit.run_trainer(trainer, work, progress)
    fit.save(trainer, tokenizer, out)
    return {"rows": len(dataset), "steps": trainer.state.global_step, "loss": logged.get("loss")}
