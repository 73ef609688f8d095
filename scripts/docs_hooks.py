"""Hooks of the docs site (mkdocs.yml): one set of links for a repository browser and for the site.

Pages under docs/ link to files beside docs/ (``../benchmarks/README.md``), as a repository browser needs it.
The site takes every file that is linked to in, under ``repository/``, and the links are rewritten to where
it stands there; a link to nothing stays as it is, and mkdocs warns of it. A page that would load anything
from another host is warned of as well, so that ``mkdocs build --strict`` refuses it.
"""

from __future__ import annotations

import logging
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
OUTSIDE = "repository/"  # where files that stand beside docs/ stand in the site
_LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")  # ](path#anchor), without a scheme
_LOADED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(?:https?:)?//[^>]*>"""
    r"""|<link\b[^>]*\brel=["']?(?:stylesheet|preconnect|preload|icon)\b[^>]*\bhref=["']?(?:https?:)?//[^>]*>"""
)
_log = logging.getLogger("mkdocs.hooks.docs")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take in what the pages link to beside docs/, and what those link to in turn."""
    waiting = [_repository_path(file.src_uri) for file in files if file.src_uri.endswith(".md")]
    seen: set[str] = set()
    while waiting:
        for path in _linked(waiting.pop()):
            uri = _site_path(path)
            if path not in seen and uri.startswith(OUTSIDE):
                seen.add(path)
                taken = File.generated(
                    config, uri, abs_src_path=str(ROOT / path), inclusion=InclusionLevel.NOT_IN_NAV
                )
                files.append(taken)
                waiting += [path] if path.endswith(".md") else []
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with its links to files of the repository as links within the site."""
    here = _repository_path(page.file.src_uri)

    def rewrite(match: re.Match[str]) -> str:
        path = _resolve(here, match[2])
        if path is None:
            return match[0]
        target = posixpath.relpath(_site_path(path), posixpath.dirname(page.file.src_uri) or ".")
        return f"{match[1]}{target}{match[3]}"

    return _LINK.sub(rewrite, markdown)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Warn of what a browser would fetch from elsewhere."""
    for match in _LOADED.finditer(output):
        _log.warning("%s loads from another host: %s", page.file.src_uri, match[0])
    return output


def _linked(path: str) -> Iterator[str]:
    for match in _LINK.finditer((ROOT / path).read_text(encoding="utf-8")):
        target = _resolve(path, match[2])
        if target is not None:
            yield target


def _resolve(page: str, link: str) -> str | None:
    """The file that a link of a page means, from the root of the repository; None if there is none."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), link))
    return path if not path.startswith("..") and (ROOT / path).is_file() else None


def _repository_path(uri: str) -> str:
    return uri.removeprefix(OUTSIDE) if uri.startswith(OUTSIDE) else f"docs/{uri}"


def _site_path(path: str) -> str:
    return path.removeprefix("docs/") if path.startswith("docs/") else OUTSIDE + path
