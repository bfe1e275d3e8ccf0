"""Supervised fine-tuning with TRL: the loss is on the assistant's turns only (paper, section 4 and table 8)."""

from pathlib import Path
from typing import Any

from magpie_align.training import adapter, check, data, fit
from magpie_align.training.chat import Chat
from magpie_align.training.holdout import HeldOut
from magpie_align.training.packing import efficiency, pack
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
    """Fine-tune `model` on the conversations in `rows`; saves into `out` and returns the figures to note.

    TRL weights by tokens: the loss of a step is the mean over all trained tokens of its `batch_size` sequences, however
    they are spread over micro batches.
    """
    from transformers import AutoModelForCausalLM

    tokenizer = fit.load_tokenizer(template or model, settings.pad_token)
    check.gate(tokenizer, check.first_conversations(rows), settings, model)
    prepared = data.prepare_sft(rows, Chat(tokenizer), settings.max_length, work / "data")
    network = AutoModelForCausalLM.from_pretrained(model, **fit.loading(settings, seed))
    adapter.check_targets(network, settings)
    samples, held = data.hold_out(prepared.dataset, settings.holdout)
    trainer = make_trainer(network, tokenizer, samples, settings, work, seed, held)
    held_out = HeldOut(trainer, tokenizer, settings, work)
    logged = fit.run_trainer(trainer, prepared.dataset, work, progress, settings.distributed)
    held_out.save(out)
    figures = {"rows": prepared.counts["rows"], "steps": trainer.state.global_step, "loss": logged.get("loss")}
    if settings.packing:
        figures["packing efficiency"] = round(efficiency(trainer.train_dataset, settings.max_length), 4)
    return figures | held_out.figures() | prepared.figures() | {"speed": logged["speed"]}


def make_trainer(
    network: Any, tokenizer: Any, samples: Any, settings: SFTSettings, work: Path, seed: int, held: Any = None
) -> Any:
    """TRL's trainer, given token ids and labels so that it renders, cuts and masks nothing itself."""
    from trl import SFTConfig, SFTTrainer

    given = {"packing": settings.packing, "dataset_kwargs": {"skip_prepare_dataset": True}}
    config = SFTConfig(**given | fit.trl_arguments(settings, work, seed))
    train, evaluation = (pack(s, settings.max_length) if settings.packing and s else s for s in (samples, held))
    return SFTTrainer(
        model=network,
        args=config,
        train_dataset=train,
        eval_dataset=evaluation,
        processing_class=tokenizer,
        peft_config=adapter.peft_config(settings),
    )
