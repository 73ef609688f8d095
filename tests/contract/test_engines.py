"""One suite over every engine: each piece is done once, errors come back, and vectors are the same bytes."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pieces
import pytest
from pieces import Pieces
from processes import Kill, finish, llara_twice, start_script
from tiny import SENTENCES, byte_level, write_model

from llara.encode import encode_file, verify
from llara.engines import Engine, get_engine, on_ray
from llara.errors import ConfigError, LlaraError, OutputError
from llara.model import convert

has_ray = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not has_ray, reason="Ray is not installed")
WITHIN = [("local", 1), ("local", 2), pytest.param("ray", 2, marks=needs_ray)]
APART = WITHIN[1:]


@pytest.fixture(scope="module", autouse=True)
def ray_lasts() -> Iterator[None]:
    """Ray starts with the first test that needs it and ends here. Its workers find ``pieces`` by path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(pieces.__file__).parent), prepend=os.pathsep)
        yield
        if has_ray:
            import ray

            ray.shutdown()


def engine_of(name: str, workers: int) -> Engine:
    return get_engine(name, workers=workers)


@pytest.mark.parametrize(("name", "workers"), WITHIN)
def test_every_piece_is_done_once(name: str, workers: int, tmp_path: Path) -> None:
    work = Pieces(tmp_path)
    assert sorted(engine_of(name, workers).run(work, range(3, 9))) == [3, 4, 5, 6, 7, 8]
    done = work.done()
    assert sorted(done) == [3, 4, 5, 6, 7, 8]
    assert all(len(processes) == 1 for processes in done.values())
    is_here = {processes[0] == os.getpid() for processes in done.values()}
    assert is_here == {workers == 1}


def test_local_workers_see_the_environment_of_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in ("first", "second"):
        monkeypatch.setenv("LLARA_TEST_OF_NOW", value)
        list(engine_of("local", 2).run(Pieces(tmp_path, variable="LLARA_TEST_OF_NOW"), range(2)))
        assert (tmp_path / "variable").read_text() == value


@pytest.mark.parametrize(("name", "workers"), WITHIN)
def test_no_pieces_need_no_worker(name: str, workers: int, tmp_path: Path) -> None:
    assert list(engine_of(name, workers).run(Pieces(tmp_path / "absent"), [])) == []


@pytest.mark.parametrize(("name", "workers"), WITHIN)
def test_an_error_of_a_worker_comes_back_as_it_was(name: str, workers: int, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write piece: no space"):
        list(engine_of(name, workers).run(Pieces(tmp_path, fail=2), range(4)))


def test_a_local_worker_that_is_killed_is_an_error_that_says_where(tmp_path: Path) -> None:
    with pytest.raises(LlaraError, match=r"SIGKILL.*piece 2"):
        list(engine_of("local", 2).run(Pieces(tmp_path, kill=2), range(6)))


SLEEPERS = """
import pathlib, sys
from llara.engines import get_engine
from pieces import Pieces
if __name__ == "__main__":
    work = Pieces(pathlib.Path(sys.argv[1]), sleep=60)
    list(get_engine("local", workers=2).run(work, range(2)))
"""


def test_local_workers_end_when_their_maker_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SLEEPERS)
    (tmp_path / "done").mkdir()
    maker = start_script(script, tmp_path / "done", cwd=tmp_path)
    work = Pieces(tmp_path / "done")
    _until(lambda: len(work.done()) == 2)
    maker[0].kill()
    assert finish(maker).code == -signal.SIGKILL
    _until(lambda: not any(_runs(process) for (process,) in work.done().values()))


def _runs(process: int) -> bool:
    """Whether it is there and no zombie, which nobody may have collected."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _until(holds: Callable[[], bool], *, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


@needs_ray
def test_a_ray_worker_that_is_killed_is_replaced_and_its_piece_done(tmp_path: Path) -> None:
    work = Pieces(tmp_path, kill=2)
    assert sorted(engine_of("ray", 2).run(work, range(6))) == [0, 1, 2, 3, 4, 5]
    assert (tmp_path / "killed").exists()
    assert sorted(work.done()) == [0, 1, 2, 3, 4, 5]


@needs_ray
def test_a_ray_cluster_that_cannot_be_reached_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray itself tries for twenty seconds, so its answer stands in here."""
    import ray

    def refuse(**_: object) -> None:
        raise ConnectionError("Failed to connect to Ray cluster at 192.0.2.7:6379")

    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)
    with pytest.raises(LlaraError, match=r"cluster head:6379: Failed to connect.*192.*ray start --head"):
        list(engine_of("ray", 1).run(Pieces(tmp_path), [0]))


