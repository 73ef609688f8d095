"""The documentation on this machine as passages of prose: nothing is downloaded, and no package imported.

Text comes from two places. The language reference is `pydoc_data.topics`. Docstrings come from the
standard library and from the installed packages, whose ``.py`` files are *parsed* (`ast`), never run.
Left out: tests, vendored copies, private functions, and passages that mostly repeat an earlier one. The same
installation gives the same passages in the same order.
"""

from __future__ import annotations

import ast
import gc
import hashlib
import importlib
import os
import re
import sysconfig
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

from llara.quickstart.prose import cut_summary, is_prose, plain_text, words_of

__all__ = ["Passage", "read_passages", "stable_hash"]

MIN_BODY_WORDS = 20
MAX_BODY_WORDS = 28  # about 47 tokens: a slow machine must encode 10,000 of them three times in minutes
SHINGLE_WORDS = 4
MAX_REPEATED_SHARE = 0.4  # of a passage's shingles that earlier passages hold already
TURN_PASSAGES = 10
MAX_SOURCE_BYTES = 1_000_000  # larger files are generated tables
MIN_DOCSTRING_BYTES = 6 * MIN_BODY_WORDS
MIN_DOCUMENTED_SHARE = 0.1  # of a file's bytes; files below are not worth the time to parse

