"""From a recipe's YAML and the user's `key=value` to one nested mapping, by Hydra, which is imported nowhere else."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from magpie_align.errors import ConfigError
from magpie_align.recipe.files import packaged, recipe_file, recipe_folders

Composed = tuple[Any, str]
"""The recipe as plain values, and as YAML."""


def composed(name: str, overrides: list[str]) -> Composed:
    """One recipe with these settings changed. Raises ConfigError where it cannot be composed."""
    import yaml
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    file = recipe_file(name)
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(config_dir=str(file.parent), version_base=None):
            return _told(compose(file.stem, overrides=hydra_overrides(overrides)))
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError(f"{file.name}: {' '.join(str(error).split())}") from None


def _told(config: Any) -> Composed:
    from omegaconf import OmegaConf

    return OmegaConf.to_container(config, resolve=True), OmegaConf.to_yaml(config)


def hydra_overrides(overrides: list[str]) -> list[str]:
    """The user's `key=value` as Hydra takes them, with `conf/` (a nearer one first) and the recipes on the search path.

    A plain key is sent as add-or-override, so that a misspelt one reaches our own check, which knows what it should have been.
    """
    groups = [folder for folder in dict.fromkeys((Path("conf").resolve(), packaged("conf"))) if folder.is_dir()]
    names = {f.name for folder in groups for f in folder.iterdir() if f.is_dir()}
    path = ",".join(f"file://{folder}" for folder in (*groups, *recipe_folders()))
    sent = [f"hydra.searchpath=[{path}]"]
    for text in overrides:
        key = text.partition("=")[0]
        plain = re.fullmatch(r"[\w.]+", key) and "=" in text and key.split("@")[0] not in names
        sent.append(f"++{text}" if plain and not key.startswith("hydra.") else text)
    return sent


def sweep_composed(name: str, overrides: list[str], run_one: Callable[[Any, str], None]) -> None:
    """Hydra's own `--multirun`: a run for each combination, with whatever sweeper or launcher plug-in the user chose."""
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import DictConfig, open_dict

    file = recipe_file(name)
    given = {text.partition("=")[0] for text in overrides}

    def task(config: DictConfig) -> None:
        """One combination; its report goes to a folder of its own, named by its settings, unless `output` is given."""
        settings = [text.lstrip("+") for text in HydraConfig.get().overrides.task]
        with open_dict(config):
            config.pop("hydra", None)
            if "output" not in given:
                config.output = str(Path(config.output) / re.sub(r"[^\w.,=-]+", "_", ",".join(settings)))
        run_one(*_told(config))

    folder = f"hydra.sweep.dir={Path('runs') / 'sweeps' / file.stem}"
    quiet = ["hydra/job_logging=disabled", "hydra/hydra_logging=disabled"]
    sys.argv = ["magpie_align", "--multirun", folder, *quiet, *hydra_overrides(overrides)]
    hydra.main(version_base=None, config_path=str(file.parent), config_name=file.stem)(task)()
