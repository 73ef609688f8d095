"""On a GPU: are the encoder's packed rows right, and how fast is it against sentence-transformers?

1. Right: vectors of every way (packed, padded and flex rows; float32 and bfloat16) against the library's own
   in float32, for llara-mini and for a random model with sliding windows; and in other company in a batch.
2. Fast: texts of log-normal length, the library's ``encode_document`` and the encoder in turns, on the same
   loaded bfloat16 model: llara-mini, and a random model of LLaMA-2-7B's geometry. Tokens/s, and useful FLOP
   as a share of a bfloat16 matrix product measured in the same run.

Every part is printed when it is done; one that fails is recorded with its error, and the next one begins.
Parts that would begin after ``--seconds`` are left out, and said so.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from encoding import needed_flops, num_tokens, stock_encode, word_texts
from gpu import Parts, make_model, peak_gib, peak_product, synchronize_of
from measure import machine, make_parser, ratio, report, spread
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Normalize
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import MistralConfig, MistralForCausalLM
from workload import llama_config

from llara.encoder import Encoder
from llara.model import convert, load, load_tokenizer

EXAMPLE = "python benchmarks/gpu_encode.py --out benchmarks/results/gpu_encode.json"
FLOAT32_TOLERANCE = 1e-4  # of unit vectors: sums in another order
BFLOAT16_FACTOR = 1.5  # a way may be this much further from float32 than the library's bfloat16 is
STOCK, OURS, COMPILED = "sentence-transformers", "encoder", "encoder, compiled"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line; ``--tiny`` overrules the sizes."""
    parser = make_parser("The encoder on a GPU: its correctness and its speed.", EXAMPLE)
    parser.add_argument("--hidden", type=int, default=4096, help="width of the large model")
    parser.add_argument("--layers", type=int, default=32, help="layers of the large model")
    parser.add_argument("--texts", type=int, default=600, help="texts for the large model")
    parser.add_argument("--mini-texts", type=int, default=4000, help="texts for llara-mini")
    parser.add_argument(
        "--stock-batches", type=int, nargs="+", default=[32, 128], help="its batch sizes; 32 is its default"
    )
    parser.add_argument("--batch-tokens", type=int, default=16_384, help="tokens of one of our batches")
    parser.add_argument("--matrix", type=int, default=8192, help="side of the matrices of the peak product")
    parser.add_argument("--repetitions", type=int, default=2, help="timed turns, after a small warm-up")
    parser.add_argument("--seconds", type=float, default=75, help="no part begins later than this")
    options = parser.parse_args(arguments)
    if options.tiny:
        options.hidden, options.layers, options.matrix = 64, 2, 128
        options.texts, options.mini_texts, options.stock_batches = 12, 8, [4, 8]
        options.batch_tokens, options.repetitions = 1024, 1
    elif not torch.cuda.is_available():
        parser.error("no GPU was found; --tiny runs the same code small, on the CPU")
    return options


# -- right ---------------------------------------------------------------------------------------------


def windowed_directory(root: Path) -> Path:
    """A random model whose layers see only 24 positions back, with grouped heads, as a retriever."""
    tokenizer = load_tokenizer("llara-mini-base")
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=len(tokenizer), hidden_size=256, intermediate_size=512, num_hidden_layers=3,
        num_attention_heads=4, num_key_value_heads=2, head_dim=64, sliding_window=24,
        max_position_embeddings=1024, initializer_range=0.08,
    )  # fmt: skip
    MistralForCausalLM(config).save_pretrained(root / "base")
    tokenizer.save_pretrained(root / "base")
    return convert(root / "base", root / "windowed", max_tokens=512)


def error_of(found_ND: np.ndarray, expected_ND: np.ndarray) -> float:
    """Largest distance of a vector from where it must be."""
    return float(np.linalg.norm(found_ND - expected_ND, axis=1).max())


class Right:
    """One model's vectors by the library in float32, and each way's distance from them."""

    def __init__(self, name: str | Path, device: str, texts: Sequence[str]) -> None:
        self.name, self.device, self.texts = name, device, list(texts)
        self.expected = self.stock(torch.float32)

    def stock(self, dtype: torch.dtype) -> np.ndarray:
        """The library's own vectors."""
        model = load(self.name, device=self.device, dtype=dtype)
        return np.asarray(model.encode_document(self.texts, show_progress_bar=False), dtype=np.float32)

    def stock_half(self) -> float:
        """How far the library's bfloat16 is from its float32."""
        return error_of(self.stock(torch.bfloat16), self.expected)

    def way(self, attention: str, dtype: str) -> dict[str, Any]:
        """One of our ways.

        Raises:
            RuntimeError: the encoder did not take this way.
        """
        encoder = Encoder(
            self.name, device=self.device, dtype=dtype, attention=attention, batch_tokens=2048  # type: ignore[arg-type]
        )  # fmt: skip
        if encoder.path is None:
            raise RuntimeError(encoder.how)
        found = encoder.encode(self.texts, role="document")
        order = np.random.default_rng(0).permutation(len(self.texts))
        other = encoder.encode([self.texts[i] for i in order], role="document")
        return {
            "error": error_of(found, self.expected),
            "other_company": error_of(other, found[order]),
            "how": encoder.how,
        }


