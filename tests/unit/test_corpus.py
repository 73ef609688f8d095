"""Documents from every kind of file, and what a bad one says."""

import csv
import gzip
import json
import lzma
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llara.corpus import Document, Fields, Skipped, read_documents
from llara.errors import InputError

RECORDS = [
    {"id": "a", "title": "First", "text": "One. 一。"},
    {"id": "b", "title": "", "text": "Two\nlines, é and \U0001f600."},
    {"id": "c", "title": "Third", "text": ""},
]
DOCUMENTS = [Document(r["id"], r["text"], r["title"]) for r in RECORDS]


def json_lines(records) -> bytes:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()


def write_records(path: Path) -> Path:
    if path.name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(RECORDS), path, row_group_size=2)
    elif path.name.endswith(".jsonl.zst"):
        with pa.output_stream(str(path), compression="zstd") as file:
            file.write(json_lines(RECORDS))
    else:
        content = json_lines(RECORDS)
        if path.suffix in (".gz", ".xz"):
            content = gzip.compress(content) if path.suffix == ".gz" else lzma.compress(content)
        path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "name", ["c.jsonl", "c.ndjson", "c.json", "c.JSONL.gz", "c.jsonl.xz", "c.jsonl.zst", "c.parquet"]
)
def test_every_format_holds_the_same_documents(tmp_path, name):
    assert list(read_documents([write_records(tmp_path / name)])) == DOCUMENTS


def test_zstd_frames_written_one_after_another_are_all_read(tmp_path):
    write_records(tmp_path / "a.jsonl.zst")
    frame = (tmp_path / "a.jsonl.zst").read_bytes()
    (tmp_path / "b.jsonl.zst").write_bytes(frame + frame)
    assert len(list(read_documents([tmp_path / "b.jsonl.zst"]))) == 6


@pytest.mark.parametrize("name", ["c.jsonl", "c.tsv", "c.parquet"])
@pytest.mark.parametrize("metadata", [False, True])
def test_other_fields_are_read_only_if_asked_for(tmp_path, name, metadata):
    record = {"id": "a", "title": "First", "text": "One.", "kind": "x", "_id": "b"}
    path = tmp_path / name
    if name == "c.parquet":
        pq.write_table(pa.Table.from_pylist([{**record, "raw": b"\x00", "pictures": [{"bytes": b""}]}]), path)
    elif name == "c.tsv":
        path.write_text("\t".join(record) + "\n" + "\t".join(record.values()) + "\n")
    else:
        path.write_bytes(json_lines([record]))
    (document,) = read_documents([path], fields=Fields(metadata=metadata))
    assert document == Document("a", "One.", "First", metadata={"kind": "x"} if metadata else None)
    assert hash(document) == hash(Document("a", "One.", "First"))


