"""The tables of the verb `plan`: what each stage costs, what push-down saves, and what was predicted beside what it took."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from magpie_align.pricing.estimate import Estimate
from magpie_align.pricing.price import Comparison
from magpie_align.pricing.resources import Resources
from magpie_align.pricing.span import Span, added, brief
from magpie_align.pricing.speed import Basis

if TYPE_CHECKING:
    from rich.table import Table

UNKNOWN = "unknown"
COMPARED = ("stage", "rows predicted", "rows", "seconds predicted", "seconds")


@dataclass(frozen=True)
class Total:
    """Over the stages that are not done. `unknown` names those whose hours are in no figure here."""

    gpu_hours: Span
    hours: Span
    disk: Span
    money: Span
    unknown: tuple[str, ...]

    def cost(self, resources: Resources) -> Span | None:
        """Of the GPU-hours at their price, and of APIs."""
        return None if resources.price is None else self.gpu_hours * resources.price + self.money


def total(told: Iterable[Estimate]) -> Total:
    todo = [one for one in told if not one.done]

    def over(get: Callable[[Estimate], Span | None]) -> Span:
        return added([value for one in todo if (value := get(one)) is not None])

    unknown = tuple(one.node.name for one in todo if one.gpu_hours is None or one.money is None)
    return Total(
        over(lambda one: one.gpu_hours),
        over(lambda one: one.hours),
        over(lambda one: one.disk),
        over(lambda one: one.money),
        unknown,
    )


def cost_table(told: list[Estimate], resources: Resources) -> "Table":
    """A line a stage; a done one is not counted."""
    headings = ["rows", "tokens in", "tokens out", "GPU-hours", "hours", "disk", "GiB a GPU"]
    priced = any(one.money is None or one.money.high for one in told)
    title = f"Cost on {resources.title} (GiB a GPU: weights + KV cache x GPUs that share them)"
    table = _table(title, headings + ["API"] * priced)
    for one in told:
        if one.done:
            table.add_row(one.node.name, _rows(one), "", "", "done")
            continue
        sizes = [_rows(one), _tokens(one.tokens_in), _tokens(one.tokens_out)]
        hours = [_figure(one.gpu_hours, hours_text), _figure(one.hours, hours_text)]
        api = [_figure(one.money, lambda money: money_text(money, resources.currency))] * priced
        table.add_row(one.node.name, *sizes, *hours, _figure(one.disk, size_text), one.memory, *api)
    return table


def _table(title: str, headings: Iterable[str]) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(
        title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False
    )
    table.add_column("stage", overflow="fold")
    for heading in headings:
        table.add_column(heading, justify="right")
    return table


def comparison_table(compared: list[Comparison], resources: Resources) -> "Table":
    """What is done: predicted beside measured."""
    table = _table(f"Done: predicted on {resources.title}, and measured", COMPARED[1:])
    for one in compared:
        table.add_row(*compared_cells(one))
    return table


def comparison_section(compared: list[Comparison], resources: Resources) -> str:
    """The same as Markdown, for the report of a run."""
    lines = [
        "## Cost",
        "",
        f"Predicted on {resources.title} before the run, without starting processes and loading models, and measured.",
        "",
        f"| {' | '.join(COMPARED)} |",
        "|---|---:|---:|---:|---:|",
    ]
    lines += [f"| {' | '.join(compared_cells(one))} |" for one in compared]
    return "\n".join(lines) + "\n"


def compared_cells(one: Comparison) -> tuple[str, ...]:
    """As `COMPARED` names them."""
    rows = Span(*one.predicted_rows).text() if one.predicted_rows else ""
    seconds = Span(*one.predicted_seconds).text(2) if one.predicted_seconds else ""
    return one.name, rows, "" if one.rows is None else brief(one.rows), seconds, brief(one.seconds)


def summary(told: list[Estimate], basis: Basis, chosen: str, whole: list[Estimate]) -> list[str]:
    """Plain lines under the table; `whole` is the same recipe in the paper's order, where push-down narrows something."""
    resources, sums = basis.resources, total(told)
    said = "total" if not sums.unknown else "without what is not known"
    lines = [f"priced on {resources.title}: {chosen}"] if chosen else []
    lines += [f"measured here: {model} at {share:.2f} of the roofline" for model, share in basis.measured.items()]
    lines.append(
        f"{said}: {hours_text(sums.gpu_hours)} GPU-hours, {hours_text(sums.hours)} hours one stage after another, "
        f"{size_text(sums.disk)} of disk{_cost(sums, resources)}{_rate(sums, resources)}"
    )
    if sums.money.high:
        lines.append(f"of that, APIs: {money_text(sums.money, resources.currency)}")
    if whole:
        plain = total(whole)
        hours = hours_text(plain.gpu_hours)
        lines.append(f"in the paper's order (pushdown=false): {hours} GPU-hours{_cost(plain, resources)}")
    if sums.unknown:
        given = "(mean lengths can be given as assume.tokens.STAGE=NUMBER)"
        lines.append(f"not known beforehand: {', '.join(sums.unknown)} {given}")
    return lines


def _rate(sums: Total, resources: Resources) -> str:
    """The price, and what it comes to where the whole machine is held while some stages use a part of it."""
    if not resources.price or not sums.gpu_hours.high:
        return ""
    held = sums.hours * (resources.count * resources.price) + sums.money
    return (
        f" at {resources.currency}{resources.price:g} a GPU-hour, {money_text(held, resources.currency)} with all "
        f"{resources.count} held throughout"
    )


def _cost(sums: Total, resources: Resources) -> str:
    cost = sums.cost(resources)
    return f", {money_text(cost, resources.currency)}" if cost is not None and cost.high else ""


def hours_text(hours: Span) -> str:
    """Two figures: what is predicted to a factor is not worth more."""
    return hours.text(2) if hours.high >= 0.01 else "0" if hours.high == 0 else "< 0.01"


def size_text(size: Span) -> str:
    return f"{size.text(2, 'kMGT')}B" if size.high >= 1e3 else "0"


def money_text(money: Span, currency: str) -> str:
    if money.low == 0 < money.high:
        return f"≤ {currency}{brief(money.high, 2)}"
    return f"{currency}{money.text(2)}"


def _figure(value: Span | None, text: Callable[[Span], str]) -> str:
    return UNKNOWN if value is None else text(value) if value.high else ""


def _tokens(value: Span | None) -> str:
    return "" if value is None else value.text(2)


def _rows(one: Estimate) -> str:
    rows_made = one.node.stage.produces in ("rows", "vectors") or one.tokens_in is not None
    return one.rows.text() if one.rows else (UNKNOWN if rows_made else "")
