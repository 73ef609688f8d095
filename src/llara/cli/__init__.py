"""The command line: ``llara COMMAND ...``.

The result goes to stdout, speech and progress to stderr. Exit codes: 0 fine, 1 a known error (one line
``error: ...``), 2 wrong usage, 130 interrupted. Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence

from llara.cli.parser import build_parser
from llara.errors import BadLineError, LlaraError

__all__ = ["build_parser", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; wrong usage raises ``SystemExit(2)``."""
    arguments = build_parser().parse_args(argv)
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"  # not the line of code that warns
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")  # progress bars are for terminals
    try:
        arguments.run(arguments)
        sys.stdout.flush()
    except LlaraError as error:
        can_skip = isinstance(error, BadLineError) and hasattr(arguments, "skip_bad")
        more = ". To count and leave out such lines: --skip-bad" if can_skip else ""
        if not getattr(error, "said", False):  # by another process of the same run
            print(f"error: {error}{more}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of the pipe has seen enough. Python would complain again when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    return 0
