"""Train the mini base model from scratch: tokenizer, then next-token prediction on plain text.

    python scripts/train_mini_base.py --corpus articles-00.jsonl.xz articles-01.jsonl.xz --out runs/mini-base

The result is an ordinary Llama-architecture language model. Nothing of adaptation or retrieval is
in it. Everything random comes from ``--seed``; the log of losses is ``training.json`` beside the model.
It trains on the GPU if there is one; ``--tokenizer`` takes over one that was trained before.
"""

from __future__ import annotations

import argparse
import json
import lzma
import math
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

BOS, EOS, PAD = "<s>", "</s>", "<pad>"
HELD_OUT_EVERY = 100  # every hundredth article is kept for the validation loss


def read_articles(paths: list[Path], skip_every: int | None = None) -> Iterator[str]:
    """Title and text of each article, but every so many-th of all."""
    number = 0
    for path in paths:
        with lzma.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                number += 1
                if skip_every is None or number % skip_every:
                    article = json.loads(line)
                    yield f"{article['title']}\n{article['text']}"


def train_tokenizer(articles: Iterator[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer that begins every text with BOS, as Llama's does."""
    tokenizer = Tokenizer(models.BPE())
    # The prefix space makes a text's first word the same token as the word in mid-sentence.
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)  # type: ignore[assignment]
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    # The first 3,000 characters of each article: every article is heard, long ones do not dominate.
    tokenizer.train_from_iterator((text[:3000] for text in articles), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
        single=f"{BOS} $A", pair=f"{BOS} $A {BOS} $B", special_tokens=[(BOS, 0)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, pad_token=PAD, model_max_length=1024
    )


def token_rows(
    articles: Iterator[str], tokenizer: PreTrainedTokenizerFast, row_tokens: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Shuffled rows of all text ``[rows, row_tokens]`` uint16 (training, validation), each after a BOS."""
    streams: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    batch: list[str] = []

    def flush(offset: int) -> None:
        for i, encoding in enumerate(
            tokenizer.backend_tokenizer.encode_batch(batch, add_special_tokens=False)
        ):
            ids = np.array([*encoding.ids, tokenizer.eos_token_id], dtype=np.uint16)
            streams[(offset + i) % HELD_OUT_EVERY == 0].append(ids)
        batch.clear()

    count = 0
    for text in articles:
        batch.append(text)
        count += 1
        if len(batch) == 500:
            flush(count - 500)
    flush(count - len(batch))
    rng = np.random.default_rng(seed)
    split = []
    for stream in streams:
        flat = np.concatenate(stream)
        body = flat[: len(flat) // (row_tokens - 1) * (row_tokens - 1)].reshape(-1, row_tokens - 1)
        rows = np.concatenate([np.full((len(body), 1), tokenizer.bos_token_id, np.uint16), body], axis=1)
        split.append(rows[rng.permutation(len(rows))])
    return split[0], split[1]


def build_model(args: argparse.Namespace, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    torch.manual_seed(args.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=args.hidden,
        intermediate_size=args.intermediate,
        num_hidden_layers=args.layers,
        num_attention_heads=args.hidden // 64,
        num_key_value_heads=args.hidden // 64 // 3,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config)


def learning_rate_scale(step: int, steps: int, warmup: int = 100, decay_share: float = 0.4) -> float:
    """Warm up, hold, then fall linearly to zero over the last ``decay_share`` of the steps."""
    decay_start = steps * (1 - decay_share)
    return min((step + 1) / warmup, 1.0, max(0.0, (steps - step) / (steps - decay_start)))


@torch.no_grad()
def validation_loss(model: LlamaForCausalLM, rows_NT: Tensor, autocast: torch.autocast) -> float:
    """Mean nats per token over the first 64 held-out rows."""
    model.eval()
    losses = []
    for start in range(0, min(64, len(rows_NT)), 16):
        batch = rows_NT[start : start + 16].long()
        with autocast:
            losses.append(model(input_ids=batch, labels=batch).loss.item())
    model.train()
    return sum(losses) / len(losses)


def model_card(training: dict[str, Any]) -> str:
    """The README of the model directory, from the content of its ``training.json``."""
    settings, last = training["settings"], training["log"][-1]
    held_out = [entry["held_out_loss"] for entry in training["log"] if "held_out_loss" in entry][-1]
    flags = " ".join(
        f"--{name.replace('_', '-')}" + ("" if value is True else f" {value}")
        for name, value in settings.items()
        if value not in (False, None)
    )
    share = f", 1 article in {settings['skip_every']} left out" if settings["skip_every"] else ""
    seen = f"{last['tokens']:,} in {settings['steps']:,} steps of"
    seen += f" {settings['batch_rows']} x {settings['row_tokens']}"
    loss = f"{held_out:.3f} nats per token on held-out articles (every hundredth)"
    loss += f", {last['loss']:.3f} on the last batch"
    return f"""---
license: apache-2.0
language: en
library_name: transformers
pipeline_tag: text-generation
---

# llara-mini-base

A small language model of the Llama architecture, trained from scratch by next-token prediction. Nothing of
adaptation or retrieval is in it: it is the base that `llara quickstart` starts from, and the un-adapted
baseline of every comparison. It writes English-looking text and knows very little.

| | |
|---|---|
| parameters | {training["parameters"]:,} (embeddings tied to the output head), stored in bfloat16 |
| shape | {settings["layers"]} layers, hidden {settings["hidden"]}, feed-forward {settings["intermediate"]} |
| tokenizer | byte-level BPE, {settings["vocab"]:,} entries, trained on the same text |
| data | English Wikipedia (2015 dump){share}, {training["corpus_tokens"]:,} tokens; text CC BY-SA 3.0 |
| tokens seen | {seen} |
| loss | {loss} |
| seed | {settings["seed"]} |

```
python scripts/train_mini_base.py --corpus articles-00.jsonl.xz articles-01.jsonl.xz --out DIR {flags}
```

`training.json` holds the settings and the whole log.
"""


def train(
    model: LlamaForCausalLM, train_NT: Tensor, held_out_NT: Tensor, args: argparse.Namespace
) -> list[dict[str, float]]:
    """Next-token prediction over the rows, on the device where they are; returns the log."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}],
        lr=args.lr,
        betas=(0.9, 0.98),
        fused=True,
    )
    autocast = torch.autocast(train_NT.device.type, torch.bfloat16, enabled=args.bf16)
    forward = torch.compile(model) if args.compile else model
    log: list[dict[str, float]] = []
    started = time.monotonic()
    for step in range(args.steps):
        for group in optimizer.param_groups:
            group["lr"] = args.lr * learning_rate_scale(step, args.steps)
        first = step * args.batch_rows % (len(train_NT) - args.batch_rows)
        batch = train_NT[first : first + args.batch_rows].long()
        with autocast:
            loss = forward(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        last = step == args.steps - 1
        if step % args.log_steps == 0 or last:
            tokens = (step + 1) * args.batch_rows * args.row_tokens
            seconds = round(time.monotonic() - started, 1)
            entry = {"step": step, "tokens": tokens, "loss": round(loss.item(), 4), "seconds": seconds}
            if step % (10 * args.log_steps) == 0 or last:
                entry["held_out_loss"] = round(validation_loss(model, held_out_NT, autocast), 4)
            log.append(entry)
            print(json.dumps(entry), flush=True)
            assert math.isfinite(loss.item()), "the loss is not finite"
    return log


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--corpus", type=Path, nargs="+", required=True, help="JSON lines with title and text, xz"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--skip-every", type=int, help="leave every so many-th article out: kept unseen")
    parser.add_argument("--tokenizer", type=Path, help="a model directory whose tokenizer is taken over")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch-rows", type=int, default=64)
    parser.add_argument("--row-tokens", type=int, default=512)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--vocab", type=int, default=8192)
    parser.add_argument("--hidden", type=int, default=384)
    parser.add_argument("--intermediate", type=int, default=512)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument(
        "--bf16", action="store_true", help="autocast to bfloat16 (only where the device has it)"
    )
    parser.add_argument("--compile", action="store_true", help="torch.compile the model")
    parser.add_argument("--log-steps", type=int, default=50)
    parser.add_argument("--seed", type=int, default=17)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    if args.tokenizer:
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(args.tokenizer / name, args.out)
    else:
        train_tokenizer(read_articles(args.corpus, args.skip_every), args.vocab).save_pretrained(args.out)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(args.out)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = token_rows(read_articles(args.corpus, args.skip_every), tokenizer, args.row_tokens, args.seed)
    # Vocabularies up to 32,768 fit int16, and torch has few operations on uint16.
    train_NT, held_out_NT = (torch.from_numpy(part.astype(np.int16)).to(device) for part in rows)
    print(f"{train_NT.numel():,} training tokens, {held_out_NT.numel():,} held out", flush=True)
    model = build_model(args, tokenizer)
    model.to(device)  # type: ignore[arg-type]  # the library's wrapper hides the method's signature
    print(f"{model.num_parameters():,} parameters", flush=True)
    log = train(model, train_NT, held_out_NT, args)

    model.bfloat16().save_pretrained(args.out)
    skip = ("corpus", "out", "tokenizer", "log_steps")
    training = {
        "settings": {key: value for key, value in vars(args).items() if key not in skip},
        "device": torch.cuda.get_device_name() if device == "cuda" else "CPU",
        "parameters": model.num_parameters(),
        "corpus_tokens": train_NT.numel(),
        "log": log,
    }
    (args.out / "training.json").write_text(json.dumps(training, indent=1) + "\n")
    (args.out / "README.md").write_text(model_card(training), encoding="utf-8")


if __name__ == "__main__":
    main()
