"""Preference optimisation without a reference model, with TRL: CPO (Xu et al. 2024), SimPO (Meng et al. 2024), AlphaPO."""

from functools import partial
from pathlib import Path
from typing import Any

from magpie_align.training import adapter, fit, preference
from magpie_align.training.preference import PairCollator, rendered, weigh_likelihood_by_tokens
from magpie_align.training.settings import CPOSettings
from magpie_align.training.watch import weigh_by_samples


def make_trainer(
    network: Any, tokenizer: Any, samples: Any, settings: CPOSettings, work: Path, seed: int, held: Any = None
) -> Any:
    """TRL's trainer on token ids. It renders what it is given when it is made, so it is given its data afterwards."""
    from trl.experimental.cpo import CPOConfig, CPOTrainer

    config = CPOConfig(**_given(settings) | fit.trl_arguments(settings, work, seed))
    trainer = rendered(CPOTrainer)(
        model=network,
        args=config,
        train_dataset=samples.select(range(1)),
        processing_class=tokenizer,
        data_collator=PairCollator(tokenizer.pad_token_id),
        peft_config=adapter.peft_config(settings),
    )
    trainer.train_dataset, trainer.eval_dataset = samples, held
    weigh_by_samples(trainer)
    weigh_likelihood_by_tokens(trainer, _predicted)
    return trainer


def _given(settings: CPOSettings) -> dict[str, Any]:
    usual = 1.0 if settings.loss_type in ("sigmoid", "hinge", "ipo") else 0.0
    weight = usual if settings.likelihood_weight is None else settings.likelihood_weight
    return {
        "beta": settings.beta,
        "loss_type": settings.loss_type,
        "simpo_gamma": settings.margin,
        "cpo_alpha": weight,
        "remove_unused_columns": False,
    }


def _predicted(batch: dict[str, Any]) -> Any:
    return (batch["chosen_labels"][:, 1:] != -100).sum()


train = partial(preference.train, make_trainer)
