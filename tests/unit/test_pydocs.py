"""The documentation of a machine as a test collection: what is in it, and that no query gives itself away."""

import subprocess
import sys
from pathlib import Path

import pytest

from llara.quickstart.known_items import adaptation_texts, is_test_package, known_items
from llara.quickstart.prose import cut_summary, words_of
from llara.quickstart.pydocs import Passage, read_passages

NAMES = """
    amber basil cedar daisy elder fennel ginger hazel iris juniper kale laurel maple nettle olive parsley
    quince rose sage thyme umber violet willow yarrow
"""
WORDS = NAMES.split()


def prose(seed: int, length: int = 24) -> str:
    """Words that no other seed has."""
    ending = "".join("abcdefghij"[int(digit)] for digit in str(seed))
    return " ".join(WORDS[i % len(WORDS)] + ending for i in range(length))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of packages, with what must be left out among it."""
    files = {
        "garden/__init__.py": f'"""Grow all kinds of plants.\n\n{prose(1)}\n"""\n',
        "garden/beds.py": f'''
class Bed:
    """Hold the plants of one bed.

    {prose(2)}

    Parameters
    ----------
    width : the width of the bed in metres
    """

    def _hidden(self):
        """Do what nobody should see.

        {prose(3)}
        """

    def dig(self):
        """Turn the soil over once. {prose(4)}"""
        raise SystemExit("this code must not run")
''',
        "garden/copied.py": f'def again():\n    """Grow plants a second time.\n\n    {prose(2)}\n    """\n',
        "garden/short.py": f'def few():\n    """Say little. {"too long a word " * 4}{"x" * 100}"""\n',
        "garden/tests/test_beds.py": f'"""Test the beds.\n\n{prose(5)}\n"""\n',
        "garden/_vendor/other.py": f'"""Belong to another package.\n\n{prose(6)}\n"""\n',
        "garden/broken.py": f'"""Do not parse at all.\n\n{prose(7)}\n"""\ndef (:\n',
        "garden/notice.py": f'"""State who owns this.\n\nCopyright somebody. {prose(8)}\n"""\n',
        "tool.py": f'"""Sharpen the tools well.\n\n{prose(9)}\n"""\nraise SystemExit("never run")\n',
        "test/support.py": f'"""Help to test things.\n\n{prose(10)}\n"""\n',
        "notes-1.0.dist-info/readme.py": f'"""Belong to no package.\n\n{prose(11)}\n"""\n',
    }
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return tmp_path


def passages_of(root: Path) -> dict[str, Passage]:
    passages = read_passages(10_000, roots=[root])
    return {passage.id: passage for passage in passages if passage.package != "reference"}


def test_public_docstrings_become_passages_and_nothing_else_does(root: Path) -> None:
    found = set(passages_of(root)) - {"garden.copied.again", "garden.beds.Bed"}  # two copies: see below
    assert found == {"garden", "garden.beds.Bed.dig", "tool"}


def test_of_two_copies_one_is_kept(root: Path) -> None:
    assert len({"garden.beds.Bed", "garden.copied.again"} & set(passages_of(root))) == 1


def test_a_passage_is_the_docstring_without_summary_name_and_parameters(root: Path) -> None:
    (root / "garden" / "copied.py").unlink()
    passage = passages_of(root)["garden.beds.Bed"]
    assert passage == Passage("garden.beds.Bed", "garden", "Hold the plants of one bed.", prose(2))


def test_a_summary_ends_with_its_first_sentence(root: Path) -> None:
    passage = passages_of(root)["garden.beds.Bed.dig"]
    assert (passage.summary, passage.body) == ("Turn the soil over once.", prose(4))


def test_the_limit_is_kept_and_packages_take_turns(root: Path) -> None:
    for number in range(30):
        path = root / "crowd" / f"m{number}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            f'"""Say the thing number {number}.\n\n{prose(100 + number)}\n"""\n', encoding="utf-8"
        )
    everything = [
        passage for passage in read_passages(10_000, roots=[root]) if passage.package != "reference"
    ]
    assert sum(passage.package == "crowd" for passage in everything) == 30
    # Ten of each package come before the eleventh of any.
    first = {passage.package for passage in everything[: 10 + 4 + 1]}
    assert first == {"crowd", "garden", "tool"}
    assert len(read_passages(7, roots=[root])) == 7


@pytest.mark.parametrize(
    ("docstring", "summary", "body"),
    [
        ("One sentence.", "One sentence.", ""),
        ("No full stop\n\nBody text.", "No full stop", "Body text."),
        ("Use e.g. this one. Then that.", "Use e.g. this one.", "Then that."),
        ("Read version 2.5 of it. More.", "Read version 2.5 of it.", "More."),
        ("Call :func:`~os.path.join`.\n\nSee ``x``.", "Call os.path.join.", "See x."),
        ("Sum.\n\nText here.\n\n:param x: a number\n\nLost.", "Sum.", "Text here."),
        ("Sum.\n\nText here.\n\nArgs:\n    x: a number", "Sum.", "Text here."),
        ("Sum.\n\n>>> f(1)\n2\n\nText after.", "Sum.", "Text after."),
        ("", "", ""),
    ],
)
def test_docstrings_are_cut_after_the_first_sentence(docstring: str, summary: str, body: str) -> None:
    assert cut_summary(docstring) == (summary, body)


@pytest.fixture(scope="module")
def machine() -> list[Passage]:
    """What this machine really has, a part of it."""
    return read_passages(1500)


def test_this_machine_has_documentation_the_same_each_time(machine: list[Passage]) -> None:
    assert len(machine) == 1500
    assert read_passages(1500) == machine
    packages = {passage.package for passage in machine}
    assert {"reference", "email", "numpy", "torch"} <= packages
    assert "llara" not in packages


def test_ids_are_unique_and_can_stand_in_a_run_file(machine: list[Passage]) -> None:
    ids = [passage.id for passage in machine]
    assert len(set(ids)) == len(ids)
    assert all(id_ and not any(character.isspace() for character in id_) for id_ in ids)


def test_no_package_is_imported_to_read_its_documentation() -> None:
    code = (
        "import sys; from llara.quickstart.pydocs import read_passages; n = len(read_passages(800)); "
        "print(n, *(m for m in ('torch', 'numpy', 'sympy', 'tkinter', 'turtle') if m in sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["800"]


def test_each_query_has_one_relevant_document_which_does_not_repeat_it(machine: list[Passage]) -> None:
    splits = known_items(machine, num_test_queries=100)
    assert len(splits["test"].queries) == 100
    by_id = {passage.id: passage for passage in machine}
    for collection in splits.values():
        assert collection.queries.keys() == collection.qrels.keys()
        assert len(
            {words for text in collection.queries.values() if (words := " ".join(words_of(text)))}
        ) == len(collection.queries)
        for query, judged in collection.qrels.items():
            ((document, relevance),) = judged.items()
            assert relevance == 1
            assert by_id[document].summary == collection.queries[query]
            body = collection.corpus[document].text
            assert body == by_id[document].body
            assert collection.queries[query].lower() not in body.lower()
            assert collection.corpus[document].title == ""


def test_queries_of_each_split_can_be_limited_and_are_then_the_first(machine: list[Passage]) -> None:
    everything = known_items(machine, num_test_queries=10_000)
    some = known_items(machine, num_test_queries=20, num_train_queries=30)
    for name, number in (("test", 20), ("train", 30)):
        assert list(some[name].queries.items()) == list(everything[name].queries.items())[:number]
        assert len(some[name].qrels) == number
        assert some[name].corpus == everything[name].corpus


def test_train_and_test_queries_come_from_different_packages(machine: list[Passage]) -> None:
    splits = known_items(machine, num_test_queries=10_000)
    package = {passage.id: passage.package for passage in machine}
    packages = {
        split: {package[document] for judged in collection.qrels.values() for document in judged}
        for split, collection in splits.items()
    }
    assert len(packages["test"]) > 10
    assert len(packages["train"]) > 10
    assert packages["train"].isdisjoint(packages["test"])


def test_no_test_query_is_in_the_text_that_is_adapted_to(machine: list[Passage]) -> None:
    splits = known_items(machine, num_test_queries=10_000)
    texts = {document.id: document.text for document in adaptation_texts(machine)}
    assert texts.keys() == {passage.id for passage in machine}
    for query, judged in splits["test"].qrels.items():
        (document,) = judged
        assert texts[document].startswith(splits["test"].corpus[document].text)
        assert splits["test"].queries[query] not in texts[document]


@pytest.mark.parametrize(
    "summary",
    [
        "Too few words.",
        "f(a, b, c) -> Some[thing, x]",
        "a.b() c.d() e.f() g_h",
        "word " * 31,
        "BODY says; this very thing",
    ],
)
def test_a_summary_that_is_no_question_makes_no_query(summary: str) -> None:
    body = "the body says this very thing and more of it"
    package = next(name for name in map(str, range(100)) if is_test_package(name))
    good = Passage("good", package, "Say it in other words.", body)
    bad = Passage("bad", package, summary.replace("BODY ", ""), body)
    splits = known_items([good, bad], num_test_queries=10)
    assert list(splits["test"].queries.values()) == ["Say it in other words."]


def test_a_summary_of_two_passages_makes_no_query() -> None:
    passages = [
        Passage("a", "p", "Open the given file.", "one"),
        Passage("b", "q", "open the given file", "two"),
    ]
    assert [collection.queries for collection in known_items(passages, num_test_queries=9).values()] == [
        {},
        {},
    ]
