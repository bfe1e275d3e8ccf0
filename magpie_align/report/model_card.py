"""The model card of a trained model: what it was trained on and how, what it scored, on whose terms."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from magpie_align.records import TRAININGS, Score
from magpie_align.report.card import CITATION, table
from magpie_align.report.licences import UNKNOWN, Origin
from magpie_align.report.lineage import Made
from magpie_align.report.table import markdown

_SHOWN = ("learning_rate", "epochs", "batch_size", "max_length", "schedule", "warmup", "optimizer", "precision", "beta")


@dataclass(frozen=True)
class ModelCard:
    """All that the card tells. `made` is the lineage of the model, parents first; `scores` those of its evaluations."""

    title: str
    description: str
    licence: tuple[str, str]
    languages: list[str]
    made: list[Made]
    origins: list[Origin]
    scores: list[Score]
    name: str

    def render(self) -> str:
        """The whole README.md, its front matter as the hub reads it."""
        parts = [f"---\n{self._front().to_yaml()}\n---\n", f"# {self.title}\n"]
        parts += [f"{self.description}\n"] if self.description else []
        for heading, body in (
            ("Use", _USE.format(name=self.name)),
            ("Training", self._training()),
            ("Evaluation", self._evaluation()),
            ("Models, data and licences", self._licences()),
            ("How to make it again", _REPRODUCE),
            ("Citation", f"```bibtex\n{CITATION}\n```"),
        ):
            parts += [f"## {heading}\n", f"{body}\n"] if body else []
        return "\n".join(parts)

    def _front(self) -> Any:
        from huggingface_hub import EvalResult, ModelCardData

        results = [
            EvalResult(
                task_type="text-generation",
                dataset_type=score.task,
                dataset_name=score.task,
                metric_type=score.metric,
                metric_value=score.value,
            )
            for score in self.scores
        ]
        return ModelCardData(
            license=self.licence[0],
            base_model=self._base(),
            datasets=[entry.settings["source"] for entry in self.made if _on_hub(entry)] or None,
            language=self.languages or None,
            library_name="transformers",
            pipeline_tag="text-generation",
            tags=["magpie", "alignment", *dict.fromkeys(entry.kind for entry in self.made if entry.kind in TRAININGS)],
            model_name=self.title,
            eval_results=results or None,
        )

    def _base(self) -> str | None:
        """The model from outside that the first training began with; none where this recipe made it."""
        first = next((entry for entry in self.made if entry.kind in TRAININGS), None)
        named = first.settings.get("model") if first else None
        on_hub = isinstance(named, str) and "/" in named and not named.startswith((".", "/", "~"))
        return str(named).partition("@")[0] if on_hub else None

    def _training(self) -> str:
        trained = [entry for entry in self.made if entry.kind in TRAININGS]
        rows = [
            [
                entry.name,
                entry.kind,
                f"`{entry.settings.get('model')}`",
                f"`{entry.settings.get('data')}`",
                _rows(entry.summary),
            ]
            for entry in trained
        ]
        given = [
            [f"`{name}`", *(_said(entry.settings.get(name)) for entry in trained)]
            for name in _SHOWN
            if any(entry.settings.get(name) is not None for entry in trained)
        ]
        if not trained:
            return ""
        told = table(["stage", "method", "began with", "data", "rows"], rows)
        return f"{told}\n\n{table(['setting', *(entry.name for entry in trained)], given)}"

    def _evaluation(self) -> str:
        if not self.scores:
            return ""
        shown = markdown("", self.scores).partition("\n")[2].strip()
        return f"Percent, with 95% intervals.\n\n{shown}"

    def _licences(self) -> str:
        rows = [[f"`{o.name}`", o.use, o.licence or UNKNOWN] for o in self.origins]
        shown = table(["", "used by", "licence"], rows) if rows else ""
        return f"{self.licence[1]}\n\n{shown}".strip()


_USE = """\
```python
from transformers import pipeline

chat = pipeline("text-generation", "{name}")
print(chat([{{"role": "user", "content": "What is a magpie?"}}])[0]["generated_text"][-1]["content"])
```"""
_REPRODUCE = """\
`recipe.yaml` beside this card is the recipe, with every setting that decides the content:

```
python -m magpie_align recipe=./recipe.yaml
```"""


def _on_hub(entry: Made) -> bool:
    source = entry.settings.get("source")
    return entry.kind == "dataset" and isinstance(source, str) and not source.startswith((".", "/", "~"))


def _rows(summary: Mapping[str, Any]) -> Any:
    return summary.get("rows", summary.get("pairs", ""))


def _said(value: Any) -> str:
    return "" if value is None else str(value)
