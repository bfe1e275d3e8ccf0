"""How many rows, of what mean length, go through a graph that has not run yet. What is done is counted, not guessed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from magpie_align.curation.conditions import All
from magpie_align.flow.graph import Node
from magpie_align.pricing.assume import Assume
from magpie_align.pricing.facts import lengths, passing, questions
from magpie_align.pricing.span import Span
from magpie_align.records import TRAININGS
from magpie_align.stages.instructions import Instructions
from magpie_align.stages.select import Select


@dataclass(frozen=True)
class Made:
    """What a stage makes: `base` rows of which those that pass all of `passed` are there; None where it cannot be known.

    `instruction` and `response` are mean tokens of a row; `model` wrote the instructions.
    """

    base: Span | None = None
    passed: All = ()
    share: Span = Span.of(1)
    instruction: float | None = None
    response: Span | None = None
    model: str | None = None

    @property
    def rows(self) -> Span | None:
        return self.base * self.share if self.base else None


def flow(nodes: list[Node], assume: Assume, counted: bool = True) -> dict[str, Made]:
    """Stage -> what it makes, for all stages of a graph in order; without `counted`, as if nothing were done yet."""
    made: dict[str, Made] = {}
    for node in nodes:
        rule = _RULES.get(node.kind, _same)
        out = rule(node, made, assume)
        made[node.name] = _counted(node, out) if counted and node.artifact.done else out
    return made


def _counted(node: Node, out: Made) -> Made:
    """Of a stage that is done: its manifest's figures in place of what would be expected."""
    summary: Mapping[str, Any] = node.artifact.manifest.get("summary", {})
    rows, tokens = summary.get("rows", summary.get("paired")), summary.get("tokens")
    if not isinstance(rows, int):
        return out
    mean = tokens / rows if tokens is not None and rows else None
    out = replace(out, base=Span.of(rows), share=Span.of(1), passed=())
    if mean is not None and node.kind == "instructions":
        return replace(out, instruction=mean)
    return replace(out, response=Span.of(mean)) if mean is not None and node.kind == "responses" else out


def _data(node: Node, made: Mapping[str, Made]) -> Made:
    return made.get(getattr(node.stage, "data", "") or "", Made())


def _same(node: Node, made: Mapping[str, Made], assume: Assume) -> Made:
    """A label of each row, or a kind that nothing is known of: as many rows as its data."""
    return _data(node, made)


def _drawn(node: Node, made: Mapping[str, Made], assume: Assume) -> Made:
    assert isinstance(node.stage, Instructions)
    rows = sum(cell.rows for cell in node.stage.grid)
    known = lengths(node.stage.model)
    asked = assume.tokens.get(node.name, known[0] if known else None)
    return Made(Span.of(rows), instruction=asked, model=node.stage.model)


def _answered(node: Node, made: Mapping[str, Made], assume: Assume) -> Made:
    data, samples = _data(node, made), getattr(node.stage, "samples", 1)
    known = lengths(getattr(node.stage, "model", ""))
    said = Span.of(assume.tokens[node.name]) if node.name in assume.tokens else known[1] if known else None
    return replace(data, base=data.base * float(samples) if data.base else None, response=said)


def _based(node: Node, made: Mapping[str, Made], assume: Assume) -> Made:
    """A base model's answers: no length of them is published."""
    said = assume.tokens.get(node.name)
    return replace(_data(node, made), response=Span.of(said) if said is not None else None)


def _turned(node: Node, made: Mapping[str, Made], assume: Assume) -> Made:
    """Later turns of about the length of the first."""
    data, turns = _data(node, made), getattr(node.stage, "turns", 2)
    asked = data.instruction * turns if data.instruction is not None else None
    return replace(data, instruction=asked, response=data.response * float(turns) if data.response else None)


def _selected(node: Node, made: Mapping[str, Made], assume: Assume) -> Made:
    """Rows before all selections times the share that passes everything asked so far; behind a limit, counted anew."""
    assert isinstance(node.stage, Select)
    data = _data(node, made)
    asked = tuple(expression.condition for expression in node.stage.predicates())
    passed = tuple(dict.fromkeys((*data.passed, *asked)))
    out = replace(data, passed=passed, share=passing(data.model, passed, assume.shares))
    rows, limit = out.rows, node.stage.limit
    if rows is None:
        return replace(out, base=Span(0, limit)) if limit else out
    return replace(out, base=rows.at_most(limit), passed=(), share=Span.of(1)) if limit else out


def _paired(node: Node, made: Mapping[str, Made], assume: Assume) -> Made:
    """At most a pair for each instruction that was answered several times."""
    data = _data(node, made)
    samples = next((getattr(n.stage, "samples", 1) for n in node.inputs.values() if n.kind == "responses"), 1)
    return replace(data, base=Span(0, data.base.high / samples)) if data.base else data


def _vectors(node: Node, made: Mapping[str, Made], assume: Assume) -> Made:
    return made.get(getattr(node.stage, "vectors", ""), Made())


def _fixed(node: Node, made: Mapping[str, Made], assume: Assume) -> Made:
    rows = getattr(node.stage, "rows", None)
    return Made(Span.of(rows) if rows else None)


def _questioned(node: Node, made: Mapping[str, Made], assume: Assume) -> Made:
    """Answers to a question set; how long they are nobody knows beforehand."""
    asked = questions(getattr(node.stage, "questions", None) or "")
    said = assume.tokens.get(node.name)
    rows = Span.of(asked).at_most(getattr(node.stage, "limit", None)) if asked else None
    return Made(rows, response=Span.of(said) if said is not None else None)


def _none(node: Node, made: Mapping[str, Made], assume: Assume) -> Made:
    return Made()


_Rule = Callable[[Node, Mapping[str, Made], Assume], Made]
_RULES: dict[str, _Rule] = {
    "instructions": _drawn,
    "responses": _answered,
    "base_responses": _based,
    "turns": _turned,
    "select": _selected,
    "pairs": _paired,
    "neighbours": _vectors,
    **dict.fromkeys(("outputs", "published_outputs"), _questioned),
    **dict.fromkeys(("mini_public", "mini_preferences"), _fixed),
    **dict.fromkeys(
        ("probe", "mix", "dataset", "report", "release", "model_release", "evaluate", "reward_model", *TRAININGS), _none
    ),
}
