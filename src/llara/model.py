"""Model directories: each is a causal language model and a sentence-transformers model at once.

A directory that llara writes holds

    config.json, model.safetensors, tokenizer.*   an ordinary causal language model, head included
    modules.json, 1_Pooling/, ...                 how sentence-transformers reads an embedding from it
    chat_template.jinja                           SELF and NEXT, chosen by sentence-transformers' ``task``
    llara.json                                    preset, length limit, how titles are joined
    words.txt                                     common words of the corpus, where llara adapted it
    training.json                                 settings and loss log, where llara trained it

With the ``paper`` preset everything in it is stock: no custom code, no need of this package. A directory
whose prompts stock modules cannot write (see ``slots``) is loaded by :func:`load`, or where llara is
installed by ``SentenceTransformer(directory, trust_remote_code=True)``.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llara.errors import ModelError
from llara.files import atomic_directory, check_apart, check_output
from llara.modules import SLOTS, write_json, write_modules
from llara.prompts import Prompts, Task, chat_template, get_preset

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

__all__ = [
    "LEXICON",
    "MINI",
    "MINI_BASE",
    "convert",
    "embedding_of",
    "fingerprint",
    "load",
    "load_causal_lm",
    "load_config",
    "load_tokenizer",
    "read_facts",
    "resolve",
    "save_retriever",
    "stored_dtype",
    "title_separator_of",
]

MINI_BASE = "llara-mini-base"
MINI = "llara-mini"
_SHIPPED = {MINI_BASE: "base", MINI: "adapted"}
FACTS = "llara.json"
LEXICON = "words.txt"


def resolve(name_or_path: str | Path) -> str:
    """Where a model is: a shipped model's directory, a local directory, or a hub name as it stands.

    Raises:
        ModelError: a path that does not exist, or a directory without a model.
    """
    name = str(name_or_path)
    if name in _SHIPPED:
        return str(Path(__file__).parent / "mini" / _SHIPPED[name])
    path = Path(name)
    if path.is_dir():
        if not any((path / name).is_file() for name in ("config.json", "modules.json")):
            raise ModelError(f"{path} is not a model directory: it has neither config.json nor modules.json")
        return str(path)
    if path.exists() or path.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1:
        known = ", ".join(_SHIPPED)
        raise ModelError(
            f"there is no model {name!r}; expected a directory, a hub name (owner/name), or one of: {known}"
        )
    return name


def load(
    name_or_path: str | Path, *, device: str | None = None, dtype: torch.dtype | None = None
) -> SentenceTransformer:
    """Load a retriever: ``encode_query`` and ``encode_document`` give unit vectors ``[N, D]``.

    By default the weights are float32 on a CPU; elsewhere they keep their stored type.

    Raises:
        ModelError: no such model, or a directory that is only a language model (``llara convert`` it first).
    """
    import torch
    from safetensors import SafetensorError
    from sentence_transformers import SentenceTransformer

    source = resolve(name_or_path)
    if Path(source).is_dir() and not (Path(source) / "modules.json").is_file():
        raise ModelError(
            f"{name_or_path} is a language model but not yet a retriever; "
            f"make it one with: llara convert --base {name_or_path} --out DIR"
        )
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = dtype or (torch.float32 if device == "cpu" else None)
    model_kwargs = {} if dtype is None else {"dtype": dtype}
    try:
        with _all_weights_found():
            if _has_slots(Path(source)):
                modules = _modules_with_slots(Path(source), model_kwargs)
                return SentenceTransformer(modules=modules, device=device, similarity_fn_name="cosine")
            return SentenceTransformer(source, device=device, model_kwargs=model_kwargs)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"cannot load the model {name_or_path}: {error}") from error


@contextmanager
def _all_weights_found() -> Iterator[None]:
    """Make an error of weights that are not there, which the library only reports before it makes some up.

    Its report is silent where all it says is that a retriever does not use the language model's head.

    Raises:
        ValueError: weights are missing, or have another shape.
    """
    reports: list[str] = []
    logger = logging.getLogger("transformers.modeling_utils")
    level, asked = logger.level, logger.getEffectiveLevel()

    def keep(record: logging.LogRecord) -> bool:
        if "LOAD REPORT" in record.getMessage():
            reports.append(record.getMessage())
            return False
        return record.levelno >= asked

    logger.addFilter(keep)
    if asked > logging.WARNING:
        logger.setLevel(logging.WARNING - 1)  # it must report; at WARNING itself it checks sharding, too
    try:
        yield
    except RuntimeError:  # it says no more than "look at the report"
        if not reports:
            raise
    finally:
        logger.removeFilter(keep)
        logger.setLevel(level)
    if any(word in report for report in reports for word in ("MISSING", "MISMATCH", "CONVERSION")):
        raise ValueError(
            "its files lack weights that its config.json asks for, or hold them in another shape"
        )


def _has_slots(directory: Path) -> bool:
    path = directory / "modules.json"
    return path.is_file() and SLOTS in {m["type"] for m in json.loads(path.read_text(encoding="utf-8"))}


def _modules_with_slots(directory: Path, model_kwargs: Mapping[str, Any]) -> list[Any]:
    """A directory's modules, ours among them: sentence-transformers imports its own, or any code at all."""
    modules: list[Any] = []
    for entry in json.loads((directory / "modules.json").read_text(encoding="utf-8")):
        package, _, name = entry["type"].rpartition(".")
        if entry["type"] != SLOTS and not package.startswith("sentence_transformers."):
            raise ValueError(f"its module {entry['type']!r} is neither sentence-transformers' nor llara's")
        kind = getattr(importlib.import_module(package), name)
        given = {"model_kwargs": dict(model_kwargs)} if entry["type"] == SLOTS else {}
        modules.append(kind.load(str(directory), subfolder=entry["path"], local_files_only=True, **given))
    return modules


