"""The reading order in the docstring of ``llara`` is the direction of its imports, and the front is light."""

import ast
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import metadata
from pathlib import Path

import pytest

import llara

PACKAGE = Path(llara.__file__).parent
HEAVY = ("torch", "transformers", "sentence_transformers", "datasets", "faiss", "pyarrow", "matplotlib")


def reading_order() -> list[str]:
    return re.findall(r"^    (\w+) +\S", llara.__doc__ or "", flags=re.MULTILINE)


def modules() -> list[str]:
    names = {path.stem for path in PACKAGE.glob("*.py")} | {
        path.parent.name for path in PACKAGE.glob("*/__init__.py")
    }
    return sorted(names - {"__init__", "__main__"})


def sources(module: str) -> list[Path]:
    single = PACKAGE / f"{module}.py"
    return [single] if single.is_file() else sorted((PACKAGE / module).rglob("*.py"))


def imports_of(module: str) -> Iterator[tuple[str, str]]:
    """Every module of llara that ``module`` imports, inside functions too, with the place."""
    for path in sources(module):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}:{node.lineno}: relative import"
                package = node.module or ""
                full = [f"llara.{alias.name}" if package == "llara" else package for alias in node.names]
            elif isinstance(node, ast.Import):
                full = [alias.name for alias in node.names]
            else:
                continue
            for name in full:
                if name.startswith("llara.") and name != "llara.__version__":
                    yield name.split(".")[1], f"{path.relative_to(PACKAGE)}:{node.lineno}"


def test_the_docstring_lists_every_module_once() -> None:
    assert sorted(reading_order()) == modules()


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_only_from_those_before_it(module: str) -> None:
    order = reading_order()
    before = set(order[: order.index(module) + 1])
    upward = [f"{place} imports {name}" for name, place in imports_of(module) if name not in before]
    assert upward == []


@pytest.mark.parametrize(
    "statement",
    [
        "import llara",
        "import llara.cli; llara.cli.build_parser()",
        "from llara.config import *; [load_recipe(n, k) for k in STAGES.values() for n in list_recipes(k)]",
    ],
)
def test_the_front_loads_nothing_heavy(statement: str) -> None:
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = result.stdout.split()
    assert not set(HEAVY) & set(loaded)


def test_help_answers_in_half_a_second() -> None:
    # Processor time, the best of several: what the answer costs, however busy the machine is.
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "llara", "--help"], stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(seconds) < 0.5


def test_public_names_are_sorted_and_exist() -> None:
    assert llara.__all__ == sorted(llara.__all__)
    for name in llara.__all__:
        assert getattr(llara, name) is not None


def test_no_public_name_is_hidden_by_a_module() -> None:
    assert not set(llara.__all__) & set(modules())


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'adapter'"):
        llara.adapter  # noqa: B018


def test_every_extra_that_an_error_names_exists() -> None:
    extras = set(metadata("llara").get_all("Provides-Extra") or [])
    named = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "MissingExtraError":
                extra = node.args[1]
                assert isinstance(extra, ast.Constant), f"{path}:{node.lineno}: the extra is not written out"
                named.add(extra.value)
    assert named <= extras