def check_right(parts: Parts, device: torch.device, *, late: bool) -> None:
    """Fill ``right``: every way of two models; flex attention, which must be compiled, comes ``late``."""
    right = parts.result.setdefault("right", {})
    texts = [*word_texts(6 if parts.options.tiny else 160, seed=1), "", " wing "]
    tiny_flex = parts.options.tiny and late  # it is slow where it is not compiled
    ways = ("flex",) if late else ("padded", "packed")
    dtypes = ("float32",) if tiny_flex else ("float32", "bfloat16")
    names = ("windowed",) if tiny_flex else ("llara-mini", "windowed")
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            source: str | Path = name if name == "llara-mini" else windowed_directory(Path(folder))
            model = Right(source, str(device), texts)
            if not late:
                parts.run(right, f"{name}, library, bfloat16", lambda m=model: {"error": m.stock_half()})
            for way, dtype in product(ways, dtypes):
                flex_on_cpu = way == "flex" and device.type == "cpu"  # compiling it shows no more there
                with torch.compiler.set_stance("force_eager" if flex_on_cpu else "default"):
                    parts.run(right, f"{name}, {way}, {dtype}", lambda m=model, w=way, d=dtype: m.way(w, d))


def verdicts(right: dict[str, Any]) -> list[str]:
    """What is wrong in ``right``; nothing, it is to be hoped."""
    wrong = []
    for name, found in right.items():
        model, way, dtype = name.split(", ")
        if "left_out" in found:
            continue
        if "error" not in found or isinstance(found["error"], str):
            wrong.append(f"{name}: {found}")
            continue
        half = right.get(f"{model}, library, bfloat16", {}).get("error")
        limit = BFLOAT16_FACTOR * half if dtype == "bfloat16" and half else FLOAT32_TOLERANCE
        if way != "library" and not found["error"] <= limit:
            wrong.append(f"{name}: off by {found['error']:.2g}, allowed {limit:.2g}")
    return wrong


# -- fast ----------------------------------------------------------------------------------------------


def large_retriever(options: argparse.Namespace, device: torch.device) -> SentenceTransformer:
    """A random bfloat16 model, drawn on the device, with llara-mini's tokenizer and prompts."""
    mini = load("llara-mini", device=str(device), dtype=torch.bfloat16)
    config = llama_config(vocabulary=32_000, hidden=options.hidden, layers=options.layers)
    mini[0].model = make_model(config, device, torch.bfloat16).model.eval()
    modules = [mini[0], Pooling(options.hidden, "lasttoken"), Normalize()]
    return SentenceTransformer(modules=modules, device=str(device))


def timed(
    sides: dict[str, Callable[[], Any]], device: torch.device, *, repetitions: int
) -> dict[str, dict[str, Any]]:
    """Seconds and peak memory of each side, which take turns; one that fails drops out with its error."""
    found: dict[str, dict[str, Any]] = {name: {"seconds": []} for name in sides}
    wait = synchronize_of(device)
    for turn in range(repetitions):
        for name in list(sides)[:: -1 if turn % 2 else 1]:
            if "error" in found[name]:
                continue
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            wait()
            begun = time.perf_counter()
            try:
                sides[name]()
            except Exception as error:  # noqa: BLE001 - the other sides are worth having without it
                found[name]["error"] = f"{type(error).__name__}: {error}"[:600]
                continue
            wait()
            found[name]["seconds"].append(time.perf_counter() - begun)
            found[name]["peak_gib"] = peak_gib(device)
    return found


