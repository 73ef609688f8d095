"""The published numbers of each recipe, typed in by hand, and that every published value names its source."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

import llara.config.recipes
from llara.config import AdaptConfig, FinetuneConfig, MineConfig, list_recipes, load_recipe

FILES = Path(llara.config.recipes.__file__).parents[1] / "recipes"
SEVEN = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
REPLLAMA = ["llama2-7b-passage", "llama2-7b-document", "llama2-7b-beir"]
RELEASED = [f"{name}-eight-words" for name in REPLLAMA]
SMALL = ["qwen3-0.6b", "smollm2-135m"]


@pytest.mark.parametrize("name", REPLLAMA)
def test_a_repllama_recipe_holds_what_its_paper_and_script_say(name: str) -> None:
    config = load_recipe(name, FinetuneConfig)
    assert (config.lora.rank, config.lora.alpha, config.lora.dropout) == (32, 64.0, 0.1)
    assert set(config.lora.projections) == SEVEN - {"k_proj"}
    assert config.training.learning_rate == 1e-4
    assert config.training.schedule == "linear"
    assert config.pairs.query_tokens == 32


@pytest.mark.parametrize("name", RELEASED)
def test_a_recipe_of_the_released_code_holds_its_script_and_example(name: str) -> None:
    config = load_recipe(name, FinetuneConfig)
    assert (config.lora.rank, config.lora.alpha, config.lora.dropout) == (64, 16.0, 0.1)
    assert set(config.lora.projections) == SEVEN
    assert (config.training.learning_rate, config.training.warmup_ratio) == (3e-4, 0.1)
    assert config.pairs.query_tokens == 64


@pytest.mark.parametrize("name", REPLLAMA + RELEASED)
def test_a_step_is_128_queries_on_eight_devices_for_one_epoch_with_all_passages_shared(name: str) -> None:
    config = load_recipe(name, FinetuneConfig)
    assert config.training.batch_size * 8 == 128
    assert (config.training.epochs, config.training.max_steps) == (1.0, None)
    assert config.training.gradient_accumulation_steps == 1  # parts would not share their passages
    assert config.training.grad_cache_texts is not None
    assert config.contrast.temperature == 0.01
    assert config.contrast.in_batch
    assert config.contrast.cross_device
    assert (config.contrast.mask_known, config.contrast.mask_margin) == (False, None)
    assert config.contrast.distillation == "none"
    assert config.pairs.title_separator == " "
    assert config.rounds == 0


@pytest.mark.parametrize(
    ("name", "passage_tokens", "negatives"),
    [
        ("llama2-7b-passage", 196, 15),
        ("llama2-7b-beir", 196, 15),
        ("llama2-7b-document", 2048, 7),
        ("llama2-7b-passage-eight-words", 160, 15),
        ("llama2-7b-beir-eight-words", 160, 15),
        ("llama2-7b-document-eight-words", 2048, 7),
    ],
)
def test_lengths_and_negatives_are_those_of_the_task(name: str, passage_tokens: int, negatives: int) -> None:
    pairs = load_recipe(name, FinetuneConfig).pairs
    assert (pairs.passage_tokens, pairs.negatives) == (passage_tokens, negatives)


@pytest.mark.parametrize("name", ["llama2-7b-passage", "llama2-7b-passage-eight-words"])
def test_passage_negatives_are_drawn_from_a_dense_retrievers_top_200_unfiltered(name: str) -> None:
    mining = load_recipe(name, MineConfig)
    assert (mining.source, mining.first_rank, mining.last_rank, mining.sampling) == (
        "dense",
        1,
        200,
        "random",
    )
    assert mining.negatives == 15
    assert (mining.duplicate_overlap, mining.absolute_margin, mining.relative_margin, mining.max_score) == (
        None,
        None,
        None,
        None,
    )


@pytest.mark.parametrize("variant", ["", "-eight-words"])
def test_the_beir_recipe_differs_from_the_passages_in_its_negatives_alone(variant: str) -> None:
    beir, passage = f"llama2-7b-beir{variant}", f"llama2-7b-passage{variant}"
    trained = replace(load_recipe(passage, FinetuneConfig), mining=MineConfig())
    assert load_recipe(beir, FinetuneConfig) == trained
    assert beir not in list_recipes(MineConfig)  # the official negatives are not mined


def test_only_long_documents_recompute_activations() -> None:
    recomputed = {
        name: load_recipe(name, FinetuneConfig).training.gradient_checkpointing
        for name in REPLLAMA + RELEASED
    }
    assert [name for name, on in recomputed.items() if on] == [
        "llama2-7b-document",
        "llama2-7b-document-eight-words",
    ]


@pytest.mark.parametrize(
    ("name", "base"), [("qwen3-0.6b", "Qwen/Qwen3-0.6B-Base"), ("smollm2-135m", "HuggingFaceTB/SmolLM2-135M")]
)
def test_a_small_model_has_a_recipe_for_every_stage(name: str, base: str) -> None:
    adaptation, tuning = load_recipe(name, AdaptConfig), load_recipe(name, FinetuneConfig)
    assert adaptation.base == base
    assert 1e-5 < tuning.training.learning_rate < adaptation.training.learning_rate <= 1e-4
    assert (adaptation.lora.rank, tuning.lora.rank) == (0, 0)
    assert "has not been run" in (FILES / f"{name}.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted({*list_recipes(FinetuneConfig)} & {*list_recipes(MineConfig)}))
def test_as_many_negatives_are_mined_as_a_step_takes(name: str) -> None:
    assert load_recipe(name, MineConfig).negatives >= load_recipe(name, FinetuneConfig).pairs.negatives


@pytest.mark.parametrize("name", REPLLAMA + RELEASED)
def test_every_value_of_a_published_recipe_names_its_source(name: str) -> None:
    lines = (FILES / f"{name}.toml").read_text(encoding="utf-8").splitlines()
    values = [line for line in lines if re.match(r"\w+ = ", line)]
    assert len(values) > 20
    for line in values:
        source = line.partition("  # ")[2]
        assert re.match(r"(paper|RepLLaMA|code|authors|ours|as below)\b", source), line


@pytest.mark.parametrize("name", REPLLAMA + RELEASED + SMALL)
def test_the_command_in_a_recipe_names_the_recipe(name: str) -> None:
    text = (FILES / f"{name}.toml").read_text(encoding="utf-8")
    assert set(re.findall(r"--config (\S+)", text)) == {name}
