"""Collections of the Hub by name, from a small server that speaks as it does and from clones."""

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from scipy import stats  # type: ignore[import-untyped]

from llara.corpus import Document
from llara.datasets import DataReport, open_collection, read_training
from llara.errors import InputError
from llara.mine.pools import passages_to_search

CORPUS = [
    {"_id": "4983", "title": "Cats", "text": "Cats purr."},
    {"_id": "0012", "title": "", "text": "Dogs bark."},
    {"_id": "NA", "title": "Fish", "text": ""},
]
QUERIES = [{"_id": "1", "text": "what purrs?"}, {"_id": "2", "text": "not judged"}]
QRELS = [("1", "0012", 0), ("1", "4983", 2)]
TSV = b"query-id\tcorpus-id\tscore\n1\t0012\t0\n1\t4983\t2\n"
DOCUMENTS = [Document(row["_id"], row["text"], row["title"]) for row in CORPUS]

PARQUET_CARD = """---
license: cc-by-sa-4.0
configs:
- config_name: corpus
  data_files:
  - split: corpus
    path: corpus/corpus-*
- config_name: queries
  data_files:
  - split: queries
    path: queries/queries-*
---
# Dataset Card for BEIR Benchmark
"""
MTEB_CARD = """---
config_names:
- corpus
dataset_info:
- config_name: default
  features: [{name: query-id, dtype: string}, {name: corpus-id, dtype: string}, {name: score, dtype: float64}]
  splits: [{name: train, num_bytes: 26, num_examples: 1}, {name: test, num_bytes: 52, num_examples: 2}]
- config_name: corpus
  features: [{name: _id, dtype: string}, {name: title, dtype: string}, {name: text, dtype: string}]
  splits: [{name: corpus, num_bytes: 73, num_examples: 3}]
- config_name: queries
  features: [{name: _id, dtype: string}, {name: text, dtype: string}]
  splits: [{name: queries, num_bytes: 36, num_examples: 2}]
configs:
- config_name: default
  data_files: [{split: train, path: qrels/train.jsonl}, {split: test, path: qrels/test.jsonl}]
- config_name: corpus
  data_files: [{split: corpus, path: corpus.jsonl}]
- config_name: queries
  data_files: [{split: queries, path: queries.jsonl}]
---
"""


