"""Memory of ``llara encode`` as the corpus grows, on an input that has everything wrong with it.

JSON lines of made-up words are generated in two sizes, and among them, counted, are broken lines, lines that
are not UTF-8, records without text, ids that came before, empty texts, and one line of 10 MB. The code of
``llara encode --skip-bad`` reads them, encodes them, and ``--verify`` checks the result, each in a process of
its own. Every line must be accounted for. The model is a stand-in: it adds up 64 numbers a word,
which costs next to nothing, so that what is measured is everything else.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measure import in_fresh_process, machine, make_parser, peak_mib, report, say

EXAMPLE = "nice -n 5 python benchmarks/encode_memory.py --out benchmarks/results/encode_memory.json"
WORDS = [f"w{number}" for number in range(5000)]
DIMENSION = 64
BAD = {
    "not JSON": b'{"id": "x", "text": \n',
    "not UTF-8": b'{"id": "x", "text": "caf\xe9"}\n',
    "no text": b'{"id": "x", "body": "w1"}\n',
}


def main() -> None:
    parser = make_parser(__doc__.partition("\n\n")[0], EXAMPLE)
    parser.add_argument("--lines", type=int, nargs="+", default=[250_000, 1_000_000], help="sizes")
    parser.add_argument("--words", type=int, default=20, help="words of a document")
    parser.add_argument("--shard-size", type=int, default=50_000, help="documents of a shard")
    parser.add_argument("--long-words", type=int, default=3_333_333, help="words of the one long document")
    arguments = parser.parse_args()
    if arguments.tiny:
        arguments.lines, arguments.shard_size, arguments.long_words = [1000, 2000, 3000], 500, 3000
    with tempfile.TemporaryDirectory() as folder:
        result = run(Path(folder), arguments)
    report(result, table(result), arguments.out)


def run(folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Every size, encoded and verified."""
    in_fresh_process(write_model, folder / "model")
    sizes: list[dict[str, Any]] = []
    for lines in arguments.lines:
        say(f"writing {lines:,} lines")
        counts = write_input(folder / "c.jsonl", lines, arguments.words, arguments.long_words)
        read = in_fresh_process(encode, folder, arguments.shard_size, True)
        encoded = in_fresh_process(encode, folder, arguments.shard_size, False)
        wrong = sum(counts[kind] for kind in (*BAD, "repeated id"))
        assert encoded["skipped"] == wrong, (encoded, counts)
        assert encoded["count"] + wrong == lines, (encoded, counts)
        assert encoded["empty"] == counts["empty text"]
        verified = in_fresh_process(check, folder)
        mib = round((folder / "c.jsonl").stat().st_size / 2**20, 1)
        sizes.append(
            {"lines": lines, "mib": mib, **counts, "read": read, "encode": encoded, "verify": verified}
        )
        say(f"{sizes[-1]}")
    return {
        "benchmark": "encode_memory",
        "settings": {n: getattr(arguments, n) for n in ("lines", "words", "shard_size", "long_words")},
        "sizes": sizes,
        "machine": machine(),
    }


def table(result: dict[str, Any]) -> list[list[str]]:
    """What is printed."""
    parts = ("read", "encode", "verify")
    head = ["lines", "MiB", "bad or repeated", "empty", *(h for p in parts for h in (f"{p}: MiB", "CPU s"))]
    measured = [(part, key) for part in parts for key in ("peak_mib", "cpu_seconds")]
    return [head] + [
        [
            f"{size['lines']:,}",
            f"{size['mib']:,}",
            f"{size['encode']['skipped']:,}",
            f"{size['encode']['empty']:,}",
            *(f"{size[part][key]:,.0f}" for part, key in measured),
        ]
        for size in result["sizes"]
    ]


def write_model(path: Path) -> dict[str, Any]:
    """A model that gives the mean of its words' vectors."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit

    tokenizer = Tokenizer(WordLevel({w: n for n, w in enumerate(["[UNK]", *WORDS])}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    vectors = np.random.default_rng(0).normal(size=(len(WORDS) + 1, DIMENSION)).astype(np.float32)
    model = SentenceTransformer(
        modules=[StaticEmbedding(tokenizer, embedding_weights=vectors)],
        device="cpu",
        prompts={"document": ""},
    )
    model.save(str(path))
    (path / "config.json").write_text("{}")  # llara.model looks for one
    return {}


def write_input(path: Path, lines: int, words: int, long_words: int) -> dict[str, int]:
    """So many lines; how many there are of each kind."""
    rng = np.random.default_rng(0)
    counts = dict.fromkeys(("good", *BAD, "repeated id", "empty text", "long text"), 0)
    with path.open("wb") as file:
        for number in range(lines):
            kind = "good"
            if number % 1000 in (7, 407, 807):
                kind = list(BAD)[number % 1000 // 400]
                file.write(BAD[kind])
                counts[kind] += 1
                continue
            text = " ".join([WORDS[n] for n in rng.integers(0, len(WORDS), words)])
            id_ = f"d{number}"
            if number % 1000 == 500:
                kind, text = "empty text", ""
            elif number % 1000 == 900:  # the id of a document far before
                kind, id_ = "repeated id", f"d{number // 2000 * 1000}"
            elif number == lines // 2 + 1:
                kind, text = "long text", "w1 " * long_words
            counts[kind] += 1
            file.write(json.dumps({"id": id_, "text": text, "year": number % 100}).encode() + b"\n")
    return counts


def encode(folder: Path, shard_size: int, texts_only: bool) -> dict[str, Any]:
    """``llara encode --skip-bad --texts-only``, or the rest of it by ``--resume``."""
    from llara.corpus import Fields
    from llara.encode import EncodeRun, Input

    shutil.rmtree(folder / "vectors", ignore_errors=True)
    started = time.process_time()
    run = EncodeRun(
        model=str(folder / "model"),
        given=Input((folder / "c.jsonl",), "document", Fields(metadata=True), skip_bad=True),
        out=folder / "vectors",
        shard_size=shard_size,
        batch_size=256,
        resume=not texts_only,
    )
    found: dict[str, Any] = {}
    if texts_only:
        run.read()
    else:
        manifest = run.encode()
        found = {"count": manifest.count, "skipped": manifest.skipped, "empty": manifest.empty}
    seconds = round(time.process_time() - started, 1)
    return {**found, "cpu_seconds": seconds, "peak_mib": round(peak_mib(), 1)}


def check(folder: Path) -> dict[str, Any]:
    """``llara encode --verify``."""
    from llara.encode import verify

    started = time.process_time()
    problems = list(verify(folder / "vectors"))
    assert not problems, problems
    return {"cpu_seconds": round(time.process_time() - started, 1), "peak_mib": round(peak_mib(), 1)}


if __name__ == "__main__":
    main()
