"""How a frozen dataclass becomes settings: checked tables, ``--set a.b=c``, and TOML.

A config is a dataclass of settings and of sections, each section a dataclass of settings. A key is
``name`` or ``section.name``. Every value is checked for name, type and range where it is read; ``None``
is written ``"none"``, since TOML has no null.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from operator import attrgetter
from typing import Any, Literal, TypeVar, Union

from llara.errors import ConfigError

__all__ = [
    "Changed",
    "apply_overrides",
    "changed",
    "from_dict",
    "listed",
    "nearest",
    "setting",
    "to_dict",
    "to_toml",
]

C = TypeVar("C")
T = TypeVar("T")


def setting(default: T, about: str, *, at_least: float | None = None, at_most: float | None = None) -> T:
    """A dataclass field with its default, its line of documentation and its range."""
    return field(default=default, metadata={"about": about, "at_least": at_least, "at_most": at_most})


def from_dict(kind: type[C], data: Mapping[str, Any], *, source: str = "settings") -> C:
    """Build a config of class ``kind`` from nested tables, as TOML or JSON give them.

    Raises:
        ConfigError: an unknown setting (with the nearest known one), a wrong type or range.
    """
    values: dict[str, Any] = {}
    sections = _sections(kind)
    for key, value in data.items():
        if key in sections and isinstance(value, Mapping):
            values |= {f"{key}.{name}": item for name, item in value.items()}
        else:
            values[key] = value
    return _with(kind(), values, source)


def apply_overrides(config: C, assignments: Sequence[str]) -> C:
    """Return ``config`` with every ``section.name=value`` of ``assignments`` applied in turn.

    Raises:
        ConfigError: not an assignment, an unknown setting, a wrong type or range.
    """
    values = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        key = key.strip()
        if not equals:
            raise ConfigError(f"--set {assignment!r} is not an assignment; write --set section.name=value")
        values[key] = _parse(text.strip(), _kind_of(type(config), key, "--set"))
    return _with(config, values, "--set")


def _with(config: C, values: Mapping[str, Any], source: str) -> C:
    """``config`` with the checked ``values``, which are keyed ``name`` or ``section.name``."""
    tables: dict[str, dict[str, Any]] = {}
    changes: dict[str, Any] = {}
    for key, value in values.items():
        checked = _checked(type(config), key, value, source)
        section, dot, name = key.rpartition(".")
        if dot:
            tables.setdefault(section, {})[name] = checked
        else:
            changes[name] = checked
    for section, table in tables.items():
        changes[section] = replace(getattr(config, section), **table)
    try:
        return replace(config, **changes)  # type: ignore[type-var]
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error


def to_dict(config: Any) -> dict[str, Any]:
    """Nested tables that ``from_dict`` reads back; a setting of None is written as ``"none"``."""

    def plain(value: Any) -> Any:
        if is_dataclass(value):
            return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
        if isinstance(value, tuple):
            return list(value)
        return "none" if value is None else value

    result: dict[str, Any] = plain(config)
    return result


@dataclass(frozen=True)
class Changed:
    """A setting that is not the default: both values as TOML has them, and its line of documentation."""

    name: str
    value: str
    default: str
    about: str


def changed(config: Any) -> list[Changed]:
    """The settings of ``config`` that differ from the defaults of its class, in the order of the class."""
    default = type(config)()
    found = []
    for key, (_, metadata) in _known(type(config)).items():
        value, usual = attrgetter(key)(config), attrgetter(key)(default)
        if value != usual:
            found.append(Changed(key, _toml_value(value), _toml_value(usual), metadata["about"]))
    return found


def to_toml(config: Any, *, table: str) -> str:
    """Every setting with its value and its line of documentation, under the table of that name."""
    lines = [f"[{table}]"]
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            lines += ["", f"[{table}.{item.name}]"]
            lines += [_toml_line(inner, getattr(value, inner.name)) for inner in fields(value)]
        else:
            lines.append(_toml_line(item, value))
    return "\n".join(lines) + "\n"


def _toml_line(item: Any, value: Any) -> str:
    return f"{item.name} = {_toml_value(value)}  # {item.metadata['about']}"


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    if isinstance(value, (int, float)):
        return repr(value)
    text = "none" if value is None else str(value)
    escaped = re.sub(r'[\x00-\x1f\x7f"\\]', lambda found: f"\\u{ord(found[0]):04x}", text)
    return f'"{escaped}"'


def _sections(kind: type) -> dict[str, Any]:
    return {name: hint for name, hint in typing.get_type_hints(kind).items() if is_dataclass(hint)}


def _known(kind: type) -> dict[str, tuple[Any, Mapping[str, Any]]]:
    """Every key with its type and the metadata of its field."""
    known: dict[str, tuple[Any, Mapping[str, Any]]] = {}
    hints, sections = typing.get_type_hints(kind), _sections(kind)
    for item in fields(kind):
        if item.name in sections:
            inner = _known(sections[item.name])
            known |= {f"{item.name}.{name}": entry for name, entry in inner.items()}
        else:
            known[item.name] = (hints[item.name], item.metadata)
    return known


def _kind_of(kind: type, key: str, source: str) -> Any:
    known = _known(kind)
    if key in _sections(kind):
        raise ConfigError(f"{source}: {key} is a section of settings, expected a table [{key}] or {key}.name")
    if key not in known:
        raise ConfigError(f"{source}: unknown setting {key}{nearest(key, list(known))}")
    return known[key][0]


def _checked(kind: type, key: str, value: Any, source: str) -> Any:
    """``value`` as the type of ``key``, within its range."""
    result, expected = _converted(value, _kind_of(kind, key, source))
    metadata = _known(kind)[key][1]
    low, high = metadata["at_least"], metadata["at_most"]
    if not expected and isinstance(result, (int, float)):
        if low is not None and result < low:
            expected = f"at least {low:g}"
        elif high is not None and result > high:
            expected = f"at most {high:g}"
    if expected:
        raise ConfigError(f"{source}: {key} = {value!r}, expected {expected} ({metadata['about']})")
    return result


def _converted(value: Any, kind: Any) -> tuple[Any, str]:
    """The value in its type and "", or the value and what was expected instead."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return (None, "") if value in (None, "none") else _converted(value, arguments[0])
    if origin is Literal:
        return value, "" if value in arguments else f"one of {listed(arguments)}"
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            return value, "a list"
        items = [_converted(item, arguments[0]) for item in value]
        wrong = next((expected for _, expected in items if expected), "")
        return tuple(item for item, _ in items), wrong and f"a list, each of it {wrong}"
    if kind is float and type(value) in (int, float):
        return float(value), "" if math.isfinite(value) else "a finite number"
    if type(value) is kind:
        return value, ""
    return value, {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}[kind]


def _parse(text: str, kind: Any) -> Any:
    """The text of a ``--set`` value as TOML would read it; a bare word is a string, ``a,b`` a list."""
    if kind is str:
        return text
    if typing.get_origin(kind) is tuple and not text.startswith("["):
        item_kind = typing.get_args(kind)[0]
        return [_parse(item.strip(), item_kind) for item in text.split(",") if item.strip()]
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def listed(names: Sequence[Any]) -> str:
    """Names for a message, in the order given."""
    return ", ".join(map(str, names))


def nearest(name: str, known: Sequence[str]) -> str:
    """A suggestion to append to an error message, or nothing; a missing section is forgiven.

    >>> nearest("max_step", ["training.max_steps", "lora.rank"])
    '; did you mean training.max_steps?'
    """
    by_leaf = {option.rpartition(".")[2]: option for option in known}
    close = difflib.get_close_matches(name, known, n=1)
    if not close:
        leaf = name.rpartition(".")[2]
        close = [by_leaf[found] for found in difflib.get_close_matches(leaf, list(by_leaf), n=1)]
    return f"; did you mean {close[0]}?" if close else ""
