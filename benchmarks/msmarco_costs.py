"""What the paper's tables cost with a 7B model: tokens, FLOPs, hours, memory, disk. Computed, not measured.

The tables are Markdown and stand in docs/reproduce-msmarco.md; a test holds the two equal. Hours are FLOPs
(``geometry``) over the peak of the GPUs times an assumed utilisation. GB is 10^9 bytes. What is expected
comes first, and in brackets the most that the settings allow, with every text at its full length.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from geometry import Geometry

EXAMPLE = "python benchmarks/msmarco_costs.py --gpus 8 --utilisation 0.4"

# -- what is known of the data (sources: docs/reproduce-msmarco.md)

PASSAGES, DOCUMENTS = 8_841_823, 3_213_835
PASSAGE_WORDS, QUERY_WORDS = 55.98, 5.96  # means, BEIR's paper, table 1
DOCUMENT_BYTES = 22e9  # the unpacked file
WIKIPEDIA_PASSAGES, WIKIPEDIA_WORDS = 21_015_324, 100
TRAIN_QUERIES = 502_939  # with at least one judged passage
BM25_QUERIES = 400_282  # in the official BM25 triples
DOCUMENT_QUERIES = 367_013
TOKENS_PER_WORD, BYTES_PER_TOKEN = 1.55, 4.05  # measured: LLaMA-2's tokenizer on 10,653 x 100 Wikipedia words
PROMPT_TOKENS = {"bos": 1, "branch": 6}  # the paper's preset under the same tokenizer

BEIR = {  # documents, mean words of a document: BEIR's README and table 1
    "TREC-COVID": (171_000, 160.77),
    "NFCorpus": (3_600, 232.26),
    "NQ": (2_680_000, 78.88),
    "HotpotQA": (5_230_000, 46.30),
    "FiQA": (57_000, 132.32),
    "ArguAna": (8_670, 166.80),
    "Touche-2020": (382_000, 292.37),
    "Quora": (523_000, 11.44),
    "DBPedia": (4_630_000, 49.68),
    "SCIDOCS": (25_000, 176.19),
    "FEVER": (5_420_000, 84.76),
    "Climate-FEVER": (5_420_000, 84.76),
    "SciFact": (5_000, 213.63),
}


@dataclass(frozen=True)
class Stage:
    """A step: its tokens and FLOPs as expected, and the most that the settings allow."""

    name: str
    steps: int | None
    tokens: float
    flops: float
    most_tokens: float
    most_flops: float


MODEL = Geometry()
LORA = MODEL.lora_parameters(32, 6)
AROUND = sum(PROMPT_TOKENS.values())  # tokens that one prompt adds to a text


def words(count: float) -> float:
    """Tokens of so many words with one prompt around them."""
    return count * TOKENS_PER_WORD + AROUND


PASSAGE, QUERY = words(PASSAGE_WORDS), words(QUERY_WORDS)
# E[min(length, 2048)] <= min(E[length], 2048), since min is concave: an upper bound of the mean.
DOCUMENT = min(DOCUMENT_BYTES / DOCUMENTS / BYTES_PER_TOKEN + AROUND, 2048)


def adaptation() -> list[Stage]:
    """10,000 steps of 256 sequences, joint and as two separate passes."""
    sequences, text = 10_000 * 256, WIKIPEDIA_WORDS * TOKENS_PER_WORD
    bos, branch = PROMPT_TOKENS["bos"], PROMPT_TOKENS["branch"]
    joint, apart = bos + text + 2 * branch, bos + text + branch

    def stage(name: str, passes: int, length: float, most: int) -> Stage:
        def cost(tokens: float) -> float:
            return MODEL.full_training_flops(passes * sequences, tokens, heads=2 // passes)

        count = passes * sequences
        return Stage(name, 10_000, count * length, cost(length), count * most, cost(most))

    return [
        stage("Adapt, joint pass", 1, joint, 1024),
        stage("Adapt, two passes instead", 2, apart, 1024 - branch),
    ]


def finetuning(
    name: str, queries: int, passages: int, length: float, most: int, *, recompute: bool = False
) -> Stage:
    """One epoch of LoRA through GradCache, 128 queries a step."""
    steps = queries // 128
    forwards = 2 + recompute

    def cost(query: float, passage: float) -> tuple[float, float]:
        count = steps * 128
        tokens = count * (query + passages * passage)
        flops = MODEL.lora_training_flops(count, query, forwards=forwards, adapters=LORA)
        flops += MODEL.lora_training_flops(count * passages, passage, forwards=forwards, adapters=LORA)
        return tokens, flops

    return Stage(name, steps, *cost(QUERY, length), *cost(32, most))


def encoding(name: str, texts: float, length: float, most: int) -> Stage:
    """One forward pass over each text."""
    flops = MODEL.forward_flops(texts, length), MODEL.forward_flops(texts, most)
    return Stage(name, None, texts * length, flops[0], texts * most, flops[1])


def total(name: str, stages: Sequence[Stage]) -> Stage:
    """The sum of stages."""
    fields = ("tokens", "flops", "most_tokens", "most_flops")
    return Stage(name, None, *(sum(getattr(stage, field) for stage in stages) for field in fields))


def stages() -> list[Stage]:
    """Every step that needs a GPU, in the order of docs/reproduce-msmarco.md."""
    beir = [encoding(name, count, words(length), 512) for name, (count, length) in BEIR.items()]
    return [
        *adaptation(),
        finetuning("Fine-tune, official BM25 negatives", BM25_QUERIES, 16, PASSAGE, 196),
        encoding("Encode 8.8M passages", PASSAGES, PASSAGE, 196),
        encoding("Encode 0.5M training queries", TRAIN_QUERIES, QUERY, 32),
        finetuning("Fine-tune, mined negatives", TRAIN_QUERIES, 16, PASSAGE, 196),
        finetuning("Fine-tune on documents, 1 + 7", DOCUMENT_QUERIES, 8, DOCUMENT, 2048, recompute=True),
        finetuning("Fine-tune on documents, 1 + 15", DOCUMENT_QUERIES, 16, DOCUMENT, 2048, recompute=True),
        encoding("Encode 3.2M documents", DOCUMENTS, DOCUMENT, 2048),
        total(f"Encode BEIR, {len(BEIR)} collections", beir),
    ]


def compute_table(options: argparse.Namespace) -> list[list[str]]:
    """Hours on ``gpus`` GPUs of each peak."""
    head = ["step", "optimiser steps", "tokens, 10^9", "FLOPs, 10^18"]
    head += [f"hours, {options.gpus} x {peak:g} TFLOP/s" for peak in options.peaks]
    rows = []
    for stage in stages():
        speeds = [options.gpus * peak * 1e12 * options.utilisation * 3600 for peak in options.peaks]
        rows.append(
            [
                stage.name,
                f"{stage.steps:,}" if stage.steps else "",
                both(stage.tokens / 1e9, stage.most_tokens / 1e9),
                both(stage.flops / 1e18, stage.most_flops / 1e18),
                *(both(stage.flops / speed, stage.most_flops / speed) for speed in speeds),
            ]
        )
    return [head, *rows]


def memory_table(options: argparse.Namespace) -> list[list[str]]:
    """Bytes that training holds on one GPU."""
    n = MODEL.parameters

    def row(name: str, weights: float, gradients: float, moments: float, activations: float) -> list[str]:
        parts = [weights, gradients, moments, activations, weights + gradients + moments + activations]
        return [name, *(short(part / 1e9) for part in parts)]

    def adapters(name: str, rank: int, projections: int, tokens: int, *, recompute: bool) -> list[str]:
        size, layer = MODEL.lora_parameters(rank, projections), MODEL.activation_bytes(projections)
        token = 2 * MODEL.hidden * MODEL.layers + layer if recompute else layer * MODEL.layers
        return row(name, 2 * n + 4 * size, 4 * size, 8 * size, tokens * token)

    # A packed batch of 8 sequences of at most 1,024 tokens; under autocast the residual stream is float32.
    full = 8 * 1024 * (4 * MODEL.hidden * MODEL.layers + MODEL.activation_bytes(0))
    share = n / options.gpus
    return [
        ["training", "weights, GB", "gradients", "Adam's moments", "activations, about", "sum"],
        row("Adapt, all weights in float32, on one GPU", 4 * n, 4 * n, 8 * n, full),
        row(f"The same, sharded over {options.gpus}", 4 * share, 4 * share, 8 * share, full),
        adapters("Passages, rank 32, six: 16 x 196 tokens at once", 32, 6, 16 * 196, recompute=False),
        adapters("Passages, rank 64, seven: 16 x 160 tokens", 64, 7, 16 * 160, recompute=False),
        adapters("Passages without GradCache: 16 x 16 x 196", 32, 6, 256 * 196, recompute=False),
        adapters("Documents, recomputed: 8 x 2,048", 32, 6, 8 * 2048, recompute=True),
        adapters("Documents, not recomputed: 8 x 2,048", 32, 6, 8 * 2048, recompute=False),
    ]


def disk_table(options: argparse.Namespace) -> list[list[str]]:
    """Vectors in float32, the exact index (as many bytes), the HNSW index, and an exact search on the CPU."""
    per_vector, links = 4 * MODEL.hidden, 8 * 32  # HNSW: M = 32
    largest = max(count for count, _ in BEIR.values())
    rows = []
    for name, count, queries in (
        ("MS MARCO passages, 6,980 dev queries", PASSAGES, 6_980),
        ("MS MARCO passages, mining for 502,939 queries", PASSAGES, TRAIN_QUERIES),
        ("MS MARCO documents, 5,193 dev queries", DOCUMENTS, 5_193),
        ("MS MARCO documents, mining for 367,013 queries", DOCUMENTS, DOCUMENT_QUERIES),
        ("BEIR's largest, FEVER, 6,666 queries", largest, 6_666),
        ("All of BEIR's 13", sum(count for count, _ in BEIR.values()), 0),
    ):
        hours = 2 * queries * count * MODEL.hidden / (options.cpu_gflops * 1e9) / 3600
        rows.append(
            [
                name,
                f"{count:,}",
                f"{count * per_vector / 1e9:,.1f}",
                f"{count * (per_vector + links) / 1e9:,.1f}",
                short(hours) if queries else "",
            ]
        )
    return [["search", "vectors", "exact, GB", "hnsw, GB", "hours, exact, CPU"], *rows]


def model_table(_: argparse.Namespace) -> list[list[str]]:
    """Files that training writes."""
    n = MODEL.parameters
    six, seven = MODEL.lora_parameters(32, 6), MODEL.lora_parameters(64, 7)
    rows = [
        ["LLaMA-2-7B", f"{n:,}", "2 bytes each", short(2 * n / 1e9)],
        ["the adapted model, and each fine-tuned one", f"{n:,}", "2, as the base", short(2 * n / 1e9)],
        [
            "a checkpoint of full training; two are kept",
            f"{n:,}",
            "12 (weights, two moments)",
            short(12 * n / 1e9),
        ],
        ["adapters, rank 32, six projections", f"{six:,}", "12", short(12 * six / 1e9)],
        ["adapters, rank 64, seven projections", f"{seven:,}", "12", short(12 * seven / 1e9)],
    ]
    return [["file", "parameters", "bytes", "GB"], *rows]


def reported_table(_: argparse.Namespace) -> list[list[str]]:
    """The share of the GPUs' peak that RepLLaMA's reported times imply; it recomputes, without GradCache."""
    rows = []
    for name, queries, passages, most, gpus, peak, hours in (
        ("passages, 1 + 15, 16 V100, one day", TRAIN_QUERIES, 16, 196, 16, 125, 24),
        ("passages, 1 + 15, one A800, 80 hours", TRAIN_QUERIES, 16, 196, 1, 312, 80),
        ("documents, 1 + 7, 16 V100, three days", DOCUMENT_QUERIES, 8, 2048, 16, 125, 72),
        ("documents, 1 + 15, 16 V100, three days", DOCUMENT_QUERIES, 16, 2048, 16, 125, 72),
    ):
        mean = DOCUMENT if most == 2048 else PASSAGE
        shares = [
            MODEL.lora_training_flops(queries * passages, length, forwards=2, adapters=LORA)
            / (gpus * peak * 1e12 * hours * 3600)
            for length in (mean, most)
        ]
        rows.append([name, f"{shares[0]:.0%}", f"{shares[1]:.0%}"])
    return [["reported (Tevatron issue 103)", "share of peak, mean length", "at full length"], *rows]


TABLES = {
    "Compute": compute_table,
    "Memory of training": memory_table,
    "Files": model_table,
    "Vectors and search": disk_table,
    "Against reported times": reported_table,
}


def short(value: float) -> str:
    """As many digits as matter: 1,234 / 56.7 / 8.9 / 0.089."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def both(expected: float, most: float) -> str:
    """What is expected, and the most."""
    return f"{short(expected)} ({short(most)})"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first row is its head."""
    head, *body = rows
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *body))


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        usage=f"{EXAMPLE}\n\nWhat the paper's tables cost, computed; nothing is run.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--gpus", type=int, default=8, help="GPUs that share the work")
    parser.add_argument(
        "--peaks",
        type=float,
        nargs="+",
        default=[312.0, 989.0],
        metavar="TFLOPS",
        help="peak of one GPU, dense bfloat16: A100 312, H100 and H200 989",
    )
    parser.add_argument("--utilisation", type=float, default=0.4, help="share of the peak that is reached")
    parser.add_argument("--cpu-gflops", type=float, default=1000, help="speed of an exact search on the CPU")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    options = parser.parse_args(arguments)
    if options.gpus < 1 or not 0 < options.utilisation <= 1 or min([*options.peaks, options.cpu_gflops]) <= 0:
        parser.error("--gpus is at least 1, --utilisation above 0 and at most 1, speeds above 0")
    return options


def tables(options: argparse.Namespace) -> dict[str, str]:
    """Markdown tables by title."""
    return {title: markdown(table(options)) for title, table in TABLES.items()}


def as_json(options: argparse.Namespace) -> dict[str, Any]:
    """The same rows as lists, and the arguments."""
    return {"arguments": vars(options), **{title: table(options) for title, table in TABLES.items()}}


def main() -> None:
    """Print the tables."""
    options = parse()
    if options.json:
        print(json.dumps(as_json(options), indent=1))
    else:
        print("\n\n".join(f"### {title}\n\n{table}" for title, table in tables(options).items()))


if __name__ == "__main__":
    main()
