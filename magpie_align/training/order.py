"""The order of the data: the k-th step takes the same samples on any number of processes, in whatever micro batches.

An epoch's order is drawn from the seed and the epoch's number alone. It is cut into micro batches, which are dealt to the
processes in turn. Where an epoch does not divide, the last micro batches that a process still needs to keep in step with the
others are fillers: a sample that counts for nothing.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from magpie_align.errors import StageError

IGNORED = -100


@dataclass
class Order:
    """A batch sampler: the micro batches of one process, as lists of sample numbers."""

    count: int
    batch_size: int
    micro: int
    seed: int
    strategy: str = "random"
    lengths: list[int] | None = None
    world: int = 1
    rank: int = 0
    epoch: int = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    @property
    def real(self) -> int:
        """Micro batches of an epoch that hold samples, over all processes."""
        return math.ceil(self.count / self.micro)

    @property
    def ends_in_filler(self) -> bool:
        """Whether the last micro batch of this process is a filler."""
        return (len(self) - 1) * self.world + self.rank >= self.real

    def __len__(self) -> int:
        return math.ceil(self.real / self.world)

    def __iter__(self) -> Iterator[list[int]]:
        order = self.samples()
        for turn in range(len(self)):
            first = (turn * self.world + self.rank) * self.micro
            yield order[first : first + self.micro] or order[:1]

    def samples(self) -> list[int]:
        """The numbers of all samples in this epoch's order."""
        import numpy as np
        import torch
        from torch.utils.data import RandomSampler
        from transformers.trainer_pt_utils import LengthGroupedSampler

        drawn = np.random.SeedSequence([self.seed, self.epoch]).generate_state(1)[0]  # torch heeds 32 bits alone
        generator = torch.Generator().manual_seed(int(drawn))
        if self.strategy == "sequential":
            return list(range(self.count))
        if self.strategy == "group_by_length":
            return list(LengthGroupedSampler(self.batch_size, lengths=self.lengths, generator=generator))
        return list(RandomSampler(range(self.count), generator=generator))


def hold_order(trainer: Any) -> None:
    """Give a trainer this order in place of its own, which depends on the number of processes."""
    args = trainer.args
    if args.train_sampling_strategy not in ("random", "sequential", "group_by_length"):
        raise StageError(
            f"trl.train_sampling_strategy: '{args.train_sampling_strategy}' deals out samples by the number of processes, which "
            "would then decide the result; use random, sequential or group_by_length"
        )
    grouped = args.train_sampling_strategy == "group_by_length"
    trainer.order = Order(
        count=len(trainer.train_dataset),
        batch_size=args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size,
        micro=args.per_device_train_batch_size,
        seed=args.seed if args.data_seed is None else args.data_seed,
        strategy=args.train_sampling_strategy,
        lengths=sample_lengths(trainer.train_dataset) if grouped else None,
        world=args.world_size,
        rank=args.process_index,
    )
    trainer.get_train_dataloader = lambda: _loader(trainer)
    count = trainer._get_num_items_in_batch

    def counted(batches: list[dict[str, Any]], device: Any) -> Any:
        if batches and "labels" in batches[-1] and filled(trainer):
            batches[-1]["labels"].fill_(IGNORED)
        return count(batches, device)

    trainer._get_num_items_in_batch = counted
    _gather_unequal(trainer)


def filled(trainer: Any) -> bool:
    """Whether the micro batch that a trainer took last is a filler."""
    order: Order | None = getattr(trainer, "order", None)
    return order is not None and order.ends_in_filler and _ended(trainer)


def evaluating(trainer: Any) -> bool:
    """Whether held-out samples are being looked at, all of them as one step."""
    return bool(getattr(trainer, "evaluating", False))


def _ended(trainer: Any) -> bool:
    """Whether the last micro batch of an epoch, or of the held-out samples, has been taken."""
    return evaluating(trainer) or bool(trainer.accelerator.gradient_state.end_of_dataloader)


@contextmanager
def heard(trainer: Any, counts: bool) -> Iterator[None]:
    """While a micro batch is computed, whether what is gathered of it for TRL's figures counts."""
    trainer.unheard = not counts
    try:
        yield
    finally:
        trainer.unheard = False


def _gather_unequal(trainer: Any) -> None:
    """Let a trainer gather figures where processes have unequal numbers of samples, or none that count: in the last step of an
    epoch and in that of held-out samples. No sample comes twice, so what is gathered for figures is all of them.
    """
    import torch

    accelerator = trainer.accelerator
    gather = accelerator.gather

    def gathered(data: Any) -> Any:
        ending = evaluating(trainer) or (trainer.model.training and _ended(trainer))
        if not ending or not isinstance(data, torch.Tensor):
            return gather(data)
        rows = data if data.ndim else data[None]
        mine = 0 if getattr(trainer, "unheard", False) else len(rows)
        sizes = gather(torch.tensor([mine], device=data.device)).tolist()
        room = rows.new_zeros(max(sizes), *rows.shape[1:])
        room[:mine] = rows[:mine]
        parts = gather(room).split(max(sizes))
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    accelerator.gather, accelerator.gather_for_metrics = gathered, lambda data, *_, **__: gathered(data)


def _loader(trainer: Any) -> Any:
    """As transformers makes it, but for the batch sampler; this process's part is already cut out."""
    from accelerate.data_loader import prepare_data_loader
    from torch.utils.data import DataLoader

    args, accelerator = trainer.args, trainer.accelerator
    loader = DataLoader(
        trainer._remove_unused_columns(trainer.train_dataset, description="training"),
        batch_sampler=trainer.order,
        collate_fn=trainer.data_collator,
        num_workers=args.dataloader_num_workers,
        pin_memory=args.dataloader_pin_memory,
        persistent_workers=args.dataloader_persistent_workers,
        prefetch_factor=args.dataloader_prefetch_factor,
    )
    return prepare_data_loader(loader, accelerator.device, num_processes=1, process_index=0, put_on_device=True)


def sample_lengths(dataset: Any) -> list[int]:
    """The number of tokens of each sample; of a pair, of all its parts."""
    import pyarrow.compute as pc

    table = dataset.with_format("arrow")[:]
    columns = [name for name in table.column_names if name.endswith("_ids")]
    lengths = [pc.list_value_length(table[name]).to_numpy() for name in columns]
    return [int(n) for n in sum(lengths[1:], start=lengths[0])]
