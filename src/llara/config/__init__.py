"""Settings: one frozen dataclass per stage, recipes in TOML, and ``--set a.b=c``.

A recipe is a TOML file with a table for each stage that it speaks of, ``[adapt]``, ``[mine]`` or
``[finetune]``, which names only what differs from the defaults below. It is found by name (``mini-adapt``,
shipped in ``llara/recipes``) or by path. Every setting is checked for its name, type and range where it is
read, so a wrong one stops a run before the model is loaded.
"""

from llara.config.adaptation import (
    AdaptConfig,
    AdaptTrainingConfig,
    CorpusConfig,
    ObjectiveConfig,
    PromptConfig,
)
from llara.config.finetuning import (
    ContrastConfig,
    FinetuneConfig,
    FinetuneTrainingConfig,
    HeldOutConfig,
    MineConfig,
    PairsConfig,
)
from llara.config.recipes import STAGES, list_recipes, load_recipe, recipe_text
from llara.config.training import LoraConfig, TrainingConfig
from llara.settings import apply_overrides, from_dict, to_dict

__all__ = [
    "AdaptConfig",
    "AdaptTrainingConfig",
    "ContrastConfig",
    "CorpusConfig",
    "FinetuneConfig",
    "FinetuneTrainingConfig",
    "HeldOutConfig",
    "LoraConfig",
    "MineConfig",
    "ObjectiveConfig",
    "PairsConfig",
    "PromptConfig",
    "STAGES",
    "TrainingConfig",
    "apply_overrides",
    "from_dict",
    "list_recipes",
    "load_recipe",
    "recipe_text",
    "to_dict",
]
