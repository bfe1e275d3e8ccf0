"""The simulation of sharded synthesis: its books balance, it is the same for the same seed, and it agrees with arithmetic."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest

_FILE = Path(__file__).parents[1] / "benchmarks" / "scaling.py"
_SPEC = importlib.util.spec_from_file_location("scaling", _FILE)
assert _SPEC and _SPEC.loader
scaling = sys.modules["scaling"] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(scaling)

EVEN = scaling.Cluster(gpus=64, spread=1, rate=10.0, jitter=0.0, slow=0.0, failures=0.0)
ROUGH = replace(EVEN, jitter=0.1, slow=0.1, failures=scaling.FAILURES * 2000)


def test_without_trouble_it_takes_what_arithmetic_says() -> None:
    out = scaling.simulate(640_000, 64, EVEN)
    assert out.hours == pytest.approx((120 + 640_000 / 64 / 10) / 3600)
    assert out.idle == pytest.approx(0, abs=1e-9) and out.lost == out.down == out.failures == 0
    assert out.percent("useful") == pytest.approx(100 * 1000 / 1120)


def test_a_shard_costs_a_start_unless_engines_are_kept() -> None:
    four, kept = scaling.simulate(640_000, 256, EVEN), scaling.simulate(640_000, 256, replace(EVEN, keep=True))
    assert four.starting == pytest.approx(4 * 64 * 120 / 3600) and kept.starting == pytest.approx(64 * 120 / 3600)


@pytest.mark.parametrize(
    "cluster", [EVEN, ROUGH, replace(ROUGH, journals=False), replace(ROUGH, spread=4), replace(ROUGH, keep=True)]
)
def test_the_books_balance(cluster) -> None:  # type: ignore[no-untyped-def]
    """What the GPU-hours went to adds up to all of them, by definition of `idle`; so idle may not be what slow copies cannot explain."""
    out = scaling.simulate(2_000_000, 400, cluster)
    assert out.useful == pytest.approx(2_000_000 / cluster.rate * cluster.spread / 3600)
    assert min(out.starting, out.lost, out.down) >= 0
    assert -0.05 * out.useful < out.idle < cluster.gpus * out.hours


def test_the_same_seed_gives_the_same_run() -> None:
    assert scaling.simulate(2_000_000, 400, ROUGH, 7) == scaling.simulate(2_000_000, 400, ROUGH, 7)
    assert scaling.simulate(2_000_000, 400, ROUGH, 7) != scaling.simulate(2_000_000, 400, ROUGH, 8)


def test_a_failure_loses_what_was_in_flight_and_no_more() -> None:
    out = scaling.simulate(2_000_000, 400, ROUGH)
    assert out.failures > 0
    worst = scaling.BATCH / 2 / (0.5 * ROUGH.rate) / 3600  # a slow copy's half batch
    assert 0 < out.lost <= out.failures * ROUGH.per_node * worst
    by_chunks = scaling.simulate(2_000_000, 400, replace(ROUGH, journals=False))
    assert by_chunks.lost > out.lost


def test_stragglers_cost_less_with_more_shards() -> None:
    slow = replace(EVEN, slow=0.1, start=1.0)
    one, many = scaling.simulate(6_400_000, 64, slow), scaling.simulate(6_400_000, 3200, slow)
    assert one.percent("idle") > 25 > 10 > many.percent("idle")
