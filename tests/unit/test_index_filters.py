"""Filters: which documents match, by hand; how they are written for each backend; what is no filter."""

import json

import pyarrow as pa
import pytest

from llara.errors import ConfigError
from llara.indexes.documents import Documents, Facts
from llara.indexes.filters import milvus_expression, parse_filter, sql_condition

METADATA = {
    "a": {"year": 1999, "lang": "en", "author": {"country": "at"}, "open": True},
    "b": {"year": 2000, "lang": "de", "score": 0.5, "open": False},
    "c": {"year": 2001.5, "lang": "en", "my field": 1},
    "d": {"year": "2001", "lang": None, "q'uote": 'say "hi"'},
    "e": None,
}


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    path = tmp_path_factory.mktemp("documents") / "documents.sqlite"
    rows = [
        {"id": id_, "title": id_.upper(), "text": "", "metadata": data and json.dumps(data)}
        for id_, data in METADATA.items()
    ]
    Documents.create(path, [pa.Table.from_pylist(rows)], Facts(len(rows), 1, {}))
    return Documents(path)


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ("year > 1999", "bc"),
        ("year >= 1999 and year <= 2000", "ab"),
        ("year = 2000", "b"),
        ("year == 2000.0", "b"),
        ("year != 2000", "acd"),  # of another type is different
        ("year == '2001'", "d"),
        ("year > 'a'", ""),
        ("year < 1e9", "abc"),
        ("score > .25", "b"),
        ("score > -1", "b"),
        ("lang == 'en'", "ac"),
        ('lang in ["en", "de"]', "abc"),
        ("lang not in ['en']", "b"),  # null is no value
        ("lang == 'en' or lang == 'de' and year < 2000", "ac"),  # and binds closer
        ("(lang == 'en' or lang == 'de') and year < 2000.5", "ab"),
        ("LANG == 'en'", ""),  # names have a case
        ("lang == 'en' AND year > 2000", "c"),  # words between them have none
        ("open == true", "a"),
        ("open != true", "b"),
        ("open == 1", ""),
        ("year == true", ""),
        ("author.country == 'at'", "a"),
        ("author == 'at'", ""),
        ("`my field` == 1", "c"),
        ("`q'uote` == 'say \"hi\"'", "d"),
        (r"`q'uote` == 'say \"hi\"'", "d"),
        ("nothing != 1", ""),
        ("id in ['a', 'e']", "ae"),
        ("title >= 'D'", "de"),
        ('id == "a\' OR 1 = 1 --"', ""),
    ],
)
def test_documents_match_as_the_rules_say(documents, where, ids):
    assert [list(METADATA)[position] for position in documents.matching(where)] == list(ids)


@pytest.mark.parametrize(
    ("where", "expression"),
    [
        ("year > 2000", 'metadata["year"] > 2000'),
        ("a.b = 'it''s'", None),
        ("a.`b c` in [1, true]", '(metadata["a"]["b c"] == 1 or metadata["a"]["b c"] == true)'),
        ("lang not in ['en', 'de']", '(metadata["lang"] != "en" and metadata["lang"] != "de")'),
        ("lang == 'a\\n\n\b' or `a\nb` == 1", '(metadata["lang"] == "an\\n\b" or metadata["a\\nb"] == 1)'),
        (r"lang == 'a\'b\\'", r'metadata["lang"] == "a' + r"'" + r'b\\"'),
        ("id == 'x' or (a < 1 and b < 2)", '(id == "x" or (metadata["a"] < 1 and metadata["b"] < 2))'),
    ],
)
def test_milvus_is_told_the_same(where, expression):
    if expression is None:
        with pytest.raises(ConfigError):
            parse_filter(where)
    else:
        assert milvus_expression(parse_filter(where)) == expression


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("", "'the end' at character 1; expected the name of a field"),
        ("year", "'the end' at character 5; expected one of == != <"),
        ("year >", "expected a number, a text in quotes"),
        ("year > 2000 and", "expected the name of a field"),
        ("year > 2000 lang == 1", "'lang == 1' at character 13; expected and, or"),
        ("(year > 2000", "expected a closing parenthesis"),
        ("year in 3", "expected a list of values"),
        ("year in [3", "expected a comma or a closing bracket"),
        ("year not 3", "expected in, "),
        ("year > 2000; DROP TABLE documents", "'; DROP TABLE documen' at character 12"),
        ("year + 1 > 3", r"'\+ 1 > 3' at character 6"),
        ("open > true", "open > true; expected == or !="),
        ("id == 3", "id with 3; it is a text"),
        ('`a"b` == 1', "expected the name of a field"),
        ("lang == 'en", "expected a name, a value"),
    ],
)
def test_what_is_no_filter_is_refused_with_the_place(where, message):
    with pytest.raises(ConfigError, match=message) as caught:
        parse_filter(where)
    assert "for example: year > 2000" in str(caught.value) or "expected" in str(caught.value)


def test_values_are_parameters_and_never_part_of_the_statement():
    statement, parameters = sql_condition(
        parse_filter("`x'; --` == '\\'; DROP TABLE documents; --' or id == 'y'")
    )
    assert "DROP" not in statement
    assert "--" not in statement
    assert parameters[2:] == ["'; DROP TABLE documents; --", "y"]


def test_long_lists_match_and_what_sqlite_cannot_take_is_no_damage(documents):
    def ids(number):
        return ", ".join(f"'x{n}'" for n in range(number))

    assert documents.matching(f"id in ['b', {ids(3000)}]").tolist() == [1]
    with pytest.raises(ConfigError, match="SQLite takes"):
        documents.matching(f"id in [{ids(31_000)}]")
    with pytest.raises(ConfigError, match="parentheses"):
        parse_filter("(" * 3000 + "a = 1" + ")" * 3000)
    assert sql_condition(parse_filter("a < " + "9" * 5000))[1][-1] == float("inf")
