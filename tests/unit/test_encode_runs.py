"""Runs that are stopped, resumed, refused, repaired."""

import json
import os

import numpy as np
import pytest
import torch

from llara.corpus import Fields, Skipped
from llara.encode import EncodeRun, Input, VectorsManifest, encode_file, reading, verify
from llara.encode.work import Record, Work
from llara.encoder import Encoder
from llara.engines.local import LocalEngine
from llara.errors import ConfigError, InputError, LlaraError, OutputError

TEXTS = [
    "wing slipstream",
    "heat of the slab",
    "flow",
    "shear flow of a wing",
    "slab shear",
    "heat flow",
    "a",
]


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text("".join(json.dumps({"id": f"d{n}", "text": text}) + "\n" for n, text in enumerate(TEXTS)))
    return path


@pytest.fixture
def encode(retriever, corpus, tmp_path):
    """``encode(out, ...)`` makes four shards of the corpus."""

    def call(out="out", **settings):
        given = {
            "model": str(retriever.path),
            "source": corpus,
            "role": "document",
            "shard_size": 2,
            **settings,
        }
        return encode_file(out=tmp_path / out, **given)

    return call


@pytest.fixture
def stopped(encode, tmp_path, monkeypatch):
    """An unfinished run, ``out.partial``, of which two shards are done: the third could not be written."""

    def full_disk(*arguments, **keywords):
        if len(list((tmp_path / "out.partial" / "records").iterdir())) == 2:
            raise OSError(28, "No space left on device")
        return write(*arguments, **keywords)

    import llara.encode.shards as module

    write = vars(module)["write_hashed"]
    with monkeypatch.context() as patch:
        patch.setattr(module, "write_hashed", full_disk)
        with pytest.raises(OutputError, match=r"No space left.*go on with --resume"):
            encode()
    return tmp_path / "out.partial"


