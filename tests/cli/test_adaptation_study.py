"""The adaptation study runs from its command line, small, goes on where it stopped, and counts right."""

import json
import lzma
from pathlib import Path

import numpy as np
import pytest
from processes import Done, script

from llara.corpus import Document
from llara.datasets import Collection, write_beir

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SEARCHED = ("squad", "wikiqa", "covidqa", "cranfield", "cisi", "cacm")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Collections under the names of the study's, made of random words."""
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(3)
    words = ["".join(generator.choice(list("aeioulnrst"), size=5)) for _ in range(300)]

    def text(number: int) -> str:
        return " ".join(generator.choice(words, size=number))

    for name in (*SEARCHED, "squad-train-sentences", "medquad"):
        corpus = {f"{n}": Document(id=f"{n}", text=text(30)) for n in range(20)}
        queries = {f"q{n}": " ".join(corpus[n].text.split()[:6]) for n in corpus}
        qrels = {f"q{n}": {n: 1} for n in corpus}
        split = {"squad": "dev", "squad-train-sentences": "train", "medquad": "train"}.get(name, "test")
        write_beir(folder / name, {split: Collection(name, corpus, queries, qrels)})
    (folder / "stsb").mkdir()
    pairs = [f"{text(5)}\t{text(5)}\t{n % 6}\n" for n in range(30)]
    (folder / "stsb" / "test.tsv").write_text("sentence1\tsentence2\tscore\n" + "".join(pairs))
    (folder / "wiki").mkdir()
    with lzma.open(folder / "wiki" / "articles-00.jsonl.xz", "wt", encoding="utf-8") as file:
        for n in range(240):
            file.write(json.dumps({"id": str(n), "title": text(2), "text": text(200)}) + "\n")
    return folder


def study(data: Path, work: Path, *parts: str) -> Done:
    places = ("--data", data, "--work", work, "--out", work / "study.json")
    return script(BENCHMARKS / "adaptation_study.py", "--tiny", *places, "--parts", *parts, cwd=work)


def test_the_study_makes_measures_and_compares_and_then_has_nothing_to_do(data: Path, tmp_path: Path) -> None:
    done = study(data, tmp_path, "english-1", "target")
    assert done.code == 0, done.stderr
    result = json.loads((tmp_path / "study.json").read_text())
    runs, systems = result["runs"], result["systems"]
    tuned = {"un-adapted-1-finetuned", "both-1-finetuned"}
    plain = {"un-adapted", "both-1", "llara-mini-then-on-squad"}
    assert runs.keys() == tuned | plain | {f"{name}, SELF/SELF" for name in plain}
    assert list(runs["both-1"]) == [*SEARCHED, "stsb"]
    assert list(result["losses"]) == ["both-1", "llara-mini-then-on-squad"]
    assert {"ebae", "ebar"} < result["losses"]["both-1"][-1].keys()
    for system, run in (
        ("un-adapted", "un-adapted"),
        ("un-adapted, fine-tuned", "un-adapted-1-finetuned"),
        ("both", "both-1"),
        ("both, SELF/SELF", "both-1, SELF/SELF"),
        ("both, fine-tuned", "both-1-finetuned"),
    ):
        mean = np.mean([runs[run][data_set] for data_set in SEARCHED])
        assert systems[system]["average"]["mean"] == pytest.approx(mean, abs=2e-5)
        for data_set, measured in systems[system].items():
            assert measured["interval"][0] <= measured["mean"] <= measured["interval"][1]
            assert data_set == "average" or measured["seeds"] == [runs[run][data_set]]
    differences = {
        (c["first"], c["data"]): c["difference"]
        for c in result["comparisons"]
        if c["second"].startswith("un-adapted")
    }
    for data_set in (*SEARCHED, "stsb"):
        gain = runs["both-1"][data_set] - runs["un-adapted"][data_set]
        assert differences["both", data_set] == pytest.approx(gain, abs=2e-5)
        gain = runs["both-1-finetuned"][data_set] - runs["un-adapted-1-finetuned"][data_set]
        assert differences["both, fine-tuned", data_set] == pytest.approx(gain, abs=2e-5)
    assert "both, fine-tuned" in done.stdout

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "models").rglob("*")}
    (tmp_path / "measured" / "both-1.cisi.json").unlink()  # as if it had been killed before this
    again = study(data, tmp_path, "english-1", "target")
    assert again.code == 0, again.stderr
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "models").rglob("*")} == before
    assert again.stdout == done.stdout
    assert json.loads((tmp_path / "study.json").read_text()) == result


def test_a_part_whose_start_nobody_makes_is_refused_by_name(data: Path, tmp_path: Path) -> None:
    done = study(data, tmp_path, "english-2")
    assert done.code == 1
    assert "nothing to start from: un-adapted-2-finetuned" in done.stderr
