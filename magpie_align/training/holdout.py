"""Samples kept from training: their loss on the way, and which model a training ends with.

The loss of the held-out samples is that of a training step whose batch they are: weighed by tokens or by pairs over all processes,
so that it depends neither on their number nor on the micro batch. With `keep: best` the model is saved whole whenever it is lower
than ever before, into `work/best-STEP`, which `work/best.json`, written last, names. So a training that is resumed knows it too,
and the checkpoints may come and go.
"""

import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

from magpie_align.training.distributed import is_first
from magpie_align.training.order import Order
from magpie_align.training.saving import save_model
from magpie_align.training.settings import TrainingSettings


class HeldOut:
    """Looks at a trainer's `eval_dataset`, if it has one, as often as asked, and saves the model that is to be kept."""

    def __init__(self, trainer: Any, tokenizer: Any, settings: TrainingSettings, work: Path) -> None:
        self._trainer, self._tokenizer, self._settings, self._work = trainer, tokenizer, settings, work
        self._latest: dict[str, Any] = {}
        file = work / "best.json"
        self._best: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        if trainer.eval_dataset is not None:
            trainer.evaluate = self._evaluate
            trainer.add_callback(self._callback())

    @property
    def measured(self) -> dict[str, Any]:
        """Step and figures of the model that is kept; empty without held-out samples."""
        return self._best if self._settings.keep == "best" else self._latest

    def figures(self) -> dict[str, Any]:
        """For the manifest."""
        if not self.measured:
            return {}
        found = {"samples": self._settings.holdout, "loss": self.measured["eval_loss"], "step": self.measured["step"]}
        return {"held out": found}

    def save(self, out: Path) -> None:
        """The model that is kept, with the series of the training."""
        if self._settings.keep == "last":
            save_model(self._trainer, self._tokenizer, out)
        elif is_first():
            shutil.copytree(self._folder(self._best), out, dirs_exist_ok=True)
        if is_first():
            self._trainer.series.save(out)
        self._trainer.accelerator.wait_for_everyone()

    def _callback(self) -> Any:
        from transformers import TrainerCallback

        times = self._settings.evaluations

        class When(TrainerCallback):  # type: ignore[misc]
            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                wanted = {math.ceil(state.max_steps * n / times) for n in range(1, times + 1)}
                control.should_evaluate = state.global_step in wanted

        return When()

    def _evaluate(self, *_: Any, **__: Any) -> dict[str, Any]:
        trainer = self._trainer
        found = evaluate(trainer)
        self._latest = {"step": trainer.state.global_step, **found}
        if self._settings.keep == "best" and found["eval_loss"] < self._best.get("eval_loss", math.inf):
            self._replace_best()
        trainer.control = trainer.callback_handler.on_evaluate(trainer.args, trainer.state, trainer.control, found)
        return found

    def _replace_best(self) -> None:
        before, self._best = self._best, self._latest
        folder = self._folder(self._best)
        if is_first():
            shutil.rmtree(folder, ignore_errors=True)
        self._trainer.accelerator.wait_for_everyone()
        save_model(self._trainer, self._tokenizer, folder)
        if is_first():
            scratch = self._work / "best.tmp"
            scratch.write_text(json.dumps(self._best))
            os.replace(scratch, self._work / "best.json")
            if before and before["step"] != self._best["step"]:
                shutil.rmtree(self._folder(before))

    def _folder(self, best: dict[str, Any]) -> Path:
        return self._work / f"best-{best['step']}"


def evaluate(trainer: Any) -> dict[str, float]:
    """`eval_loss` of the held-out samples, and what else TRL measures of them; logged as well."""
    import torch

    args, training_order, model = trainer.args, trainer.order, trainer.model_wrapped
    trainer.order = Order(
        count=len(trainer.eval_dataset), batch_size=len(trainer.eval_dataset), micro=args.per_device_eval_batch_size, seed=0,
        strategy="sequential", world=args.world_size, rank=args.process_index,
    )  # fmt: skip
    trainer.evaluating = True
    model.eval()
    try:
        rows = trainer._remove_unused_columns(trainer.eval_dataset, description="evaluation")
        batches = (trainer._prepare_inputs(trainer.data_collator([rows[n] for n in batch])) for batch in trainer.order)
        with torch.no_grad(), trainer.compute_loss_context_manager():
            taken, tokens = trainer.get_batch_samples(batches, len(trainer.order), args.device)
            losses = [trainer.compute_loss(model, batch, num_items_in_batch=tokens) for batch in taken]
        # A loss that is weighed by tokens is a part of the whole, as in a step of several micro batches; others are means.
        by_tokens = trainer.model_accepts_loss_kwargs and tokens is not None
        mine = torch.stack(losses).sum() / (1 if by_tokens else len(losses))
        _weigh_figures(trainer, trainer.order)
        found = {"eval_loss": trainer.accelerator.reduce(mine, "mean").item()}
        trainer.log(found)
        return {name: value for name, value in trainer.state.log_history[-1].items() if name.startswith("eval_")}
    finally:
        model.train()
        trainer.evaluating, trainer.order = False, training_order


def _weigh_figures(trainer: Any, order: Order) -> None:
    """Make TRL's figures the mean over samples where it takes that of micro batches, of which the last are smaller."""
    together = order.micro * order.world
    sizes = [min(together, order.count - turn * together) for turn in range(len(order))]
    kept = trainer._metrics if hasattr(trainer, "_metrics") else trainer._stored_metrics
    for values in kept["eval"].values():
        if len(values) == len(sizes):
            values[:] = [sum(value * size for value, size in zip(values, sizes, strict=True)) / order.count]
