"""Outputs are whole at every moment, also while they are replaced."""

import os
import subprocess
import sys

import pytest

from llara.files import atomic_directory, put_in_place, work_directory

REPLACED = """
import os, shutil, sys
from pathlib import Path
from llara import files

shutil.rmtree = lambda *_, **__: os._exit(9)  # killed as soon as something would be removed
with files.atomic_directory(Path(sys.argv[1]), overwrite=True) as directory:
    (directory / "file").write_text("new")
"""


def test_a_directory_that_replaces_another_is_there_at_every_moment(tmp_path, monkeypatch):
    if sys.platform != "linux":
        pytest.skip("only Linux exchanges two paths in one step")
    out = tmp_path / "out"
    out.mkdir()
    (out / "file").write_text("old")
    monkeypatch.setattr(os, "replace", lambda *_: pytest.fail("a rename leaves a moment without either"))
    with atomic_directory(out, overwrite=True) as directory:
        (directory / "file").write_text("new")
    assert (out / "file").read_text() == "new"
    assert list(tmp_path.iterdir()) == [out]


def test_a_run_that_is_killed_while_it_replaces_leaves_the_new_output(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_text("old")
    done = subprocess.run([sys.executable, "-c", REPLACED, str(tmp_path / "out")], check=False)
    assert done.returncode == 9
    assert (tmp_path / "out" / "file").read_text() == "new"


def test_where_paths_cannot_be_exchanged_two_renames_do(tmp_path, monkeypatch):
    monkeypatch.setattr("llara.files._exchanged", lambda *_: False)
    for name in ("new", "out"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    put_in_place(tmp_path / "new", tmp_path / "out")
    assert (tmp_path / "out" / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("before", ["nothing", "a directory"])
def test_what_a_symbolic_link_points_to_is_replaced_and_the_link_stays(tmp_path, before):
    real, link = tmp_path / "disk" / "real", tmp_path / "here" / "out"
    real.parent.mkdir()
    link.parent.mkdir()
    link.symlink_to(real)
    if before == "a directory":
        real.mkdir()
        (real / "file").write_text("old")
    with atomic_directory(link, overwrite=True) as directory:
        assert directory.parent == real.parent  # the same file system
        (directory / "file").write_text("new")
    assert (real / "file").read_text() == "new"
    assert link.readlink() == real
    assert [*real.parent.iterdir(), *link.parent.iterdir()] == [real, link]


def test_an_unfinished_run_stands_beside_what_the_link_points_to(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "real")
    assert work_directory(tmp_path / "link") == tmp_path / "disk" / "real.partial"
    assert work_directory(tmp_path / "plain") == tmp_path / "plain.partial"
