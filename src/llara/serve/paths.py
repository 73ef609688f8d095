"""Paths whose last part is whatever follows: ids of documents hold slashes, and any Unicode."""

from __future__ import annotations

from starlette.convertors import Convertor, register_url_convertor

__all__ = ["WHOLE"]

WHOLE = "whole"
"""``/documents/{id:whole}``; starlette's own ``path`` ends at a line break."""


class _Whole(Convertor[str]):
    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor(WHOLE, _Whole())
