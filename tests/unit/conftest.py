"""A retriever whose vectors can be computed by hand: the mean of its words' vectors."""

from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

WORDS = ["[UNK]", "next:", "wing", "slipstream", "heat", "slab", "flow", "shear", "nozzle", "of", "the", "a"]


class HandRetriever:
    """A saved model, the same model in memory, and what its vectors must be."""

    def __init__(self, path: Path, seed: int = 0) -> None:
        self.path = path
        self.words = WORDS
        self.word_vectors = np.random.default_rng(seed).normal(size=(len(WORDS), 16)).astype(np.float32)
        tokenizer = Tokenizer(
            WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]")
        )
        tokenizer.pre_tokenizer = WhitespaceSplit()
        embedding = StaticEmbedding(tokenizer, embedding_weights=self.word_vectors)
        self.model = SentenceTransformer(
            modules=[embedding], device="cpu", prompts={"query": "next: ", "document": ""}
        )
        self.model.save(str(path))
        (path / "config.json").write_text("{}")  # llara.model looks for one

    def expected(self, texts: list[str], role: str) -> np.ndarray:
        """float64 [N, 16] unit vectors."""
        rows = []
        for text in texts:
            words = (["next:"] if role == "query" else []) + text.split()
            ids = [WORDS.index(word) if word in WORDS else 0 for word in words]
            mean = self.word_vectors[ids].astype(np.float64).mean(axis=0)
            rows.append(mean / np.linalg.norm(mean))
        return np.array(rows)


@pytest.fixture(scope="session")
def retriever(tmp_path_factory) -> HandRetriever:
    return HandRetriever(tmp_path_factory.mktemp("models") / "hand")


@pytest.fixture
def other_retriever(tmp_path) -> HandRetriever:
    """Another one, for the test to change."""
    return HandRetriever(tmp_path / "other-model", seed=1)


@pytest.fixture(scope="session")
def write_vectors():
    """Write a vectors directory by hand, in the documented layout, without a model."""

    def write(directory, documents, vectors, *, role="document", shard_size=100):
        import hashlib
        import json

        import pyarrow as pa
        import pyarrow.parquet as pq

        from llara.vectors import metadata_text

        directory.mkdir()
        shards: list[dict[str, object]] = []
        for start in range(0, len(documents), shard_size):
            rows = documents[start : start + shard_size]
            stem = f"shard-{len(shards):05d}"
            np.save(directory / f"{stem}.npy", vectors[start : start + shard_size])
            table = {name: [getattr(row, name) for row in rows] for name in ("id", "title", "text")}
            table["metadata"] = [metadata_text(row.metadata) for row in rows]
            schema = pa.schema([(name, pa.string()) for name in table])
            pq.write_table(pa.table(table, schema=schema), directory / f"{stem}.parquet")
            names = {"vectors": f"{stem}.npy", "texts": f"{stem}.parquet"}
            checksums = {
                f"{what}_sha256": hashlib.sha256((directory / name).read_bytes()).hexdigest()
                for what, name in names.items()
            }
            shards.append({**names, "count": len(rows), **checksums})
        manifest = {
            "format": "llara-vectors/2",
            "model": "some/model",
            "fingerprint": "f" * 64,
            "role": role,
            "title_separator": " ",
            "max_tokens": 512,
            "count": len(documents),
            "dimension": vectors.shape[1],
            "model_dimension": vectors.shape[1],
            "dtype": "float32",
            "shards": shards,
        }
        (directory / "manifest.json").write_text(json.dumps(manifest))
        return directory

    return write