def test_fields_are_chosen_by_name_and_an_id_may_be_a_number(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_bytes(json_lines([{"docid": 7, "heading": None, "contents": "Hi.", "text": "not this"}]))
    fields = Fields(id="docid", title="heading", text="contents")
    assert list(read_documents([path], fields=fields)) == [Document("7", "Hi.")]


def test_a_record_is_named_by_beir_id_or_else_by_its_line(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_bytes(
        b"\xef\xbb\xbf" + json_lines([{"_id": "x", "text": "A"}]) + b"\r\n" + json_lines([{"text": "B"}])
    )
    assert [d.id for d in read_documents([path])] == ["x", f"{path}:3"]


# -- TSV


def test_dpr_passages_keep_their_ids_and_those_of_one_title_continue_each_other(tmp_path):
    rows = [
        ("1", 'Aaron ( or ; ""Ahärôn"") is', "Aaron"),
        ("2", "a prophet.\tReally", "Aaron"),
        ("3", "The letter A", "A"),
        ("4", "once more", "Aaron"),
        ("5", "no title", ""),
        ("6", "no title", ""),
    ]
    with (tmp_path / "psgs_w100.tsv").open("w", encoding="utf-8", newline="") as file:  # as DPR wrote it
        csv.writer(file, delimiter="\t").writerows([("id", "text", "title"), *rows])
    expected = [Document(*row, continues=row[0] == "2") for row in rows]
    assert list(read_documents([tmp_path / "psgs_w100.tsv"])) == expected
    unlinked = read_documents([tmp_path / "psgs_w100.tsv"], link_titles=False)
    assert not any(document.continues for document in unlinked)


def test_titles_link_in_json_lines_only_when_asked(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_bytes(json_lines([{"title": "A", "text": "1"}, {"title": "A", "text": "2"}]))
    assert [d.continues for d in read_documents([path])] == [False, False]
    assert [d.continues for d in read_documents([path], link_titles=True)] == [False, True]


def test_a_passage_after_a_bad_line_does_not_continue_the_one_before_it(tmp_path):
    path = tmp_path / "c.tsv"
    path.write_text("id\ttext\ttitle\n1\tone\tA\n2\ttwo\n3\tthree\tA\n", encoding="utf-8")
    skipped = Skipped()
    assert [(d.id, d.continues) for d in read_documents([path], skipped=skipped)] == [
        ("1", False),
        ("3", False),
    ]
    assert skipped.messages == [
        f"{path}:3: 2 tab-separated columns; expected 3 (id, text, title), one row a line"
    ]


def test_a_stray_quote_in_tsv_stays_and_swallows_no_line(tmp_path):
    path = tmp_path / "collection.tsv"  # MS MARCO: id and text, no header
    path.write_text('0\t"Hello, he said.\n1\t"Yes" and "no"\n2\t"quoted ""all"" through"\n', encoding="utf-8")
    texts = [document.text for document in read_documents([path])]
    assert texts == ['"Hello, he said.', '"Yes" and "no"', 'quoted "all" through']


def test_a_tsv_without_a_text_column_is_refused_with_its_columns(tmp_path):
    (tmp_path / "c.tsv").write_text("a\tb\tc\n1\t2\t3\n", encoding="utf-8")
    with pytest.raises(InputError, match="no column 'text'; it has 'a', 'b', 'c'"):
        list(read_documents([tmp_path / "c.tsv"], skipped=Skipped()))


# -- folders


def test_a_folder_of_texts_is_read_recursively_in_order_of_path(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "b" / "x.md").write_text("# X\n", encoding="utf-8")
    (tmp_path / "a.txt").write_bytes(b"A\r\nB\r\n")
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(b"C"))
    for passed_over in ("picture.png", "package.json", ".git/d.txt"):
        (tmp_path / passed_over).write_text("?", encoding="utf-8")
    expected = [("a.txt", "A\nB"), ("b/x.md", "# X"), ("c.txt.gz", "C")]
    assert list(read_documents([tmp_path])) == [
        Document(str(tmp_path / name), text) for name, text in expected
    ]


def test_of_a_beir_folder_the_corpus_is_read(tmp_path):
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n", encoding="utf-8")
    (tmp_path / "queries.jsonl").write_bytes(json_lines([{"_id": "q", "text": "no"}]))
    write_records(tmp_path / "corpus.jsonl.gz")
    assert list(read_documents([tmp_path])) == DOCUMENTS


def test_of_a_folder_in_the_layout_of_the_hub_the_split_is_read(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "README.md").write_text("About", encoding="utf-8")
    for name, text in [
        ("train-00001-of-00002", "2"),
        ("train-00000-of-00002", "1"),
        ("validation-00000-of-00001", "v"),
    ]:
        pq.write_table(pa.table({"id": [text], "text": [text]}), tmp_path / "data" / f"{name}.parquet")
    with pytest.warns(UserWarning, match=r"'train' are read \(2\).* not \(1, such as validation-00000-of"):
        assert [d.id for d in read_documents([tmp_path])] == ["1", "2"]
    with pytest.warns(UserWarning, match=r"'validation' are read \(1\)"):
        assert [d.id for d in read_documents([tmp_path], split="dev")] == ["v"]
    with pytest.raises(InputError, match="no data file of the split 'test', only of train, validation"):
        read_documents([tmp_path], split="test")


def test_a_folder_of_which_some_names_speak_of_a_split_is_refused_as_ambiguous(tmp_path):
    for name in ("blog", "train-stations"):
        write_records(tmp_path / f"{name}.jsonl")
    with pytest.raises(
        InputError, match=r"train-stations\.jsonl speaks of a split, that of blog\.jsonl of none"
    ):
        read_documents([tmp_path])


def test_a_folder_of_texts_beside_data_files_is_refused_as_ambiguous(tmp_path):
    write_records(tmp_path / "c.jsonl")
    (tmp_path / "chapter.txt").write_text("text", encoding="utf-8")
    with pytest.raises(
        InputError, match=r"holds both data files and texts, such as c\.jsonl and chapter\.txt"
    ):
        read_documents([tmp_path])


# -- errors


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"text": "caf\xe9"}', r"c\.jsonl:2: not UTF-8 \(byte 0xe9 at byte 14 of the line\)"),
        (
            b'{"text": ',
            r"c\.jsonl:2: not JSON \(Expecting value at column 10\); expected one JSON object a line",
        ),
        (b'["text"]', r"c\.jsonl:2: holds a JSON list; expected one JSON object a line"),
        (b'{"id": "1", "body": "x"}', r"c\.jsonl:2: no field 'text'; the fields here are 'id', 'body'"),
        (b'{"text": 5}', r"c\.jsonl:2: the field 'text' holds 5; expected a string"),
        (b'{"text": null}', r"c\.jsonl:2: the field 'text' holds None; expected a string"),
        (b'{"text": "x", "id": 1.5}', r"c\.jsonl:2: the field 'id' holds 1\.5; expected a string"),
        (b'{"text": "x", "id": ""}', r"c\.jsonl:2: the field 'id' is empty"),
        (b'{"text": "x", "title": ["y"]}', r"c\.jsonl:2: the field 'title' holds \['y'\]; expected a string"),
        (
            b'{"text": "ab\\ud800"}',
            r"c\.jsonl:2: the field 'text' holds half a surrogate pair at character 2",
        ),
        (b"[" * 100_000, r"c\.jsonl:2: "),
        (
            b'{"text": "x", "size": ' + b"9" * 4301 + b"}",
            r"c\.jsonl:2: holds a whole number of more than 4,300 digits",
        ),
    ],
)
def test_a_bad_line_is_an_error_with_file_and_line_or_is_counted(tmp_path, line, message):
    path = tmp_path / "c.jsonl"
    path.write_bytes(b'{"text": "good", "id": "1"}\n' + line + b'\n{"text": "also good", "id": "3"}\n')
    documents = read_documents([path])
    assert next(documents).id == "1"
    with pytest.raises(InputError, match=message):
        next(documents)
    skipped = Skipped()
    assert [d.id for d in read_documents([path], skipped=skipped)] == ["1", "3"]
    assert skipped.count == 1


