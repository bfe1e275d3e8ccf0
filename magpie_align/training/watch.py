"""What is done to a trainer's losses: a step is the mean over its samples, and one that is no number names its rows."""

from collections.abc import Iterator
from typing import Any

from magpie_align.errors import StageError
from magpie_align.training.order import filled, heard


def weigh_by_samples(trainer: Any) -> None:
    """Make the loss of a step the mean over all its samples, for a trainer that takes the mean of its micro batches' means.

    The two differ where micro batches are unequal, as in the last step of an epoch; then the size of the micro batch, and the
    number of processes, would decide what is trained.
    """
    collect, compute = trainer.get_batch_samples, trainer.compute_loss
    weights: list[float] = []

    def collected(*args: Any) -> Any:
        batches, count = collect(*args)
        sizes = [len(batch["input_ids"]) for batch in batches]
        if sizes and filled(trainer):
            sizes[-1] = 0
        usual = _over_processes(trainer, sum(sizes)) / max(len(batches), 1)
        weights[:] = [size / usual for size in sizes]
        return batches, count

    def weighed(model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        weight = weights.pop(0)
        with heard(trainer, weight > 0):
            result = compute(model, inputs, *args, **kwargs)
        return (result[0] * weight, *result[1:]) if isinstance(result, tuple) else result * weight

    trainer.get_batch_samples, trainer.compute_loss = collected, weighed


def _over_processes(trainer: Any, number: float) -> float:
    """The mean of a number over all processes."""
    import torch

    accelerator = trainer.accelerator
    if accelerator.num_processes == 1:
        return number
    return float(accelerator.reduce(torch.tensor(float(number), device=accelerator.device), "mean"))


def watch_loss(trainer: Any, samples: Any) -> None:
    """Look at every loss that `trainer` computes. `samples` are those of `data.Prepared`, by which the rows are found.

    TRL waits for the device at every loss anyway, for its own figures, so this costs no time.
    """
    import torch

    compute = trainer.compute_loss

    def watched(model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        result = compute(model, inputs, *args, **kwargs)
        loss = result[0] if isinstance(result, tuple) else result
        if not torch.isfinite(loss):
            raise StageError(_sentence(trainer, model, loss.item(), inputs, samples))
        return result

    trainer.compute_loss = watched


def _sentence(trainer: Any, model: Any, loss: float, inputs: dict[str, Any], samples: Any) -> str:
    rows = ", ".join(map(str, find_rows(samples, list(sequences(inputs)))))
    where = (
        f"the loss is {loss} at step {trainer.state.global_step + 1}, on the rows {rows or '(not found)'} of its data"
    )
    if all(bool(p.isfinite().all()) for p in model.parameters()):
        return f"{where}; look at these rows, or lower the learning rate"
    return f"{where}; the weights were no longer finite before these rows, so lower the learning rate"


def sequences(inputs: dict[str, Any]) -> Iterator[list[int]]:
    """The ids of each sample of a batch: padded, or laid behind one another with positions that start anew."""
    ids = inputs["input_ids"]
    if "attention_mask" in inputs:
        yield from (row[mask.bool()].tolist() for row, mask in zip(ids, inputs["attention_mask"], strict=True))
        return
    starts = (inputs["position_ids"][0] == 0).nonzero().flatten().tolist()
    for first, end in zip(starts, [*starts[1:], ids.shape[1]], strict=True):
        yield ids[0, first:end].tolist()


def find_rows(samples: Any, wanted: list[list[int]]) -> list[int]:
    """The row numbers of the samples that were given as the `wanted` ids."""
    known = {tuple(ids) for ids in wanted}
    return sorted({sample["row"] for sample in samples if not known.isdisjoint(_given(sample))})


def _given(sample: dict[str, Any]) -> list[tuple[int, ...]]:
    """The ids that a sample gives the model: itself, or a prompt with each of two answers."""
    if "input_ids" in sample:
        return [tuple(sample["input_ids"])]
    prompt = sample.get("prompt_ids", [])
    return [tuple(prompt + sample["chosen_ids"]), tuple(prompt + sample["rejected_ids"])]
