"""What can go wrong when measures are typed: each is one clear error that leaves nothing, or is said."""

import gzip
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

import pytest

from llara.cli import main

Capture = pytest.CaptureFixture[str]
Row = tuple[str, str]

CORPUS = [("d1", "red fox runs"), ("d2", "blue whale swims"), ("d3", "")]
QUERIES = [("q1", "red fox"), ("q2", "the of"), ("q3", "whale")]


def write_data(name: str, *, corpus: Sequence[Row] = CORPUS, queries: Sequence[Row] = QUERIES) -> None:
    """A directory in BEIR's layout; ``train`` judges another query than ``test``, ``again`` one of its."""
    folder = Path(name)
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    for file, rows in (("corpus", corpus), ("queries", queries)):
        lines = [json.dumps({"_id": id_, "title": "Animals", "text": text}) + "\n" for id_, text in rows]
        (folder / f"{file}.jsonl").write_text("".join(lines), encoding="utf-8")
    for split, judged in (
        ("test", "q1\td1\t1\nq2\td2\t1\n"),
        ("train", "q3\td2\t1\n"),
        ("again", "q1\td1\t1\n"),
    ):
        (folder / "qrels" / f"{split}.tsv").write_text(judged, encoding="utf-8")


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_data("data")
    Path("good.trec").write_text("q1 Q0 d1 1 2.0 x\n", encoding="utf-8")
    Path("other.trec").write_text("q2 Q0 d2 1 2.0 x\n", encoding="utf-8")
    return tmp_path


def refusal(capsys: Capture, *arguments: str) -> str:
    """The one line of error, after which nothing new may be on the disk."""
    before = sorted(Path().rglob("*"))
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert sorted(Path().rglob("*")) == before
    return printed.err


def refused(capsys: Capture, *arguments: str) -> str:
    return refusal(capsys, "evaluate", "--out", "out", *arguments)


def results() -> list[dict[str, object]]:
    rows = json.loads(Path("out/metrics.json").read_text(encoding="utf-8"))["results"]
    assert isinstance(rows, list)
    return rows


def test_no_titles_means_none_for_a_model_of_ours_too() -> None:
    assert (
        main(["evaluate", "--model", "llara-mini", "--dataset", "data", "--out", "out", "--no-titles"]) == 0
    )
    read = {str(row["system"]): row["settings"]["title_separator"] for row in results()}  # type: ignore[index]
    assert read == {"llara-mini": None, "BM25": None}


