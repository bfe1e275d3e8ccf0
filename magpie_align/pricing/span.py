"""A figure that is known to lie between two others."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """From `low` to `high`; the same where the figure is known."""

    low: float
    high: float

    @classmethod
    def of(cls, value: float) -> "Span":
        return cls(value, value)

    def __add__(self, other: "Span") -> "Span":
        return Span(self.low + other.low, self.high + other.high)

    def __mul__(self, other: "Span | float") -> "Span":
        by = other if isinstance(other, Span) else Span.of(other)
        return Span(self.low * by.low, self.high * by.high)

    def at_most(self, limit: float | None) -> "Span":
        return self if limit is None else Span(min(self.low, limit), min(self.high, limit))

    def text(self, digits: int = 3, letters: str = "KMBT") -> str:
        """`1.2M`, or `160-470M` where it is not known better."""
        low, high = brief(self.low, digits, letters), brief(self.high, digits, letters)
        if low == high or self.low == 0:
            return low if low == high else f"≤ {high}"
        return f"{low[:-1] if low[-1] == high[-1] and low[-1] in letters else low}-{high}"


def brief(value: float, digits: int = 3, letters: str = "KMBT") -> str:
    """A number in `digits` figures with a letter for each thousand: 1,278,000,000 is `1.28B`."""
    for power, letter in reversed(list(enumerate(letters, 1))):
        size = 1000.0**power
        if abs(value) >= size * (1 - 0.5 * 10**-digits):
            return f"{_plain(value / size, digits)}{letter}"
    return _plain(value, digits)


def _plain(value: float, digits: int) -> str:
    text = f"{value:.{digits}g}"
    return f"{float(text):,.0f}" if "e" in text or abs(value) >= 10 ** (digits - 1) else text


def added(spans: "list[Span]") -> Span:
    """The sum; 0 of none."""
    total = Span.of(0)
    for span in spans:
        total = total + span
    return total
