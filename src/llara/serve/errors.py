"""What a client is told when something is wrong: always the same body, OpenAI's, and the right status."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llara.errors import ConfigError, InputError, LlaraError

__all__ = ["ApiError", "error_body", "from_llara", "from_validation", "unexpected"]

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_EMBEDDINGS = ("input", "model", "encoding_format", "dimensions", "user", "input_type")
_OTHERS = ("query", "k", "mode", "where", "highlight", "text", "top", "document", "document_id")
_KEYS = frozenset((*_EMBEDDINGS, *_OTHERS))
_MOST_NAME_CHARACTERS = 40
_TEXTS = ("input", "query", "text", "document")
_TOO_LONG = ("string_too_long", "too_long")


class ApiError(Exception):
    """A request that cannot be answered.

    Args:
        status: the HTTP status.
        message: what was wrong, what was expected; the client sees it.
        code: one word that a program can compare with.
        headers: more headers of the response.
    """

    def __init__(
        self, status: int, message: str, code: str | None = None, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code
        self.headers = dict(headers or {})

    @property
    def body(self) -> bytes:
        """The body of the response."""
        return error_body(self.status, self.message, self.code)


def error_body(status: int, message: str, code: str | None = None) -> bytes:
    """The body of an error, UTF-8.

    >>> error_body(404, "no such document", "no_document")
    b'{"error": {"message": "no such document", "type": "not_found_error", "code": "no_document"}}'
    """
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return json.dumps({"error": {"message": message, "type": kind, "code": code}}).encode()


def unexpected() -> ApiError:
    """What a client is told of a mistake of ours."""
    return ApiError(500, "something went wrong here; the log says what", "internal")


def from_llara(error: LlaraError) -> ApiError:
    """What a client is told of one of our own errors: a wrong filter is its fault, a broken index is not."""
    if isinstance(error, ConfigError):
        return ApiError(400, str(error), "invalid_value")
    if isinstance(error, InputError):
        return ApiError(
            500, "the index cannot be read; its operator finds the reason in the log", "index_error"
        )
    return ApiError(500, str(error), "model_error")


def from_validation(errors: Sequence[Mapping[str, Any]]) -> ApiError:
    """What a client is told of a body that is not as described; its values are not repeated.

    Where the body may have one of several forms, it is told of the form that fits furthest.
    """
    too_long = [error for error in errors if error["type"] in _TOO_LONG and _place(error)[0] in _TEXTS]
    furthest = max(map(_place, too_long or errors), key=_depth)
    found = [error for error in too_long or errors if _place(error) == furthest]
    what = ", or ".join(dict.fromkeys(str(error["msg"]) for error in found))
    if found[0]["type"] == "json_invalid":
        more = " (half a surrogate pair is no character)" if "hex escape" in what else ""
        return ApiError(
            400, f"the body is not JSON: {what.removeprefix('Invalid JSON: ')}{more}", "invalid_json"
        )
    if furthest == ("model",) and found[0]["type"] == "literal_error":
        return ApiError(404, f"this server has no such model. {what}", "model_not_found")
    if found[0]["type"] == "extra_forbidden":
        return ApiError(400, f"{_shown(found[0]['loc'][-1])} is no field of this request", "unknown_field")
    message = (
        f"{'.'.join(map(str, furthest))}: {what}" if furthest else f"the body is not as described: {what}"
    )
    return ApiError(413, message, "too_large") if too_long else ApiError(400, message, "invalid_value")


def _place(error: Mapping[str, Any]) -> tuple[str | int, ...]:
    """The keys that lead to the wrong value, without pydantic's names of a union's branches."""
    return tuple(part for part in error["loc"] if isinstance(part, int) or part in _KEYS)


def _shown(name: str | int) -> str:
    """A name that the client made up, if it is short enough to be one."""
    return repr(name) if len(str(name)) <= _MOST_NAME_CHARACTERS else "something"


def _depth(place: Sequence[str | int]) -> tuple[int, list[int]]:
    return len(place), [part for part in place if isinstance(part, int)]
