from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from magpie_align.flow.stage import Context, Product, RowsRef, Stage
from magpie_align.stages._published import Published

if TYPE_CHECKING:
    from magpie_align.report.lineage import Made


class Release(Stage, Published):
    """A data set fit to publish: Parquet and JSON lines, a dataset card, the recipe; the verb `push` sends it to the hub."""

    produces: ClassVar[Product] = "release"
    hub_kind: ClassVar[Literal["dataset", "model"]] = "dataset"

    data: RowsRef
    labels: list[RowsRef] = []
    """Rows that add their columns, such as `instructions` for how a question was drawn."""
    split: RowsRef | None = None
    """A stage `split`; all rows are `train` without."""
    forms: list[Literal["sharegpt", "messages"]] = Field(["sharegpt", "messages"], min_length=1)
    """For chats; preference pairs have one form."""
    files: list[Literal["parquet", "jsonl"]] = Field(["parquet", "jsonl"], min_length=1)
    extra: list[str] = []
    """Columns to publish beside the official ones."""

    def run(self, ctx: Context) -> None:
        from magpie_align.report import statistics
        from magpie_align.report.card import Card
        from magpie_align.report.licences import licence_for, origins
        from magpie_align.report.lineage import lineage
        from magpie_align.report.release import open_release, write_release

        named = [self.data, *self.labels, *([self.split] if self.split else [])]
        made = lineage({ref: ctx.path(ref).parent for ref in named})
        found = origins(made)
        split = ctx.path(self.split) if self.split else None
        with open_release([ctx.path(ref) for ref in (self.data, *self.labels)], split, self.extra, ctx.work) as release:
            forms: list[str] = [form for form in self.forms if form in release.forms] or list(release.forms)
            kinds = list(dict.fromkeys(self.files))
            configs = write_release(release, ctx.out, forms, kinds)
            card = Card(
                title=self.title,
                description=self.description,
                licence=licence_for(found, self.licence),
                splits=release.splits,
                configs=configs,
                beside=", ".join(kinds[1:]),
                columns=list(release.official(forms[0])),
                languages=statistics.languages(release),
                numbers=statistics.numbers(release),
                labels=statistics.labels(release),
                made=made,
                origins=found,
                name=self.push or "FOLDER_OR_HUB_ID",
            )
        (ctx.out / "README.md").write_text(card.render(), encoding="utf-8")
        (ctx.out / "recipe.yaml").write_text(recipe_yaml(made, self.title), encoding="utf-8")
        ctx.note(rows=sum(card.splits.values()), splits=dict(card.splits), licence=card.licence[0])


def recipe_yaml(made: "list[Made]", title: str) -> str:
    """The recipe that all these artifacts add up to, as YAML."""
    import re

    import yaml

    from magpie_align.report.lineage import recipe_of

    recipe = recipe_of(made, re.sub(r"\W+", "_", title).strip("_").lower(), _content)
    return str(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True))


def _content(kind: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a stage of this kind that decide what it makes."""
    module = import_module(f"{__package__}.{kind}")
    (cls,) = (
        c
        for c in vars(module).values()
        if isinstance(c, type) and issubclass(c, Stage) and c.__module__ == module.__name__
    )
    return cls.model_validate(settings).content()