def lines(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def parquet(rows: list[Any]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue().to_pybytes()


def scored(
    rows: list[tuple[str, str, int]], score: Callable[[int], float] = float
) -> list[dict[str, object]]:
    return [{"query-id": q, "corpus-id": d, "score": score(s)} for q, d, s in rows]


SCORED = [("wing flow", "wing shear", 3.0), ("heat slab", "heat slab", 5.0), ("nozzle of", "the a", 0.5)]


def sentence_pairs(scored: list[tuple[str, str, float]]) -> list[dict[str, object]]:
    return [
        {"genre": "news", "sid": f"{n:04}", "score": score, "sentence1": a, "sentence2": b}
        for n, (a, b, score) in enumerate(scored)
    ]


REPOSITORIES = {
    # BEIR's, with the loading script that they still have
    "BeIR/scifact": {
        "README.md": b"---\nlicense: cc-by-sa-4.0\n---\n",
        "scifact.py": b"raise SystemExit('never run')\n",
        "corpus.jsonl.gz": gzip.compress(lines([{**row, "metadata": {}} for row in CORPUS])),
        "queries.jsonl.gz": gzip.compress(lines([{**row, "metadata": {"4983": [1]}} for row in QUERIES])),
    },
    "BeIR/scifact-qrels": {
        "README.md": b"---\nlicense: cc-by-sa-4.0\n---\n",
        "train.tsv": TSV,
        "test.tsv": TSV,
    },
    # BEIR's, converted to Parquet
    "BeIR/quora": {
        "README.md": PARQUET_CARD.encode(),
        "corpus/corpus-00000-of-00002.parquet": parquet(CORPUS[:2]),
        "corpus/corpus-00001-of-00002.parquet": parquet(CORPUS[2:]),
        "queries/queries-00000-of-00001.parquet": parquet([{**row, "title": ""} for row in QUERIES]),
    },
    "BeIR/quora-qrels": {"README.md": b"---\n---\n", "validation.tsv": TSV, "test.tsv": TSV},
    # MTEB's
    "mteb/nq": {
        "README.md": MTEB_CARD.encode(),
        "corpus.jsonl": lines(CORPUS),
        "queries.jsonl": lines(QUERIES),
        "qrels/train.jsonl": lines(scored(QRELS[1:])),
        "qrels/test.jsonl": lines(scored(QRELS)),
    },
    "someone/many": {
        "README.md": b"""---
configs:
- {config_name: de-corpus, data_files: [{split: test, path: de/corpus.parquet}]}
- {config_name: de-queries, data_files: [{split: test, path: de/queries.parquet}]}
- {config_name: de-qrels, data_files: [{split: test, path: de/qrels.parquet}]}
---
""",
        "de/corpus.parquet": parquet([{"id": row["_id"], "text": row["text"]} for row in CORPUS]),
        "de/queries.parquet": parquet([{"id": row["_id"], "text": row["text"]} for row in QUERIES]),
        "de/qrels.parquet": parquet(scored(QRELS, int)),
    },
    # MTEB's sentence pairs, splits by the names of files
    "mteb/stsbenchmark-sts": {
        "README.md": b"---\nlanguage:\n- en\n---\n",
        "validation.jsonl.gz": gzip.compress(
            lines(sentence_pairs([(a, b, -score) for a, b, score in SCORED]))
        ),
        "test.jsonl.gz": gzip.compress(lines(sentence_pairs(SCORED))),
    },
}


# -- folders laid out as the Hub's repositories


@pytest.fixture
def clones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for name, files in REPOSITORIES.items():
        for file, content in files.items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "benchmark"),
    [
        ("BeIR/scifact", "beir/scifact"),
        ("BeIR/quora", "beir/quora"),
        ("mteb/nq", "beir/nq"),
    ],
)
def test_a_clone_of_a_repository_is_read_in_beirs_and_in_mtebs_layout(clones, name, benchmark):
    found = open_collection(clones / name)
    assert found.queries == {"1": "what purrs?"}
    assert found.qrels == {"1": {"0012": 0, "4983": 2}}  # ids as they are written, grades whole
    assert [list(found.documents()) for _ in range(2)] == [DOCUMENTS] * 2
    assert (found.split, found.benchmark, found.num_documents) == ("test", benchmark, 3)
    assert found.ignore_identical_ids


def test_dev_and_validation_are_one_split(clones):
    found = open_collection(clones / "BeIR/quora", "dev")
    assert (found.split, found.benchmark, found.ignore_identical_ids) == ("validation", None, True)


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("mteb/nq", "dev", "no split 'dev'; the splits there are: train, test"),
        ("BeIR/scifact", "dev", "scifact-qrels: no split 'dev'; the splits there are: train, test"),
        ("someone/many", None, "no configuration 'corpus', only 'de-corpus', 'de-queries', 'de-qrels'"),
    ],
)
def test_what_a_repository_lacks_is_said_with_what_it_has(clones, name, split, message):
    with pytest.raises(InputError, match=message):
        open_collection(clones / name, split)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("qrels/test.jsonl", lines(scored(QRELS, lambda _: 0.5)), "nq:test:1: .* is no judgement"),
        (
            "qrels/test.jsonl",
            lines(scored([*QRELS, ("1", "4983", 1)])),
            "nq:test:3: .* judged otherwise above",
        ),
        ("qrels/test.jsonl", lines([{"query": "1"}]), "nq: the judgements cannot be read"),
        ("corpus.jsonl", lines(CORPUS + CORPUS[:1]), "the id '4983' comes twice"),
        ("corpus.jsonl", lines(CORPUS[2:]), "no judged document, such as '0012', is in the corpus"),
        ("queries.jsonl", lines(QUERIES[1:]), "1 query is judged in the split 'test' of .*nq, such as '1'"),
        ("queries.jsonl", lines([{"_id": "1", "text": " "}]), "nq: the query '1' is blank"),
    ],
)
def test_what_is_wrong_in_a_repository_is_said(clones, file, content, message):
    (clones / "mteb/nq" / file).write_bytes(content)
    (clones / "mteb/nq/README.md").write_text("---\n" + MTEB_CARD[MTEB_CARD.index("configs:") :])
    with pytest.raises(InputError, match=message):
        open_collection(clones / "mteb/nq")