def load_tokenizer(name_or_path: str | Path) -> PreTrainedTokenizerBase:
    """Load a model's tokenizer.

    Raises:
        ModelError: there is none, or it cannot be read.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(resolve(name_or_path))
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"cannot load the tokenizer of {name_or_path}: {error}") from error
    return tokenizer


def load_config(name_or_path: str | Path) -> PretrainedConfig:
    """Load a model's configuration.

    Raises:
        ModelError: no such model, or an architecture that the installed transformers does not know.
    """
    from transformers import AutoConfig

    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(resolve(name_or_path))
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"cannot load the configuration of {name_or_path}: {error}") from error
    return config


def load_causal_lm(
    name_or_path: str | Path, *, dtype: torch.dtype, attention: str | None = None
) -> PreTrainedModel:
    """Load a causal language model with its head; no remote code is run.

    Args:
        attention: ``sdpa``, ``eager`` or ``flex_attention``; by default SDPA, or eager where it is refused.

    Raises:
        ModelError: no such model, an architecture that is not a causal language model, or damaged files.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    source = resolve(name_or_path)
    given = {} if attention is None else {"attn_implementation": attention}
    try:
        with _all_weights_found():
            model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, **given)
        if attention is None and model.config.model_type == "gemma2":
            # Its scores are soft-capped, which SDPA cannot do and leaves out.
            model.set_attn_implementation("eager")
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"cannot load the causal language model {name_or_path}: {error}") from error
    loaded: PreTrainedModel = model
    return loaded


def stored_dtype(config: PretrainedConfig) -> torch.dtype:
    """The dtype of a model's weights on disk."""
    import torch

    return config.dtype if isinstance(config.dtype, torch.dtype) else torch.float32


def embedding_of(model: PreTrainedModel) -> torch.Tensor:
    """The input embedding ``[V, D]``."""
    embedding: Any = model.get_input_embeddings()
    weight: torch.Tensor = embedding.weight
    return weight


