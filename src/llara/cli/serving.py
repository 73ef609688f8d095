"""``llara serve``: the service over HTTP."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from llara.cli.commands import say
from llara.cli.options import new_command, positive
from llara.errors import ConfigError

__all__ = ["add_serve"]


def add_serve(subparsers: Any) -> None:
    parser = new_command(
        subparsers,
        "serve",
        about="Answer over HTTP: embeddings as OpenAI's clients ask for them, search, and a page at /."
        " Listens to this machine only, unless --host says otherwise. docs/serve.md has every request.",
        example="llara serve --index index",
        run=run_serve,
    )
    parser.add_argument("--index", type=Path, metavar="DIR", help="what llara index wrote")
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help="the model, if it has moved since the index was made; without --index, embeddings alone",
    )
    parser.add_argument(
        "--name", metavar="NAME", help="what clients call the model (default: its directory's)"
    )
    parser.add_argument(
        "--device", metavar="DEVICE", help="cpu, cuda, cuda:1 (default: a GPU if there is one)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="A=B",
        dest="overrides",
        help="how widely a search looks, as for llara search",
    )
    _add_network(parser)


def _add_network(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", metavar="HOST", help="(default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=8000, metavar="N", help="0: any that is free (default: %(default)s)"
    )
    parser.add_argument(
        "--workers",
        type=positive,
        default=1,
        metavar="N",
        help="processes, each with a copy of the model (default: %(default)s)",
    )
    parser.add_argument(
        "--api-key-file",
        type=Path,
        metavar="FILE",
        help="keys, one a line, of which clients must name one (default: LLARA_API_KEY in the environment)",
    )
    parser.add_argument(
        "--without-key", action="store_true", help="listen to other machines although there is no key"
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="answer for this host name, too, where there is no key; may be repeated",
    )
    parser.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="A=B",
        dest="limits",
        help="change a limit, body_bytes=1000000; may be repeated (docs/serve.md lists them)",
    )
    parser.add_argument("--no-access-log", action="store_true", help="no line on stderr for each request")


def run_serve(args: argparse.Namespace) -> None:
    from llara.serve.run import serve
    from llara.serve.settings import KEY_VARIABLE, ServeSettings, limits_from, read_keys

    if args.index is None and args.model is None:
        args.usage_error("also needed: --index, or --model")
    settings = ServeSettings(
        index=args.index,
        model=args.model,
        name=args.name,
        device=args.device,
        host=args.host,
        port=args.port,
        workers=args.workers,
        keys=read_keys(args.api_key_file),
        hosts=tuple(args.allow_host),
        index_settings=tuple(args.overrides),
        access_log=not args.no_access_log,
        limits=limits_from(args.limits),
    )
    if not settings.is_local and not settings.keys:
        if not args.without_key:
            raise ConfigError(
                f"--host {args.host} lets other machines in, and there is no key: set {KEY_VARIABLE}, give "
                "--api-key-file, or say --without-key"
            )
        say(f"warning: whoever reaches {args.host} port {args.port} can search and read all documents")
    serve(settings, say=say, on_ready=_say_ready)


def _say_ready(url: str) -> None:
    print(url, flush=True)
    say("ready; Ctrl-C ends it, after what is being answered")
