"""Tiny random models with tokenizers of their own, for the tests that need whole directories and texts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from architectures import tiny_model
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedModel, PreTrainedTokenizerFast

# Added to a tokenizer in this order, as in the released checkpoints: not in the order of their names.
SHUFFLED_SLOTS = [f"<s{i}>" for i in (9, 12, 7, 14, 3, 6, 13, 5, 1, 10, 15, 2, 11, 4, 8, 16)]

SENTENCES = [
    "The llama is a camelid of South America, kept as a pack animal since the Pre-Columbian era.",
    "Its wool is soft, and the passage over the mountains is easy for it.",
    "Paris is the capital of France; eight words above the original sentence predict the next one!",
    "In 1984 the river rose by 27 metres (a record), and the following year by 3.",
    "巴黎是法国的首都。这条河很长。",
    "Nothing is as simple as it looks: summarize what you read within a page.",
]
_SPECIAL = ["<unk>", "<s>", "</s>"]


def byte_level(
    *,
    bos: bool = False,
    eos: bool = True,
    words: bool = True,
    slots: Sequence[str] = (),
    lstrip: bool = False,
) -> PreTrainedTokenizerFast:
    """Byte-level BPE as GPT-2's; ``words=False`` lets merges cross blanks, ``lstrip`` lets EOS eat them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=words)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(
        vocab_size=400, special_tokens=_SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(SENTENCES * 3, trainer)
    if lstrip:
        tokenizer.add_special_tokens([AddedToken("</s>", lstrip=True, special=True)])
    return _finished(tokenizer, bos=bos, eos=eos, slots=slots)


def sentencepiece_like(style: str, *, slots: Sequence[str] = ()) -> PreTrainedTokenizerFast:
    """BPE with a blank's mark in front of words, BOS first.

    ``style``: ``normalizer`` puts the mark before every stretch between special tokens (LLaMA-2), ``first``
    only where the whole text begins (newer Llama tokenizers), ``plain`` nowhere (Gemma).
    """
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    if style == "first":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    else:
        steps = [normalizers.Prepend("▁")] if style == "normalizer" else []
        tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])
        # Only in training, so that no piece spans words; sentencepiece has the same rule.
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("▁?[^▁]+|▁+"), "isolated")
    all_bytes = [f"<0x{i:02X}>" for i in range(256)]
    trainer = BpeTrainer(vocab_size=520, special_tokens=[*_SPECIAL, *all_bytes], show_progress=False)
    tokenizer.train_from_iterator(SENTENCES * 3, trainer)
    if style != "first":
        tokenizer.pre_tokenizer = None  # type: ignore[assignment]
    return _finished(tokenizer, bos=True, eos=True, slots=slots)


def _finished(tokenizer: Tokenizer, *, bos: bool, eos: bool, slots: Sequence[str]) -> PreTrainedTokenizerFast:
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
        )
    names = (
        {"unk_token": "<unk>"}
        | ({"bos_token": "<s>"} if bos else {})
        | ({"eos_token": "</s>"} if eos else {})
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
    if slots:
        fast.add_special_tokens({"additional_special_tokens": list(slots)})
    return fast


def model_for(
    tokenizer: PreTrainedTokenizerFast, family: str = "llama", *, seed: int = 0, **changes: Any
) -> PreTrainedModel:
    """A random model of the tokenizer's vocabulary."""
    model: PreTrainedModel = tiny_model(family, seed=seed, vocab_size=len(tokenizer), **changes)
    return model


def write_model(
    directory: Path, tokenizer: PreTrainedTokenizerFast, family: str = "llama", **changes: Any
) -> Path:
    """The same in a directory, as a hub would hold it: a language model, nothing of retrieval."""
    model_for(tokenizer, family, **changes).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def write_corpus(path: Path, documents: int = 24, *, sentences: int = 12) -> Path:
    """JSONL documents of so many sentences, all different."""
    with path.open("w", encoding="utf-8") as stream:
        for d in range(documents):
            parts = [f"{SENTENCES[(d + s * (d % 5 + 1)) % 6]} No. {d * s + s}." for s in range(sentences)]
            stream.write(json.dumps({"id": str(d), "text": " ".join(parts)}, ensure_ascii=False) + "\n")
    return path
