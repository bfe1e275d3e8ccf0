import os
import shutil
from pathlib import Path
from typing import ClassVar, Literal

from magpie_align.flow.stage import Context, ModelRef, Product, ScoresRef, Stage, is_external
from magpie_align.stages._published import Published


class ModelRelease(Stage, Published):
    """A trained model fit to publish: its files, a model card with its scores, the recipe; the verb `push` sends it to the hub."""

    produces: ClassVar[Product] = "release"
    hub_kind: ClassVar[Literal["dataset", "model"]] = "model"

    model: ModelRef
    scores: list[ScoresRef] = []
    """Evaluations of this model, for the card."""
    languages: list[str] = []
    """Codes of the languages it was trained on."""

    def problems(self) -> list[str]:
        if not is_external(self.model):
            return []
        return [
            f"model: '{self.model}' is not of this recipe, so nothing is known of how it was trained; name a training"
        ]

    def run(self, ctx: Context) -> None:
        from dataclasses import replace

        from magpie_align.errors import StageError
        from magpie_align.evaluation.scored import read_scored
        from magpie_align.records import TRAININGS
        from magpie_align.report.licences import licence_for, origins
        from magpie_align.report.lineage import lineage
        from magpie_align.report.model_card import ModelCard
        from magpie_align.stages.release import recipe_yaml

        source = ctx.path(self.model)
        made = lineage({self.model: source.parent})
        scores = []
        for ref in self.scores:
            told = lineage({ref: ctx.path(ref).parent})
            if source.parent not in {entry.folder for entry in told}:
                raise StageError(f"scores: '{ref}' is no evaluation of '{self.model}'; name one that is")
            shown = [one.score for one in read_scored(ctx.path(ref)) if one.part_of is None]
            scores += [replace(score, model=self.title) for score in shown]
        found = origins(made, TRAININGS)
        licence = licence_for(found, self.licence)
        name = self.push or "./data"
        card = ModelCard(self.title, self.description, licence, self.languages, made, found, scores, name)
        shutil.copytree(source, ctx.out, copy_function=_linked, dirs_exist_ok=True)
        for file, text in (("README.md", card.render()), ("recipe.yaml", recipe_yaml(made, self.title))):
            (ctx.out / file).unlink(missing_ok=True)  # a link to the model's own, which stays as it is
            (ctx.out / file).write_text(text, encoding="utf-8")
        ctx.note(licence=licence[0], scores=len(scores))


def _linked(source: str, target: str) -> None:
    """The same file under another name, or a copy where the disk cannot do that."""
    Path(target).unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
