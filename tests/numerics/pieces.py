"""Work for engines to do: pieces that leave a file each, and workers that fail or are killed in one."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llara.engines import Place
from llara.errors import OutputError


@dataclass(frozen=True)
class Pieces:
    """Makes workers that append their process id to ``directory/NUMBER``; light to import, quick to start.

    In piece ``fail`` a worker raises an error of ours; in piece ``kill`` it kills its process, once.
    After each it sleeps so many seconds. ``variable`` of its environment is left in ``directory/variable``.
    """

    directory: Path
    fail: int | None = None
    kill: int | None = None
    sleep: float = 0.0
    variable: str | None = None

    def __call__(self, place: Place) -> Callable[[int], None]:
        def work(piece: int) -> None:
            if piece == self.fail:
                raise OutputError("cannot write piece: no space")
            killed = self.directory / "killed"
            if piece == self.kill and not killed.exists():
                killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            with (self.directory / str(piece)).open("a") as file:
                file.write(f"{os.getpid()}\n")
            if self.variable is not None:
                (self.directory / "variable").write_text(os.environ[self.variable])
            time.sleep(self.sleep)

        return work

    def done(self) -> dict[int, list[int]]:
        """Piece -> the processes that did it."""
        files = {int(path.name): path for path in self.directory.iterdir() if path.name.isdecimal()}
        return {piece: [int(line) for line in path.read_text().split()] for piece, path in files.items()}
