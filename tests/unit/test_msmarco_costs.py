"""The costs of docs/reproduce-msmarco.md: numbers by hand, the page's tables, and its commands."""

import importlib
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig

from llara.cli.parser import build_parser
from llara.config import STAGES, list_recipes
from llara.model import stored_dtype

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "msmarco_costs.py"
PAGE = (ROOT / "docs" / "reproduce-msmarco.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def costs() -> Iterator[Any]:
    sys.path.insert(0, str(SCRIPT.parent))
    yield importlib.import_module("msmarco_costs")
    sys.path.remove(str(SCRIPT.parent))


def test_the_model_has_as_many_weights_as_llama_2_7b(costs: Any) -> None:
    # 32 x (4 x 4096^2 + 3 x 4096 x 11008 + 2 x 4096) + 2 x 32000 x 4096 + 4096
    assert costs.MODEL.parameters == 6_738_415_616
    assert costs.MODEL.layer_products == 32 * (67_108_864 + 135_266_304)


def test_adapters_have_rank_times_inputs_and_outputs_weights(costs: Any) -> None:
    # q, v, o: 32 x 8192 each; gate, up, down: 32 x 15104 each; 32 layers
    assert costs.MODEL.lora_parameters(32, 6) == 32 * (3 * 262_144 + 3 * 483_328) == 71_565_312
    assert costs.MODEL.lora_parameters(64, 7) == 32 * (4 * 524_288 + 3 * 966_656) == 159_907_840


def test_vectors_are_four_bytes_a_number(costs: Any) -> None:
    passages, _, documents, *_ = costs.disk_table(costs.parse([]))[1:]
    assert passages[2] == "144.9"  # 8,841,823 x 4096 x 4 = 144.864 GB
    assert passages[3] == "147.1"  # and 32 x 8 bytes of links each: 2.264 GB
    assert documents[2] == "52.7"  # 3,213,835 x 16,384 = 52.656 GB


def test_adaptation_is_at_most_two_and_a_half_billion_tokens_and_a_sixth_of_it_in_fact(costs: Any) -> None:
    joint, apart = costs.adaptation()
    assert joint.most_tokens == 10_000 * 256 * 1024 == 2_621_440_000
    assert joint.tokens == 2_560_000 * (1 + 155 + 6 + 6)  # 100 words at 1.55 tokens, BOS, two prompts
    assert apart.tokens == 2 * 2_560_000 * (1 + 155 + 6)
    assert joint.flops / apart.flops == pytest.approx(168 / 324, rel=0.01)  # attention makes the difference


def test_training_all_weights_is_eight_flops_a_weight_and_token_with_recomputation(costs: Any) -> None:
    # 6 N D and another 2 N D for the recomputed forward; attention over 168 tokens adds under one percent.
    joint = costs.adaptation()[0]
    eight = 8 * costs.MODEL.layer_products * joint.tokens
    assert 1.0 < joint.flops / eight < 1.01


def test_lora_through_gradcache_is_two_passes_forward_and_one_backward(costs: Any) -> None:
    stage = costs.finetuning("", 128, 16, 189.0, 196)
    assert stage.steps == 1
    assert stage.most_tokens == 128 * (32 + 16 * 196) == 405_504
    # 3 x 2 N, and 8 FLOPs for a weight of the adapters: 2 forward twice, 4 backward
    expected = stage.most_tokens * (6 * costs.MODEL.layer_products + 8 * 71_565_312)
    assert stage.most_flops == pytest.approx(expected, rel=0.02)
    recomputed = costs.finetuning("", 128, 16, 189.0, 196, recompute=True)
    assert recomputed.flops / stage.flops == pytest.approx(4 / 3, rel=0.01)


def test_an_epoch_has_as_many_steps_as_full_batches_of_128_queries(costs: Any) -> None:
    steps = {stage.name: stage.steps for stage in costs.stages()}
    assert steps["Fine-tune, mined negatives"] == 3929  # 502,939 / 128 = 3929.2
    assert steps["Fine-tune on documents, 1 + 7"] == 2867  # 367,013 / 128 = 2867.3


def test_training_all_weights_holds_sixteen_bytes_a_weight(costs: Any) -> None:
    one = costs.memory_table(costs.parse([]))[1]
    assert one[1:4] == ["27.0", "27.0", "53.9"]  # 4, 4 and 8 bytes x 6.738e9


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_trained_model_is_written_in_its_bases_format_of_two_bytes(costs: Any, dtype: str) -> None:
    base, trained = costs.model_table(costs.parse([]))[1:3]
    size = stored_dtype(LlamaConfig(dtype=dtype)).itemsize
    assert base[2] == f"{size} bytes each"
    assert trained[2] == f"{size}, as the base"
    assert base[3] == trained[3] == costs.short(size * 6_738_415_616 / 1e9) == "13.5"


def test_hours_are_flops_over_peak_and_utilisation(costs: Any) -> None:
    stage = costs.stages()[0]
    row = costs.compute_table(costs.parse(["--gpus", "2", "--peaks", "100", "--utilisation", "0.5"]))[1]
    assert row[4].startswith(costs.short(stage.flops / (2 * 100e12 * 0.5 * 3600)) + " (")


def test_the_page_holds_the_tables_as_the_script_prints_them(costs: Any) -> None:
    for title, table in costs.tables(costs.parse(shlex.split(costs.EXAMPLE)[2:])).items():
        assert f"### {title}\n" in PAGE
        assert f"\n\n{table}\n" in PAGE
    assert costs.EXAMPLE in PAGE


def test_the_figures_in_the_pages_text_follow_from_the_same_numbers(costs: Any) -> None:
    assert "1,690 tokens" in PAGE
    assert round(22e9 / 3_213_835 / 4.05) == 1690
    assert "2.6 billion tokens" in PAGE
    assert "12% of the passages" in PAGE
    assert round(100 * 2_560_000 / 21_015_324) == 12
    assert "108 GB of weights" in PAGE
    assert round(16 * 6_738_415_616 / 1e9) == 108
    assert "22 GB less" in PAGE
    layer = costs.MODEL.activation_bytes(6)  # 3,136 tokens: all layers, or their inputs and one layer
    assert layer == 12 * 4096 + 8 * 4096 + 6 * 11008 + 15 * 4096 + 3 * 11008
    assert int(3136 * (32 * layer - 32 * 2 * 4096 - layer) / 1e9) == 22


def test_the_script_prints_markdown_or_json() -> None:
    def run(*arguments: str) -> str:
        command = [sys.executable, str(SCRIPT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert run().startswith("### Compute\n\n| step |")
    assert json.loads(run("--json"))["arguments"]["gpus"] == 8


@pytest.mark.parametrize("bad", [["--gpus", "0"], ["--utilisation", "1.5"], ["--peaks", "-1"]])
def test_an_impossible_machine_is_refused(costs: Any, bad: list[str]) -> None:
    with pytest.raises(SystemExit):
        costs.parse(bad)


def commands() -> list[list[str]]:
    """The arguments of every llara command on the page."""
    found = []
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            match = re.match(r"\s*(?:(?:torchrun|accelerate) .*?-m )?llara (.*)", line)
            if match:
                found.append(shlex.split(match[1].partition(" > ")[0].replace("$rule", "")))
    return found


def test_every_command_of_the_page_is_one_that_llara_takes() -> None:
    parsed = [build_parser().parse_args(command) for command in commands()]
    assert len(parsed) > 12
    recipes = {name for kind in STAGES.values() for name in list_recipes(kind)}
    assert {options.config for options in parsed if "config" in options} <= recipes
