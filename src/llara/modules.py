"""What sentence-transformers reads in a model directory: the list of modules and each one's settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llara.prompts import Prompts, Task

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

__all__ = ["SLOTS", "centers_of", "write_json", "write_modules"]

SLOTS = "llara.slots.SlotTransformer"


def write_modules(
    out: Path, prompts: Prompts, dimension: int, centers: Mapping[Task, torch.Tensor] | None
) -> None:
    """Write what sentence-transformers reads: the list of modules and each module's settings."""
    import sentence_transformers
    from sentence_transformers.base.modules import Normalize
    from sentence_transformers.sentence_transformer.modules import Pooling

    stock = prompts.joined
    forward = {"method": "forward", "method_output_name": "last_hidden_state"}
    modalities = {"text": forward, "message": {**forward, "format": "flat"}} if stock else {"text": forward}
    settings = {
        "transformer_task": "feature-extraction",
        "modality_config": modalities,
        "module_output_name": "token_embeddings",
    }
    write_json(
        out / "sentence_bert_config.json", settings | ({} if stock else {"preset": prompts.preset.name})
    )
    modules: list[Any] = [Pooling(dimension, "lasttoken" if stock else "mean")]
    if centers:
        modules.append(_centering(centers))
    modules.append(Normalize())
    first = "sentence_transformers.base.modules.transformer.Transformer" if stock else SLOTS
    listed = [{"idx": 0, "name": "0", "path": "", "type": first}]
    for index, module in enumerate(modules, start=1):
        path = f"{index}_{type(module).__name__}"
        (out / path).mkdir(exist_ok=True)
        module.save(str(out / path))
        kind = f"{type(module).__module__}.{type(module).__name__}"
        listed.append({"idx": index, "name": str(index), "path": path, "type": kind})
    write_json(out / "modules.json", listed)
    write_json(
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
    """A router that subtracts the query's or the document's mean: linear layers of weight 1, bias -mean."""
    import torch
    from sentence_transformers.base.modules import Dense, Router

    def subtract(mean_D: torch.Tensor) -> Dense:
        return Dense(
            len(mean_D),
            len(mean_D),
            activation_function=torch.nn.Identity(),
            init_weight=torch.eye(len(mean_D)),
            init_bias=-mean_D.float().cpu(),
        )

    return Router.for_query_document(
        query_modules=[subtract(centers["next"])],
        document_modules=[subtract(centers["self"])],
        default_route="document",
    )


def centers_of(model: SentenceTransformer) -> dict[Task, torch.Tensor] | None:
    """The mean vectors ``[D]`` that a model of ours subtracts; None where it does not centre."""
    from sentence_transformers.base.modules import Router

    for module in model:
        if isinstance(module, Router):
            routes: Any = module.sub_modules
            return {"next": -routes["query"][0].linear.bias, "self": -routes["document"][0].linear.bias}
    return None


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as indented JSON."""
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
