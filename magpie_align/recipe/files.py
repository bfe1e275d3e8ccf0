"""Where recipes and the groups that they are composed from lie."""

from pathlib import Path

from magpie_align.errors import ConfigError, suggest

_PACKAGE = Path(__file__).resolve().parents[1]


def packaged(folder: str) -> Path:
    """`conf`, `recipes` or `slurm`: inside an installed package, beside it in a source tree."""
    inside = _PACKAGE / folder
    return inside if inside.is_dir() else _PACKAGE.parent / folder


def recipe_folders() -> list[Path]:
    """Where recipes are looked for, nearest first."""
    here = Path("recipes").resolve()
    return [f for f in dict.fromkeys((here, packaged("recipes"))) if f.is_dir()]


def recipe_files() -> dict[str, Path]:
    """Recipe name -> file. A recipe in the current folder hides a packaged one of the same name."""
    found: dict[str, Path] = {}
    for folder in recipe_folders():
        for file in sorted(folder.glob("*.yaml")):
            found.setdefault(file.stem, file)
    return found


def recipe_file(name: str) -> Path:
    """The file of a recipe given by name or by path. Raises ConfigError naming the nearest."""
    if name.endswith((".yaml", ".yml")):
        file = Path(name).resolve()
        if file.is_file():
            return file
        raise ConfigError(f"there is no recipe file {file}")
    known = recipe_files()
    if name not in known:
        raise ConfigError(f"there is no recipe '{name}'{suggest(name, known) or '; known are: ' + ', '.join(known)}")
    return known[name]
