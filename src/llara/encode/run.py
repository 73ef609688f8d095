"""A run: files in, a vectors directory out, on whichever engine.

Three steps. The leading process reads the input into shards of texts (``reading``); workers turn each into a
shard of vectors (``shards``); the leading process writes the manifest and renames the directory. Until then
everything stands in ``OUT.partial`` (``work``), and a run that was killed goes on from there.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llara.encode.lexical import check_lexical
from llara.encode.progress import Progress
from llara.encode.reading import Input, read_input
from llara.encode.repair import reopen
from llara.encode.shards import EncodeJob, Precision
from llara.encode.texts import check_settings
from llara.encode.work import Record, Texts, Work, describe_sources, same_settings, sources_of
from llara.encoder.quantise import VectorDtype, check_dtype
from llara.engines import Engine, get_engine
from llara.errors import ConfigError, InputError, LlaraError, OutputError
from llara.files import Alone, check_apart, check_output, check_work, put_in_place, take_work, work_directory
from llara.vectors import VectorsManifest

__all__ = ["EncodeRun"]


def _say_nothing(text: str) -> None:
    """Speech where nobody listens."""


@dataclass(frozen=True)
class EncodeRun:
    """One run's settings; see :func:`llara.encode.encode_file` for what they mean."""

    model: str
    given: Input
    out: Path
    title_separator: str | None = " "
    dtype: VectorDtype = "float32"
    dimensions: int | None = None
    lexical: bool = False
    batch_size: int | None = None
    shard_size: int = 50_000
    device: str | None = None
    precision: Precision | None = None
    compile_layers: bool = False
    engine: str = "local"
    workers: int | None = None
    resume: bool = False
    overwrite: bool = False
    progress: bool = False
    tell: Callable[[str], object] = _say_nothing

    def read(self) -> Path:
        """Read the input into ``OUT.partial`` and stop there; gives that directory."""
        engine = get_engine(self.engine, workers=self.workers)
        with closing(Alone()) as alone:
            engine.once(lambda: self._prepare(alone))
        return self._work.directory

    def encode(self) -> VectorsManifest:
        """All of it; under torchrun every process calls this and gets the manifest."""
        engine = get_engine(self.engine, workers=self.workers)
        with closing(Alone()) as alone:
            return self._encode(engine, alone)

    def _encode(self, engine: Engine, alone: Alone) -> VectorsManifest:
        plan = engine.once(lambda: self._prepare(alone))
        if plan.manifest is not None:
            return plan.manifest
        try:
            heard_of = engine.share(plan.pending)
            bar = self.progress and engine.leads
            with Progress(plan.texts, heard_of, bar=bar, tell=self.tell) as progress:
                for number in engine.run(self._job(plan), plan.pending):
                    progress.done(number)
        except ConfigError:
            if engine.leads and not self.resume and not any(self._records(plan.texts)):
                self._work.remove()
            raise
        except LlaraError as error:
            error.args = (
                f"{error}. What is done so far stands in {self._work.directory}: go on with --resume",
            )
            raise
        return engine.once(lambda: self._finish(plan))

    @property
    def _work(self) -> Work:
        return Work(work_directory(self.out))

    # -- before

    def _prepare(self, alone: Alone) -> _Plan:
        """The shards of texts, and which of them are to be encoded."""
        if getattr(multiprocessing.current_process(), "_inheriting", False):
            raise ConfigError(
                "the script that encodes with several workers is run again by each of them, as Python makes "
                "processes; put the call under: if __name__ == '__main__':"
            )
        check_settings(
            role=self.given.role,
            batch_size=self.batch_size,
            shard_size=self.shard_size,
            dimensions=self.dimensions,
        )
        check_dtype(self.dtype)
        work = self._work
        if not self.resume:
            check_output(self.out, overwrite=self.overwrite)
            check_work(work.directory, resume=False, overwrite=self.overwrite)
        check_apart(self.out, self.model, *self.given.files())
        take_work(alone, work.directory)  # before anything in it is removed
        settings = self._settings(work.settings() if self.resume else None)
        try:
            manifest = reopen(self.out, work, settings, tell=self.tell) if self.resume else None
        except OSError as error:
            raise OutputError(f"cannot renew {self.out}: {error.strerror or error}") from error
        if manifest is not None:
            return _Plan(settings, Texts((), 0, (), 0), [], manifest)
        check_output(self.out, overwrite=self.overwrite)
        check_work(work.directory, resume=self.resume, overwrite=self.overwrite)
        self._begin(work, settings)
        take_work(alone, work.directory)  # which may be a new one now
        texts = self._texts(work)
        pending = [number for number, shard in enumerate(texts.shards) if not work.is_done(number, shard)]
        for number in pending:
            work.forget(number)
        work.check_precisions(*(record.precision for record in self._records(texts) if record is not None))
        if self.resume:
            done = len(texts.shards) - len(pending)
            self.tell(f"{done:,} of {len(texts.shards):,} shards are done already")
        return _Plan(settings, texts, pending, None)

    def _settings(self, before: dict[str, Any] | None) -> dict[str, Any]:
        """What decides the bytes of the shards. Reads the model's files, and those of the input."""
        from llara.hub import local_directory
        from llara.model import fingerprint

        directory = local_directory(self.model)
        if self.lexical:
            check_lexical(self.given.role, directory)
        model = fingerprint(directory)
        try:
            sources = describe_sources(self.given.files(), before["sources"] if before else ())
        except OSError as error:
            raise InputError(
                f"{error.filename}: cannot be read ({error.strerror}); check the path"
            ) from error
        return {
            "model": model,
            "role": self.given.role,
            "title_separator": self.title_separator if self.given.role == "document" else None,
            "dtype": self.dtype,
            "dimensions": self.dimensions,
            "batch_size": self.batch_size,
            "precision": self.precision,
            "compile_layers": self.compile_layers,
            "shard_size": self.shard_size,
            "fields": asdict(self.given.fields),
            "skip_bad": self.given.skip_bad,
            **({"lexical": True} if self.lexical else {}),
            "sources": sources,
        }

    def _begin(self, work: Work, settings: dict[str, Any]) -> None:
        """Make the run's directory, or check that this is the same run."""
        before = work.settings() if self.resume else None
        if before is not None:
            same_settings(before, settings, work=work.directory)
        else:  # nothing, what is to be overwritten, or a run that was killed before its settings were written
            work.remove()
        try:
            work.make()
        except OSError as error:
            raise OutputError(f"cannot write {work.directory}: {error.strerror or error}") from error
        work.write_settings(settings)

    def _texts(self, work: Work) -> Texts:
        """The input's shards of texts; read now, unless this run has read it already."""
        texts = work.texts()
        if texts is not None and work.texts_are_whole(texts):
            return texts
        if texts is not None:
            self.tell("texts of the input are missing or damaged; reading it again")
        try:
            texts = read_input(self.given, work, shard_rows=self.shard_size)
            work.write_texts(texts)
        except (LlaraError, OSError) as error:
            if not self.resume:
                work.remove()
            if isinstance(error, LlaraError):
                raise
            raise OutputError(
                f"cannot write {work.directory}: {error.strerror or error}; "
                "free the disk or choose another path"
            ) from error
        return texts

    def _job(self, plan: _Plan) -> EncodeJob:
        return EncodeJob(
            work=self._work.directory,
            model=_portable_name(self.model),
            fingerprint=plan.settings["model"],
            role=self.given.role,
            title_separator=plan.settings["title_separator"],
            dtype=self.dtype,
            dimensions=self.dimensions,
            lexical=self.lexical,
            batch_size=self.batch_size,
            device=self.device,
            precision=self.precision,
            compile_layers=self.compile_layers,
            progress=self.progress,
        )

    # -- after

    def _records(self, texts: Texts) -> list[Record | None]:
        """Of each shard what is known of its vectors."""
        return [self._work.record(number) for number in range(len(texts.shards))]

    def _finish(self, plan: _Plan) -> VectorsManifest:
        """Write the manifest and put the directory in its place."""
        work, settings, texts = self._work, plan.settings, plan.texts
        records = self._records(texts)
        whole = [record for record in records if record is not None]
        if len(whole) < len(records):
            missing = records.index(None)
            raise LlaraError(f"shard {missing} has no record in {work.directory}; go on with --resume")
        work.check_precisions(*(record.precision for record in whole))
        (dimension, model_dimension, max_tokens), *others = {
            (record.dimension, record.model_dimension, record.max_tokens) for record in whole
        }
        assert not others, others
        elsewhere = {"model", "role", "title_separator", "dtype", "sources"}
        manifest = VectorsManifest(
            model=_portable_name(self.model),
            fingerprint=settings["model"],
            role=self.given.role,
            title_separator=settings["title_separator"],
            max_tokens=max_tokens,
            count=sum(record.count for record in whole),
            dimension=dimension,
            dtype=self.dtype,
            shards=tuple(work.shard(number, record) for number, record in enumerate(whole)),
            model_dimension=model_dimension,
            sources=sources_of(settings),
            skipped=texts.skipped,
            skipped_messages=texts.messages,
            empty=texts.empty,
            settings={name: value for name, value in settings.items() if name not in elsewhere},
            precision=whole[0].precision,
        )
        check_output(self.out, overwrite=self.overwrite)  # another may have been quicker
        try:
            manifest.write(work.vectors)
            put_in_place(work.vectors, self.out)
        except OSError as error:
            raise OutputError(
                f"cannot write {self.out}: {error.strerror or error}; free the disk and go on with --resume"
            ) from error
        work.remove()
        return manifest


@dataclass(frozen=True)
class _Plan:
    """What every process knows when the input is read; ``manifest`` if there is nothing left to do."""

    settings: dict[str, Any]
    texts: Texts
    pending: list[int]
    manifest: VectorsManifest | None


def _portable_name(model: str) -> str:
    """A path made absolute, so that the index finds its model from any working directory; a name as it is."""
    return str(Path(model).resolve()) if Path(model).exists() else model
