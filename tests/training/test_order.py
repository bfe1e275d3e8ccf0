"""The order of the data on any number of processes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from magpie_align.errors import StageError
from magpie_align.training.order import Order, hold_order


def steps(order: Any, world: int, micro: int, epoch: int) -> list[list[int]]:
    """The samples of each optimizer step over all processes, fillers left out."""
    accumulated = order["batch_size"] // (micro * world)
    found: list[list[int]] = []
    for rank in range(world):
        mine = Order(**order, micro=micro, world=world, rank=rank, epoch=epoch)
        batches = list(mine)
        assert len(batches) == len(mine)
        if mine.ends_in_filler:
            assert len(batches.pop()) == 1
        for number, batch in enumerate(batches):
            found += [[] for _ in range(number // accumulated + 1 - len(found))]
            found[number // accumulated] += batch
    return [sorted(step) for step in found]


@given(
    count=st.integers(1, 90),
    world=st.sampled_from([1, 2, 3, 4, 8]),
    micro=st.integers(1, 3),
    accumulated=st.integers(1, 3),
    strategy=st.sampled_from(["random", "sequential", "group_by_length"]),
    epoch=st.integers(0, 2),
)
def test_a_step_holds_the_same_samples_on_any_number_of_processes(
    count: int, world: int, micro: int, accumulated: int, strategy: str, epoch: int
) -> None:
    size = world * micro * accumulated
    order = {
        "count": count,
        "batch_size": size,
        "seed": 3,
        "strategy": strategy,
        "lengths": [n % 7 for n in range(count)],
    }
    alone, together = steps(order, 1, size, epoch), steps(order, world, micro, epoch)
    assert together == alone
    assert sorted(sum(alone, [])) == list(range(count))
    assert all(len(step) == size for step in alone[:-1])


def test_epochs_differ() -> None:
    order = Order(count=50, batch_size=10, micro=10, seed=0)
    first = order.samples()
    order.set_epoch(1)
    assert order.samples() != first and Order(count=50, batch_size=10, micro=10, seed=1).samples() != order.samples()


def test_a_strategy_that_depends_on_the_processes_is_refused() -> None:
    class Trainer:
        class args:
            train_sampling_strategy = "batch_rebalance"

    with pytest.raises(StageError, match="'batch_rebalance' deals out samples by the number of processes"):
        hold_order(Trainer)
