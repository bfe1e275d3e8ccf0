"""A reward model with TRL: a sequence classifier with one output, trained on preference pairs."""

from pathlib import Path
from typing import Any

from magpie_align.training import data, fit
from magpie_align.training.settings import RewardModelSettings


def train(
    model: Path, rows: Path, out: Path, work: Path, settings: RewardModelSettings, *, seed: int, progress: fit.Progress
) -> dict[str, Any]:
    """Train a classifier head on `model` (and the model with it); saves into `out`, returns figures to note."""
    from transformers import AutoModelForSequenceClassification
    from trl import RewardConfig, RewardTrainer

    tokenizer = fit.load_tokenizer(model, None)
    dataset = data.preferences(rows)
    held, kept = dataset.select(range(settings.holdout)), dataset.select(range(settings.holdout, len(dataset)))
    config = RewardConfig(**fit.trl_arguments(settings, work, seed))
    network = AutoModelForSequenceClassification.from_pretrained(model, num_labels=1, **fit.loading(settings, seed))
    network.config.pad_token_id = tokenizer.pad_token_id
    trainer = RewardTrainer(
        model=network, args=config, train_dataset=kept, eval_dataset=held, processing_class=tokenizer
    )
    logged = fit.run_trainer(trainer, work, progress)
    accuracy = trainer.evaluate()["eval_accuracy"]
    fit.save(trainer, tokenizer, out)
    return {"pairs": len(kept), "loss": logged.get("loss"), "held-out accuracy": accuracy}
