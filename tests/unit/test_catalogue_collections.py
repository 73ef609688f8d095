"""Collections of ir_datasets by id, from tiny files in the layout of its cache."""

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from llara.datasets import open_collection
from llara.errors import InputError, MissingExtraError

pytest.importorskip("ir_datasets")

CORPUS = [
    {"_id": "4983", "title": "Cats", "text": "Cats purr.", "metadata": {}},
    {"_id": "0012", "title": "", "text": "Dogs bark.", "metadata": {}},
    {"_id": "NA", "title": "Fish", "text": "", "metadata": {}},
]
QUERIES = [{"_id": "1", "text": "what purrs?", "metadata": {}}, {"_id": "2", "text": "-", "metadata": {}}]
QRELS = "query-id\tcorpus-id\tscore\n1\t0012\t0\n1\t4983\t2\n"


def lines(rows: Sequence[Mapping[str, object]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


OPEN = """
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


def open_in_new_process(names: list[str], folder: Path) -> list[str]:
    """What ``OPEN`` prints; ir_datasets' home is read once, at import."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN, *names],
        env={**os.environ, "IR_DATASETS_HOME": str(folder / "irds")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home of ir_datasets that holds, by the names it downloads them to, tiny files of its own layouts."""

    def put(name: str, content: bytes) -> None:
        path = tmp_path / "irds" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)

    put("beir/scifact/source.zip", b"")
    with zipfile.ZipFile(tmp_path / "irds/beir/scifact/source.zip", "w") as zipped:
        zipped.writestr("scifact/corpus.jsonl", lines(CORPUS))
        zipped.writestr("scifact/queries.jsonl", lines(QUERIES))
        zipped.writestr("scifact/qrels/train.tsv", QRELS)
        zipped.writestr("scifact/qrels/test.tsv", QRELS)
    put("msmarco-passage/collectionandqueries.tar.gz", b"")
    with tarfile.open(tmp_path / "irds/msmarco-passage/collectionandqueries.tar.gz", "w:gz") as archive:
        for name, content in {
            "collection.tsv": b"0\tCats purr.\n1\tDogs bark.\n",
            "queries.dev.small.tsv": b"7\twhat purrs?\n",
            "qrels.dev.small.tsv": b"7\t0\t0\t1\n",
        }.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    put("msmarco-passage/trec-dl-2019/queries.tsv", b"8\twho?\n9\twhat barks?\n")
    put("msmarco-passage/trec-dl-2019/qrels", b"9 Q0 1 3\n9 Q0 0 0\n")
    document = "<DOC>\n<DOCNO>D%d</DOCNO>\n<TEXT>\nhttp://a.org/%d\n%s\n%s\n</TEXT>\n</DOC>\n"
    put("msmarco-document/collection.tsv.gz", (document % (1, 1, "Cats", "They purr.\nA lot.")).encode())
    put("msmarco-document/dev/queries.tsv.gz", b"7\twhat purrs?\n")
    put("msmarco-document/dev/qrels.gz", b"7 0 D1 1\n")
    return tmp_path / "irds"


def test_data_sets_of_the_catalogue_are_read_from_files_as_it_downloads_them(tmp_path, home):
    names = [
        "beir/scifact/test",
        "ir_datasets:beir/scifact",
        "msmarco-passage/dev/small",
        "msmarco-passage/trec-dl-2019/judged",
        "msmarco-document/dev",
    ]
    found = open_in_new_process(names, tmp_path)
    titled = [(row["_id"], row["title"], row["text"]) for row in CORPUS]
    passages = [("0", "", "Cats purr."), ("1", "", "Dogs bark.")]
    scifact = [
        "beir/scifact/test",
        "beir/scifact",
        "test",
        {"1": "what purrs?"},
        {"1": {"0012": 0, "4983": 2}},
    ]
    asked = [{"7": "what purrs?"}, {"7": {"0": 1}}]
    graded = [{"9": "what barks?"}, {"9": {"1": 3, "0": 0}}]
    page = [("D1", "Cats", "They purr.\nA lot.\n")]
    assert found == [
        repr([*scifact, titled]),
        repr([*scifact, titled]),
        repr(["msmarco-passage/dev/small", "msmarco-passage/dev", "dev/small", *asked, passages]),
        repr([names[3], "msmarco-passage/trec-dl-2019", "trec-dl-2019/judged", *graded, passages]),
        repr([names[4], "msmarco-document/dev", "dev", {"7": "what purrs?"}, {"7": {"D1": 1}}, page]),
    ]


def test_files_of_the_catalogue_that_are_damaged_are_an_error(tmp_path, home):
    (home / "msmarco-passage/trec-dl-2019/queries.tsv").write_bytes(b"9\tone\ttwo\n")
    (home / "msmarco-document/dev/qrels.gz").write_bytes(b"not gzip")
    passage, document = open_in_new_process(
        ["msmarco-passage/trec-dl-2019", "msmarco-document/dev"], tmp_path
    )
    assert passage.startswith("ir_datasets:msmarco-passage/trec-dl-2019: its files cannot be fetched or read")
    assert document.startswith("ir_datasets:msmarco-document/dev: its files cannot be fetched or read")


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        (
            "beir/scifact",
            "dev",
            "ir_datasets:beir/scifact: no split 'dev' .*one of: beir/scifact/test, beir/scifact/train",
        ),
        ("msmarco-passage", None, "no split 'test' .*one of: msmarco-passage/dev, msmarco-passage/dev/2"),
        ("msmarco-passage/eval", None, "msmarco-passage/eval: no split 'test' .*one of: none"),
        ("beir/nq", "dev", "beir/nq: no split 'dev' .*one of: none"),
        ("ir_datasets:no/such", None, "ir_datasets:no/such: no such data set in the catalogue"),
    ],
)
def test_an_id_without_judgements_is_refused_with_those_that_have_them(name, split, message):
    with pytest.raises(InputError, match=message):
        open_collection(name, split)


def test_without_ir_datasets_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ir_datasets", None)
    for name in ("beir/scifact/test", "msmarco-document/dev", "ir_datasets:cranfield"):
        with pytest.raises(MissingExtraError, match=r"llara\[ir-datasets\]"):
            open_collection(name)
    with pytest.raises(
        InputError, match="cranfield: no such collection; expected a directory in BEIR's layout"
    ):
        open_collection("cranfield")
