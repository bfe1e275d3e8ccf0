"""95% intervals. A share of right answers gets Wilson's; any other mean gets a normal one from its items."""

import math
from collections.abc import Sequence

Z95 = 1.959963984540054


def wilson(successes: float, n: int) -> tuple[float, float]:
    """Wilson's score interval for `successes` of `n` (Wilson 1927); (0, 1) when there is nothing to go by."""
    if n == 0:
        return 0.0, 1.0
    p, z2 = successes / n, Z95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # At the ends the bound is exactly 0 or 1, and rounding must not put the share outside its own interval.
    return 0.0 if successes == 0 else centre - half, 1.0 if successes == n else centre + half


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
