"""Direct preference optimisation with TRL (paper, section 4 and table 9)."""

from pathlib import Path
from typing import Any

from magpie_align.training import check, data, fit
from magpie_align.training.chat import Chat
from magpie_align.training.settings import DPOSettings
from magpie_align.training.watch import weigh_by_samples


def train(
    model: Path, rows: Path, out: Path, work: Path, settings: DPOSettings, *, seed: int, progress: fit.Progress
) -> dict[str, Any]:
    """Train `model`, itself the reference, on the preference pairs in `rows`; saves into `out`, returns figures to note."""
    from transformers import AutoModelForCausalLM

    tokenizer = fit.load_tokenizer(model, settings.trl.get("pad_token"))
    check.gate(tokenizer, check.first_preferences(rows), settings, model)
    prepared = data.prepare_dpo(rows, Chat(tokenizer), settings.max_length, work / "data")
    network = AutoModelForCausalLM.from_pretrained(model, **fit.loading(settings, seed))
    trainer = make_trainer(network, tokenizer, prepared.dataset, settings, work, seed)
    logged = fit.run_trainer(trainer, prepared.dataset, work, progress, settings.distributed)
    fit.save(trainer, tokenizer, out)
    margin = logged.get("rewards/margins")
    figures = {"pairs": prepared.counts["rows"], "steps": trainer.state.global_step, "loss": logged.get("loss")}
    return {**figures, "margin": margin, **prepared.figures(), "speed": logged["speed"]}


def make_trainer(network: Any, tokenizer: Any, samples: Any, settings: DPOSettings, work: Path, seed: int) -> Any:
    """TRL's trainer on token ids. It has no setting to leave its own rendering out, so that step is taken from it."""
    from trl import DPOConfig, DPOTrainer

    class Rendered(DPOTrainer):  # type: ignore[misc]
        """A DPOTrainer whose data is token ids already."""

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

    given = {"beta": settings.beta, "precompute_ref_log_probs": True}
    config = DPOConfig(**given | fit.trl_arguments(settings, work, seed))
    trainer = Rendered(model=network, args=config, train_dataset=samples, processing_class=tokenizer)
    weigh_by_samples(trainer)
    return trainer
