"""Kahneman-Tversky optimisation with TRL (Ethayarajh et al. 2024): each answer of a pair alone, said to be good or bad.

The loss pulls against how far the model has moved from its reference, which is estimated on answers to other prompts. TRL takes
the neighbours of a micro batch for that; here it is the whole batch, so that neither devices nor micro batches decide the result.
"""

import os
from functools import partial
from pathlib import Path
from typing import Any

from magpie_align.training import adapter, fit, preference
from magpie_align.training.order import filled
from magpie_align.training.settings import KTOSettings
from magpie_align.training.watch import weigh_by_samples


def unpair(pairs: Any, batch_size: int, seed: int, file: Path) -> Any:
    """Samples of `prompt_ids`, `completion_ids`, `label`, `KL_completion_ids` and `row`, two of each pair, shuffled by `seed`.

    TRL takes KTO's data in order, where pairs one after another would be a block of good and a block of bad answers.
    `KL_completion_ids` is the answer of the next sample in the same batch. Kept in `file`, which a resumed run finds again.
    """
    import pyarrow as pa
    from datasets import Dataset

    if not file.exists():
        table = pairs.with_format("arrow")[:]
        count = len(table)
        order, other = _orders(2 * count, batch_size, seed)
        said = pa.chunked_array(table["chosen_ids"].chunks + table["rejected_ids"].chunks)
        whose = pa.array(order % count)
        columns = {
            "prompt_ids": table["prompt_ids"].take(whose),
            "completion_ids": said.take(pa.array(order)),
            "KL_completion_ids": said.take(pa.array(order[other])),
            "label": pa.array(order < count),
            "row": table["row"].take(whose),
        }
        scratch = file.with_suffix(f".{os.getpid()}.tmp")
        made = pa.table(columns)
        with pa.ipc.new_stream(str(scratch), made.schema) as writer:
            writer.write_table(made)
        os.replace(scratch, file)
    return Dataset.from_file(str(file))


def _orders(count: int, batch_size: int, seed: int) -> tuple[Any, Any]:
    """A shuffled order, and for each place in it the next place of its batch, the first for the last."""
    import numpy as np

    places = np.arange(count)
    first = places - places % batch_size
    length = np.minimum(first + batch_size, count) - first
    return np.random.default_rng(seed).permutation(count), first + (places - first + 1) % length


def make_trainer(
    network: Any, tokenizer: Any, samples: Any, settings: KTOSettings, work: Path, seed: int, held: Any = None
) -> Any:
    """TRL's trainer on the token ids of pairs, each of which makes two samples."""
    from trl import KTOConfig, KTOTrainer

    class Rendered(KTOTrainer):  # type: ignore[misc]
        """A KTOTrainer whose data is token ids already."""

        moved: Any = None

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

        def get_batch_samples(self, *args: Any) -> Any:
            """The micro batches of a step, and how far the model has moved from its reference on all of them."""
            import torch

            batches, count = super().get_batch_samples(*args)
            if batches and self.calculate_KL:
                far = [
                    super(Rendered, self)._compute_kl_logps(self.model_wrapped, b) - b["ref_KL_logps"] for b in batches
                ]
                if filled(self):
                    far[-1] = far[-1][:0]
                moved = torch.cat(far)
                whole = self.accelerator.reduce(torch.stack([moved.sum(), moved.new_tensor(len(moved))]), "sum")
                self.moved = whole[0] / whole[1]
            return batches, count

        def _compute_kl_logps(self, model: Any, batch: Any) -> Any:
            return batch["ref_KL_logps"] + self.moved if self.calculate_KL else None

    given = {
        "beta": settings.beta,
        "loss_type": settings.loss_type,
        "desirable_weight": settings.desirable_weight,
        "undesirable_weight": settings.undesirable_weight,
        "precompute_ref_log_probs": True,
        "train_sampling_strategy": "sequential",
    }
    config = KTOConfig(**given | fit.trl_arguments(settings, work, seed))
    trainer = Rendered(
        model=network,
        args=config,
        train_dataset=unpair(samples, settings.batch_size, seed, work / "data" / "unpaired.arrow"),
        eval_dataset=unpair(held, 2 * len(held), seed, work / "data" / "held.arrow") if held else None,
        processing_class=tokenizer,
        peft_config=adapter.peft_config(settings),
    )
    weigh_by_samples(trainer)
    return trainer


train = partial(preference.train, make_trainer)
