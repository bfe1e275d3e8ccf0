"""Odds ratio preference optimisation with TRL (Hong et al. 2024): likelihood and preference in one, from a base model.

As in TRL and the authors' code, the likelihood is that of the prompt too; the odds are those of the answers.
"""

from functools import partial
from pathlib import Path
from typing import Any

from magpie_align.training import adapter, fit, preference
from magpie_align.training.preference import PairCollator, rendered, weigh_likelihood_by_tokens
from magpie_align.training.settings import ORPOSettings
from magpie_align.training.watch import weigh_by_samples


def make_trainer(
    network: Any, tokenizer: Any, samples: Any, settings: ORPOSettings, work: Path, seed: int, held: Any = None
) -> Any:
    """TRL's trainer on token ids. It renders what it is given when it is made, so it is given its data afterwards."""
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    given = {"beta": settings.beta, "remove_unused_columns": False}
    config = ORPOConfig(**given | fit.trl_arguments(settings, work, seed))
    trainer = rendered(ORPOTrainer)(
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


def _predicted(batch: dict[str, Any]) -> Any:
    return batch["chosen_attention_mask"][:, 1:].sum()


train = partial(preference.train, make_trainer)