@needs_ray
@pytest.mark.parametrize("slow_starts", [1, 2])
def test_ray_is_started_again_where_its_processes_were_too_slow(
    slow_starts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray allows them 30 seconds, so its answer stands in here."""
    import ray

    starts: list[None] = []

    def start(**_: object) -> None:
        starts.append(None)
        if len(starts) <= slow_starts:
            raise Exception("The current node timed out during startup. It is slow.")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", start)
    if slow_starts == 1:
        assert on_ray._connected() is ray
    else:
        with pytest.raises(LlaraError, match=r"did not start.*timed out.*logs.*--engine local"):
            on_ray._connected()
    assert len(starts) == 2


@pytest.mark.parametrize(
    ("name", "workers", "message"),
    [
        ("slurm", None, "no engine 'slurm'"),
        ("local", 0, "workers is 0"),
        ("torchrun", None, "torchrun --nproc-per-node"),
        ("torchrun", 2, "--workers"),
    ],
)
def test_an_engine_that_cannot_be_is_refused(name: str, workers: int | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        get_engine(name, workers=workers)


# -- vectors


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transformer, a corpus of 23 documents of mixed length, and its vectors and words by one worker."""
    folder = tmp_path_factory.mktemp("engines")
    convert(write_model(folder / "base", byte_level(bos=True)), folder / "model", max_tokens=128)
    with (folder / "corpus.jsonl").open("w", encoding="utf-8") as file:
        for number in range(23):
            text = " ".join(SENTENCES[number % 5 :] * (number % 4))
            file.write(json.dumps({"id": f"d{number}", "text": text, "year": 1900 + number}) + "\n")
    encode("oracle", folder)
    return folder


def encode(
    out: str, folder: Path, engine: str = "local", workers: int | None = 1, *, resume: bool = False
) -> None:
    encode_file(
        str(folder / "model"),
        folder / "corpus.jsonl",
        folder / out,
        role="document",
        batch_size=3,
        shard_size=5,
        lexical=True,
        engine=engine,
        workers=workers,
        resume=resume,
    )


def content(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.mark.parametrize(("name", "workers"), APART)
def test_vectors_are_the_same_bytes_on_every_engine(name: str, workers: int, workspace: Path) -> None:
    encode(f"out-{name}", workspace, name, workers)
    assert content(workspace / f"out-{name}") == content(workspace / "oracle")


def torchrun(workspace: Path, out: str, *more: object, kill: Kill | None = None) -> list[int | None]:
    arguments = ["encode", "--model", workspace / "model", "--input", workspace / "corpus.jsonl"]
    arguments += ["--role", "document", "--batch-size", 3, "--lexical", "--out", out]
    arguments += ["--engine", "torchrun", *more]
    done = llara_twice(*arguments, cwd=workspace, kill=kill)
    assert [one.stdout for one in done[1:]] == [""]
    return [one.code for one in done]


def test_vectors_are_the_same_bytes_under_torchrun(workspace: Path) -> None:
    assert torchrun(workspace, "out-torchrun", "--shard-size", 5) == [0, 0]
    assert content(workspace / "out-torchrun") == content(workspace / "oracle")


def test_a_torchrun_process_without_a_shard_waits_for_the_others(workspace: Path) -> None:
    assert torchrun(workspace, "one-shard", "--shard-size", 100) == [0, 0]
    assert list(verify(workspace / "one-shard")) == []


def test_a_torchrun_run_whose_processes_are_killed_goes_on_with_one(workspace: Path) -> None:
    kill = Kill(after="llara.encode.shards:write_hashed", calls=2)
    out = workspace / "killed"
    assert torchrun(workspace, "killed", "--shard-size", 5, kill=kill) == [-signal.SIGKILL] * 2
    assert not out.exists()
    encode("killed", workspace, resume=True)
    assert content(out) == content(workspace / "oracle")


def test_torchrun_says_an_error_once_and_ends_every_process(workspace: Path) -> None:
    arguments = ["encode", "--model", workspace / "model", "--input", "absent.jsonl", "--role", "document"]
    done = llara_twice(*arguments, "--out", "absent", "--engine", "torchrun", cwd=workspace)
    assert [one.code for one in done] == [1, 1]
    assert "absent.jsonl: no such file" in done[0].stderr
    assert "error" not in done[1].stderr
