"""What can be said of the service: where it listens, its limits, its keys."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from llara.errors import ConfigError, InputError
from llara.settings import from_dict, setting

__all__ = ["KEY_VARIABLE", "Limits", "ServeSettings", "limits_from", "read_keys"]

KEY_VARIABLE = "LLARA_API_KEY"
_OWN_NAMES = ("localhost", "127.0.0.1", "::1")
_LEAST_KEY_CHARACTERS = 8


@dataclass(frozen=True)
class Limits:
    """How much is taken in; what is more is refused with the status in parentheses."""

    body_bytes: int = setting(8_388_608, "bytes of a request's body (413)", at_least=1_024)
    inputs: int = setting(2_048, "texts of one request for embeddings (413)", at_least=1)
    text_characters: int = setting(100_000, "characters of one text (413)", at_least=1)
    queue_texts: int = setting(8_192, "texts that wait for the model (503)", at_least=1)
    requests: int = setting(512, "requests with a body, or for a document, at once (503)", at_least=1)
    client_requests: int = setting(128, "the same of one client: a key, or an address (429)", at_least=1)
    bodies_bytes: int = setting(134_217_728, "bytes of all bodies at once (503)", at_least=1_024)
    answers_bytes: int = setting(1_073_741_824, "bytes of answers not yet taken (503)", at_least=1_024)
    connections: int = setting(1_024, "open connections (beyond, the one idle longest is closed)", at_least=1)
    head_seconds: float = setting(10.0, "to send a request's first lines (closed)", at_least=0.1)
    body_seconds: float = setting(30.0, "to send its body (408)", at_least=0.1)
    request_seconds: float = setting(120.0, "to answer it, the queue included (504)", at_least=0.1)
    write_seconds: float = setting(
        30.0, "to take some of the answer, and 16 KiB a second of it (closed)", at_least=0.1
    )
    idle_seconds: float = setting(30.0, "a connection may stay open without a request", at_least=1)
    grace_seconds: float = setting(30.0, "to finish what was accepted when the service is ended", at_least=0)
    wait_ms: float = setting(2.0, "a text waits for others to be computed with", at_least=0, at_most=1_000)
    batch_tokens: int | None = setting(
        None, "tokens computed at once; none: 2,048 on a processor, 32,768 on a GPU", at_least=1
    )

    def __post_init__(self) -> None:
        if self.inputs > self.queue_texts:
            raise ConfigError(
                f"inputs is {self.inputs} and queue_texts {self.queue_texts}: a full request would never be"
                " taken; let queue_texts be the greater"
            )


@dataclass(frozen=True)
class ServeSettings:
    """All that a process of the service needs to know.

    Attributes:
        index: an index directory, or None for embeddings alone.
        model: the model; None: the one that made the index.
        name: what clients call the model; None: by its directory.
        keys: one of which a client must name; none at all: everyone is let in.
        hosts: names under which clients may ask for this service besides its own, see ``security``.
        index_settings: how widely a search looks, ``nprobe=64``.
    """

    index: Path | None = None
    model: str | None = None
    name: str | None = None
    device: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    keys: tuple[str, ...] = field(default=(), repr=False)
    hosts: tuple[str, ...] = ()
    index_settings: tuple[str, ...] = ()
    access_log: bool = True
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.index is None and self.model is None:
            raise ConfigError(
                "there is nothing to serve; give an index with --index, or a model with --model"
            )
        if not self.host.strip():
            raise ConfigError(
                "the host is empty; give an address of this machine: 127.0.0.1, or 0.0.0.0 for all of them"
            )
        if not 0 <= self.port <= 65_535:
            raise ConfigError(f"the port is {self.port}, expected 0 (any that is free) to 65535")

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def hides_from_other_hosts(self) -> bool:
        """Whether requests for other host names are refused: nothing else keeps web pages out."""
        return self.is_local and not self.keys

    @property
    def own_hosts(self) -> frozenset[str]:
        """The host names that a request may be for, without port."""
        return frozenset(name.lower() for name in (*_OWN_NAMES, self.host, *self.hosts))


def limits_from(assignments: Sequence[str]) -> Limits:
    """Limits, some of them changed: ``name=value``.

    Raises:
        ConfigError: no such limit, or its value is wrong.
    """
    kinds = {item.name: item.type for item in fields(Limits)}
    values: dict[str, object] = {}
    for assignment in assignments:
        name, equals, text = (part.strip() for part in assignment.partition("="))
        if not equals:
            raise ConfigError(f"--limit {assignment!r} is not an assignment; write --limit name=value")
        try:
            values[name] = float(text) if kinds.get(name) == "float" else int(text.replace("_", ""))
        except ValueError:
            values[name] = text
    return from_dict(Limits, values, source="--limit")


def read_keys(file: Path | None) -> tuple[str, ...]:
    """The keys of a file, one a line (blank lines and lines that begin with # are passed over), or that of
    the environment variable LLARA_API_KEY; none if there is neither.

    Raises:
        InputError: the file cannot be read or holds no key, or a key is too short or not printable ASCII.
    """
    if file is None:
        found = [os.environ.get(KEY_VARIABLE, "")]
        source = f"the environment variable {KEY_VARIABLE}"
        if not found[0]:
            return ()
    else:
        source = str(file)
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()  # some editors begin it with a mark
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read the keys in {file}: {type(error).__name__}") from error
        found = [line.strip() for line in lines]
        found = [line for line in found if line and not line.startswith("#")]
        if not found:
            raise InputError(f"{file} holds no key; expected one a line")
    for number, key in enumerate(found, 1):
        if len(key) < _LEAST_KEY_CHARACTERS or not all("!" <= character <= "~" for character in key):
            raise InputError(
                f"key {number} of {source} is no key: expected at least {_LEAST_KEY_CHARACTERS} printable "
                "ASCII characters without blanks, such as openssl rand -hex 24 gives"
            )
    return tuple(dict.fromkeys(found))
