"""An evaluation that was stopped goes on only with the files that its rows were made of."""

import json
import shutil
from pathlib import Path

import pytest

from llara.corpus import Document
from llara.datasets import Collection
from llara.errors import ConfigError
from llara.evaluate import Bm25System, evaluate
from llara.model import MINI_BASE, fingerprint, resolve

COLLECTION = Collection(
    name="words",
    corpus={"d1": Document(id="d1", text="wing flow"), "d2": Document(id="d2", text="heat slab")},
    queries={"q1": "wing"},
    qrels={"q1": {"d1": 1}},
)


def stopped_after(spec: str, out: Path) -> None:
    """An evaluation that stops when BM25 is asked, after the row of ``spec``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(Bm25System, "run")
        with pytest.raises(AttributeError):
            evaluate(models=[spec, "bm25"], datasets=[COLLECTION], out=out)


def resumed(spec: str, out: Path) -> list[str]:
    found = evaluate(models=[spec, "bm25"], datasets=[COLLECTION], out=out, resume=True)
    return [each.name for each in found]


def test_a_plain_model_whose_files_changed_is_not_resumed(tmp_path):
    model = tmp_path / "plain"
    shutil.copytree(resolve(MINI_BASE), model)
    spec = f"mean:{model}"
    stopped_after(spec, tmp_path / "out")
    config = model / "config.json"
    before = config.read_bytes()
    config.write_bytes(before + b" ")
    with pytest.raises(ConfigError, match=r"the files of mean:.*plain have changed since words"):
        resumed(spec, tmp_path / "out")
    config.write_bytes(before)
    assert resumed(spec, tmp_path / "out") == [spec, "BM25"]


def test_a_model_of_others_whose_prompts_changed_is_not_resumed(tmp_path, other_retriever):
    spec = str(other_retriever.path)
    stopped_after(spec, tmp_path / "out")
    settings = other_retriever.path / "config_sentence_transformers.json"
    before = settings.read_text(encoding="utf-8")
    content = json.loads(before)
    content["prompts"]["query"] = "query: "
    settings.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"the files of .*other-model have changed"):
        resumed(spec, tmp_path / "out")
    settings.write_text(before, encoding="utf-8")
    assert resumed(spec, tmp_path / "out") == [spec, "BM25"]


def test_of_llaras_models_the_fingerprint_goes_on_leaving_out_those_settings(tmp_path):
    model = tmp_path / "ours"
    shutil.copytree(resolve(MINI_BASE), model)
    (model / "llara.json").write_text("{}", encoding="utf-8")
    before = fingerprint(model)
    (model / "config_sentence_transformers.json").write_text("{}", encoding="utf-8")
    assert fingerprint(model) == before
