"""Help, exit codes, and where words go; nothing here loads a model."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llara.cli import build_parser
from llara.config import AdaptConfig, load_recipe

Llara = Callable[..., "subprocess.CompletedProcess[str]"]
COMMANDS = [
    "adapt",
    "mine",
    "finetune",
    "convert",
    "encode",
    "index",
    "search",
    "inspect",
    "evaluate",
    "compare",
    "serve",
    "quickstart",
]


def test_help_names_every_command_and_nothing_else(llara: Llara) -> None:
    done = llara("--help")
    listed = [
        line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ") and line[2].isalpha()
    ]
    assert (done.returncode, listed) == (0, COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_begins_with_an_example_that_parses(llara: Llara, command: str) -> None:
    done = llara(command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"example: llara {command}")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["adopt"],
        ["adapt"],
        ["adapt", "--config", "llama2-7b-adapt", "--out", "x"],
        ["mine", "--data", "d", "--out", "x"],
        ["finetune", "--model", "m", "--out", "x"],
        ["finetune", "--model", "m", "--train", "d", "--out", "x", "--rounds", "0"],
        ["convert", "--out", "x"],
        ["convert", "--base", "m", "--out", "x", "--preset", "nine-words"],
        ["encode", "--model", "m", "--input", "x", "--out", "y"],
        ["index", "--out", "x"],
        ["index", "--index", "x"],
        ["index", "--add", "v"],
        ["index", "--index", "x", "--add", "v", "--delete", "1"],
        ["index", "--index", "x", "--add", "v", "--out", "y"],
        ["search", "--index", "x"],
        ["serve"],
        ["serve", "--index", "x", "--workers", "0"],
        ["search", "--index", "x", "query", "--queries", "file"],
        ["search", "--index", "x", "query", "-k", "0"],
        ["search", "--index", "x", "--quer", "file"],
    ],
)
def test_wrong_usage_exits_2_and_keeps_stdout_clean(llara: Llara, arguments: list[str]) -> None:
    done = llara(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: llara")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect", "--json", "x"], "--json"),
        (["inspect", "--model", "m", "a", "b"], "b"),
        (["evaluate", "--modle", "a"], "--modle (did you mean --model?)"),
        (
            ["index", "--kidn=hnsw", "--ouut", "x"],
            "--kidn (did you mean --kind?), --ouut (did you mean --out?)",
        ),
    ],
)
def test_a_command_says_itself_what_it_does_not_know(
    llara: Llara, arguments: list[str], message: str
) -> None:
    done = llara(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"usage: llara {arguments[0]} [-h]")
    assert done.stderr.splitlines()[-1] == f"llara {arguments[0]}: error: unrecognized arguments: {message}"


def test_what_only_looks_like_a_flag_is_no_unknown_one() -> None:
    parser = build_parser()
    for query in (["--", "--json"], ["--json or not"]):
        assert parser.parse_args(["search", "--index", "i", *query]).query == query[-1]
    with pytest.raises(SystemExit) as caught:
        parser.parse_args(["search", "--json", "--help"])
    assert caught.value.code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["adapt", "--config", "mini-adap"], "did you mean mini-adapt?"),
        (["adapt", "--config", "missing.toml"], "missing.toml does not exist"),
        (["finetune", "--config", "mini-adapt"], "says nothing of finetune"),
        (["mine", "--set", "last_rank=0"], "last_rank = 0, expected at least 1"),
        (["adapt", "--set", "training.max_stesp=3"], "did you mean training.max_steps?"),
        (["index", "--vectors", "nothing", "--out", "x"], "nothing has no readable manifest.json"),
        (["index", "--index", "nothing", "--delete", "1"], "nothing has no readable manifest.json"),
        (["index", "--vectors", "v", "--out", "x", "--uri", "http://here"], "add --backend milvus"),
        (["search", "--index", "nothing", "query"], "nothing has no readable manifest.json"),
        (["search", "--index", "nothing", "  "], "the query is empty"),
        (["search", "--index", "nothing", "-"], "no query came on stdin"),
    ],
)
def test_a_known_error_is_one_line_on_stderr_and_exit_1(
    llara: Llara, tmp_path: Path, arguments: list[str], message: str
) -> None:
    done = llara(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_stdin_that_is_not_utf8_is_a_known_error(llara: Llara) -> None:
    done = llara("search", "--index", "nothing", "-", stdin=b"caf\xe9\n")
    assert (done.returncode, done.stderr.startswith("error: stdin:1: not UTF-8")) == (1, True)


def test_an_existing_run_file_is_not_overwritten(llara: Llara, tmp_path: Path) -> None:
    (tmp_path / "run.trec").write_text("mine")
    done = llara("search", "--index", "nothing", "query", "--run", "run.trec")
    assert done.returncode == 1
    assert "run.trec exists" in done.stderr
    assert (tmp_path / "run.trec").read_text() == "mine"


def test_the_printed_config_is_a_recipe_that_reads_back(llara: Llara, tmp_path: Path) -> None:
    arguments = [
        "adapt",
        "--config",
        "llama2-7b-adapt",
        "--base",
        "my model",
        "--set",
        "training.max_steps=5",
    ]
    done = llara(*arguments, "--print-config")
    assert done.returncode == 0
    path = tmp_path / "printed.toml"
    path.write_text(done.stdout, encoding="utf-8")
    config = load_recipe(path, AdaptConfig)
    assert (config.base, config.training.max_steps, config.training.learning_rate) == ("my model", 5, 1e-5)


def test_an_interrupt_exits_130_without_a_traceback() -> None:
    code = (
        "import os, signal, sys, threading, time\n"
        "from llara.cli import main\n"
        "def interrupt():\n"
        "    while 'write_run' not in vars(sys.modules.get('llara.search', sys)): time.sleep(0.1)\n"
        "    time.sleep(1)\n"  # all is imported, and the command waits
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in a shell's background
        "threading.Thread(target=interrupt, daemon=True).start()\n"
        "sys.exit(main(['search', '--index', 'nothing', '-']))\n"  # waits for stdin
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.wait(timeout=60) == 130
    assert process.stderr is not None
    assert process.stderr.read() == "interrupted\n"


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = [sys.executable, "-m", "llara", "adapt", "--print-config"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()  # before the process has written anything
    assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 141


def test_flags_stay_as_they_are() -> None:
    # A flag in use is a promise: this list changes on purpose or not at all.
    subparsers = build_parser()._subparsers
    assert subparsers is not None
    commands = subparsers._group_actions[0].choices
    assert isinstance(commands, dict)
    flags = {
        name: sorted(
            flag for flag in parser._option_string_actions if flag.startswith("--") and flag != "--help"
        )
        for name, parser in commands.items()
    }
    assert {name: " ".join(found) for name, found in flags.items()} == {
        "mine": "--batch-size --config --corpus --data --index --model --no-titles --out --overwrite"
        " --print-config --set --split",
        "finetune": "--adapter-only --config --corpus --model --out --overwrite --print-config --resume"
        " --rounds --set --split --train",
        "adapt": "--base --config --corpus --out --overwrite --print-config --resume --set --skip-bad"
        " --store",
        "convert": "--base --max-tokens --out --overwrite --preset",
        "encode": "--batch-size --compile --dimensions --dtype --engine --id-field --input --lexical --model"
        " --no-metadata --no-titles --out --overwrite --precision --resume --role --shard-size --skip-bad"
        " --text-field --texts-only --title-field --verify --workers",
        "index": "--add --backend --bm25 --collection --delete --index --kind --lexical --model --out"
        " --overwrite --set --uri --vectors",
        "inspect": "--document --format --index --model --top",
        "search": "--filter --format --index --mode --model --overwrite --queries --run --set --words",
        "evaluate": "--batch-size --corpus --dataset --depth --document-role --hybrid --ignore-identical-ids"
        " --language --measures --model --no-bm25 --no-ignore-identical-ids --no-titles --out --overwrite"
        " --passage-stride --passage-words --passages --queries --query-role --resume --split --tune-split"
        " --unlabelled --words",
        "compare": "--all-pairs --alpha --baseline --measures --out --overwrite --qrels --split --test",
        "serve": "--allow-host --api-key-file --device --host --index --limit --model --name --no-access-log"
        " --port --set --without-key --workers",
        "quickstart": "--out --overwrite --passages --set",
    }