def content(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


# -- resuming


def test_a_resumed_run_ends_with_the_same_bytes_and_does_no_shard_again(encode, stopped, tmp_path):
    first = stopped / "vectors" / "shard-00000.npy"
    made = first.stat().st_mtime_ns
    assert not (tmp_path / "out").exists()
    encode(resume=True)
    encode("whole")
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert (tmp_path / "out" / "shard-00000.npy").stat().st_mtime_ns == made
    assert not stopped.exists()


def test_a_finished_shard_that_was_altered_is_done_again_on_resume(encode, stopped, tmp_path):
    paths = [stopped / "vectors" / f"shard-0000{number}.npy" for number in (0, 1)]
    paths[0].write_bytes(paths[0].read_bytes()[:-1])
    paths[1].write_bytes(paths[1].read_bytes()[:-1] + b"\0")
    encode(resume=True)
    encode("whole")
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_texts_that_were_damaged_are_read_again_on_resume(encode, stopped, tmp_path):
    (stopped / "vectors" / "shard-00003.parquet").unlink()
    encode(resume=True)
    encode("whole")
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_an_unfinished_run_is_not_overwritten_unless_told(encode, stopped, tmp_path):
    with pytest.raises(OutputError, match=r"unfinished run.*--resume.*--overwrite"):
        encode()
    encode(overwrite=True, dtype="int8")
    assert VectorsManifest.read(tmp_path / "out").dtype == "int8"


def test_nothing_can_be_resumed_where_nothing_stands(encode, tmp_path):
    with pytest.raises(InputError, match="no unfinished run"):
        encode(resume=True)
    assert not (tmp_path / "out.partial").exists()


CHANGES: dict[str, tuple[dict, str]] = {
    "dtype": ({"dtype": "int8"}, 'dtype "float32", now "int8"'),
    "dimensions": ({"dimensions": 8}, "dimensions null, now 8"),
    "shard_size": ({"shard_size": 3}, "shard_size 2, now 3"),
    "batch_size": ({"batch_size": 7}, "batch_size null, now 7"),
    "precision": ({"precision": "bfloat16"}, 'precision null, now "bfloat16"'),
    "compile_layers": ({"compile_layers": True}, "compile_layers false, now true"),
    "titles": ({"title_separator": None}, 'title_separator " ", now null'),
    "metadata": ({"metadata": False}, "fields .*true.*false"),
    "skip_bad": ({"skipped": Skipped()}, "skip_bad false, now true"),
    "role": ({"role": "query"}, 'role "document", now "query"'),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_setting_is_refused_by_name_and_the_run_is_kept(encode, stopped, what):
    changes, message = CHANGES[what]
    with pytest.raises(ConfigError, match=message):
        encode(resume=True, **changes)
    assert len(list((stopped / "records").iterdir())) == 2


def test_a_changed_model_is_refused(encode, stopped, other_retriever):
    with pytest.raises(ConfigError, match=r"model [0-9a-f]{12}, now [0-9a-f]{12}"):
        encode(resume=True, model=str(other_retriever.path))


@pytest.mark.parametrize("same_time", [False, True])
def test_a_changed_input_is_refused_by_name(encode, stopped, corpus, same_time):
    before = corpus.stat()
    corpus.write_text(corpus.read_text().replace("slab", "wing, too"))
    if same_time:  # then its size gives it away
        os.utime(corpus, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ConfigError, match=r"input \S*c\.jsonl had other content"):
        encode(resume=True)


def test_an_input_that_was_moved_is_refused_by_name_and_the_run_is_kept(encode, stopped, corpus):
    size = corpus.stat().st_size
    corpus.rename(corpus.with_name("moved.jsonl"))
    with pytest.raises(ConfigError, match=rf"input \S*c\.jsonl is not there any more \(it had {size} bytes"):
        encode(resume=True)
    corpus.with_name("moved.jsonl").rename(corpus)
    assert encode(resume=True).count == len(TEXTS)


def test_an_input_that_was_no_file_and_is_one_now_is_refused(encode, stopped):
    settings = json.loads((stopped / "settings.json").read_text())
    settings["sources"][0].update(bytes=None, sha256=None, changed_ns=None)  # as a data set of the Hub
    (stopped / "settings.json").write_text(json.dumps(settings))
    with pytest.raises(ConfigError, match=r"was no file, now it has \d+ bytes"):
        encode(resume=True)


def test_an_input_that_was_only_touched_is_the_same(encode, stopped, corpus):
    os.utime(corpus)
    assert encode(resume=True).count == len(TEXTS)


def test_another_input_is_refused_by_name(encode, stopped, corpus, tmp_path):
    other = tmp_path / "other.jsonl"
    other.write_bytes(corpus.read_bytes())
    with pytest.raises(ConfigError, match=r"input \S*c\.jsonl, now \S*other\.jsonl"):
        encode(resume=True, source=other)


def test_the_model_may_be_named_in_another_way(encode, stopped, retriever, monkeypatch):
    monkeypatch.chdir(retriever.path.parent)
    assert encode(resume=True, model=retriever.path.name).model == str(retriever.path)


# -- a complete directory


@pytest.mark.parametrize("file", ["shard-00001.npy", "shard-00002.parquet"])
@pytest.mark.parametrize("damage", ["cut", "lost"])
def test_a_complete_directory_that_was_damaged_is_made_whole(encode, tmp_path, file, damage):
    encode()
    before = content(tmp_path / "out")
    path = tmp_path / "out" / file
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-3])
    else:
        path.unlink()
    assert any(file in sentence for sentence in verify(tmp_path / "out"))
    encode(resume=True)
    assert content(tmp_path / "out") == before
    assert not (tmp_path / "out.partial").exists()


def test_an_output_that_is_a_link_is_written_renewed_and_replaced_where_it_points_to(encode, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "real")
    encode()
    encode("whole")
    real = tmp_path / "disk" / "real"
    assert content(real) == content(tmp_path / "whole")
    (real / "shard-00001.npy").unlink()
    encode(resume=True)
    assert content(real) == content(tmp_path / "whole")
    encode(overwrite=True, dtype="int8")
    assert VectorsManifest.read(real).dtype == "int8"
    assert (tmp_path / "out").readlink() == real
    assert list((tmp_path / "disk").iterdir()) == [real]
    assert not (tmp_path / "out.partial").exists()


