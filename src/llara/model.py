"""Model directories: each is a causal language model and a sentence-transformers model at once.

A directory that llara writes holds

    config.json, model.safetensors, tokenizer.*   an ordinary causal language model, head included
    modules.json, 1_Pooling/, ...                 how sentence-transformers reads an embedding from it
    chat_template.jinja                           SELF and NEXT, chosen by sentence-transformers' ``task``
    llara.json                                    preset and length limit
    training.json                                 settings and loss log, where llara trained it

With the ``paper`` preset everything in it is stock: no custom code, no need of this package.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llara.errors import ModelError
from llara.files import atomic_directory
from llara.prompts import Prompts, Task, chat_template, get_preset

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = [
    "MINI",
    "MINI_BASE",
    "convert",
    "fingerprint",
    "load",
    "load_causal_lm",
    "load_tokenizer",
    "model_card",
    "read_facts",
    "resolve",
    "save_retriever",
]

MINI_BASE = "llara-mini-base"
MINI = "llara-mini"
_SHIPPED = {MINI_BASE: "base", MINI: "adapted"}
FACTS = "llara.json"


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
        if not (path / "config.json").is_file():
            raise ModelError(f"{path} is not a model directory: it has no config.json")
        return str(path)
    if path.exists() or path.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1:
        known = ", ".join(_SHIPPED)
        raise ModelError(
            f"there is no model {name!r}; expected a directory, a hub name (owner/name), or one of: {known}"
        )
    return name


def load(name_or_path: str | Path, *, device: str | None = None) -> SentenceTransformer:
    """Load a retriever: ``encode_query`` and ``encode_document`` give unit vectors ``[N, D]``.

    On a CPU the weights are float32; elsewhere they keep their stored type.

    Raises:
        ModelError: no such model, or a directory that is only a language model (``llara convert`` it first).
    """
    import torch
    from sentence_transformers import SentenceTransformer

    source = resolve(name_or_path)
    if Path(source).is_dir() and not (Path(source) / "modules.json").is_file():
        raise ModelError(
            f"{name_or_path} is a language model but not yet a retriever; "
            f"make it one with: llara convert --base {name_or_path} --out DIR"
        )
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    model_kwargs = {"dtype": torch.float32} if device == "cpu" else {}
    try:
        return SentenceTransformer(source, device=device, model_kwargs=model_kwargs)
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot load the model {name_or_path}: {error}") from error


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


def load_causal_lm(
    name_or_path: str | Path, *, dtype: torch.dtype, attention: str | None = None
) -> PreTrainedModel:
    """Load a causal language model with its head; no remote code is run.

    Args:
        attention: ``sdpa``, ``eager`` or ``flex_attention``; by default SDPA, or eager where it is refused.

    Raises:
        ModelError: no such model, an architecture that is not a causal language model, or damaged files.
    """
    from transformers import AutoModelForCausalLM

    source = resolve(name_or_path)
    try:
        if attention is not None:
            model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype, attn_implementation=attention)
        else:
            model = AutoModelForCausalLM.from_pretrained(source, dtype=dtype)
            if model.config.model_type == "gemma2":
                # Its scores are soft-capped, which SDPA cannot do and leaves out.
                model.set_attn_implementation("eager")
    except (OSError, ValueError, ImportError) as error:
        raise ModelError(f"cannot load the causal language model {name_or_path}: {error}") from error
    loaded: PreTrainedModel = model
    return loaded


def save_retriever(
    model: PreTrainedModel,
    prompts: Prompts,
    out: Path,
    *,
    max_tokens: int,
    centers: Mapping[Task, torch.Tensor] | None = None,
) -> None:
    """Write a model directory into ``out``, which exists and is the caller's to rename.

    Args:
        max_tokens: longest input in tokens, prompts included.
        centers: each role's mean vector ``[D]``, subtracted before normalisation.
    """
    model.save_pretrained(out)
    tokenizer = prompts.tokenizer
    tokenizer.padding_side = "right"
    tokenizer.model_max_length = max_tokens
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    tokenizer.chat_template = chat_template(prompts)
    tokenizer.save_pretrained(out)
    _write_modules(out, prompts, model.get_input_embeddings().embedding_dim, centers)
    facts = {"format": "llara-model/1", "preset": prompts.preset.name, "max_tokens": max_tokens}
    _write_json(out / FACTS, facts)


def _write_modules(
    out: Path, prompts: Prompts, dimension: int, centers: Mapping[Task, torch.Tensor] | None
) -> None:
    """Write what sentence-transformers reads: the list of modules and each module's settings."""
    import sentence_transformers
    from sentence_transformers.base.modules import Normalize
    from sentence_transformers.sentence_transformer.modules import Pooling

    single = prompts.preset.joined
    forward = {"method": "forward", "method_output_name": "last_hidden_state"}
    _write_json(
        out / "sentence_bert_config.json",
        {
            "transformer_task": "feature-extraction",
            "modality_config": {"text": forward, "message": {**forward, "format": "flat"}}
            if single
            else {"text": forward},
            "module_output_name": "token_embeddings",
        },
    )
    modules: list[Any] = [Pooling(dimension, "lasttoken" if single else "mean")]
    if centers:
        modules.append(_centering(centers))
    modules.append(Normalize())
    first = (
        "sentence_transformers.base.modules.transformer.Transformer"
        if single
        else "llara.slots.SlotTransformer"
    )
    listed = [{"idx": 0, "name": "0", "path": "", "type": first}]
    for index, module in enumerate(modules, start=1):
        path = f"{index}_{type(module).__name__}"
        (out / path).mkdir(exist_ok=True)
        module.save(str(out / path))
        kind = f"{type(module).__module__}.{type(module).__name__}"
        listed.append({"idx": index, "name": str(index), "path": path, "type": kind})
    _write_json(out / "modules.json", listed)
    _write_json(
        out / "config_sentence_transformers.json",
        {
            "model_type": "SentenceTransformer",
            "__version__": {"sentence_transformers": sentence_transformers.__version__},
            "prompts": {},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
    )


def _centering(centers: Mapping[Task, torch.Tensor]) -> Any:
    """A router that subtracts the query's or the document's mean: stock linear layers, weight 1, bias -mean."""
    import torch
    from sentence_transformers.base.modules import Dense, Router

    def subtract(mean_D: torch.Tensor) -> Dense:
        layer = Dense(
            len(mean_D),
            len(mean_D),
            activation_function=torch.nn.Identity(),
            init_weight=torch.eye(len(mean_D)),
            init_bias=-mean_D.float().cpu(),
        )
        return layer

    return Router.for_query_document(
        query_modules=[subtract(centers["next"])],
        document_modules=[subtract(centers["self"])],
        default_route="document",
    )


def convert(
    source: str | Path, out: Path, *, preset: str = "paper", max_tokens: int = 512, overwrite: bool = False
) -> Path:
    """Make a retriever directory of a language model as it is: the un-adapted baseline, or a released checkpoint.

    The released checkpoints of the authors are read with ``preset="eight-words"``.

    Raises:
        ModelError: no such model, or its tokenizer lacks what the preset needs.
        OutputError: ``out`` exists and ``overwrite`` is false, or it cannot be written.
    """
    import torch
    from transformers import AutoConfig

    get_preset(preset)
    tokenizer = load_tokenizer(source)
    prompts = Prompts(tokenizer, preset)
    longest = prompts.text_limit(max_tokens, ["self"]) and max_tokens
    with atomic_directory(out, overwrite=overwrite) as directory:
        stored = AutoConfig.from_pretrained(resolve(source)).dtype or torch.float32
        model = load_causal_lm(source, dtype=stored)
        save_retriever(model, prompts, directory, max_tokens=longest)
    return out


def model_card(training: Mapping[str, Any]) -> str:
    """The README of a model that ``adapt`` wrote, from the content of its ``training.json``."""
    settings, log = training["settings"], training["log"]
    last = {
        name: value
        for name, value in (log[-1] if log else {}).items()
        if name in ("loss", "ebae", "ebar", "lm")
    }
    losses = ", ".join(f"{name} {value:.3f}" for name, value in last.items()) or "not logged"
    steps = log[-1]["step"] if log else 0
    return f"""---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags: [llara, dense-retrieval, feature-extraction]
---

# A text retriever adapted from {training["base"]}

Adapted by llara without labels: the SELF embedding of a text predicts its own words (EBAE), the NEXT
embedding those of the text that follows (EBAR); Li et al. 2023, arXiv 2312.15503.

| | |
|---|---|
| base model | {training["base"]} |
| prompts | {settings["prompt"]["preset"]} |
| corpus | {training["segments"]:,} segments, {training["tokens"]:,} tokens |
| steps | {steps:,} x {settings["training"]["batch_size"]} segments a device, seed {settings["training"]["seed"]} |
| losses at the end | {losses} |

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("this directory")
queries = model.encode_query(["who wrote it?"])          # NEXT prompt
documents = model.encode_document(["It was written by ..."])  # SELF prompt
print(model.similarity(queries, documents))
```

It is still a causal language model (`AutoModelForCausalLM`). All settings and losses: `training.json`.
"""


def read_facts(directory: str | Path) -> dict[str, Any]:
    """What ``llara.json`` says of a model directory; empty for a model that llara did not write."""
    path = Path(resolve(directory)) / FACTS
    if not path.is_file():
        return {}
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return facts


def fingerprint(name_or_path: str | Path) -> str:
    """SHA-256 over everything that decides a model's vectors: weights, tokenizer, prompts, modules.

    A model card or a training log may change without changing the fingerprint.
    """
    root = Path(resolve(name_or_path))
    if not root.is_dir():
        raise ModelError(f"{name_or_path} is not a local directory; a fingerprint needs its files")
    digest = hashlib.sha256()
    for path in sorted(
        p for p in root.rglob("*") if p.suffix in {".safetensors", ".json", ".jinja", ".model", ".txt"}
    ):
        name = path.relative_to(root).as_posix()
        if name in {"training.json", "config_sentence_transformers.json"}:
            continue
        digest.update(f"{name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