@pytest.mark.parametrize("name", [".", "", ".."])
def test_a_folder_that_is_no_collection_is_refused(
    name: str, inside: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (inside / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(inside / "a" / "b")
    assert "no split 'test'" in refused(capsys, "--model", "none", "--dataset", name)


def test_a_comparison_that_cannot_be_written_is_refused(capsys: Capture) -> None:
    compare = ["compare", "good.trec", "other.trec", "--qrels", "data"]
    assert "good.trec/x.json" in refusal(capsys, *compare, "--out", "good.trec/x.json")
    assert "nowhere/x.json" in refusal(capsys, *compare, "--out", "nowhere/x.json")


@pytest.mark.parametrize(
    "measure", ["nDCG@99999999999999999999", "P@{[]:1}", "nDCG(gains={'a': 1})@5", "RR(rel=2**70)@5"]
)
def test_what_only_looks_like_a_measure_is_named(measure: str, capsys: Capture) -> None:
    assert repr(measure) in refused(capsys, "--model", "none", "--dataset", "data", "--measures", measure)


def test_a_missing_system_is_told_before_any_is_asked(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("llara.evaluate.Bm25System.run")
    for absent, told in (
        ("no-model", "'no-model'"),
        ("cls:no-model", "'no-model'"),
        ("mean:", "'mean:'"),
        ("run:absent.trec", "absent.trec"),
        ("run:{dataset}.trec", "data.trec"),
    ):
        assert told in refused(capsys, "--model", "none", absent, "--dataset", "data")


def test_a_place_that_cannot_be_written_is_told_before_any_is_asked(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("llara.evaluate.Bm25System.run")
    assert "good.trec is no directory" in refused(
        capsys, "--model", "none", "--dataset", "data", "--out", "good.trec/out"
    )


def test_systems_whose_names_are_written_alike_keep_their_own_files() -> None:
    Path("a").mkdir()
    Path("a/b").write_bytes(Path("good.trec").read_bytes())
    Path("a-b").write_bytes(Path("other.trec").read_bytes())
    assert main(["evaluate", "--model", "run:a/b", "run:a-b", "--dataset", "data", "--out", "out"]) == 0
    files = [Path("out/data", f"run-a-b{more}.trec").read_text(encoding="utf-8") for more in ("", "_")]
    assert [text.split()[:3] for text in files] == [["q1", "Q0", "d1"], ["q2", "Q0", "d2"]]
    kept = [json.loads(Path("out/data", f"run-a-b{more}.json").read_bytes())["name"] for more in ("", "_")]
    assert kept == ["run:a/b", "run:a-b"]


def test_what_stands_beside_the_output_stays() -> None:
    evaluate = ["evaluate", "--model", "none", "--dataset", "data", "--out", "out"]
    Path("out.old").mkdir()
    Path("out.old/mine").touch()
    assert main(evaluate) == 0
    assert main([*evaluate, "--overwrite"]) == 0
    assert Path("out.old/mine").exists()
    assert {path.name for path in Path().iterdir()} == {"data", "good.trec", "other.trec", "out", "out.old"}


def test_settings_that_would_be_ignored_are_refused(capsys: Capture) -> None:
    data = ["--model", "none", "--dataset", "data"]
    for option, value in (("corpus", "data"), ("queries", "9"), ("passages", "9"), ("language", "en")):
        assert f"--{option} is for --unlabelled" in refused(capsys, *data, f"--{option}", value)
    assert "name a model" in refused(capsys, *data, "--hybrid", "rrf")
    hybrid = ["--model", "run:good.trec", "--dataset", "data", "--hybrid", "rrf", "--no-bm25"]
    assert "drop one" in refused(capsys, *hybrid)
    assert "add --hybrid" in refused(capsys, *data, "--words", "lexical")
    compare = ["compare", "good.trec", "other.trec", "--qrels", "data/qrels/test.tsv", "--split", "test"]
    assert "has no split" in refusal(capsys, *compare)
    assert "--hybrid weighted" in refused(capsys, *data, "--tune-split", "train")
    assert "--hybrid weighted" in refused(capsys, *data, "--tune-split", "train", "--hybrid", "rrf")


def test_weights_are_not_chosen_on_what_is_measured_nor_on_nothing(capsys: Capture) -> None:
    hybrid = ["--model", "run:good.trec", "--dataset", "data", "--hybrid", "weighted", "--tune-split"]
    assert "'again' are measured as well" in refused(capsys, *hybrid, "again")
    assert main(["evaluate", *hybrid, "train", "--out", "out"]) == 1
    assert "found nothing for the 1 queries" in capsys.readouterr().err


def test_a_run_of_none_but_the_queries_that_weights_are_chosen_by_is_refused(capsys: Capture) -> None:
    Path("tuning.trec").write_text("q3 Q0 d2 1 2.0 x\n", encoding="utf-8")
    hybrid = ["--hybrid", "weighted", "--tune-split", "train"]
    assert main(["evaluate", "--model", "run:tuning.trec", "--dataset", "data", *hybrid, "--out", "out"]) == 1
    assert "'q3', none is judged in data, whose queries are such as 'q1'" in capsys.readouterr().err


def test_a_malformed_file_of_sentence_pairs_is_told_by_its_line(capsys: Capture) -> None:
    Path("pairs.tsv").write_text("one\ttwo\n", encoding="utf-8")
    assert "pairs.tsv:1" in refused(capsys, "--model", "none", "--dataset", "pairs.tsv")


def test_sentence_pairs_without_a_model_that_embeds_are_refused(capsys: Capture) -> None:
    Path("pairs.tsv").write_text("a b\tb c\t1\na b\tb c\t2\na b\tb c\t3\n", encoding="utf-8")
    assert "models that embed" in refused(capsys, "--model", "none", "--dataset", "pairs.tsv")


def test_a_document_whose_id_no_run_can_hold_is_told_before_anything_is_kept(capsys: Capture) -> None:
    write_data("spaced", corpus=[*CORPUS, ("d 4", "an ape")])
    assert "'d 4'" in refused(capsys, "--model", "none", "--dataset", "spaced")


def test_another_data_set_of_the_same_name_is_not_resumed(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_data("more/data", queries=[*QUERIES[1:], ("q1", "red whale")])
    typed = ["--model", "none", "run:good.trec", "--dataset"]
    with monkeypatch.context() as patch:
        patch.delattr("llara.evaluate.RunSystem.run")
        with pytest.raises(AttributeError):
            main(["evaluate", "--out", "out", *typed, "data"])
    assert "(contents)" in refused(capsys, *typed, "more/data", "--resume")
    assert main(["evaluate", "--out", "out", *typed, "data", "--resume"]) == 0
    assert [row["system"] for row in results()] == ["BM25", "run:good.trec"]


@pytest.fixture
def unfinished(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An evaluation that was stopped after its first row, and what was typed."""
    typed = ["--model", "none", "run:good.trec", "--dataset", "data"]
    with monkeypatch.context() as patch:
        patch.delattr("llara.evaluate.RunSystem.run")
        with pytest.raises(AttributeError):
            main(["evaluate", "--out", "out", *typed])
    return typed


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("settings.json", "{"),
        ("settings.json", "[]"),
        ("data/BM25.json", ""),
        ("data/BM25.json", "{}"),
        ("data/BM25.json", '{"place": 0, "intervals": {}, "more": 1}'),
        ("data/BM25.json", {"metrics": {"nDCG@10": 0.5, "R@5": 0.5}}),
        ("data/BM25.json", {"more": 1}),
        ("data/BM25.trec", None),
        ("data/BM25.trec", "q1 Q0 d1 1 x BM25"),
    ],
)
def test_what_was_damaged_is_not_resumed(
    file: str, content: str | dict[str, object] | None, unfinished: list[str], capsys: Capture
) -> None:
    path = Path("out.partial", file)
    if content is None:
        path.unlink()
    elif isinstance(content, dict):
        path.write_text(json.dumps({**json.loads(path.read_bytes()), **content}), encoding="utf-8")
    else:
        path.write_text(content, encoding="utf-8")
    assert Path(file).name in refused(capsys, *unfinished, "--resume")
    assert main(["evaluate", "--out", "out", *unfinished, "--overwrite"]) == 0


def test_a_model_whose_files_changed_is_not_resumed(unfinished: list[str], capsys: Capture) -> None:
    kept = Path("out.partial/data/BM25.json")
    content = json.loads(kept.read_bytes())
    content |= {"name": "llara-mini", "settings": {"fingerprint": "of another"}}
    kept.write_text(json.dumps(content), encoding="utf-8")
    assert "files of llara-mini have changed" in refused(capsys, *unfinished, "--resume")


def test_a_run_whose_file_changed_is_not_resumed(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = ["--model", "run:good.trec", "none", "--dataset", "data"]
    with monkeypatch.context() as patch:
        patch.delattr("llara.evaluate.Bm25System.run")
        with pytest.raises(AttributeError):
            main(["evaluate", "--out", "out", *typed])
    before = Path("good.trec").read_bytes()
    Path("good.trec").write_text("q1 Q0 d2 1 2.0 x\n", encoding="utf-8")
    assert "files of run:good.trec have changed" in refused(capsys, *typed, "--resume")
    Path("good.trec").write_bytes(before)
    assert main(["evaluate", "--out", "out", *typed, "--resume"]) == 0
    assert results()[0]["metrics"]["nDCG@10"] == 0.5  # type: ignore[index]


def test_a_corpus_whose_texts_changed_is_not_resumed(unfinished: list[str], capsys: Capture) -> None:
    write_data("data", corpus=[(id_, f"another {text}") for id_, text in CORPUS])
    assert "(contents)" in refused(capsys, *unfinished, "--resume")
    write_data("data")
    assert main(["evaluate", "--out", "out", *unfinished, "--resume"]) == 0


def test_a_run_is_measured_as_deep_as_it_is_and_read_compressed() -> None:
    many = "".join(f"q1 Q0 x{n} {n} {5000 - n} x\n" for n in range(2000))
    with gzip.open("deep.trec.gz", "wt", encoding="utf-8") as file:
        file.write(f"\ufeff{many}q1 Q0 d1 2001 1 x\n")
    asked = ["--measures", "RR", "--model", "run:deep.trec.gz", "--dataset", "data", "--out", "out"]
    assert main(["evaluate", *asked, "--split", "again"]) == 0
    assert results()[0]["metrics"] == {"RR": pytest.approx(1 / 2001)}


def test_judgements_in_trecs_format_do_for_a_collection() -> None:
    Path("data/qrels/test.tsv").write_text("q1 0 d1 1\nq2 0 d2 1\n", encoding="utf-8")
    assert main(["evaluate", "--model", "run:good.trec", "--dataset", "data", "--out", "out"]) == 0
    assert results()[0]["metrics"]["nDCG@10"] == 0.5  # type: ignore[index]


def test_a_bad_line_is_told_without_an_option_that_is_not_there(capsys: Capture) -> None:
    Path("data/corpus.jsonl").write_text('{"_id": "d1", "title": "x"}\n', encoding="utf-8")
    assert "--skip-bad" not in refused(capsys, "--model", "none", "--dataset", "data")
    adapt = ["adapt", "--base", "llara-mini-base", "--corpus", "data/corpus.jsonl", "--out", "adapted"]
    assert "--skip-bad" in refusal(capsys, *adapt)


def test_a_measure_that_cannot_be_read_is_told_in_words(capsys: Capture) -> None:
    data = ["--model", "none", "--dataset", "data", "--measures"]
    assert "'nDCG@ten' ('ten' is no number" in refused(capsys, *data, "nDCG@ten")


def test_the_headline_of_a_tie_names_both() -> None:
    assert main(["evaluate", "--model", "run:good.trec", "--dataset", "data", "--out", "out"]) == 0
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert "run:good.trec and BM25 reach nDCG@10 0.500 on data." in page


def test_the_page_shows_what_each_system_found_with_the_texts_of_the_collection() -> None:
    models = ["--model", "run:good.trec", "run:other.trec", "--no-bm25"]
    assert main(["evaluate", *models, "--dataset", "data", "--out", "out"]) == 0
    root = ElementTree.fromstring(Path("out/report.html").read_text(encoding="utf-8").partition("\n")[2])
    examples = [element for element in root.iter("details") if element.get("class") == "example"]
    words = [" ".join(" ".join(each.itertext()).split()) for each in examples]
    assert [each.split()[0] for each in words] == ["+1.000", "-1.000"]
    assert "run:other.trec nDCG@10 1.000; first relevant at rank 1 Animals d2 \u2713 relevant" in words[0]
    assert "run:good.trec nDCG@10 0.000; none relevant among 0 found" in words[0]


def test_an_evaluation_is_not_lost_for_its_page(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def fail(*arguments: object, **settings: object) -> None:
        raise MemoryError("no room for a picture")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    assert main(["evaluate", "--model", "run:good.trec", "--dataset", "data", "--out", "out"]) == 0
    assert (
        "warning: no report.html was written (MemoryError: no room for a picture)" in capsys.readouterr().err
    )
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "data",
        "metrics.json",
        "settings.json",
        "table.md",
    ]
