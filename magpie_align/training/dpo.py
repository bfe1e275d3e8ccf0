"""Direct preference optimisation with TRL (paper, section 4 and table 9)."""

from pathlib import Path
from typing import Any

from magpie_align.training import data, fit
from magpie_align.training.settings import DPOSettings


def train(
    model: Path, rows: Path, out: Path, work: Path, settings: DPOSettings, *, seed: int, progress: fit.Progress
) -> dict[str, Any]:
    """Train `model`, itself the reference, on the preference pairs in `rows`; saves into `out`, returns figures to note."""
    from transformers import AutoModelForCausalLM
    from trl import DPOConfig, DPOTrainer

    tokenizer = fit.load_tokenizer(model, None)
    dataset = data.preferences(rows)
    config = DPOConfig(
        **{"beta": settings.beta, "precompute_ref_log_probs": True} | fit.trl_arguments(settings, work, seed)
    )
    network = AutoModelForCausalLM.from_pretrained(model, **fit.loading(settings, seed))
    trainer = DPOTrainer(model=network, args=config, train_dataset=dataset, processing_class=tokenizer)
    logged = fit.run_trainer(trainer, work, progress)
    fit.save(trainer, tokenizer, out)
    margin = logged.get("rewards/margins")
    return {"pairs": len(dataset), "steps": trainer.state.global_step, "loss": logged.get("loss"), "margin": margin}
