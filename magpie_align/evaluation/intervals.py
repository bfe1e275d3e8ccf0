"""95% intervals. A share of right answers gets Wilson's; any other mean gets a normal one from its items."""

import math
from collections.abc import Sequence

Z95 = 1.959963984540054


def wilson(successes: float, n: int) -> tuple[float, float]:
    """Wilson's score interval for `successes` of `n` (Wilson 1927); (0, 1) when there is nothing to go by."""
    if n == 0:
        return 0.0, 1.0
    low, high = _wilson(successes / n, n)
    # At the ends the bound is exactly 0 or 1, and rounding must not put the share outside its own interval.
    return 0.0 if successes == 0 else low, 1.0 if successes == n else high


def _wilson(p: float, n: float) -> tuple[float, float]:
    z2 = Z95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return centre - half, centre + half


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """(mean, low, high) of per-item values: Wilson's where all are 0 or 1, else mean +- 1.96 standard errors."""
    n = len(values)
    mean = math.fsum(values) / n
    if all(v in (0, 1) for v in values):
        return mean, *wilson(math.fsum(values), n)
    if n < 2:
        return mean, -math.inf, math.inf
    error = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1) / n)
    return mean, mean - Z95 * error, mean + Z95 * error


def stratified(strata: Sequence[Sequence[float]]) -> tuple[float, float]:
    """The interval of the mean of all items, where each stratum (a subject of MMLU) has its fixed share of them.

    The standard error is lm-eval's for a group: from the pooled variance within strata. Where all values are 0 or 1 it sets the
    number of items that Wilson's interval takes (Korn and Graubard 1998, for a design effect below 1).
    """
    values = [value for stratum in strata for value in stratum]
    n, mean = len(values), math.fsum(values) / len(values)
    means = [math.fsum(stratum) / len(stratum) for stratum in strata]
    squares = math.fsum((v - m) ** 2 for stratum, m in zip(strata, means, strict=True) for v in stratum)
    if n == len(strata) or squares == 0:
        return interval(values)[1:]
    variance = squares / (n - len(strata)) / n
    if all(v in (0, 1) for v in values):
        effective = mean * (1 - mean) / variance
        return _wilson(mean, effective)
    half = Z95 * math.sqrt(variance)
    return mean - half, mean + half
