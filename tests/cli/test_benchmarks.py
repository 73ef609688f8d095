"""Every benchmark runs from its command line, small, and writes what it measured."""

import json
from pathlib import Path

import pytest
from processes import script

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("joint_pass", {"seconds", "joint_over", "largest_difference"}),
        ("adaptation_step", {"seconds", "memory", "ours_over", "loss"}),
        ("finetune_step", {"seconds", "memory", "over_plain", "same"}),
        ("evaluation_memory", {"parts", "corpus_mib"}),
        ("index_kinds", {"indexes", "data_mib"}),
        ("gpu_adapt", {"right", "speed"}),
        ("gpu_finetune", {"right", "speed"}),
        ("encode", {"formats"}),
        ("encode_memory", {"sizes"}),
        ("serve", {"ways"}),
        ("gpu_encode", {"right", "speed", "wrong"}),
        ("gpu_search", {"right", "speed", "wrong"}),
    ],
)
def test_a_tiny_run_prints_a_table_and_writes_json(tmp_path: Path, name: str, keys: set[str]) -> None:
    out = tmp_path / "results" / "result.json"
    done = script(BENCHMARKS / f"{name}.py", "--tiny", "--out", out, cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 4
    result = json.loads(out.read_text())
    assert result["benchmark"] == name
    assert keys | {"settings", "machine"} <= set(result)
    assert str(tmp_path) not in out.read_text()  # a published result names no path of the machine
    assert "Error" not in out.read_text()  # a part that failed, and was gone on without
