"""``llara encode`` as users run it: killed at chosen places and in groups, on full disks, and verified."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from processes import Kill, llara
from tiny import SENTENCES, byte_level, write_model

from llara.cli import main
from llara.model import convert

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transformer, a corpus of 40 documents, and its vectors in ``whole``."""
    folder = tmp_path_factory.mktemp("encoding")
    convert(write_model(folder / "base", byte_level(bos=True)), folder / "model", max_tokens=64)
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as file:
        for number in range(40):
            record = {"id": number, "title": f"No. {number}", "text": SENTENCES[number % 6], "year": number}
            file.write(json.dumps(record) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(encode("whole")) == 0
    return folder


@pytest.fixture
def inside(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(workspace)
    return workspace


def encode(out: Path | str, *more: str) -> list[str]:
    command = ["encode", "--model", "model", "--input", "corpus.jsonl", "--role", "document"]
    return [*command, "--shard-size", "8", "--out", str(out), *more]


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


KILLS = {
    "while it reads": (Kill(after="llara.encode.reading:write_hashed", calls=2), 0),
    "when all is read": (Kill(after="llara.encode.run:read_input"), 0),
    "with a shard under its temporary name": (
        Kill(after="numpy.lib.format:write_array", calls=4),
        2,
    ),  # the first: ids
    "with a shard that has no record": (Kill(after="llara.encode.shards:write_hashed", calls=3), 2),
    "when all is done but the clean-up": (Kill(after="llara.encode.run:put_in_place"), 5),
}


@pytest.mark.parametrize("moment", KILLS)
def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(moment: str, inside: Path) -> None:
    kill, done = KILLS[moment]
    out = inside / moment.replace(" ", "-")
    assert llara(*encode(out), cwd=inside, kill=kill).code == -signal.SIGKILL
    assert out.exists() == (done == 5)
    records = list((inside / f"{out.name}.partial" / "records").iterdir())
    assert len(records) == done
    resumed = llara(*encode(out, "--resume"), cwd=inside)
    assert resumed.code == 0, resumed.stderr
    assert ("complete" if done == 5 else f"{done} of 5 shards are done already") in resumed.stderr
    assert content(out) == content(inside / "whole")
    assert not (inside / f"{out.name}.partial").exists()


@pytest.mark.parametrize("again", [("--resume",), ("--resume", "--overwrite")])
def test_a_run_killed_before_it_removes_what_it_replaced_is_complete(
    again: tuple[str, ...], inside: Path
) -> None:
    name = f"replaced{len(again)}"
    assert main(encode(name, "--dtype", "int8")) == 0
    kill = Kill(after="llara.files:_exchanged")
    assert llara(*encode(name, "--overwrite"), cwd=inside, kill=kill).code == -signal.SIGKILL
    made = {path: path.stat().st_mtime_ns for path in (inside / name).iterdir()}
    resumed = llara(*encode(name, *again), cwd=inside)
    assert resumed.code == 0, resumed.stderr
    assert "complete" in resumed.stderr
    assert content(inside / name) == content(inside / "whole")
    assert {path: path.stat().st_mtime_ns for path in (inside / name).iterdir()} == made
    assert not (inside / f"{name}.partial").exists()


def test_a_killed_run_that_is_to_replace_other_vectors_goes_on_to_do_so(inside: Path) -> None:
    assert main(encode("replacing", "--dtype", "int8")) == 0
    kill = Kill(after="llara.encode.shards:write_hashed", calls=3)
    assert llara(*encode("replacing", "--overwrite"), cwd=inside, kill=kill).code == -signal.SIGKILL
    resumed = llara(*encode("replacing", "--resume", "--overwrite"), cwd=inside)
    assert "2 of 5 shards are done already" in resumed.stderr
    assert content(inside / "replacing") == content(inside / "whole")


def test_a_group_of_workers_that_is_killed_goes_on_with_one(inside: Path, capsys: Capture) -> None:
    command = [sys.executable, "-m", "llara", *encode("group", "--workers", "2")]
    process = subprocess.Popen(command, cwd=inside, stderr=subprocess.DEVNULL, start_new_session=True)
    records = inside / "group.partial" / "records"
    while process.poll() is None and not (records.is_dir() and any(records.iterdir())):
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert main(encode("group", "--resume")) == 0
    assert content(inside / "group") == content(inside / "whole")


# -- the disk


def test_a_disk_too_full_for_the_texts_is_one_error_and_leaves_nothing(
    inside: Path, small_disk: Callable[[str], Path], capsys: Capture
) -> None:
    disk = small_disk("size=16k")
    assert main(encode(disk / "out")) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: cannot write")
    assert "No space left" in error
    assert not list(disk.iterdir())


def test_a_disk_that_fills_up_keeps_what_is_done_for_resume(
    inside: Path, small_disk: Callable[[str], Path], capsys: Capture
) -> None:
    disk = small_disk("size=56k")
    assert main(encode(disk / "out")) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: cannot write")
    assert "No space left" in error
    assert "go on with --resume" in error
    records = (disk / "out.partial" / "records").glob("*.json")
    vectors = [disk / "out.partial" / "vectors" / f"{path.stem}.npy" for path in records]
    finished = {path: path.stat().st_mtime_ns for path in vectors}
    assert 0 < len(finished) < 5
    subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
    assert main(encode(disk / "out", "--resume")) == 0
    assert content(disk / "out") == content(inside / "whole")
    assert all((disk / "out" / path.name).stat().st_mtime_ns == made for path, made in finished.items())


# -- verifying


def test_a_directory_as_it_was_written_is_said_to_be_so(inside: Path, capsys: Capture) -> None:
    assert main(["encode", "--verify", "whole"]) == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "as it was written" in printed.err


def test_a_run_that_is_not_done_is_said_to_be_so(inside: Path, capsys: Capture) -> None:
    (inside / "begun.partial").mkdir()
    assert main(["encode", "--verify", "begun"]) == 1
    assert "an unfinished run stands in" in capsys.readouterr().err


def test_damage_is_named_shard_by_shard_and_mended_by_resume(inside: Path, capsys: Capture) -> None:
    assert main(encode("damaged")) == 0
    os.truncate("damaged/shard-00003.npy", 100)
    capsys.readouterr()
    assert main(["encode", "--verify", "damaged"]) == 1
    printed = capsys.readouterr()
    assert printed.out.startswith("shard-00003.npy: its checksum is not the manifest's")
    assert "--resume" in printed.err
    assert main(encode("damaged", "--resume")) == 0
    assert content(inside / "damaged") == content(inside / "whole")
    assert main(["encode", "--verify", "damaged"]) == 0


def test_reading_and_encoding_can_be_two_commands(inside: Path, capsys: Capture) -> None:
    assert main(encode("later", "--texts-only")) == 0
    assert capsys.readouterr().out.strip() == str(inside / "later.partial")
    assert main(encode("later", "--resume")) == 0
    assert content(inside / "later") == content(inside / "whole")


@pytest.mark.parametrize(("more", "most"), [((), 40), (("--batch-size", "3"), 3)])
def test_a_batch_holds_as_many_texts_as_its_tokens_allow_unless_told(
    more: tuple[str, ...], most: int, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llara.encoder import choice, path

    sizes: list[int] = []
    batches = vars(path)["token_batches"]

    def counted(lengths: Sequence[int], **settings: Any) -> list[list[int]]:
        made = batches(lengths, **settings)
        sizes.extend(len(batch) for batch in made)
        return made

    monkeypatch.setattr(choice, "_CPU_TOKENS", 100_000)
    monkeypatch.setattr(path, "token_batches", counted)
    assert main([*encode(f"batches{most}", "--shard-size", "100"), *more]) == 0
    assert max(sizes) == most


def in_cache(cache: Path, name: str, model: Path) -> None:
    """Put a model directory where the Hub's cache has a downloaded one: a branch, a snapshot, blobs."""
    commit = "c" * 40
    place = cache / f"models--{name.replace('/', '--')}"
    for folder in ("refs", "blobs"):
        (place / folder).mkdir(parents=True)
    (place / "refs" / "main").write_text(commit)
    for number, path in enumerate(sorted(p for p in model.rglob("*") if p.is_file())):
        blob = place / "blobs" / str(number)
        blob.write_bytes(path.read_bytes())
        link = place / "snapshots" / commit / path.relative_to(model)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))


def test_a_model_of_the_hub_is_found_in_the_cache_by_its_name(
    inside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_cache(tmp_path / "hub", "someone/model", inside / "model")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    command = ["encode", "--model", "someone/model", *encode("hub")[3:]]
    assert main(command) == 0
    made = json.loads((inside / "hub" / "manifest.json").read_text())
    local = json.loads((inside / "whole" / "manifest.json").read_text())
    assert made == {**local, "model": "someone/model"}
    assert main([*command, "--resume"]) == 0
    assert main(["index", "--vectors", "hub", "--out", "hub-index"]) == 0
    assert main(["search", "--index", "hub-index", SENTENCES[0]]) == 0


def test_a_name_that_is_not_in_the_cache_is_an_error_of_the_model(
    inside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert main(["encode", "--model", "someone/else", *encode("nowhere")[3:]]) == 1
    assert "no model 'someone/else' on this machine" in capsys.readouterr().err
    assert not list(inside.glob("nowhere*"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--engine", "torchrun"], "torchrun --nproc-per-node"),
        (["--dimensions", "12", "--dtype", "binary"], "multiple of 8"),
    ],
)
def test_what_cannot_be_done_is_one_error_and_leaves_nothing(
    more: list[str], message: str, inside: Path, capsys: Capture
) -> None:
    assert main(encode("refused", *more)) == 1
    assert message in capsys.readouterr().err
    assert not list(inside.glob("refused*"))


def test_without_verify_the_rest_is_needed(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["encode", "--model", "m", "--out", "x"])
    assert ended.value.code == 2
    assert "also needed: --input, --role" in capsys.readouterr().err
