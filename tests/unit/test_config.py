import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from llara.config import (
    STAGES,
    AdaptConfig,
    FinetuneConfig,
    LoraConfig,
    MineConfig,
    ObjectiveConfig,
    apply_overrides,
    from_dict,
    list_recipes,
    load_recipe,
    recipe_text,
    to_dict,
)
from llara.errors import ConfigError


def read(tmp_path: Path, text: str) -> AdaptConfig:
    path = tmp_path / "recipe.toml"
    path.write_text(
        "[adapt]\n" + text.replace("\n[", "\n[adapt.").replace("[", "[adapt.", text[0] == "["), "utf-8"
    )
    return load_recipe(path, AdaptConfig)


def test_the_paper_recipe_holds_the_published_settings() -> None:
    config = load_recipe("llama2-7b-adapt", AdaptConfig)
    training = config.training
    assert config.base == "meta-llama/Llama-2-7b-hf"
    assert config.prompt.preset == "paper"
    assert (training.max_steps, training.learning_rate, config.corpus.segment_tokens) == (10_000, 1e-5, 1024)
    assert training.batch_size * training.gradient_accumulation_steps * 8 == 256  # on 8 devices
    assert config.lora.rank == 0
    assert (config.objective.task_weight, config.objective.lm_weight) == (1.0, 0.0)


def test_the_released_recipe_weighs_the_tasks_a_tenth_and_the_language_model_one() -> None:
    config = load_recipe("llama2-7b-adapt-eight-words", AdaptConfig)
    assert config.prompt.preset == "eight-words"
    assert (config.objective.task_weight, config.objective.lm_weight) == (0.1, 1.0)
    assert config.objective.stop_words == "english"
    assert config.training.padding_side == "left"


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for kind in STAGES.values() for name in list_recipes(kind)]
)
def test_a_shipped_recipe_survives_toml_and_tables(tmp_path: Path, name: str, kind: type) -> None:
    config = load_recipe(name, kind)
    path = tmp_path / "recipe.toml"
    path.write_text(recipe_text(config), encoding="utf-8")
    assert load_recipe(path, kind) == config
    assert from_dict(kind, to_dict(config)) == config


def test_toml_writing_escapes_what_a_path_may_hold() -> None:
    config = AdaptConfig(base='C:\\models\\a "b"\n# c\t\x7f')
    assert from_dict(AdaptConfig, tomllib.loads(recipe_text(config))["adapt"]) == config


def test_a_recipe_changes_only_what_it_names(tmp_path: Path) -> None:
    config = read(tmp_path, "[training]\nmax_steps = 7\n")
    assert config == replace(AdaptConfig(), training=replace(AdaptConfig().training, max_steps=7))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[training]\nlearning_rat = 1\n",
            r"unknown setting training.learning_rat; did you mean training.learning_rate\?",
        ),
        ("learning_rate = 1\n", r"unknown setting learning_rate; did you mean training.learning_rate\?"),
        ("[trainer]\nmax_steps = 1\n", r"unknown setting trainer"),
        ("training = 3\n", "training is a section"),
        ("[training.max_steps]\na = 1\n", "training.max_steps = {'a': 1}, expected a whole number"),
        ('[training]\nmax_steps = "10"\n', "training.max_steps = '10', expected a whole number"),
        ("[training]\nmax_steps = 1e4\n", "training.max_steps = 10000.0, expected a whole number"),
        ("[training]\nmax_steps = true\n", "training.max_steps = True, expected a whole number"),
        ("[training]\nmax_steps = 0\n", "training.max_steps = 0, expected at least 1"),
        ("[training]\nlearning_rate = nan\n", "learning_rate = nan, expected a finite number"),
        ("[training]\nwarmup_ratio = 1.5\n", "warmup_ratio = 1.5, expected at most 1"),
        ('[training]\nschedule = "cosin"\n', "schedule = 'cosin', expected one of cosine, linear, constant"),
        ('[training]\nreport_to = "wandb"\n', "report_to = 'wandb', expected a list"),
        ("[training]\npacking = 1\n", "packing = 1, expected true or false"),
        ("[corpus]\nsegment_tokens = 16\nmin_segment_tokens = 16\n", "leaves no room"),
        ("[training]\npacking = true\nrow_tokens = 256\n", "may not fit a packed row"),
        ("[objective]\nebae = false\nebar = false\n", "nothing to train on"),
        ("[lora]\nrank = 8\nprojections = []\n", "lora.projections is empty"),
        ("[training\n", "is not a TOML file"),
    ],
)
def test_a_wrong_recipe_says_what_is_wrong_and_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read(tmp_path, text)
    assert "recipe.toml" in str(caught.value)


def test_bytes_that_are_not_utf8_are_not_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(b"base = '\xff'")
    with pytest.raises(ConfigError, match="is not a TOML file"):
        load_recipe(path, AdaptConfig)


