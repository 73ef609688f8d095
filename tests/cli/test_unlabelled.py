"""``llara evaluate --unlabelled`` as it is typed: what it says of the models, and where it warns."""

import json
from pathlib import Path
from random import Random

import pytest

from llara.cli import main
from llara.evaluate.unlabelled import CAUTION

MODELS = ["mean:llara-mini-base", "llara-mini"]
WORDS = (
    "river stone water light house tree paper glass music table window garden bridge road ship island winter "
    "summer morning evening bread salt sugar coffee horse bird fish cloud rain snow fire metal gold silver "
    "wood cotton letter number story song voice hand heart blood bone field hill valley ocean desert forest "
    "engine wheel train plane market village city king queen soldier doctor teacher child mother father"
)
TASKS = ["title-body", "sentence-rest", "passage-next"]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small corpus, each document of nine words that it says again and again."""
    folder = tmp_path_factory.mktemp("unlabelled")
    draw = Random(4)

    def document(number: int) -> str:
        topic = draw.sample(WORDS.split(), k=9)
        sentences = [" ".join(draw.choices(topic, k=10)).capitalize() + "." for _ in range(12)]
        title = " ".join(draw.sample(topic, k=3))
        return json.dumps({"id": f"d{number}", "title": title, "text": " ".join(sentences)})

    lines = [document(number) for number in range(22)]
    (folder / "corpus.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


def test_the_verdicts_and_the_caution_are_said_and_written(
    evaluated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = evaluated / "out"
    typed = ["--unlabelled", "--corpus", str(evaluated / "corpus.jsonl"), "--queries", "25"]
    assert main(["evaluate", "--model", *MODELS, *typed, "--out", str(out)]) == 0
    said = capsys.readouterr()
    content = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    metric = {(row["system"], row["dataset"]): row["metrics"]["nDCG@10"] for row in content["results"]}
    assert [key for key in metric if key[0] == "BM25"] == [("BM25", task) for task in TASKS]
    [verdict] = content["verdicts"]
    differences = [metric[MODELS[1], task] - metric[MODELS[0], task] for task in TASKS]
    assert (verdict["run"], verdict["against"]) == (MODELS[1], MODELS[0])
    assert [verdict["tasks"][task]["difference"] for task in TASKS] == pytest.approx(differences)
    signs = {(each > 0) - (each < 0) for each in differences}
    assert verdict["sign"] == (signs.pop() if len(signs) == 1 else 0)
    assert content["notes"] == [CAUTION]
    page = (out / "report.html").read_text(encoding="utf-8")
    table = (out / "table.md").read_text(encoding="utf-8")
    for place in (said.err, page, table):
        for text in (content["finding"], CAUTION):
            assert text in place.replace("&#x27;", "'").replace("&#39;", "'")
    assert f"sentence-rest {differences[1]:+.3f}, p " in content["finding"]
    assert [json.loads(line)["dataset"] for line in said.out.splitlines()] == TASKS * 3
