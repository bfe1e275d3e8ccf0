"""A reward model with TRL: a sequence classifier with one output, trained on preference pairs."""

from pathlib import Path
from typing import Any

from magpie_align.errors import StageError
from magpie_align.training import adapter, check, data, fit
from magpie_align.training.chat import Chat
from magpie_align.training.holdout import HeldOut
from magpie_align.training.settings import RewardModelSettings
from magpie_align.training.watch import weigh_by_samples


def train(
    model: Path,
    rows: Path,
    out: Path,
    work: Path,
    settings: RewardModelSettings,
    *,
    template: Path | None = None,
    seed: int,
    progress: fit.Progress,
) -> dict[str, Any]:
    """Train a classifier head on `model` (and the model with it); saves into `out`, returns figures to note."""
    from transformers import AutoModelForSequenceClassification
    from trl import RewardConfig, RewardTrainer

    tokenizer = fit.load_tokenizer(template or model, settings.pad_token)
    check.gate(tokenizer, check.first_preferences(rows), settings, model)
    prepared = data.prepare_rewards(rows, Chat(tokenizer), settings.max_length, work / "data")
    dataset = prepared.dataset
    if len(dataset) <= settings.holdout:
        raise StageError(f"{rows} holds {len(dataset)} pairs and {settings.holdout} are held out; lower holdout")
    held, kept = dataset.select(range(settings.holdout)), dataset.select(range(settings.holdout, len(dataset)))
    config = RewardConfig(**fit.trl_arguments(settings, work, seed))
    network = AutoModelForSequenceClassification.from_pretrained(model, num_labels=1, **fit.loading(settings, seed))
    network.config.pad_token_id = tokenizer.pad_token_id
    adapter.check_targets(network, settings)
    trainer = RewardTrainer(
        model=network,
        args=config,
        train_dataset=kept,
        eval_dataset=held,
        processing_class=tokenizer,
        peft_config=adapter.peft_config(settings, "SEQ_CLS"),
    )
    weigh_by_samples(trainer)
    held_out = HeldOut(trainer, tokenizer, settings, work)
    logged = fit.run_trainer(trainer, dataset, work, progress, settings.distributed)
    held_out.save(out)
    figures = {"pairs": len(kept), "loss": logged.get("loss"), "held-out accuracy": held_out.measured["eval_accuracy"]}
    return figures | held_out.figures() | prepared.figures() | {"speed": logged["speed"]}
