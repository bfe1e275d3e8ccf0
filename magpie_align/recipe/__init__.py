"""From a recipe's YAML to a typed graph.

A recipe is a YAML file in `recipes/` (the package's, or a `recipes/` folder where you are) composed from the groups in `conf/`.
Each entry of `stages:` says `use: KIND`, the name of a module in `magpie_align/stages/`, and that stage's settings; `seed`,
`engine` and `distributed` given at the top are inherited by every stage that has such a setting and does not give its own.

files      where recipes lie
compose    YAML and overrides to plain values; the only module that imports Hydra
typed      plain values to settings
plan       settings to a graph, checked as a whole
"""

from magpie_align.recipe.files import packaged, recipe_files
from magpie_align.recipe.plan import Plan, check, load, sweep, unnarrowed
from magpie_align.recipe.typed import Recipe, stage_class, stage_kinds

__all__ = [
    "Plan",
    "Recipe",
    "check",
    "load",
    "packaged",
    "recipe_files",
    "stage_class",
    "stage_kinds",
    "sweep",
    "unnarrowed",
]
