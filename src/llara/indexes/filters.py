"""Filters on metadata, the same for every backend: ``year > 2000 and (lang == "en" or lang == "de")``.

    filter      comparison {and|or comparison}, with and before or, and parentheses
    comparison  FIELD = == != < <= > >= VALUE;  FIELD in [VALUE, ...];  FIELD not in [VALUE, ...]
    FIELD       a name, or a path of names: author.country; a name with other characters in `backticks`
    VALUE       a number, "text" or 'text', true, false

``id`` and ``title`` are the document's own; all other names are fields of its metadata. A document matches
only if it has the field; a value of another type than the filter's differs from it (!=) and matches nothing
else. Milvus Lite takes true for 1 and false for 0; its expressions have no test of types.

A filter is parsed into comparisons, and these are written as SQL with parameters or as an expression of
Milvus. Nothing of it is evaluated or pasted into a statement.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from llara.errors import ConfigError
from llara.unicode import check_text

__all__ = [
    "Combined",
    "Comparison",
    "Filter",
    "milvus_expression",
    "milvus_text",
    "parse_filter",
    "sql_condition",
]

Value = bool | int | float | str
OWN_FIELDS = ("id", "title")
_DEEPEST = 20  # SQLite's parser has room for a hundred things, of which each takes a few
_OPERATORS = ("==", "!=", "<=", ">=", "<", ">", "=")
_MILVUS_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r"})
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<name>`[^`]+`|[^\W\d]\w*)
    | (?P<sign>==|!=|<=|>=|[<>=()\[\],.])
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Comparison:
    """A field and the value that it is compared with; ``operator`` is one of == != < <= > >=."""

    field: tuple[str, ...]
    operator: str
    value: Value


@dataclass(frozen=True)
class Combined:
    """Filters of which all (and) or some (or) must match."""

    how: Literal["and", "or"]
    parts: tuple[Filter, ...]


Filter = Comparison | Combined


def parse_filter(text: str) -> Filter:
    """Read a filter.

    >>> parse_filter("year > 2000")
    Comparison(field=('year',), operator='>', value=2000)

    Raises:
        ConfigError: it is not one; the message says where.
        InputError: it is not Unicode text.
    """
    check_text(text, "the filter")
    return _Parser(text).parse()


def sql_condition(where: Filter) -> tuple[str, list[Value]]:
    """A condition for SQLite over ``documents`` joined with ``metadata``, and its parameters.

    >>> sql_condition(parse_filter("id in ['a', 'b']"))
    ('(id = ? OR id = ?)', ['a', 'b'])
    """
    if isinstance(where, Combined):
        conditions, parameters = [], []
        for part in where.parts:
            condition, values = sql_condition(part)
            conditions.append(condition)
            parameters += values
        return _joined(conditions, f" {where.how.upper()} "), parameters
    operator = "=" if where.operator == "==" else where.operator
    value = where.value
    if len(where.field) == 1 and where.field[0] in OWN_FIELDS:
        return f"{where.field[0]} {operator} ?", [value]
    path = "$" + "".join(f'."{name}"' for name in where.field)
    if isinstance(value, bool):
        types = f"('{str(value).lower()}')"
        same, parameters = f"json_type(metadata, ?) IN {types}", [path]
    else:
        types = "('text')" if isinstance(value, str) else "('integer', 'real')"
        sign = "=" if operator == "!=" else operator
        same = f"(json_type(metadata, ?) IN {types} AND json_extract(metadata, ?) {sign} ?)"
        parameters = [path, path, value]
    if operator == "!=":
        return f"(coalesce(json_type(metadata, ?), 'null') <> 'null' AND NOT {same})", [path, *parameters]
    return f"coalesce({same}, 0)", parameters


def _joined(conditions: Sequence[str], how: str) -> str:
    """The conditions in parentheses; SQLite nests a long row of them, so that is made shallow."""
    if len(conditions) > 8:
        middle = len(conditions) // 2
        conditions = [_joined(conditions[:middle], how), _joined(conditions[middle:], how)]
    return f"({how.join(conditions)})"


def milvus_expression(where: Filter) -> str:
    """The same as an expression of Milvus over a JSON field ``metadata``.

    >>> milvus_expression(parse_filter("author.country = 'at' or year >= 2000"))
    '(metadata["author"]["country"] == "at" or metadata["year"] >= 2000)'
    """
    if isinstance(where, Combined):
        return f"({f' {where.how} '.join(map(milvus_expression, where.parts))})"
    if isinstance(where.value, float) and not math.isfinite(where.value):
        raise ConfigError(
            f"the filter compares {'.'.join(where.field)} with {where.value}; Milvus takes up to 1.8e308"
        )
    field = "metadata" + "".join(f"[{milvus_text(name)}]" for name in where.field)
    if len(where.field) == 1 and where.field[0] in OWN_FIELDS:
        field = where.field[0]
    value = milvus_text(where.value) if isinstance(where.value, str) else json.dumps(where.value)
    return f"{field} {where.operator} {value}"


def milvus_text(text: str) -> str:
    r"""A text as Milvus reads it in an expression.

    A server and Milvus Lite share these escapes, and take all other characters as they are.

    >>> print(milvus_text('C:\\new "1"'))
    "C:\\new \"1\""
    """
    return f'"{text.translate(_MILVUS_ESCAPES)}"'


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, str, int]] = []  # kind, text, where it begins
        end = 0
        while end < len(text.rstrip()):
            match = _TOKEN.match(text, end)
            if match is None:
                end += len(text[end:]) - len(text[end:].lstrip())
                raise self._error("a name, a value or a comparison", end)
            assert match.lastgroup is not None
            self._tokens.append((match.lastgroup, match[match.lastgroup], match.start(match.lastgroup)))
            end = match.end()
        self._next = 0
        self._depth = 0

    def parse(self) -> Filter:
        found = self._either()
        if self._next < len(self._tokens):
            raise self._error("and, or, or the end")
        return found

    def _either(self) -> Filter:
        return self._combined("or", self._all)

    def _all(self) -> Filter:
        return self._combined("and", self._one)

    def _combined(self, how: Literal["and", "or"], part: object) -> Filter:
        assert callable(part)
        parts = [part()]
        while self._take_word(how):
            parts.append(part())
        return parts[0] if len(parts) == 1 else Combined(how, tuple(parts))

    def _one(self) -> Filter:
        if self._take("("):
            self._depth += 1
            if self._depth > _DEEPEST:
                raise self._error(f"at most {_DEEPEST} parentheses in each other")
            inside = self._either()
            self._depth -= 1
            if not self._take(")"):
                raise self._error("a closing parenthesis")
            return inside
        field = self._field()
        negated = self._take_word("not")
        if self._take_word("in"):
            operator, how = ("!=", "and") if negated else ("==", "or")
            parts = tuple(self._comparison(field, operator, value) for value in self._values())
            return parts[0] if len(parts) == 1 else Combined(how, parts)  # type: ignore[arg-type]
        for operator in _OPERATORS:
            if not negated and self._take(operator):
                return self._comparison(field, "==" if operator == "=" else operator, self._value())
        raise self._error("in, " if negated else "one of == != < <= > >= in, not in")

    def _comparison(self, field: tuple[str, ...], operator: str, value: Value) -> Comparison:
        if isinstance(value, bool) and operator not in ("==", "!="):
            raise ConfigError(
                f"the filter {self._text!r} compares {'.'.join(field)} {operator} {str(value).lower()}; "
                "expected == or != before true and false"
            )
        if len(field) == 1 and field[0] in OWN_FIELDS and not isinstance(value, str):
            raise ConfigError(
                f"the filter {self._text!r} compares {field[0]} with {json.dumps(value)}; it is a text, "
                "expected a value in quotes"
            )
        return Comparison(field, operator, value)

    def _field(self) -> tuple[str, ...]:
        names = [self._name()]
        while self._take("."):
            names.append(self._name())
        return tuple(names)

    def _name(self) -> str:
        kind, text, _ = self._peek()
        name = text.strip("`")
        if (
            kind != "name"
            or '"' in name
            or "\\" in name  # SQLite finds no such name, escaped or not
            or (text == name and name in ("and", "or", "not", "in", "true", "false"))
        ):
            raise self._error("the name of a field")
        self._next += 1
        return name

    def _values(self) -> Sequence[Value]:
        if not self._take("["):
            raise self._error("a list of values, [1, 2]")
        values = [self._value()]
        while self._take(","):
            values.append(self._value())
        if not self._take("]"):
            raise self._error("a comma or a closing bracket")
        return values

    def _value(self) -> Value:
        kind, text, _ = self._peek()
        if kind == "text":
            self._next += 1
            return re.sub(r"\\(.)", r"\1", text[1:-1])
        if kind == "number":
            self._next += 1
            whole = int(text) if re.fullmatch(r"[+-]?\d{1,19}", text) else None
            return whole if whole is not None and abs(whole) < 2**63 else float(text)
        for word, value in (("true", True), ("false", False)):
            if self._take_word(word):
                return value
        raise self._error("a number, a text in quotes, true or false")

    def _peek(self) -> tuple[str, str, int]:
        return self._tokens[self._next] if self._next < len(self._tokens) else ("", "", len(self._text))

    def _take(self, sign: str) -> bool:
        kind, text, _ = self._peek()
        self._next += (taken := (kind, text) == ("sign", sign))
        return taken

    def _take_word(self, word: str) -> bool:
        kind, text, _ = self._peek()
        self._next += (taken := kind == "name" and text.lower() == word)
        return taken

    def _error(self, expected: str, place: int | None = None) -> ConfigError:
        place = self._peek()[2] if place is None else place
        found = self._text[place : place + 20].strip() or "the end"
        return ConfigError(
            f"the filter {self._text!r} has {found!r} at character {place + 1}; expected {expected}. "
            'A filter is, for example: year > 2000 and lang in ["en", "de"]'
        )