def test_an_unknown_recipe_names_the_nearest_and_all() -> None:
    with pytest.raises(ConfigError, match=r"did you mean mini-adapt\? There are .*llama2-7b-adapt, "):
        load_recipe("mini-adap", AdaptConfig)


def test_a_missing_recipe_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.toml does not exist"):
        load_recipe(tmp_path / "nothing.toml", AdaptConfig)


@pytest.mark.parametrize(
    ("assignment", "section", "name", "value"),
    [
        ("training.max_steps=12", "training", "max_steps", 12),
        ("training.max_steps = 1_200", "training", "max_steps", 1200),
        ("training.learning_rate=1", "training", "learning_rate", 1.0),
        ("training.learning_rate=3e-4", "training", "learning_rate", 3e-4),
        ("training.packing=true", "training", "packing", True),
        ("training.schedule=linear", "training", "schedule", "linear"),
        ('training.schedule="linear"', "training", "schedule", "linear"),
        ("training.max_seconds=90", "training", "max_seconds", 90.0),
        ("training.max_seconds=none", "training", "max_seconds", None),
        ("training.report_to=tensorboard,wandb", "training", "report_to", ("tensorboard", "wandb")),
        ('training.report_to=["wandb"]', "training", "report_to", ("wandb",)),
        ("training.report_to=", "training", "report_to", ()),
        ("corpus.language=none", "corpus", "language", None),
        ("corpus.language=zh", "corpus", "language", "zh"),
        ("corpus.text_field=a=b", "corpus", "text_field", "a=b"),
        ("objective.stop_words=my words.txt", "objective", "stop_words", "my words.txt"),
    ],
)
def test_an_override_sets_one_value(assignment: str, section: str, name: str, value: object) -> None:
    config = apply_overrides(AdaptConfig(), [assignment])
    assert getattr(getattr(config, section), name) == value
    assert type(getattr(getattr(config, section), name)) is type(value)
    assert apply_overrides(config, []) == config


def test_overrides_count_together_and_the_last_wins() -> None:
    # Alone, min_segment_tokens = 600 would be above the default segment_tokens.
    config = apply_overrides(
        AdaptConfig(),
        [
            "corpus.min_segment_tokens=600",
            "corpus.segment_tokens=900",
            "corpus.segment_tokens=1000",
            "base=here",
        ],
    )
    assert (config.corpus.min_segment_tokens, config.corpus.segment_tokens, config.base) == (
        600,
        1000,
        "here",
    )


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("training.max_steps", "is not an assignment"),
        ("training.max_steps=many", "training.max_steps = 'many', expected a whole number"),
        ("training.max_stpes=3", r"did you mean training.max_steps\?"),
        ("training=3", "training is a section"),
        ("training.packing=yes", "expected true or false"),
        ("training.learning_rate=-1", "expected at least 0"),
        ("=3", "unknown setting"),
    ],
)
def test_a_wrong_override_is_refused(assignment: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        apply_overrides(AdaptConfig(), [assignment])


def test_the_next_token_loss_alone_is_something_to_train_on() -> None:
    objective = ObjectiveConfig(ebae=False, ebar=False, lm_weight=1.0)
    assert AdaptConfig(objective=objective).objective.lm_weight == 1.0


def test_full_training_asks_for_no_projections() -> None:
    assert AdaptConfig(lora=LoraConfig(rank=0, projections=())).lora.rank == 0


def test_rounds_mine_as_the_recipe_does_unless_they_are_told_otherwise(tmp_path: Path) -> None:
    def mining(text: str) -> MineConfig:
        path = tmp_path / "recipe.toml"
        path.write_text(text, "utf-8")
        return load_recipe(path, FinetuneConfig).mining

    mine = "[mine]\nnegatives = 4\nlast_rank = 33\n"
    assert mining(mine + "[finetune]\nrounds = 1") == MineConfig(negatives=4, last_rank=33)
    own = "[finetune]\nrounds = 1\n[finetune.mining]\nnegatives = 5"
    assert mining(mine + own) == MineConfig(negatives=5)  # whole: nothing of [mine] is left
    assert mining("[finetune]\nrounds = 1") == MineConfig()
    with pytest.raises(ConfigError, match=r"mining\.negative"):
        mining("[mine]\nnegative = 4\n[finetune]\nrounds = 1")


@pytest.mark.parametrize(("kind", "least"), [(AdaptConfig, 40), (MineConfig, 10), (FinetuneConfig, 50)])
def test_every_setting_has_a_line_of_documentation(kind: type, least: int) -> None:
    lines = [line for line in recipe_text(kind()).splitlines() if " = " in line]
    assert len(lines) > least
    assert all(len(line.partition("  # ")[2]) > 10 for line in lines)
