"""Write the reference pages that are made of the code itself: command line, settings, public names.

python scripts/reference_pages.py            # write them
python scripts/reference_pages.py --check    # exit 1 if they are not what they should be (a test does this)
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

os.environ["COLUMNS"] = "80"  # argparse wraps by the terminal's width
os.environ["NO_COLOR"] = "1"

import griffe

import llara
import llara.errors
from llara.cli import build_parser
from llara.config import list_recipes, recipe_text
from llara.config.recipes import RECIPES, STAGES

ROOT = Path(__file__).parents[1]

CLI = """\
# Command line

What `llara --help` and `llara COMMAND --help` print. Results go to stdout, speech and progress to stderr.
Exit codes: 0 fine, 1 a known error (one line `error: ...`), 2 wrong usage, 130 interrupted. Nothing is
overwritten without `--overwrite`.

"""

SETTINGS = """\
# Settings and recipes

Adapting, mining and fine-tuning take their settings from a recipe (`--config NAME` or `--config
FILE.toml`), of which `--set section.name=value` changes one. Every setting has a default; an unknown one is
an error that names the nearest. `llara COMMAND --print-config` prints all of them, after the recipe and
`--set`, as a recipe that `--config` reads.

## Defaults
"""

RECIPE = """
## Recipes

Files that come with the package. What a recipe does not say keeps its default.
"""


NAMES = """\
# Python

`import llara` is quick and loads no torch; each of these names comes in when it is first used.
`help(llara)` gives the order in which to read the code. The modules behind them have pages of their own:
[the paper](paper.md), [texts and data](data.md), [models and training](training.md), [vectors, indexes,
search](retrieval.md), [evaluation](evaluation.md), [errors](errors.md).

| name | what it is |
| --- | --- |
"""


def cli_page() -> str:
    """The help of llara and of each of its commands."""
    parser = build_parser()
    parts = [CLI, _fenced("text", parser.format_help())]
    for name, command in _commands(parser):
        parts += [f"\n## llara {name}\n\n", _fenced("text", command.format_help())]
    return "".join(parts)


def settings_page() -> str:
    """The defaults of each stage, and the recipes as they are."""
    parts = [SETTINGS]
    for stage, config in STAGES.items():
        parts += [f"\n### llara {stage}\n\n", _fenced("toml", recipe_text(config()))]
    parts.append(RECIPE)
    for name in list_recipes():
        text = (RECIPES / f"{name}.toml").read_text(encoding="utf-8")
        parts += [f"\n### {name}\n\n", _fenced("toml", text)]
    return "".join(parts)


def names_page() -> str:
    """Every public name with its docstring's first sentence and a link to where all of it stands."""
    package = griffe.load("llara", search_paths=[ROOT / "src"], resolve_aliases=True)  # read, not imported
    lines = []
    for name in llara.__all__:
        docstring = package[name].docstring
        page, anchor = _where(name)
        about = (docstring.value if docstring else "").split("\n\n")[0].replace("\n", " ")
        first = re.split(r"(?<=[.;]) (?=[a-zA-Z])", about)[0].rstrip(".;:").replace("``", "`")
        lines.append(f"| [`{name}`]({page}#{anchor}) | {first.replace('|', chr(92) + '|')} |\n")
    return NAMES + "".join(lines)


def _where(name: str) -> tuple[str, str]:
    """The reference page that shows a public name, and its anchor there."""
    for page in sorted((ROOT / "docs/reference").glob("*.md")):
        text = page.read_text(encoding="utf-8")
        found = re.search(rf"^::: (llara\.\S+\.{name})$", text, re.MULTILINE)
        if found:
            return page.name, found[1]
        if "::: llara.errors" in text and name in llara.errors.__all__:
            return page.name, f"llara.errors.{name}"
    raise SystemExit(f"no page of docs/reference shows llara.{name}; add it where it belongs")


PAGES = {
    "docs/cli.md": cli_page,
    "docs/settings.md": settings_page,
    "docs/reference/index.md": names_page,
}


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def _fenced(language: str, text: str) -> str:
    lines = (line.rstrip() for line in text.strip().splitlines())
    return "\n".join([f"```{language}", *lines, "```", ""])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    stale = [name for name, page in PAGES.items() if (ROOT / name).read_text(encoding="utf-8") != page()]
    for name in stale:
        if check:
            print(f"{name} is out of date; run: python scripts/reference_pages.py", file=sys.stderr)
        else:
            (ROOT / name).write_text(PAGES[name](), encoding="utf-8")
            print(name)
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
