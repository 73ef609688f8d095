"""Where the pieces of a large job run: in this process and others of the machine, under torchrun, on Ray.

An engine knows nothing of what a piece is. It is given a way to make a worker, and the numbers of the
pieces; it makes workers on the devices it has, and has each piece done once. Reading order: ``base`` (the
protocol), ``local``, ``torchrun``, ``on_ray``.
"""

from __future__ import annotations

from llara.engines.base import ENGINES, Engine, MakeWorker, Place
from llara.errors import ConfigError

__all__ = ["ENGINES", "Engine", "MakeWorker", "Place", "get_engine"]


def get_engine(name: str, *, workers: int | None = None) -> Engine:
    """The engine of a name.

    Args:
        workers: how many, for ``local`` and ``ray``; None is one for each GPU, or one if there is none.
            torchrun decides that itself.

    Raises:
        ConfigError: there is no such engine, or it cannot be told a number of workers, or torchrun did not
            start this process.
        MissingExtraError: Ray is not installed.
    """
    if name not in ENGINES:
        raise ConfigError(f"there is no engine {name!r}; expected one of {', '.join(ENGINES)}")
    if workers is not None and workers < 1:
        raise ConfigError(f"workers is {workers}, expected at least 1")
    if name == "torchrun":
        from llara.engines.torchrun import TorchrunEngine

        if workers is not None:
            raise ConfigError(
                "with the engine torchrun the number of workers is that of its processes; leave --workers "
                "out and give torchrun --nproc-per-node"
            )
        return TorchrunEngine()
    if name == "ray":
        from llara.engines.on_ray import RayEngine

        return RayEngine(workers)
    from llara.engines.local import LocalEngine

    return LocalEngine(workers)
