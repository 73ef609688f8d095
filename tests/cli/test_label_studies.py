"""The studies of similarity and of unlabelled tasks run from their command lines, small, and count right."""

import json
from pathlib import Path

import numpy as np
from processes import Done, script

from llara.corpus import Document
from llara.datasets import Collection, write_beir

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(name: str, *arguments: object) -> Done:
    done = script(BENCHMARKS / f"{name}.py", "--tiny", *arguments, cwd=BENCHMARKS)
    assert done.code == 0, done.stderr
    return done


def write_collection(path, seed):
    """Sixty texts of six sentences of random words; a query repeats three words of its answer."""
    generator = np.random.default_rng(seed)
    words = ["".join(generator.choice(list("aeioulnrst"), size=6)) for _ in range(400)]

    def text(number):
        return " ".join(generator.choice(words, size=number))

    corpus = {
        str(n): Document(id=str(n), title=text(2), text=" ".join(f"{text(8)}." for _ in range(6)))
        for n in range(60)
    }
    queries = {f"q{n}": " ".join(corpus[n].text.split()[:3]) for n in corpus}
    qrels = {f"q{n}": {n: 1} for n in corpus}
    return write_beir(path, {"test": Collection(path.name, corpus, queries, qrels)})


def test_the_unlabelled_study_counts_the_pairs_in_the_same_order(tmp_path):
    collection = write_collection(tmp_path / "words", seed=1)
    out = tmp_path / "result.json"
    arguments = (
        "--system", "BM25=bm25", "same=bm25", "adapted=llara-mini", "--collection", f"{collection}:test",
        "--work", tmp_path / "work", "--out", out,
    )  # fmt: skip
    done = run("unlabelled_study", *arguments)
    assert len(done.stdout.splitlines()) == 4
    result = json.loads(out.read_text())
    assert str(tmp_path) not in out.read_text()
    assert {"settings", "machine", "disagreements"} <= result.keys()
    values = result["values"]["words"]
    assert (
        list(values) == ["judged", "title-body", "sentence-rest", "mean of the tasks"] or result["not_made"]
    )
    for task, systems in values.items():
        assert systems["BM25"] == systems["same"]
        if task == "judged":
            continue
        found = result["agreement"][task]
        # BM25 and itself never stand in an order, so of three pairs two can agree
        expected = (systems["BM25"] - systems["adapted"]) * (
            values["judged"]["BM25"] - values["judged"]["adapted"]
        )
        assert found["all"] == {"same": 2 * (expected > 0), "pairs": 3}
        assert found["models only"] == {"same": int(expected > 0), "pairs": 1}
        assert found["BM25 against a model"] == {"same": int(expected > 0), "pairs": 2}
    again = tmp_path / "again.json"
    run("unlabelled_study", *arguments[:-1], again)
    assert again.read_text() == out.read_text()  # from what was kept


def test_the_unlabelled_study_also_asks_the_judgements_of_the_other_collections(tmp_path):
    collections = [write_collection(tmp_path / name, seed) for seed, name in enumerate(("one", "two"))]
    out = tmp_path / "result.json"
    sources = [f"{path}:test" for path in collections]
    run("unlabelled_study", "--system", "a=bm25", "b=llara-mini", "--collection", *sources,
        "--work", tmp_path / "work", "--out", out)  # fmt: skip
    result = json.loads(out.read_text())
    one, two = (result["values"][name]["judged"] for name in ("one", "two"))
    same = (one["a"] - one["b"]) * (two["a"] - two["b"]) > 0
    found = result["agreement"]["judgements of the other collections"]
    assert found["all"] == {"same": 2 * same, "pairs": 2}
    assert found["models, significant without labels"]["pairs"] == 0


def test_the_study_of_roles_measures_all_four_combinations(tmp_path):
    pairs = tmp_path / "pairs"
    pairs.mkdir()
    (pairs / "test.tsv").write_text(
        "".join(f"wing {n} of a slab\tslipstream {n % 3}\t{n % 5}\n" for n in range(12))
    )
    out = tmp_path / "result.json"
    done = run("similarity_roles", "--model", "m=llara-mini", "--dataset", f"{pairs}:test", "--out", out)
    assert len(done.stdout.splitlines()) == 5
    result = json.loads(out.read_text())
    assert result["settings"]["pairs"] == {"pairs:test": 8}
    assert list(result["spearman"]["m"]) == ["SELF/SELF", "SELF/NEXT", "NEXT/SELF", "NEXT/NEXT"]


def test_the_lexical_study_fuses_and_compares_what_each_search_finds(tmp_path):
    collection = write_collection(tmp_path / "made", seed=2)
    out = tmp_path / "lexical.json"
    run("lexical", "--dataset", f"{collection}:test", "--out", out)
    found = json.loads(out.read_text())
    means = {system: each["made"]["mean"] for system, each in found["systems"].items()}
    assert means["bm25"] > 0.9  # a query is three words of its answer
    assert len(means) == 7
    differences = {(row["first"], row["second"]): row["difference"] for row in found["differences"]}
    assert abs(differences["lexical", "dense"] - (means["lexical"] - means["dense"])) < 1e-9