def test_a_text_file_that_is_not_utf8_names_the_line(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"fine\nna\xefve\n")
    with pytest.raises(InputError, match=r"a\.txt:2: not UTF-8"):
        list(read_documents([tmp_path]))


def test_a_bad_parquet_row_is_named_by_number(tmp_path):
    pq.write_table(pa.table({"text": ["a", None, "c"]}), tmp_path / "c.parquet")
    with pytest.raises(InputError, match=r"c\.parquet:2: the field 'text' holds None"):
        list(read_documents([tmp_path / "c.parquet"]))


def test_a_parquet_file_without_the_text_column_is_refused_even_if_bad_lines_are_left_out(tmp_path):
    pq.write_table(pa.table({"body": ["a"]}), tmp_path / "c.parquet")
    with pytest.raises(InputError, match=r"c\.parquet: no field 'text'; the fields here are 'body'"):
        list(read_documents([tmp_path / "c.parquet"], skipped=Skipped()))


def test_an_id_field_that_was_named_must_be_there(tmp_path):
    with pytest.raises(InputError, match="no field 'docid' for the id"):
        list(read_documents([write_records(tmp_path / "c.jsonl")], fields=Fields(id="docid")))


@pytest.mark.parametrize("name", ["c.jsonl", "no/c.jsonl", "folder", "./a/b"])
def test_a_missing_source_is_refused_before_anything_is_read(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write_records(tmp_path / "there.jsonl")
    with pytest.raises(InputError, match="no such file or folder"):
        read_documents(["there.jsonl", name])


@pytest.mark.parametrize("name", ["c.docx", "c", "c.gz", "c.parquet.gz"])
def test_an_unknown_suffix_is_refused_with_those_that_are_known(tmp_path, name):
    (tmp_path / name).write_bytes(b"?")
    with pytest.raises(InputError, match=r"is not known; expected one of \.jsonl"):
        read_documents([tmp_path / name])


@pytest.mark.parametrize("name", ["c.jsonl.gz", "c.jsonl.xz", "c.jsonl.zst", "c.parquet"])
@pytest.mark.parametrize("damage", ["cut", "other"])
def test_a_damaged_file_is_an_error_even_if_bad_lines_are_left_out(tmp_path, name, damage):
    path = write_records(tmp_path / name)
    path.write_bytes(path.read_bytes()[:-10] if damage == "cut" else b"something else altogether")
    with pytest.raises(InputError, match="cannot be read"):
        list(read_documents([path], skipped=Skipped()))


def test_an_empty_corpus_is_an_error(tmp_path):
    (tmp_path / "c.jsonl").write_bytes(b"\n")
    with pytest.raises(InputError, match=r"the corpus is empty \(.*c\.jsonl\)"):
        list(read_documents([tmp_path / "c.jsonl"]))
    (tmp_path / "c.jsonl").write_bytes(b"x\ny\n")
    with pytest.raises(InputError, match="no document was found; 2 bad lines were left out"):
        list(read_documents([tmp_path / "c.jsonl"], skipped=Skipped()))
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="no file to read in this folder"):
        read_documents([tmp_path / "folder"])
    with pytest.raises(InputError, match="no source was given"):
        list(read_documents([]))


def test_reading_is_streamed_so_an_early_document_comes_before_a_late_error(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_bytes(json_lines(RECORDS) * 1000 + b"not JSON\n")
    assert next(read_documents([path])) == DOCUMENTS[0]
