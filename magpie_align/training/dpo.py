"""Direct preference optimisation with TRL (paper, section 4 and table 9), with any of the losses that TRL has for it."""

from functools import partial
from pathlib import Path
from typing import Any

from magpie_align.training import adapter, fit, preference
from magpie_align.training.settings import DPOSettings
from magpie_align.training.watch import weigh_by_samples


def make_trainer(
    network: Any, tokenizer: Any, samples: Any, settings: DPOSettings, work: Path, seed: int, held: Any = None
) -> Any:
    """TRL's trainer on token ids. It has no setting to leave its own rendering out, so that step is taken from it."""
    from trl import DPOConfig, DPOTrainer

    class Rendered(DPOTrainer):  # type: ignore[misc]
        """A DPOTrainer whose data is token ids already."""

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

    given = {"beta": settings.beta, "loss_type": settings.losses, "precompute_ref_log_probs": True}
    config = DPOConfig(**given | fit.trl_arguments(settings, work, seed))
    trainer = Rendered(
        model=network,
        args=config,
        train_dataset=samples,
        eval_dataset=held,
        processing_class=tokenizer,
        peft_config=adapter.peft_config(settings),
    )
    weigh_by_samples(trainer)
    return trainer


train = partial(preference.train, make_trainer)
"""The model it starts from is itself the reference."""