# -- to train on


@pytest.mark.parametrize(
    ("name", "split", "negatives"),
    [("BeIR/scifact", "train", ("0012",)), ("BeIR/quora", "dev", ("0012",)), ("mteb/nq", "train", ())],
)
def test_a_clone_gives_examples_of_its_judgements_and_all_its_passages_to_search(
    clones, name, split, negatives
):
    report = DataReport()
    [example] = read_training(clones / name, split=split, report=report)
    assert (example.query_id, example.query) == ("1", "what purrs?")
    assert example.positives == (DOCUMENTS[0],)
    assert tuple(document.id for document in example.negatives) == negatives
    assert (report.queries, report.positives, report.negatives) == (1, 1, len(negatives))
    assert list(passages_to_search(clones / name, split=split)) == DOCUMENTS


def test_a_split_that_a_clone_lacks_is_said_of_examples_too(clones):
    with pytest.raises(InputError, match="no split 'dev'; the splits there are: train, test"):
        read_training(clones / "mteb/nq", split="dev")


def test_a_clone_of_configured_records_is_no_collection(clones):
    folder = clones / "someone/records"
    folder.mkdir(parents=True)
    config = "{config_name: default, data_files: [{split: train, path: rows.jsonl}]}"
    (folder / "README.md").write_text(f"---\nconfigs:\n- {config}\n---\n")
    (folder / "rows.jsonl").write_bytes(lines([{"query": "what purrs?", "pos": ["Cats."], "neg": ["Dogs."]}]))
    [example] = read_training(folder)
    assert [document.text for document in example.positives] == ["Cats."]
    assert [document.text for document in passages_to_search(folder)] == ["Cats.", "Dogs."]


# -- the Hub


class Hub(BaseHTTPRequestHandler):
    """The Hub's answers about ``REPOSITORIES``, for files, trees of files, and information on paths."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        parts = url.path.strip("/").removeprefix("api/").removeprefix("datasets/").split("/")
        name, verb, rest = "/".join(parts[:2]), "".join(parts[2:3]), "/".join(parts[4:])
        files = REPOSITORIES.get(name)
        if files is None:
            self.reply(404, error="RepoNotFound")
        elif verb == "resolve":
            content = files.get(rest)
            self.reply(404, error="EntryNotFound") if content is None else self.reply(200, content)
        elif verb == "tree":
            self.reply(
                200, self.tree(files, rest, recursive=parse_qs(url.query).get("recursive") == ["true"])
            )
        elif verb == "revision" or not verb:
            self.reply(200, json.dumps({"id": name, "sha": "a" * 40, "siblings": []}).encode())
        else:
            self.reply(404, error="EntryNotFound")

    do_HEAD = do_GET  # noqa: N815 (the standard library's name)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.reply(404, error="EntryNotFound")

    def tree(self, files: dict[str, bytes], folder: str, *, recursive: bool) -> bytes:
        entries = {}
        for file, content in files.items():
            if not file.startswith(f"{folder}/" if folder else ""):
                continue
            below = file.removeprefix(folder).strip("/").split("/")
            path = "/".join(filter(None, [folder, below[0]]))
            if len(below) == 1 or recursive:
                entries[file] = {"type": "file", "path": file, "size": len(content), "oid": "b" * 40}
            else:
                entries[path] = {"type": "directory", "path": path, "size": 0, "oid": "c" * 40}
        return json.dumps(list(entries.values())).encode()

    def reply(self, status: int, body: bytes = b"", error: str = "") -> None:
        self.send_response(status)
        headers = {"Content-Length": str(len(body)), "ETag": f'"{hash(body):x}"', "X-Repo-Commit": "a" * 40}
        for header, value in (headers | {"X-Error-Code": error}).items():
            self.send_header(header, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


NO_VIEWER = """
import datasets.config
datasets.config.USE_PARQUET_EXPORT = False  # another server; looking for it takes seconds
"""
OPEN = f"""{NO_VIEWER}
import sys
from llara.datasets import open_collection
from llara.errors import LlaraError
for name in sys.argv[1:]:
    try:
        found = open_collection(name)
    except LlaraError as error:
        print(error)
    else:
        documents = [(d.id, d.title, d.text) for d in found.documents()]
        print([found.name, found.benchmark, found.split, found.queries, found.qrels, documents])