def save_retriever(
    model: PreTrainedModel,
    prompts: Prompts,
    out: Path,
    *,
    max_tokens: int,
    centers: Mapping[Task, torch.Tensor] | None = None,
    title_separator: str | None = " ",
) -> None:
    """Write a model directory into ``out``, which exists and is the caller's to rename.

    Args:
        max_tokens: longest input in tokens, prompts included.
        centers: each role's mean vector ``[D]``, subtracted before normalisation.
        title_separator: what stood between title and text in training; None: titles were left out.

    Raises:
        OSError: the disk is full or read-only.
    """
    from safetensors import SafetensorError

    try:
        model.save_pretrained(out)
    except SafetensorError as error:  # its way to say that a write failed
        raise OSError(str(error)) from error
    tokenizer = prompts.tokenizer
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    tokenizer.model_max_length = max_tokens
    if tokenizer.pad_token is None or tokenizer.pad_token_id >= len(embedding_of(model)):
        # None, or one that was added without a row for it in the model
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    tokenizer.chat_template = chat_template(prompts)
    tokenizer.save_pretrained(out)
    write_modules(out, prompts, embedding_of(model).shape[1], centers)
    facts = {
        "format": "llara-model/1",
        "preset": prompts.preset.name,
        "max_tokens": max_tokens,
        "title_separator": title_separator,
    }
    write_json(out / FACTS, facts)


def convert(
    source: str | Path, out: Path, *, preset: str = "paper", max_tokens: int = 512, overwrite: bool = False
) -> Path:
    """Make a retriever directory of a language model as it is: the un-adapted baseline.

    The authors' released checkpoints are read with ``preset="eight-words"``.

    Raises:
        ModelError: no such model, or its tokenizer lacks what the preset needs.
        ConfigError: ``max_tokens`` leaves no room for text.
        OutputError: ``out`` exists and ``overwrite`` is false, or it cannot be written.
    """
    get_preset(preset)
    check_output(out, overwrite=overwrite)
    check_apart(out, source)
    tokenizer = load_tokenizer(source)
    prompts = Prompts(tokenizer, preset)
    config = load_config(source)
    longest = min(max_tokens, getattr(config, "max_position_embeddings", None) or max_tokens)
    for task in prompts.branches:
        prompts.text_limit(longest, [task])
    with atomic_directory(out, overwrite=overwrite) as directory:
        model = load_causal_lm(source, dtype=stored_dtype(config))
        save_retriever(model, prompts, directory, max_tokens=longest)
    return out


def read_facts(directory: str | Path) -> dict[str, Any]:
    """What ``llara.json`` says of a model directory; empty for a model that llara did not write."""
    path = Path(resolve(directory)) / FACTS
    if not path.is_file():
        return {}
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return facts


def title_separator_of(name_or_path: str | Path) -> str | None:
    """What a model was trained to see between a title and its text; None if it was trained without titles."""
    separator: str | None = read_facts(name_or_path).get("title_separator", " ")
    return separator


def fingerprint(name_or_path: str | Path) -> str:
    """SHA-256 over everything that decides a model's vectors: weights, tokenizer, prompts, modules.

    A model card, a training log or the list of words may change without changing the fingerprint, and in
    llara's models sentence-transformers' settings, where other models have their prompts.
    """
    root = Path(resolve(name_or_path))
    if not root.is_dir():
        raise ModelError(f"{name_or_path} is not a local directory; a fingerprint needs its files")
    digest = hashlib.sha256()
    left_out = {LEXICON, "training.json"}
    if (root / FACTS).is_file():
        left_out.add("config_sentence_transformers.json")
    suffixes = {".safetensors", ".bin", ".json", ".jinja", ".model", ".txt"}
    for path in sorted(path for path in root.rglob("*") if path.suffix in suffixes):
        if (name := path.relative_to(root).as_posix()) in left_out:
            continue
        digest.update(f"{name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
