"""``encode_file()``: a run as one function."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from llara.corpus import Fields, Skipped
from llara.encode.reading import Input
from llara.encode.run import EncodeRun
from llara.encode.shards import Precision
from llara.encoder.quantise import VectorDtype
from llara.vectors import Role, VectorsManifest

__all__ = ["encode_file"]


def encode_file(
    model: str,
    source: str | Path | Sequence[str | Path],
    out: Path | str,
    *,
    role: Role,
    fields: Fields = Fields(),  # noqa: B008 - frozen
    metadata: bool = True,
    skipped: Skipped | None = None,
    title_separator: str | None = " ",
    dtype: VectorDtype = "float32",
    dimensions: int | None = None,
    lexical: bool = False,
    batch_size: int | None = None,
    shard_size: int = 50_000,
    device: str | None = None,
    precision: Precision | None = None,
    compile_layers: bool = False,
    engine: str = "local",
    workers: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> VectorsManifest:
    """Encode documents (or queries) from files into a vectors directory; returns its manifest.

    The input is streamed: memory holds, for each worker, the model, one shard's texts and float32 vectors
    (50,000 rows of 4,096 numbers are 0.8 GB), and the vectors of 8,192 texts up to three times (0.4 GB).
    Queries are read by ``llara.datasets.read_queries``, documents by ``llara.corpus.read_documents``. With
    several workers, call this under ``if __name__ == "__main__":``.

    Args:
        model: a model directory, or a name that ``llara.model.load`` knows.
        metadata: keep a record's other fields.
        skipped: count malformed lines and repeated ids here and go on; ``None`` makes the first one an error.
        title_separator: what stands between title and text; ``None`` leaves titles out of the vectors.
        dtype: what is stored of a vector: float32, float16, int8 or binary.
        dimensions: store only the first of each vector's numbers (of models trained for it); None: all.
        lexical: also write each document's lexical vector (see ``llara.words``), of the whole float32 vector
            whatever is stored of that; of llara's models only.
        batch_size: no batch holds more texts; None: as many as its tokens allow (``llara.encoder``), 64 of a
            model that only sentence-transformers can compute.
        shard_size: rows of a shard. A shard of very long texts ends earlier, with 268 million characters.
        precision: what the model computes in; None: as sentence-transformers loads it, float32 on a CPU and
            the stored weights' format on a GPU; ``auto``: bfloat16 where the device is fast in it. Means are
            subtracted and vectors normalised in float32.
        compile_layers: as ``llara.Encoder`` says; only a model of ours is compiled.
        engine: where shards are encoded: ``local``, ``torchrun`` or ``ray`` (see ``llara.engines``). The
            files are the same.
        workers: how many, for ``local`` and ``ray``; None: one for each GPU, or one.
        resume: go on with the run in ``OUT.partial``, or renew what is damaged in ``out``.

    Raises:
        InputError: the input is missing, empty or malformed, or holds an id twice.
        ConfigError: a setting that is not valid, or another than that of the run to resume.
        ModelError: the model cannot be loaded, or gives vectors that are not finite.
        OutputError: ``out`` exists (without ``overwrite``), an unfinished run stands there, or the disk
            is full or read-only.
        MissingExtraError: Ray is asked for and not installed.
    """
    sources = (source,) if isinstance(source, str | Path) else tuple(source)
    fields = replace(fields, metadata=metadata and role == "document")
    run = EncodeRun(
        model=model,
        given=Input(sources, role, fields, skip_bad=skipped is not None),
        out=Path(out),
        title_separator=title_separator,
        dtype=dtype,
        dimensions=dimensions,
        lexical=lexical,
        batch_size=batch_size,
        shard_size=shard_size,
        device=device,
        precision=precision,
        compile_layers=compile_layers,
        engine=engine,
        workers=workers,
        resume=resume,
        overwrite=overwrite,
        progress=progress,
    )
    manifest = run.encode()
    if skipped is not None:
        skipped.count += manifest.skipped
        skipped.messages += manifest.skipped_messages[: skipped.keep - len(skipped.messages)]
    return manifest