class Race:
    """One model, loaded once, and texts: the library and the encoder in turns."""

    def __init__(
        self, model: SentenceTransformer, texts: Sequence[str], options: argparse.Namespace, peak: float
    ) -> None:
        self.model, self.texts, self.options, self.peak = model, list(texts), options, peak
        self.device = torch.device(model.device)
        self.encoder = Encoder(model, batch_tokens=options.batch_tokens)
        self.lengths = num_tokens(self.encoder, self.texts)
        self.flops = needed_flops(self.encoder, self.lengths)

    def plain(self) -> dict[str, Any]:
        """The library at each batch size, and ours."""
        sides: dict[str, Callable[[], Any]] = {
            f"{STOCK}, batches of {size}": stock_encode(self.model, self.texts, size)
            for size in self.options.stock_batches
        }
        sides[OURS] = lambda: self.encoder.encode(self.texts, role="document")
        few = self.texts[:64]
        stock_encode(self.model, few, self.options.stock_batches[0])()
        self.encoder.encode(few, role="document")
        found = timed(sides, self.device, repetitions=self.options.repetitions)
        ours = found[OURS]["seconds"]
        for name, side in found.items():
            self.describe(side)
            if name != OURS and len(side["seconds"]) == len(ours) > 0:
                side["encoder_is_faster_by"] = ratio(side["seconds"], ours)
        differ = error_of(
            self.encoder.encode(few, role="document"),
            np.asarray(stock_encode(self.model, few, 32)(), dtype=np.float32),
        )
        return {
            "texts": len(self.texts), "tokens": sum(self.lengths), "flops": self.flops,
            "how": self.encoder.how, "largest_difference": differ, "ways": found,
        }  # fmt: skip

    def describe(self, side: dict[str, Any]) -> None:
        """Add tokens/s and the share of the matrix product."""
        if side["seconds"]:
            best = spread(side["seconds"])["median"]
            side["tokens_per_second"] = round(sum(self.lengths) / best)
            side["share_of_matrix_product"] = round(self.flops / best / self.peak, 4)

    def compiled(self) -> dict[str, Any]:
        """Ours with compiled layers (in place: nothing of this model is timed plainly after it)."""
        encoder = Encoder(self.model, batch_tokens=self.options.batch_tokens, compile_layers=True)
        begun = time.perf_counter()
        encoder.encode(self.texts[:200], role="document")
        first = time.perf_counter() - begun
        sides = {COMPILED: lambda: encoder.encode(self.texts, role="document")}
        side = timed(sides, self.device, repetitions=self.options.repetitions)[COMPILED]
        self.describe(side)
        return {**side, "first_200_texts_seconds": round(first, 2), "how": encoder.how}

    def budget(self, tokens: int) -> dict[str, Any]:
        """Ours with another budget a batch."""
        encoder = Encoder(self.model, batch_tokens=tokens)
        side = timed({OURS: lambda: encoder.encode(self.texts, role="document")}, self.device, repetitions=1)[
            OURS
        ]
        self.describe(side)
        return side


def speed(parts: Parts, device: torch.device) -> None:
    """Fill ``speed``: the matrix product, llara-mini, the large model, its compiled layers, other budgets."""
    options = parts.options
    fast = parts.result.setdefault("speed", {})
    parts.run(fast, "matrix_product", lambda: peak_product(options.matrix, device, repetitions=5))
    peak = fast["matrix_product"].get("median", float("nan"))
    races: dict[str, Race] = {}

    def race(name: str, make: Callable[[], SentenceTransformer], texts: int) -> dict[str, Any]:
        races[name] = Race(make(), word_texts(texts), options, peak)
        return races[name].plain()

    mini_texts = options.mini_texts
    parts.run(
        fast,
        "llara-mini",
        lambda: race(
            "mini", lambda: load("llara-mini", device=str(device), dtype=torch.bfloat16), mini_texts
        ),
    )
    parts.run(fast, "large", lambda: race("large", lambda: large_retriever(options, device), options.texts))
    if "large" not in races:
        return
    if device.type == "cuda":  # compiling on the CPU takes a minute and shows no more
        parts.run(fast, "large, compiled", races["large"].compiled)
    for tokens in (options.batch_tokens // 2, options.batch_tokens * 2):
        name = f"large, {'compiled, ' if device.type == 'cuda' else ''}{tokens} tokens a batch"
        parts.run(fast, name, lambda t=tokens: races["large"].budget(t))


def table(result: dict[str, Any]) -> list[list[str]]:
    """What to print of the result."""
    rows = [["what", "value", "tokens/s", "share of the product", "peak GiB"]]
    for name, found in result["right"].items():
        value = found.get("error", found)
        rows.append(
            [f"right: {name}", f"off by {value:.2g}" if isinstance(value, float) else str(value)[:70]]
        )
    fast = result["speed"]
    for name, part in fast.items():
        for way, side in part.get("ways", {name: part}).items():
            if "tokens_per_second" in side:
                faster = side.get("encoder_is_faster_by", {}).get("median")
                rows.append(
                    [
                        f"{name}: {way}" if way != name else name,
                        f"encoder is {faster:.2f} times as fast" if faster else "",
                        f"{side['tokens_per_second']:,}",
                        f"{side['share_of_matrix_product']:.1%}",
                        f"{side.get('peak_gib')}",
                    ]
                )
            elif "median" in part:
                rows.append([name, f"{part['median'] / 1e12:.3g} TFLOP/s"])
            else:
                rows.append([name, str(side)[:70]])
    return [[*row, *[""] * (5 - len(row))] for row in rows]


def main() -> None:
    """Check, measure, print, write."""
    options = parse()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    result: dict[str, Any] = {
        "benchmark": Path(__file__).stem,
        "settings": {key: value for key, value in vars(options).items() if key != "out"},
        "machine": {**machine(), "gpu": torch.cuda.get_device_name() if device.type == "cuda" else None},
    }
    parts = Parts(result, options)
    check_right(parts, device, late=False)
    speed(parts, device)
    check_right(parts, device, late=True)
    result["wrong"] = verdicts(result["right"])
    report(result, table(result), options.out)
    if result["wrong"]:
        raise SystemExit("\n".join(["not right:", *result["wrong"]]))


if __name__ == "__main__":
    main()
