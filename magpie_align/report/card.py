"""The dataset card of a release: what it is, what made it, how many rows each step kept, what is in it, on whose terms."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from magpie_align.report.front import front_matter
from magpie_align.report.funnel import HEAD, funnel_rows
from magpie_align.report.licences import UNKNOWN, Origin
from magpie_align.report.lineage import Made

CITATION = """\
@inproceedings{xu2025magpie,
  title     = {Magpie: Alignment Data Synthesis from Scratch by Prompting Aligned {LLM}s with Nothing},
  author    = {Zhangchen Xu and Fengqing Jiang and Luyao Niu and Yuntian Deng and Radha Poovendran and Yejin Choi and Bill Yuchen Lin},
  booktitle = {International Conference on Learning Representations},
  year      = {2025},
  note      = {arXiv:2406.08464},
}"""


@dataclass(frozen=True)
class Card:
    """All that a card tells. `numbers` and `labels` are those of `statistics`, `columns` those of the first configuration; `beside`
    is another kind of file that the rows are in; `name` is what to load it by.
    """

    title: str
    description: str
    licence: tuple[str, str]
    splits: Mapping[str, int]
    configs: Mapping[str, Mapping[str, str]]
    beside: str
    columns: list[str]
    languages: list[str]
    numbers: list[list[Any]]
    labels: Mapping[str, list[tuple[str, int]]]
    made: list[Made]
    origins: list[Origin]
    name: str

    def render(self) -> str:
        """The whole README.md."""
        rows = sum(self.splits.values())
        parts = [front_matter(self.title, self.licence[0], rows, self.languages, self.configs)]
        parts += [f"# {self.title}\n", *([f"{self.description}\n"] if self.description else []), self._contents()]
        for heading, body in (
            ("How it was made", self._making()),
            ("What each step kept", self._funnel()),
            ("Questions of benchmarks in it", self._contamination()),
            ("Statistics", self._statistics()),
            ("Models, data and licences", self._licences()),
            ("How to make it again", _REPRODUCE),
            ("Citation", f"```bibtex\n{CITATION}\n```"),
        ):
            parts += [f"## {heading}\n", f"{body}\n"] if body else []
        return "\n".join(parts)

    def _contents(self) -> str:
        sizes = table(["split", "rows"], [[name, count] for name, count in self.splits.items()])
        first = next(iter(self.configs))
        said = [f'`load_dataset("{self.name}", "{name}")` for the form `{name}`' for name in self.configs]
        if self.beside:
            said.append(
                f"or take the same rows as {self.beside} from `{'`, `'.join(f'{name}/' for name in self.configs)}`"
            )
        columns = ", ".join(f"`{column}`" for column in self.columns)
        return f"{sizes}\n\n{', '.join(said)}. Columns of `{first}`: {columns}.\n"

    def _making(self) -> str:
        rows = [
            [m.name, m.kind, _outside(m), m.summary.get("rows", ""), _seconds(m.manifest.get("seconds"))]
            for m in self.made
        ]
        gone = [f"`{m.name}` ({m.kind})" for m in self.made if m.gone]
        note = (
            f"\n\nThe store no longer holds {', '.join(gone)} and what came before: of that nothing is told here."
            if gone
            else ""
        )
        return table(["stage", "kind", "model or data", "rows", "time"], rows) + note if rows else ""

    def _funnel(self) -> str:
        rows = funnel_rows(self.made)
        return table(HEAD, rows) if rows else ""

    def _contamination(self) -> str:
        told = [m for m in self.made if m.kind == "contamination" and not m.gone]
        rows = [
            [m.name, task, n, m.summary["touched"].get(task, 0)] for m in told for task, n in m.summary["items"].items()
        ]
        marked = ", ".join(f"{m.summary['contaminated']:,} of {m.summary['rows']:,} rows" for m in told)
        shown = table(["stage", "benchmark", "questions", "touched"], rows)
        return (
            f"{shown}\n\nMarked as holding one: {marked}; what each step kept says whether they were dropped."
            if told
            else ""
        )

    def _statistics(self) -> str:
        parts = []
        if self.numbers:
            rows = [[words, *(f"{value:.4g}" for value in values)] for words, *values in self.numbers]
            parts.append(table(["", "mean", "5%", "median", "95%"], rows))
        total = sum(self.splits.values())
        for name, values in self.labels.items():
            rows = [[value, count, f"{100 * count / total:.1f}%"] for value, count in values]
            parts.append(table([name, "rows", "share"], rows))
        return "\n\n".join(parts)

    def _licences(self) -> str:
        rows = [[f"`{o.name}`", o.use, o.licence or UNKNOWN] for o in self.origins]
        shown = table(["", "used by", "licence"], rows) if rows else ""
        return f"{self.licence[1]}\n\n{shown}".strip()


_REPRODUCE = """\
`recipe.yaml` beside this card is the recipe, with every setting that decides the content:

```
python -m magpie_align recipe=./recipe.yaml
```"""


def table(head: list[str], rows: list[list[Any]]) -> str:
    """A Markdown table; whole numbers with thousands separators, bars in cells escaped."""

    def line(cells: list[Any]) -> str:
        shown = (f"{c:,}" if isinstance(c, int) else " ".join(str(c).split()).replace("|", "\\|") for c in cells)
        return "| " + " | ".join(shown) + " |"

    return "\n".join([line(head), "|" + " --- |" * len(head), *map(line, rows)])


def _outside(made: Made) -> str:
    return ", ".join(f"`{name}`" for name in made.externals)


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:,.0f} s"
