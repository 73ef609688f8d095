"""Recipes: settings in TOML, by name or path."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeVar

from llara.config.adaptation import AdaptConfig
from llara.config.finetuning import FinetuneConfig, MineConfig
from llara.errors import ConfigError
from llara.settings import from_dict, listed, nearest, to_toml

__all__ = ["STAGES", "list_recipes", "load_recipe", "recipe_text"]

RECIPES = Path(__file__).parents[1] / "recipes"
STAGES: dict[str, type] = {"adapt": AdaptConfig, "mine": MineConfig, "finetune": FinetuneConfig}
C = TypeVar("C", AdaptConfig, MineConfig, FinetuneConfig)


def list_recipes(kind: type | None = None) -> list[str]:
    """Names of the recipes that ship with the package, sorted; of one stage if its config class is given."""
    names = sorted(path.stem for path in RECIPES.glob("*.toml"))
    return [
        name for name in names if kind is None or _stage_of(kind) in _read_recipe(RECIPES / f"{name}.toml")
    ]


def load_recipe(name_or_path: str | Path, kind: type[C]) -> C:
    """Read a stage's settings from a recipe, by its name or from a TOML file.

    >>> load_recipe("mini-adapt", AdaptConfig).base
    'llara-mini-base'

    Raises:
        ConfigError: no such recipe, not TOML, an unknown setting, a wrong type or range, or a recipe that
            says nothing of this stage.
    """
    path, stage = _find_recipe(name_or_path), _stage_of(kind)
    data = _read_recipe(path)
    if stage not in data:
        raise ConfigError(
            f"{path} says nothing of {stage}; it has {listed([f'[{name}]' for name in data]) or 'no table'}. "
            f"Recipes that do: {listed(list_recipes(kind))}"
        )
    table = data[stage]
    if kind is FinetuneConfig and "mine" in data:  # rounds mine as the recipe does
        table = {"mining": data["mine"], **table}
    return from_dict(kind, table, source=f"{path} [{stage}]")


def recipe_text(config: AdaptConfig | MineConfig | FinetuneConfig) -> str:
    """A complete recipe for one stage: every setting with its value and its line of documentation."""
    return to_toml(config, table=_stage_of(type(config)))


def _stage_of(kind: type) -> str:
    return next(stage for stage, config in STAGES.items() if config is kind)


def _read_recipe(path: Path) -> dict[str, dict[str, object]]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the recipe {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not a TOML file: {error}") from error
    for name, table in data.items():
        if name not in STAGES or not isinstance(table, dict):
            raise ConfigError(
                f"{path}: {name} stands at the top level, where only the tables"
                f" {listed([f'[{stage}]' for stage in STAGES])} may{nearest(name, list(STAGES))}"
            )
    return data


def _find_recipe(name_or_path: str | Path) -> Path:
    path, name = Path(name_or_path), str(name_or_path)
    if path.suffix == ".toml" or path.name != name or isinstance(name_or_path, Path):
        if not path.is_file():
            raise ConfigError(
                f"the recipe {path} does not exist; give a TOML file or one of {listed(list_recipes())}"
            )
        return path
    shipped = RECIPES / f"{name}.toml"
    if not shipped.is_file():
        raise ConfigError(
            f"no recipe is called {name!r}{nearest(name, list_recipes()) or '.'}"
            f" There are {listed(list_recipes())}; or give the path of a .toml file"
        )
    return shipped
