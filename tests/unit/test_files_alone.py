"""Directories that are written: one run at a time, nothing of another's replaced, nothing read deleted."""

import os
import signal
import subprocess
import sys
import time

import pytest

from llara.encode import encode_file
from llara.errors import OutputError
from llara.evaluate import evaluate
from llara.files import Alone, atomic_directory
from llara.indexes import build_index, open_index
from llara.model import convert

CORPUS = '{"id": "a", "text": "w1 w2"}\n{"id": "b", "text": "w3"}\n'


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "c.jsonl").write_text(CORPUS, encoding="utf-8")
    return folder


@pytest.fixture
def encode(retriever, corpus, tmp_path):
    def call(out, **settings):
        return encode_file(str(retriever.path), corpus, tmp_path / out, role="document", **settings)

    return call


def test_a_run_is_kept_out_of_where_another_is_writing(encode, tmp_path):
    work = tmp_path / "out.partial"
    work.mkdir()
    (work / "settings.json").write_text("{}", encoding="utf-8")
    other = Alone()
    assert other.take(work)
    for settings in ({"overwrite": True}, {"resume": True}):
        with pytest.raises(OutputError, match=r"another run is writing .*out\.partial now"):
            encode("out", **settings)
    assert (work / "settings.json").exists()
    other.close()
    encode("out", overwrite=True)


def test_who_comes_second_does_not_replace_what_came_first(tmp_path):
    out = tmp_path / "out"

    def both():
        with atomic_directory(out) as directory:
            (directory / "who").write_text("second", encoding="utf-8")
            with atomic_directory(out) as quicker:
                (quicker / "who").write_text("first", encoding="utf-8")

    with pytest.raises(OutputError, match="exists and is not empty"):
        both()
    assert (out / "who").read_text(encoding="utf-8") == "first"
    assert list(tmp_path.iterdir()) == [out]


BUILD = """
import os, pathlib, sys
from llara.files import atomic_directory
with atomic_directory(pathlib.Path(sys.argv[1])) as directory:
    (directory / "half").write_text("half")
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_build_left_is_removed_by_the_next_and_what_lives_is_not(tmp_path):
    out = tmp_path / "out"
    killed = subprocess.run([sys.executable, "-c", BUILD, str(out)], check=False)
    assert killed.returncode == -signal.SIGKILL
    [left] = tmp_path.iterdir()
    with atomic_directory(out) as lives:
        pass  # it is not removed yet: it might be a new one, not locked so far
    assert left.exists()
    with atomic_directory(tmp_path / "out.b") as lives:
        long_ago = time.time() - 3600
        for directory in (left, lives):
            os.utime(directory, (long_ago, long_ago))
        with atomic_directory(out, overwrite=True):
            pass
        assert not left.exists()
        assert lives.exists()


def test_overwriting_never_deletes_what_is_read(encode, retriever, corpus, tmp_path):
    with pytest.raises(OutputError, match=r"would replace .*c\.jsonl, which is read"):
        encode("texts", overwrite=True)
    with pytest.raises(OutputError, match="would replace"):
        encode(".", overwrite=True)
    encode("vectors")
    with pytest.raises(OutputError, match=r"would replace .*vectors"):
        build_index(tmp_path / "vectors", tmp_path / "vectors", overwrite=True)
    with pytest.raises(OutputError, match="would replace"):
        encode_file(str(retriever.path), corpus, retriever.path, role="document", overwrite=True)
    with pytest.raises(OutputError, match="would replace"):
        convert(retriever.path, retriever.path, overwrite=True)
    with pytest.raises(OutputError, match="would replace"):
        evaluate(models=[str(retriever.path)], datasets=[], out=retriever.path, overwrite=True)
    assert (corpus / "c.jsonl").read_text(encoding="utf-8") == CORPUS
    assert len(open_index(build_index(str(tmp_path / "vectors"), str(tmp_path / "index")))) == 2


def test_a_training_is_kept_out_too(tmp_path):
    from tiny import byte_level, write_model

    from llara.adapt.run import adapt
    from llara.config import AdaptConfig

    base = write_model(tmp_path / "base", byte_level(bos=True))
    (tmp_path / "c.txt").write_text("A wing lifts.\nA sail pulls.\n", encoding="utf-8")
    work = tmp_path / "out.partial"
    work.mkdir()
    other = Alone()
    assert other.take(work)
    with pytest.raises(OutputError, match=r"another run is writing .*out\.partial now"):
        adapt(
            base=str(base),
            corpus=[tmp_path / "c.txt"],
            out=tmp_path / "out",
            config=AdaptConfig(),
            overwrite=True,
        )
    assert work.exists()
    other.close()
