"""From plain text to hits and measures, each step typed as its help says; then what can go wrong."""

import io
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from processes import llara

from llara.cli import build_parser, main

Capture = pytest.CaptureFixture[str]

DOCS = {
    "files.md": "To open a file call open with its name. It returns a file object to read line by line.",
    "lists.md": "A list keeps its items in order. Append adds an item at the end, sort puts them in order.",
    "numbers.md": "The decimal module holds exact decimal numbers. A float is a binary fraction and rounds.",
    "threads.md": "A thread runs beside other threads of its process. A lock keeps two of them apart.",
}
QUERIES = {"q1": "open a file and read it", "q2": "sort the items of a list"}


def example(command: str) -> list[str]:
    """The arguments of the example at the top of ``llara COMMAND --help``."""
    subparsers = build_parser()._subparsers
    assert subparsers is not None
    commands = subparsers._group_actions[0].choices
    assert isinstance(commands, dict)
    program, *arguments = shlex.split(commands[command].example)
    assert program == "llara"
    return arguments


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def write_inputs(folder: Path) -> None:
    """``docs`` (a folder of texts) and ``collection`` (BEIR layout), as the examples name them."""
    docs, collection = folder / "docs", folder / "collection"
    docs.mkdir()
    (collection / "qrels").mkdir(parents=True)
    for name, text in DOCS.items():
        (docs / name).write_text(text, encoding="utf-8")
    corpus = [{"_id": name, "title": "", "text": text} for name, text in DOCS.items()]
    queries = [{"_id": name, "text": text} for name, text in QUERIES.items()]
    for file, records in (("corpus", corpus), ("queries", queries)):
        text = "".join(json.dumps(record) + "\n" for record in records)
        (collection / f"{file}.jsonl").write_text(text, encoding="utf-8")
    qrels = "query-id\tcorpus-id\tscore\nq1\tfiles.md\t1\nq2\tlists.md\t1\n"
    (collection / "qrels" / "test.tsv").write_text(qrels, encoding="utf-8")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the example of every command but search and quickstart has been typed."""
    folder = tmp_path_factory.mktemp("workspace")
    write_inputs(folder)
    printed = []
    for command in ("convert", "adapt", "encode", "index", "evaluate"):
        done = llara(*example(command), cwd=folder)
        assert done.code == 0, done.stderr
        printed += done.stdout.splitlines()
    assert printed[:4] == ["baseline", "my-model", "vectors", "index"]
    assert [json.loads(line)["system"] for line in printed[4:]] == ["llara-mini", "BM25"]
    return folder


@pytest.fixture
def inside(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(workspace)
    return workspace


def test_the_steps_leave_what_their_examples_name(workspace: Path) -> None:
    written = {path.name for path in workspace.iterdir()}
    assert written == {"docs", "collection", "baseline", "my-model", "vectors", "index", "results"}


def test_a_search_in_a_pipe_gives_one_json_object_per_hit(workspace: Path) -> None:
    command = [sys.executable, "-m", "llara", *example("search")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=workspace, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    hits = lines(done.stdout)
    assert [hit["rank"] for hit in hits] == [1, 2, 3]
    assert all(hit["query"] == "how do I open a file" for hit in hits)
    scores = [hit["score"] for hit in hits]
    assert scores == sorted(scores, key=float, reverse=True)  # type: ignore[arg-type]
    assert all(DOCS[Path(str(hit["id"])).name] == hit["text"] for hit in hits)


def test_a_readable_search_shows_the_query_and_the_texts(inside: Path, capsys: Capture) -> None:
    assert main([*example("search"), "--format", "text"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("how do I open a file\n   1. ")
    assert sum(text in printed for text in DOCS.values()) == 3


def test_queries_come_one_a_line_from_stdin(
    inside: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"open\n\n  a lock \n")))
    assert main(["search", "--index", "index", "-", "-k", "2"]) == 0
    hits = lines(capsys.readouterr().out)
    assert [(hit["query_id"], hit["query"]) for hit in hits] == [("1", "open")] * 2 + [("3", "a lock")] * 2


def test_queries_from_a_file_keep_their_ids_and_can_be_written_as_a_run(
    inside: Path, tmp_path: Path, capsys: Capture
) -> None:
    run = tmp_path / "run.trec"
    queries = inside / "collection" / "queries.jsonl"
    assert main(["search", "--index", "index", "--queries", str(queries), "-k", "4", "--run", str(run)]) == 0
    hits = lines(capsys.readouterr().out)
    assert {hit["query_id"] for hit in hits} == set(QUERIES)
    rows = [line.split() for line in run.read_text(encoding="utf-8").splitlines()]
    assert [(query, doc, int(rank)) for query, _, doc, rank, _, _ in rows] == [
        (hit["query_id"], hit["id"], hit["rank"]) for hit in hits
    ]


def test_evaluation_reports_the_model_and_bm25(inside: Path, tmp_path: Path, capsys: Capture) -> None:
    metrics = json.loads((inside / "results" / "metrics.json").read_text(encoding="utf-8"))
    assert [row["system"] for row in metrics["results"]] == ["llara-mini", "BM25"]
    # Each query shares its words with one document only, so BM25 finds it first.
    assert metrics["results"][1]["metrics"]["nDCG@10"] == 1.0
    arguments = ["--model", "none", "--measures", "RR@10", "P@1", "--out", str(tmp_path / "bm25")]
    assert main([*example("evaluate"), *arguments]) == 0
    assert lines(capsys.readouterr().out) == [
        {
            "system": "BM25",
            "dataset": "collection",
            "split": "test",
            "metrics": {"RR@10": 1.0, "P@1": 1.0},
        }
    ]


def test_runs_are_compared_as_the_help_shows(inside: Path, tmp_path: Path, capsys: Capture) -> None:
    runs = [str(inside / "results" / "collection" / f"{name}.trec") for name in ("BM25", "llara-mini")]
    command = ["compare", *runs, "--qrels", str(inside / "collection"), "--out", str(tmp_path / "found.json")]
    assert main(command) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    differences = {each["measure"]: each for each in printed["differences"]}
    metrics = json.loads((inside / "results" / "metrics.json").read_text(encoding="utf-8"))["results"]
    dense, bm25 = (row["metrics"]["nDCG@10"] for row in metrics)
    assert differences["nDCG@10"]["difference"] == pytest.approx(dense - bm25)


def test_an_index_is_filtered_added_to_and_deleted_from(
    inside: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(*arguments: str) -> list[object]:
        assert main(["search", "--index", str(tmp_path / "index"), "sort a list", *arguments]) == 0
        return [hit["id"] for hit in lines(capsys.readouterr().out)]

    for name, ids in (("first", "abc"), ("second", "cd")):
        records = [
            {"id": id_, "text": f"{id_} list of items", "year": 2000 + ord(id_), "half": "\ud800"}
            for id_ in ids
        ]
        source = tmp_path / f"{name}.jsonl"
        source.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
        out = str(tmp_path / name)
        encode = [
            "encode",
            "--model",
            "llara-mini",
            "--input",
            str(source),
            "--role",
            "document",
            "--out",
            out,
        ]
        assert main(encode) == 0
    index = str(tmp_path / "index")
    build = ["index", "--vectors", str(tmp_path / "first"), "--out", index, "--kind", "ivf-flat"]
    assert main([*build, "--set", "nlist=2"]) == 0
    capsys.readouterr()
    assert set(found()) == {"a", "b", "c"}
    assert set(found("--set", "nprobe=2")) == {"a", "b", "c"}
    assert found("--filter", "year == 2098") == ["b"]
    assert main(["index", "--index", index, "--add", str(tmp_path / "second")]) == 0
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == (f"{index}\n", "1 documents added, 1 replaced\n")
    assert set(found()) == {"a", "b", "c", "d"}
    assert main(["index", "--index", index, "--delete", "a", "nothing"]) == 0
    assert capsys.readouterr().err == "1 documents deleted, 1 were not there\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbfb\r\n\nd\n")))
    assert main(["index", "--index", index, "--delete", "-"]) == 0
    assert capsys.readouterr().err == "2 documents deleted, 0 were not there\n"
    assert found() == ["c"]
    for arguments in (["index", "--index", index, "--delete", "\udcff"], ["search", "--index", index, "x"]):
        more = ["--filter", "a == '\udcff'"] if arguments[0] == "search" else []
        assert main([*arguments, *more]) == 1
        assert "is not Unicode text" in capsys.readouterr().err
    assert main(["search", "--index", index, "x", "--filter", "year >"]) == 1
    assert capsys.readouterr().err.startswith("error: the filter 'year >' has 'the end' at character 7")
    assert main(["search", "--index", index, "caf\udce9"]) == 1  # as Python reads an argument in Latin-1
    assert capsys.readouterr().err.startswith("error: the query '1' is not Unicode text")


def test_another_model_than_the_one_that_made_the_index_is_refused(inside: Path, capsys: Capture) -> None:
    assert main([*example("search"), "--model", "baseline"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert "baseline" in printed.err


@pytest.mark.parametrize("command", ["adapt", "convert", "encode", "index", "evaluate"])
def test_what_exists_is_not_overwritten(inside: Path, command: str, capsys: Capture) -> None:
    before = {path: path.stat().st_mtime_ns for path in inside.rglob("*")}
    assert main(example(command)) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert "--overwrite" in printed.err
    assert {path: path.stat().st_mtime_ns for path in inside.rglob("*")} == before


BAD_INPUTS = {
    "a corpus that is missing": (None, "no such file"),
    "an empty corpus": (b"", "no document"),
    "a line that is not JSON": (b'{"text": "fine"}\n{"text": \n', "bad.jsonl:2"),
    "a line that is not UTF-8": (b'{"text": "fine"}\n{"text": "caf\xe9"}\n', "bad.jsonl:2"),
    "a missing field": (b'{"id": 1, "body": "no text"}\n', "bad.jsonl:1"),
}


@pytest.mark.parametrize("what", BAD_INPUTS)
@pytest.mark.parametrize("command", ["adapt", "encode"])
def test_bad_input_is_one_clear_error_and_leaves_nothing(
    what: str,
    command: str,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content, message = BAD_INPUTS[what]
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("bad.jsonl").write_bytes(content)
    before = sorted(tmp_path.rglob("*"))
    if command == "adapt":
        arguments = ["adapt", "--base", "llara-mini-base", "--corpus", "bad.jsonl", "--out", "out"]
    else:
        arguments = [
            "encode",
            "--model",
            "llara-mini",
            "--input",
            "bad.jsonl",
            "--role",
            "document",
            "--out",
            "out",
        ]
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert message in printed.err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("command", ["adapt", "convert", "encode", "evaluate"])
def test_a_missing_model_is_one_clear_error(
    command: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_inputs(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    arguments = [
        {"llara-mini": "no-model", "llara-mini-base": "no-model"}.get(one, one) for one in example(command)
    ]
    assert "no-model" in arguments
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert "no-model" in printed.err
    assert sorted(tmp_path.rglob("*")) == before


def test_bad_lines_are_skipped_and_reported_when_asked(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mixed.jsonl").write_text('{"text": "fine"}\nnot JSON\n{"text": "fine too"}\n', encoding="utf-8")
    arguments = [
        "encode",
        "--model",
        "llara-mini",
        "--input",
        "mixed.jsonl",
        "--role",
        "document",
        "--out",
        "out",
    ]
    assert main([*arguments, "--skip-bad"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "out\n"
    assert "1 bad line was left out" in printed.err
    assert "mixed.jsonl:2" in printed.err
    assert json.loads(Path("out/manifest.json").read_text(encoding="utf-8"))["count"] == 2