# Directories and modules. llara itself is left out too, so that changing it does not change its corpus.
_LEFT_OUT_NAMES = """
    test tests testing _testing testsuite conftest _internal_testing idlelib lib2to3 pydoc_data turtledemo
    site-packages dist-packages node_modules _vendor vendor vendored _vendored _distutils extern externals
    llara
"""
LEFT_OUT = frozenset(_LEFT_OUT_NAMES.split())
_DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
_NOTICE = re.compile(r"copyright|licen[sc]e|all rights reserved|do not edit|auto-?generated", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Passage:
    """A docstring without its first sentence, which is ``summary`` ("" in the language reference).

    ``id`` is the qualified name, ``package`` the top-level package or module, ``prose`` all that follows the
    summary, and ``body``, the part of it that is searched, its first words.
    """

    id: str
    package: str
    summary: str
    prose: str

    @property
    def body(self) -> str:
        """At most the first 28 words."""
        return " ".join(self.prose.split()[:MAX_BODY_WORDS])


@dataclass(frozen=True, slots=True)
class _Package:
    """A package, or a module by itself: a folder or file at the top level of ``root``."""

    name: str
    root: Path
    entry: Path


def read_passages(limit: int, *, roots: Sequence[Path] | None = None) -> list[Passage]:
    """At most ``limit`` passages from the language reference and the packages in ``roots``.

    Packages take turns, ten passages at a time, so that a large one cannot crowd out the small ones; only as
    many files are parsed as it takes (10,000 passages: about ten seconds, 200 MB).

    Args:
        roots: folders of packages; by default the standard library and the site packages.
    """
    if roots is None:
        paths = sysconfig.get_paths()
        roots = [Path(paths[scheme]) for scheme in ("stdlib", "purelib", "platlib")]
    sources = [_topics(), *map(_docstrings, _packages(roots))]
    with _no_garbage_collection():
        return list(islice(_distinct(_take_turns(sources)), limit))


def stable_hash(text: str) -> str:
    """A random but fixed order for names: 64 hexadecimal digits, the same on every machine."""
    return hashlib.sha256(text.encode()).hexdigest()


def _packages(roots: Iterable[Path]) -> list[_Package]:
    """Everything in ``roots`` that may have source files, in a fixed order; of one name, the first."""
    packages: dict[str, _Package] = {}
    for root in roots:
        for entry in root.iterdir() if root.is_dir() else []:
            name = entry.stem if entry.suffix == ".py" else entry.name
            if name.isidentifier() and name not in LEFT_OUT:
                packages.setdefault(name, _Package(name, root, entry))
    return sorted(packages.values(), key=lambda package: stable_hash(package.name))


def _source_files(package: _Package) -> list[Path]:
    """The files of a package, relative to its root, in a random but fixed order."""
    if package.entry.suffix == ".py":
        return [package.entry.relative_to(package.root)]
    found = []
    for folder, folders, names in os.walk(package.entry):
        folders[:] = [name for name in folders if name not in LEFT_OUT]
        inside = Path(folder).relative_to(package.root)
        found += [inside / name for name in names if name.endswith(".py") and _is_documentation(name[:-3])]
    return sorted(found, key=lambda path: stable_hash(path.as_posix()))


def _is_documentation(stem: str) -> bool:
    generated = stem.endswith(("_pb2", "_pb2_grpc"))
    return not (
        generated or stem in LEFT_OUT or stem.startswith("test_") or stem.endswith(("_test", "_tests"))
    )


def _docstrings(package: _Package) -> Iterator[Passage]:
    """The passages of one package, file after file; files for another version of Python are left out."""
    for file in _source_files(package):
        source = (package.root / file).read_bytes()
        if len(source) > MAX_SOURCE_BYTES or not _is_documented(source):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # invalid escapes in other people's strings
                tree = ast.parse(source)
        except (SyntaxError, ValueError):
            continue
        module = ".".join(file.with_suffix("").parts).removesuffix(".__init__")
        for name, docstring in _walk(tree, module):
            summary, body = cut_summary(docstring)
            passage = _passage(name, package.name, summary, body)
            if passage is not None:
                yield passage


def _is_documented(source: bytes) -> bool:
    """Whether enough of a file is in long triple-quoted strings to be worth parsing."""
    strings = source.replace(b"'''", b'"""').split(b'"""')[1::2]
    prose = sum(len(string) for string in strings if len(string) > MIN_DOCSTRING_BYTES)
    return prose > MIN_DOCUMENTED_SHARE * len(source)


def _walk(node: ast.AST, name: str) -> Iterator[tuple[str, str]]:
    """Qualified name and docstring of a module, its public classes and functions, and their methods."""
    assert isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
    docstring = ast.get_docstring(node, clean=False)
    if docstring and len(docstring) > MIN_DOCSTRING_BYTES:
        yield name, docstring
    for child in node.body if isinstance(node, (ast.Module, ast.ClassDef)) else []:
        if isinstance(child, _DEFINITIONS) and (child.name == "__init__" or not child.name.startswith("_")):
            yield from _walk(child, f"{name}.{child.name}")


def _topics() -> Iterator[Passage]:
    """The language reference in runs of whole paragraphs; nothing where Python came without it."""
    try:
        topics: dict[str, str] = importlib.import_module("pydoc_data.topics").topics
    except ImportError:
        return
    for topic, text in sorted(topics.items()):
        numbers = count(1)
        prose = ""
        for paragraph in [*re.split(r"\n\s*\n", text), ""]:
            if prose and (not paragraph or len(prose.split()) >= MAX_BODY_WORDS):
                passage = _passage(f"reference.{topic}.{next(numbers)}", "reference", "", prose)
                if passage is not None:
                    yield passage
                prose = ""
            prose = f"{prose} {plain_text(paragraph)}".strip()


def _passage(name: str, package: str, summary: str, prose: str) -> Passage | None:
    """The passage, or None if it is too short, not prose, or a notice."""
    passage = Passage(name, package, summary, prose)
    words = passage.body.split()
    if len(words) < MIN_BODY_WORDS or not is_prose(passage.body) or _NOTICE.search(passage.body):
        return None
    return passage


def _take_turns(sources: Sequence[Iterator[Passage]]) -> Iterator[Passage]:
    while sources:
        left = []
        for source in sources:
            turn = list(islice(source, TURN_PASSAGES))
            yield from turn
            if turn:
                left.append(source)
        sources = left


def _distinct(passages: Iterable[Passage]) -> Iterator[Passage]:
    """Leave out a passage whose id was there, or whose shingles earlier ones hold to a large part."""
    ids: set[str] = set()
    seen: set[str] = set()
    for passage in passages:
        words = words_of(passage.body)
        shingles = {" ".join(words[i : i + SHINGLE_WORDS]) for i in range(len(words) - SHINGLE_WORDS + 1)}
        if passage.id in ids or len(shingles & seen) > MAX_REPEATED_SHARE * len(shingles):
            continue
        ids.add(passage.id)
        seen |= shingles
        yield passage


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Syntax trees are millions of objects without cycles: looking for cycles takes as long as parsing."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
