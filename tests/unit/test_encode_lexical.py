"""Lexical vectors beside the vectors: what they are, and runs that are stopped, damaged, refused."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llara.encode import encode_file, verify
from llara.errors import ConfigError, InputError, ModelError, OutputError
from llara.model import MINI
from llara.vectors import VectorsManifest, read_texts, read_vectors, read_words
from llara.words import WordHead

ROWS = [
    ("Wings", "The wing of an aircraft creates lift in the stream of a propeller."),
    ("", "Yeast lives on sugar."),
    ("", "..."),
    ("Kites", "A kite has no engine: the wind lifts its wing."),
    ("", "The river carries sand to the sea." * 100 + " Behind what is read: zebra."),
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "c.jsonl"
    rows = [{"id": f"d{n}", "title": title, "text": text} for n, (title, text) in enumerate(ROWS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def encode(corpus, tmp_path):
    """``encode(out, ...)`` makes three shards of the corpus."""

    def call(out="out", **settings):
        given = {"model": MINI, "source": corpus, "role": "document", "shard_size": 2, **settings}
        encode_file(out=tmp_path / out, **given)
        return tmp_path / out

    return call


@pytest.fixture(scope="module")
def whole(corpus, tmp_path_factory):
    """The corpus with its words, whole."""
    out = tmp_path_factory.mktemp("whole") / "out"
    encode_file(MINI, corpus, out, role="document", shard_size=2, lexical=True)
    return out


def content(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def words_of(directory):
    manifest = VectorsManifest.read(directory)
    tables = [read_words(directory, shard) for shard in manifest.shards]
    return [list(zip(row["terms"], row["weights"], strict=True)) for t in tables for row in t.to_pylist()]


def test_words_are_those_that_the_whole_float32_vectors_hold(whole):
    manifest = VectorsManifest.read(whole)
    vectors = np.concatenate([read_vectors(whole, manifest, shard) for shard in manifest.shards])
    head = WordHead.of(MINI, max_tokens=manifest.max_tokens)
    expected = head.lexical([f"{title} {text}".strip() for title, text in ROWS], vectors)
    found = words_of(whole)
    assert found == [list(document.items()) for document in expected]
    assert [len(document) > 2 for document in found] == [True, True, False, True, True]
    assert "zebra" not in dict(found[4])
    assert all(weights == sorted(weights, reverse=True) for weights in ([w for _, w in d] for d in found))


@pytest.mark.parametrize("settings", [{"dimensions": 8}, {"dtype": "int8"}, {"dtype": "binary"}])
def test_what_is_stored_of_the_vectors_does_not_change_the_words(encode, whole, settings):
    out = encode(lexical=True, **settings)
    assert words_of(out) == words_of(whole)
    assert list(verify(out)) == []


def test_with_words_all_else_is_the_same_and_without_them_nothing_says_so(encode, whole):
    plain, both = content(encode()), content(whole)
    assert set(both) - set(plain) == {f"shard-0000{number}.words.parquet" for number in range(3)}
    assert all(both[name] == plain[name] for name in plain if name != "manifest.json")
    assert "words" not in plain["manifest.json"].decode()
    assert "lexical" not in plain["manifest.json"].decode()


def test_another_reader_sees_lists_of_text_and_float32(whole):
    table = pq.read_table(whole / "shard-00000.words.parquet")
    assert table.column_names == ["terms", "weights"]
    assert [field.type.value_type for field in table.schema] == [pa.string(), pa.float32()]
    assert table.num_rows == read_texts(whole, VectorsManifest.read(whole).shards[0]).num_rows


# -- stopped and damaged


@pytest.mark.parametrize("file", ["shard-00001.npy", "shard-00001.words.parquet"])
def test_a_resumed_run_ends_with_the_same_bytes(encode, whole, tmp_path, monkeypatch, file):
    import llara.encode.shards as module

    write = vars(module)["write_hashed"]

    def full_disk(path, *arguments, **keywords):
        if path.name == file:
            raise OSError(28, "No space left on device")
        return write(path, *arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_hashed", full_disk)
        with pytest.raises(OutputError, match=rf"{file}: No space left.*go on with --resume"):
            encode(lexical=True)
    assert len(list((tmp_path / "out.partial" / "records").iterdir())) == 1
    with pytest.raises(ConfigError, match="lexical true, now false"):
        encode(resume=True)
    assert content(encode(lexical=True, resume=True)) == content(whole)


def test_words_of_an_unfinished_run_that_were_altered_are_made_again(encode, whole, tmp_path, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("llara.encode.run.EncodeRun._finish", stop)
        with pytest.raises(KeyboardInterrupt):
            encode(lexical=True)
    (tmp_path / "out.partial" / "vectors" / "shard-00002.words.parquet").write_bytes(b"")
    assert content(encode(lexical=True, resume=True)) == content(whole)


@pytest.mark.parametrize("damage", ["cut", "lost"])
def test_damaged_words_are_found_and_made_anew(encode, whole, damage):
    out = encode(lexical=True)
    path = out / "shard-00001.words.parquet"
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-3])
    else:
        path.unlink()
    assert any(path.name in sentence for sentence in verify(out))
    encode(lexical=True, resume=True)
    assert content(out) == content(whole)


def test_words_that_no_manifest_names_are_found(encode, whole):
    out = encode()
    (out / "shard-00000.words.parquet").write_bytes((whole / "shard-00000.words.parquet").read_bytes())
    assert list(verify(out)) == ["shard-00000.words.parquet: the manifest does not name it"]


BAD_TABLES = {
    "1 rows": pa.table({"terms": [["a"]], "weights": [[1.0]]}),
    "missing or damaged": pa.table({"id": ["a", "b"]}),
    "without a weight": pa.table({"terms": [["a"], ["b", "c"]], "weights": [[1.0], [1.0]]}),
    "rows without": pa.table({"terms": [["a"], None], "weights": [[1.0], None]}),
}


@pytest.mark.parametrize("message", BAD_TABLES)
def test_words_that_are_not_the_manifests_are_not_read(encode, message):
    out = encode(lexical=True)
    pq.write_table(BAD_TABLES[message], out / "shard-00000.words.parquet")
    with pytest.raises(InputError, match=rf"shard-00000\.words\.parquet .*{message}.*--resume"):
        read_words(out, VectorsManifest.read(out).shards[0])


# -- refused


def test_a_run_without_words_is_not_gone_on_with_as_one_with_them(encode, tmp_path):
    out = encode()
    with pytest.raises(ConfigError, match="lexical false, now true"):
        encode(resume=True, lexical=True)
    with pytest.raises(InputError, match="llara encode --lexical makes them"):
        read_words(out, VectorsManifest.read(out).shards[0])


def test_words_are_refused_of_queries_and_of_models_that_hold_none(encode, retriever, tmp_path):
    with pytest.raises(ConfigError, match="made of documents, and the role is 'query'"):
        encode(lexical=True, role="query")
    with pytest.raises(ModelError, match=r"no llara\.json.*leave out --lexical"):
        encode(lexical=True, model=str(retriever.path))
    assert not list(tmp_path.glob("out*"))
