"""Who is let in, and what browsers are told.

A key is compared as bytes, in a time that does not depend on how much of it is right. Without a key the
service listens to this machine alone; there a web page in this machine's browser could still reach it, under
a host name of its own that resolves to this machine (DNS rebinding), so other host names are refused.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from typing import Any

from llara.serve.errors import ApiError
from llara.serve.settings import ServeSettings

__all__ = ["HEADERS", "POLICY", "Security", "header"]

POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
HEADERS = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_OPEN = frozenset({"/", "/docs", "/health", "/info", "/openapi.json"})
_OPEN_FOLDER = "/page/"


def header(scope: Any, name: bytes) -> bytes | None:
    """The value of a request's first header of that name (lower case)."""
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return next((value for key, value in headers if key == name), None)


class Security:
    """Keys and host names."""

    def __init__(self, settings: ServeSettings) -> None:
        self._keys = [key.encode("ascii") for key in settings.keys]
        self._hosts = settings.own_hosts if settings.hides_from_other_hosts else None

    def client(self, scope: Any) -> str:
        """Check a request; returns what tells its client from others: the key's number, or the address.

        Raises:
            ApiError: its host name or its key is not right.
        """
        self._check_host(scope)
        number = self._key_number(scope)
        if number is None and self._keys and not _is_open(scope):
            given = header(scope, b"authorization") is not None
            raise ApiError(
                401,
                "this is not a key of this server"
                if given
                else "this server wants a key, as the header Authorization: Bearer KEY",
                "invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if number is not None:
            return f"key {number}"
        client = scope.get("client")
        return str(client[0]) if client else "unknown"

    def _check_host(self, scope: Any) -> None:
        host = header(scope, b"host")
        if self._hosts is None or host is None:
            return
        name = host.decode("latin-1").lower()
        name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
        if name not in self._hosts:
            raise ApiError(
                403,
                "this server has no key and answers for its own host names only; name another with "
                "--allow-host, or give it a key",
                "host_not_allowed",
            )

    def _key_number(self, scope: Any) -> int | None:
        scheme, _, token = (header(scope, b"authorization") or b"").partition(b" ")
        token = token.strip()
        right = [hmac.compare_digest(token, key) for key in self._keys]  # every key, always
        return right.index(True) + 1 if scheme.lower() == b"bearer" and any(right) else None


def _is_open(scope: Any) -> bool:
    path: str = scope["path"]
    return scope["method"] in ("GET", "HEAD") and (path in _OPEN or path.startswith(_OPEN_FOLDER))
