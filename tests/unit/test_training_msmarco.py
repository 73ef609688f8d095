"""Training examples of MS MARCO's own files."""

import gzip
from pathlib import Path

import pytest
from training_layouts import kinds, write

from llara.corpus import Document
from llara.datasets import DataReport, TrainingExample, read_training
from llara.errors import InputError


def msmarco(folder: Path, **files: str) -> Path:
    contents = {
        "collection.tsv": '0\tNot asked for.\n1\tCats "purr".\n2\tDogs bark.\n3\tFish.\n',
        "queries.train.tsv": "10\twhat purrs?\n11\twhat barks?\n",
        "qrels.train.tsv": "10\t0\t1\t1\n11 0 2 1\n",
    } | {name.replace("__", "."): content for name, content in files.items()}
    for name, content in contents.items():
        if content:
            write(folder / name, content)
    return folder


CATS, DOGS, FISH = Document("1", 'Cats "purr".'), Document("2", "Dogs bark."), Document("3", "Fish.")


def test_msmarco_qrels_give_positives(tmp_path):
    assert list(read_training(msmarco(tmp_path))) == [
        TrainingExample("10", "what purrs?", (CATS,)),
        TrainingExample("11", "what barks?", (DOGS,)),
    ]


def test_triples_of_ids_add_negatives_to_the_qrels(tmp_path):
    folder = msmarco(tmp_path)
    (folder / "qidpidtriples.train.full.2.tsv.gz").write_bytes(
        gzip.compress(b"10\t1\t2\n10\t1\t3\n10\t1\t2\n11\t3\t1\n")
    )
    report = DataReport()
    found = list(read_training(folder, report=report))
    assert found == [
        TrainingExample("10", "what purrs?", (CATS,), (DOGS, FISH)),
        TrainingExample("11", "what barks?", (DOGS, FISH), (CATS,)),
    ]
    assert kinds(report) == {}


def test_a_file_of_triples_of_ids_is_a_source_with_the_files_beside_it(tmp_path):
    triples = write(msmarco(tmp_path) / "qidpidtriples.train.small.tsv", "11\t2\t1\n")
    assert list(read_training(triples)) == [TrainingExample("11", "what barks?", (DOGS,), (CATS,))]


def test_triples_of_texts_are_streamed_with_following_lines_of_a_query_as_one(tmp_path):
    triples = write(
        tmp_path / "triples.train.small.tsv",
        "what purrs?\tCats.\tDogs.\nwhat purrs?\tCats.\tFish.\n狗?\t狗叫。\t猫。\n"
        "what purrs?\tCats.\tBirds.\n",
    )
    found = list(read_training(triples))
    assert [(e.query_id, e.query) for e in found] == [
        (f"{triples}:1", "what purrs?"),
        (f"{triples}:3", "狗?"),
        (f"{triples}:4", "what purrs?"),
    ]
    assert [[p.text for p in e.positives] for e in found] == [["Cats."], ["狗叫。"], ["Cats."]]
    assert [[p.text for p in e.negatives] for e in found] == [["Dogs.", "Fish."], ["猫。"], ["Birds."]]
    assert list(read_training(tmp_path)) == found


def test_triples_of_chinese_texts_are_not_taken_for_ids(tmp_path):
    (found,) = read_training(write(tmp_path / "triples.tsv", "狗?\t狗叫\t猫\n"))
    assert found.positives[0].text == "狗叫"


def test_documents_have_titles(tmp_path):
    folder = tmp_path
    write(folder / "msmarco-docs.tsv", "D1\thttps://a.b\tCats\tCats purr.\nD2\thttps://a.b\t\tDogs.\n")
    write(folder / "msmarco-doctrain-queries.tsv", "10\twhat purrs?\n")
    write(folder / "msmarco-doctrain-qrels.tsv", "10 0 D1 1\n10 0 D2 0\n")
    assert list(read_training(folder)) == [
        TrainingExample(
            "10", "what purrs?", (Document("D1", "Cats purr.", "Cats"),), (Document("D2", "Dogs."),)
        )
    ]


def test_msmarco_without_its_collection_takes_the_corpus_given(tmp_path):
    folder = msmarco(tmp_path / "m", collection__tsv="")
    corpus = write(tmp_path / "c.tsv", "1\tCats.\n2\tDogs.\n")
    assert [e.positives[0].text for e in read_training(folder, corpus=corpus)] == ["Cats.", "Dogs."]
    with pytest.raises(InputError, match=r"no collection\.tsv there; add it, or name the corpus"):
        read_training(folder)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"queries.train.tsv": ""}, r"no queries\.train\.tsv there"),
        ({"queries.train.tsv": "10\n"}, r"queries\.train\.tsv:1: 1 tab-separated cells; expected two"),
        ({"qrels.train.tsv": ""}, r"no judgements of the split 'train'"),
        ({"qrels.train.tsv": "10\t1\t1\n"}, r"qrels\.train\.tsv:1: '10\\t1\\t1' is no judgement"),
        ({"collection.tsv": "1\n"}, r"collection\.tsv:1: 1 tab-separated cells"),
        ({"triples.train.tsv": "10\t1\n"}, r"triples\.train\.tsv:1: 2 tab-separated cells; expected three"),
        (
            {"qidpidtriples.train.a.tsv": "10\t1\t2\n", "qidpidtriples.train.b.tsv": "10\t1\t2\n"},
            r"several files of triples \(qidpidtriples\.train\.a\.tsv, qidpidtriples\.train\.b\.tsv\)",
        ),
    ],
)
def test_msmarco_files_that_cannot_be_used_are_errors(tmp_path, files, message):
    with pytest.raises(InputError, match=message):
        list(read_training(msmarco(tmp_path, **files)))