"""


TRAIN = f"""{NO_VIEWER}
import sys
from llara.datasets import read_training
from llara.mine.pools import passages_to_search
for name in sys.argv[1:]:
    examples = [(e.query, [d.id for d in e.positives]) for e in read_training(name, split="test")]
    print([examples, [d.id for d in passages_to_search(name, split="test")]])
"""
EVALUATE = f"""{NO_VIEWER}
import sys
from llara.cli import main
sys.exit(main(["evaluate", *sys.argv[1:]]))
"""


def run_in_new_process(arguments: list[str], folder: Path, **environment: str) -> list[str]:
    """What Python prints; the Hub's address is read once, at import."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "HF_HOME": str(folder / "hf"), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_repositories_of_the_hub_are_read_by_name(tmp_path, hub):
    pytest.importorskip("datasets")
    names = ["BeIR/scifact", "BeIR/quora", "mteb/nq", "someone/many:de", "someone/none"]
    *found, none = run_in_new_process(["-c", OPEN, *names], tmp_path, HF_ENDPOINT=hub, HF_HUB_OFFLINE="0")
    documents = [(row["_id"], row["title"], row["text"]) for row in CORPUS]
    rest = [{"1": "what purrs?"}, {"1": {"0012": 0, "4983": 2}}, documents]
    untitled = [(row["_id"], "", row["text"]) for row in CORPUS]
    assert found == [
        repr(["BeIR/scifact", "beir/scifact", "test", *rest]),
        repr(["BeIR/quora", "beir/quora", "test", *rest]),
        repr(["mteb/nq", "beir/nq", "test", *rest]),
        repr(["someone/many:de", None, "test", *rest[:2], untitled]),
    ]
    assert none.startswith(
        "someone/none: no such file or folder here, and no such dataset on the Hugging Face"
    )


def test_sentence_pairs_of_the_hub_are_evaluated_by_name(tmp_path, hub, retriever):
    pytest.importorskip("datasets")
    name = "mteb/stsbenchmark-sts"
    command = ["-c", EVALUATE, "--model", str(retriever.path), "--dataset", name, "--out", "out"]
    [line] = run_in_new_process(command, tmp_path, HF_ENDPOINT=hub, HF_HUB_OFFLINE="0")  # BM25 has no row
    row = json.loads(line)
    sides = [retriever.expected([pair[side] for pair in SCORED], "document") for side in (0, 1)]
    spearman = stats.spearmanr((sides[0] * sides[1]).sum(axis=1), [pair[2] for pair in SCORED]).statistic
    assert row.pop("metrics") == {"Spearman": pytest.approx(spearman)}
    assert row == {"system": str(retriever.path), "dataset": name, "split": "test"}


def test_repositories_of_the_hub_are_trained_on_by_name(tmp_path, hub):
    pytest.importorskip("datasets")
    names = ["BeIR/scifact", "BeIR/quora", "mteb/nq", "someone/many:de"]
    found = run_in_new_process(["-c", TRAIN, *names], tmp_path, HF_ENDPOINT=hub, HF_HUB_OFFLINE="0")
    assert found == [repr([[("what purrs?", ["4983"])], ["4983", "0012", "NA"]])] * 4