def test_a_complete_directory_is_left_as_it_is(encode, tmp_path):
    manifest = encode()
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert encode(resume=True) == manifest
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()} == times
    with pytest.raises(ConfigError, match="dtype"):
        encode(resume=True, dtype="int8")


def test_a_repair_that_is_stopped_goes_on(encode, tmp_path, monkeypatch):
    encode()
    before = content(tmp_path / "out")
    (tmp_path / "out" / "shard-00001.npy").unlink()

    def no_rename(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("llara.encode.repair.os.replace", no_rename)
        with pytest.raises(KeyboardInterrupt):
            encode(resume=True)
    encode(resume=True)
    assert content(tmp_path / "out") == before


def test_the_input_can_be_read_first_and_encoded_later(retriever, corpus, encode, tmp_path):
    given = Input((corpus,), "document", Fields(metadata=True), skip_bad=False)
    run = EncodeRun(str(retriever.path), given, tmp_path / "out", shard_size=2)
    assert run.read() == tmp_path / "out.partial"
    assert len(list((tmp_path / "out.partial" / "vectors").glob("*.parquet"))) == 4
    assert encode(resume=True).count == len(TEXTS)


def test_a_shard_of_long_texts_ends_early(retriever, encode, monkeypatch):
    monkeypatch.setattr(reading, "SHARD_CHARACTERS", 20)
    sizes = [len(text) for text in TEXTS]  # 15 16 4 20 10 9 1: cut after 31, 24, 20
    assert sizes == [15, 16, 4, 20, 10, 9, 1]
    assert [shard.count for shard in encode(shard_size=100).shards] == [2, 2, 3]


def test_bad_lines_are_reported_by_a_resumed_run_too(retriever, corpus, tmp_path, monkeypatch):
    corpus.write_text(corpus.read_text() + "not JSON\n")

    def fails(*arguments, **keywords):
        raise LlaraError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr("llara.encode.run.EncodeRun._finish", fails)
        with pytest.raises(LlaraError, match="stopped"):
            encode_file(str(retriever.path), corpus, tmp_path / "out", role="document", skipped=Skipped())
    skipped = Skipped()
    encode_file(str(retriever.path), corpus, tmp_path / "out", role="document", skipped=skipped, resume=True)
    assert skipped.count == 1
    assert "c.jsonl:8" in skipped.messages[0]


def test_vectors_do_not_depend_on_what_is_in_other_shards(encode, tmp_path):
    encode("two", shard_size=2)
    encode("all", shard_size=100)
    pairs = [np.load(tmp_path / "two" / f"shard-0000{n}.npy") for n in range(4)]
    np.testing.assert_allclose(
        np.concatenate(pairs), np.load(tmp_path / "all" / "shard-00000.npy"), atol=1e-6
    )


def test_precision_is_what_the_model_computes_in(encode, tmp_path):
    from llara.model import load

    encode("half", shard_size=100, model="llara-mini", precision="bfloat16")
    encode("exact", shard_size=100, model="llara-mini")
    half, exact = (np.load(tmp_path / name / "shard-00000.npy") for name in ("half", "exact"))
    model = load("llara-mini", device="cpu", dtype=torch.bfloat16)
    np.testing.assert_allclose(half, model.encode_document(TEXTS), atol=0.02)  # bfloat16 has eight bits
    assert np.abs(half - exact).max() > 1e-5
    assert VectorsManifest.read(tmp_path / "half").precision == "bfloat16"


@pytest.mark.parametrize("precision", ["bfloat16", "auto"])
def test_vectors_are_those_of_an_encoder_of_that_precision(encode, tmp_path, precision):
    """Which subtracts means and normalises in float32, whatever the layers compute in."""
    manifest = encode(shard_size=100, model="llara-mini", precision=precision)
    encoder = Encoder("llara-mini", device="cpu", dtype=precision)
    assert manifest.precision == encoder.dtype
    np.testing.assert_array_equal(
        np.load(tmp_path / "out" / "shard-00000.npy"), encoder.encode(TEXTS, role="document")
    )


def test_layers_are_compiled_if_asked_for(encode, monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda layer, **_: compiled.append(layer))
    encode("plain", model="llara-mini")
    assert not compiled
    encode("compiled", model="llara-mini", compile_layers=True)
    assert {type(layer).__name__ for layer in compiled} == {"LlamaDecoderLayer"}


def made_in(precision, *records):
    """Let shards have been computed in another precision, as a GPU would have."""
    for path in records:
        path.write_text(path.read_text().replace('"float32"', f'"{precision}"'))


def test_a_worker_that_computes_in_another_precision_is_refused_when_it_starts(encode, stopped):
    made_in("bfloat16", *(stopped / "records").iterdir())
    with pytest.raises(ConfigError, match=r"computed in bfloat16 and in float32.*--precision"):
        encode(resume=True)  # by hand's model, which knows one precision only
    assert len(list((stopped / "records").iterdir())) == 2
    assert not (stopped / "vectors" / "shard-00002.npy").exists()


def test_a_run_of_two_precisions_is_refused_before_it_goes_on(encode, stopped, monkeypatch):
    made_in("bfloat16", stopped / "records" / "shard-00001.json")
    monkeypatch.setattr("llara.encode.run.get_engine", lambda *_, **__: NoWork())
    with pytest.raises(ConfigError, match=r"computed in bfloat16 and in float32.*--precision"):
        encode(resume=True)


class NoWork(LocalEngine):
    """An engine whose workers must not be made."""

    def run(self, *arguments):
        pytest.fail("a worker was made")


def test_of_workers_that_began_together_only_one_precision_is_recorded(encode, tmp_path, monkeypatch):
    import llara.encode.shards as module

    write = vars(module)["write_hashed"]

    def another_is_done_meanwhile(path, *arguments, **keywords):
        digest = write(path, *arguments, **keywords)
        Work(tmp_path / "out.partial").write_record(3, Record(6, 1, "t", digest, 16, 16, None, "bfloat16"))
        return digest

    monkeypatch.setattr(module, "write_hashed", another_is_done_meanwhile)
    with pytest.raises(ConfigError, match="bfloat16 and in float32"):
        encode()
    records = (tmp_path / "out.partial" / "records").iterdir()
    assert [path.name for path in records] == ["shard-00003.json"]


def test_a_resumed_run_computes_in_the_precision_in_which_it_began(encode, tmp_path, monkeypatch):
    import llara.encode.shards as module

    write = vars(module)["write_hashed"]

    def full_after_one(path, *arguments, **keywords):
        if path.name > "shard-00000.npy":
            raise OSError(28, "No space left on device")
        return write(path, *arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_hashed", full_after_one)
        with pytest.raises(OutputError):
            encode(model="llara-mini")
    made_in("bfloat16", *(tmp_path / "out.partial" / "records").iterdir())
    encode(model="llara-mini", resume=True)
    assert VectorsManifest.read(tmp_path / "out").precision == "bfloat16"


def test_a_disk_that_is_full_at_the_first_shard_does_not_undo_the_reading(encode, tmp_path, monkeypatch):
    import llara.encode.shards as module

    def full(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_hashed", full)
        with pytest.raises(OutputError, match=r"go on with --resume"):
            encode()
    assert (tmp_path / "out.partial" / "texts.json").exists()
    encode(resume=True)
    encode("whole")
    assert content(tmp_path / "out") == content(tmp_path / "whole")


@pytest.mark.parametrize("found", ["", "null", '{"role": "document"}', None])
def test_a_run_that_lost_its_settings_is_refused_and_kept(encode, stopped, tmp_path, found):
    path = stopped / "settings.json"
    before = path.read_text()
    if found is None:
        path.unlink()
    else:
        path.write_text(found)  # empty: as a machine that lost its power may leave it
    with pytest.raises(InputError, match=r"settings\.json is (damaged|missing).*--overwrite"):
        encode(resume=True)
    path.write_text(before)
    assert len(list((stopped / "records").iterdir())) == 2
    encode(resume=True)
    encode("whole")
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_a_run_that_lost_its_settings_is_begun_anew_if_told(encode, stopped, tmp_path):
    (stopped / "settings.json").write_text("")
    encode(overwrite=True, dtype="int8")
    encode("whole", dtype="int8")
    assert content(tmp_path / "out") == content(tmp_path / "whole")
