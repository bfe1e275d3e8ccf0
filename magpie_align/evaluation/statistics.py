"""Two runs on the same items: how far apart, with what interval and p value, and said in clear words.

Right-or-wrong items are compared by the exact McNemar test (McNemar 1947), other values by the paired bootstrap (Efron and
Tibshirani 1993, chapter 16). Where several runs are compared, p values are corrected by Holm (1979), which bounds the chance
of any false claim, or by Benjamini and Hochberg (1995), which bounds the share of false ones.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from magpie_align.errors import StageError

Array = np.ndarray[Any, np.dtype[Any]]
Correction = Literal["holm", "benjamini-hochberg"]

ALPHA = 0.05
CELLS = 1_000_000  # items drawn at once: some 30 MB


@dataclass(frozen=True, slots=True)
class Comparison:
    """One run against another. `difference` is the mean of run - other over `n` items, with its 95% bootstrap interval.

    `p` is two-sided; `comparisons` says for how many it is corrected (1: not).
    """

    run: str
    other: str
    n: int
    difference: float
    low: float
    high: float
    p: float
    method: Literal["exact McNemar", "paired bootstrap"]
    comparisons: int = 1

    @property
    def claim(self) -> str:
        """`better, p = 0.003`, `worse, p < 0.001` or `no difference shown`."""
        if self.p >= ALPHA or self.difference == 0:
            return "no difference shown"
        size = "p < 0.001" if self.p < 0.001 else f"p = {self.p:.3f}"
        return f"{'better' if self.difference > 0 else 'worse'}, {size}"

    @property
    def words(self) -> str:
        """The claim, with what it is corrected for: `better, p = 0.003, corrected for 5 comparisons`."""
        shown = self.claim != "no difference shown"
        corrected = f", corrected for {self.comparisons} comparisons" if shown and self.comparisons > 1 else ""
        return self.claim + corrected


def bootstrap(
    values: Sequence[float] | Array,
    weights: Sequence[float] | Array | None = None,
    *,
    draws: int = 10_000,
    seed: int = 0,
) -> Array:
    """`draws` resampled weighted means, sum(values) / sum(weights), of items drawn with replacement; shape (draws,).

    A value is the item's whole contribution, so for weighted items it is weight times value. The answer does not depend on
    the order of the items.
    """
    weights = np.ones(len(values)) if weights is None else weights
    items = np.column_stack([values, weights])
    items = items[np.lexsort(items.T)]
    n, random = len(items), np.random.default_rng(seed)
    block = max(1, CELLS // n)
    out = []
    for start in range(0, draws, block):
        drawn = random.integers(n, size=(min(block, draws - start), n), dtype=np.int32)
        out.append(items[drawn, 0].sum(axis=1) / items[drawn, 1].sum(axis=1))
    return np.concatenate(out)


def percentiles(means: Array, level: float = 0.95) -> tuple[float, float]:
    """The middle `level` of resampled means."""
    low, high = np.percentile(means, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p of the McNemar test: items that only the one and only the other run has right are a fair coin's."""
    n, few = only_first + only_second, min(only_first, only_second)
    ways = tail = 1  # of 0 of n
    for k in range(few):
        ways = ways * (n - k) // (k + 1)
        tail += ways
    return min(1.0, float(2 * tail / 2**n))


def compare(
    run: str, values: Mapping[str, float], other: str, others: Mapping[str, float], *, draws: int = 10_000
) -> Comparison:
    """Compare per-item values of two runs, keyed by item. Raises StageError where the items are not the same."""
    strays = sorted(values.keys() ^ others.keys())
    if strays or not values:
        raise StageError(
            f"{run} and {other} were not scored on the same items: {len(strays)} are in one only"
            f"{' (' + ', '.join(strays[:3]) + ')' if strays else ''}; score both on the same question set"
        )
    pairs = np.array([(values[item], others[item]) for item in values], dtype=float)
    gaps = pairs[:, 0] - pairs[:, 1]
    means = bootstrap(gaps, draws=draws)
    low, high = percentiles(means)
    if np.isin(pairs, (0, 1)).all():
        p, method = mcnemar(int((gaps > 0).sum()), int((gaps < 0).sum())), "exact McNemar"
    else:
        # One more on each side: no p value is exactly 0 from a finite number of draws.
        beyond = 1 + min((means <= 0).sum(), (means >= 0).sum())
        p, method = min(1.0, 2 * float(beyond) / (1 + len(means))), "paired bootstrap"
    return Comparison(run, other, len(gaps), math.fsum(gaps) / len(gaps), low, high, p, method)  # type: ignore[arg-type]


def compare_all(
    runs: Mapping[str, Mapping[str, float]], other: str, correction: Correction = "holm"
) -> list[Comparison]:
    """Every run against the run named `other`, p values corrected for their number. Raises StageError for an unknown name."""
    if other not in runs:
        raise StageError(f"there is no run '{other}' to compare with; there are: {', '.join(runs)}")
    found = [compare(name, values, other, runs[other]) for name, values in runs.items() if name != other]
    adjusted = adjust([c.p for c in found], correction)
    return [replace(c, p=p, comparisons=len(found)) for c, p in zip(found, adjusted, strict=True)]


def adjust(p_values: Sequence[float], correction: Correction = "holm") -> list[float]:
    """Corrected p values, in the order given: each is to be held against the same 0.05 as before."""
    m, order = len(p_values), np.argsort(p_values, kind="stable")
    p, rank = np.asarray(p_values, dtype=float)[order], np.arange(1, m + 1)
    if correction == "holm":
        steps = np.maximum.accumulate(p * (m - rank + 1))
    else:
        steps = np.minimum.accumulate((p * m / rank)[::-1])[::-1]
    out = np.empty(m)
    out[order] = np.minimum(steps, 1)
    return [float(value) for value in out]
