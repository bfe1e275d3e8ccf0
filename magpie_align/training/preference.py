"""What the trainings on preference pairs share: DPO and KTO, which have a reference model, ORPO and CPO, which have none.

Each has its trainer of TRL in a module of its own, made from token ids of ours; TRL's own rendering is left out.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from magpie_align.training import adapter, check, data, fit
from magpie_align.training.chat import Chat
from magpie_align.training.holdout import HeldOut
from magpie_align.training.order import filled
from magpie_align.training.settings import TrainingSettings

MakeTrainer = Callable[[Any, Any, Any, Any, Path, int, Any], Any]
"""(network, tokenizer, samples, settings, work, seed, held-out samples) -> a trainer of TRL."""


def train(
    make_trainer: MakeTrainer,
    model: Path,
    rows: Path,
    out: Path,
    work: Path,
    settings: TrainingSettings,
    *,
    template: Path | None = None,
    seed: int,
    progress: fit.Progress,
) -> dict[str, Any]:
    """Train `model` on the preference pairs in `rows`; saves into `out`, returns figures to note."""
    from transformers import AutoModelForCausalLM

    tokenizer = fit.load_tokenizer(template or model, settings.pad_token)
    check.gate(tokenizer, check.first_preferences(rows), settings, model)
    prepared = data.prepare_dpo(rows, Chat(tokenizer), settings.max_length, work / "data")
    network = AutoModelForCausalLM.from_pretrained(model, **fit.loading(settings, seed))
    adapter.check_targets(network, settings)
    samples, held = data.hold_out(prepared.dataset, settings.holdout)
    trainer = make_trainer(network, tokenizer, samples, settings, work, seed, held)
    held_out = HeldOut(trainer, tokenizer, settings, work)
    logged = fit.run_trainer(trainer, prepared.dataset, work, progress, settings.distributed)
    held_out.save(out)
    figures = {"pairs": prepared.counts["rows"], "steps": trainer.state.global_step, "loss": logged.get("loss")}
    figures |= {"margin": logged.get("rewards/margins"), **held_out.figures()}
    return {**figures, **prepared.figures(), "speed": logged["speed"]}


def rendered(trainer: Any) -> Any:
    """TRL's trainer of CPO or ORPO for data that is token ids already, which keeps the figures of held-out samples apart."""

    class Rendered(trainer):  # type: ignore[misc]
        def tokenize_row(self, feature: Any, model: Any = None) -> Any:
            return feature

        def _phase(self) -> str:
            return "train" if self.model.training else "eval"

        def get_batch_loss_metrics(self, model: Any, batch: Any, **_: Any) -> Any:
            return super().get_batch_loss_metrics(model, batch, train_eval=self._phase())

        def store_metrics(self, metrics: Any, **_: Any) -> None:
            super().store_metrics(metrics, train_eval=self._phase())

    return Rendered


class PairCollator:
    """Batches for ORPO and CPO: prompt and answer in one, padded at the end, the answer alone in the labels.

    `input_ids` and `attention_mask` hold all sequences of the batch, chosen ones first, for whoever counts tokens or samples.
    """

    def __init__(self, pad_token_id: int) -> None:
        self.pad_token_id = pad_token_id

    def __call__(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        import torch
        from trl.trainer.utils import pad

        ids = [[*s["prompt_ids"], *s[f"{name}_ids"]] for name in ("chosen", "rejected") for s in samples]
        labels = [
            [-100] * len(s["prompt_ids"]) + list(s[f"{name}_ids"]) for name in ("chosen", "rejected") for s in samples
        ]
        batch = {
            "input_ids": pad([torch.tensor(row) for row in ids], self.pad_token_id),
            "attention_mask": pad([torch.ones(len(row), dtype=torch.int64) for row in ids], 0),
            "labels": pad([torch.tensor(row) for row in labels], -100),
        }
        halves = {name: tensor.split(len(samples)) for name, tensor in batch.items()}
        chosen = {f"chosen_{name}": half[0] for name, half in halves.items()}
        rejected = {f"rejected_{name}": half[1] for name, half in halves.items()}
        return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], **chosen, **rejected}


def weigh_likelihood_by_tokens(trainer: Any, tokens: Callable[[dict[str, Any]], Any]) -> None:
    """Make the likelihood in the loss of ORPO and CPO the mean over all tokens of a step; `tokens` counts those of a batch.

    TRL takes the mean of each micro batch. A filler of `order` counts for nothing. To be put behind `watch.weigh_by_samples`,
    which weighs whole micro batches.
    """
    import torch

    collect, forward = trainer.get_batch_samples, trainer.concatenated_forward
    usual = 1.0

    def collected(*args: Any) -> Any:
        nonlocal usual
        batches, count = collect(*args)
        real = batches[:-1] if filled(trainer) else batches
        both = [sum(tokens(batch) for batch in real), sum(len(batch["chosen_labels"]) for batch in real)]
        whole = trainer.accelerator.reduce(torch.tensor(both, device=trainer.accelerator.device).double(), "sum")
        usual = float(whole[0] / whole[1])
        return batches, count

    def weighed(model: Any, batch: dict[str, Any]) -> Any:
        found = list(forward(model, batch))
        found[4] = found[4] * (tokens(batch) / len(batch["chosen_labels"]) / usual)
        return tuple(found)

    trainer.get_batch_samples, trainer.concatenated_forward = collected, weighed
