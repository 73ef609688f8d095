"""A language model made ready to train: its number format, its adapter, its weights from a checkpoint."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from llara.config import LoraConfig
from llara.errors import ConfigError
from llara.model import load_causal_lm

__all__ = [
    "check_projections",
    "cpu_has_bfloat16",
    "load_weights",
    "merged",
    "recompute_activations",
    "use_bfloat16",
    "with_lora",
]


def use_bfloat16(precision: str) -> bool:
    """Whether to compute in bfloat16: as told, or, for ``auto``, where the device multiplies it fast."""
    if precision != "auto":
        return precision == "bfloat16"
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return cpu_has_bfloat16()


def cpu_has_bfloat16() -> bool:
    """Whether the processor has instructions for bfloat16 products (AVX512-BF16, AMX)."""
    checks = [getattr(torch.cpu, f"_is_{feature}_supported") for feature in ("avx512_bf16", "amx_tile")]
    return any(check() for check in checks)


def recompute_activations(model: PreTrainedModel) -> None:
    """Switch gradient checkpointing on."""
    enable = getattr(model, "activation_checkpointing_enable", None)  # its name from transformers 5.2x on
    if enable is not None:
        enable({"use_reentrant": False})
    else:
        model.gradient_checkpointing_enable({"use_reentrant": False})


def check_projections(model: PreTrainedModel, lora: LoraConfig) -> None:
    """Refuse names of projections that the model has no linear layer of; its weights are not looked at.

    Raises:
        ConfigError: which names, and which the model has.
    """
    linear = {
        name.rsplit(".", 1)[-1]
        for name, module in model.named_modules()
        if isinstance(module, (nn.Linear, Conv1D))
    }
    missing = [name for name in lora.projections if name not in linear]
    if missing:
        raise ConfigError(
            f"lora.projections names {', '.join(missing)}, which {model.config.model_type} does not have; "
            f"name some of its own linear layers: {', '.join(sorted(linear))}"
        )


def with_lora(model: PreTrainedModel, lora: LoraConfig, *, new_ids: Sequence[int]) -> Any:
    """Low-rank adapters on the named projections; the rows of the tokens ``new_ids`` are trained whole.

    Raises:
        ConfigError: the model has no linear layer of a name.
    """
    from peft import LoraConfig as PeftLoraConfig
    from peft import get_peft_model

    check_projections(model, lora)
    with warnings.catch_warnings():
        # peft asks for a name that transformers gave up in 5.2x
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        return get_peft_model(
            model,
            PeftLoraConfig(
                r=lora.rank,
                lora_alpha=lora.alpha,  # type: ignore[arg-type]  # only divided by the rank
                lora_dropout=lora.dropout,
                target_modules=list(lora.projections),
                trainable_token_indices=list(new_ids) or None,
                task_type="CAUSAL_LM",
            ),
        )


def merged(lm: Any, name: str, dtype: torch.dtype) -> Any:
    """The language model with its adapter merged into the weights of ``name``, which ``dtype`` holds on disk.

    What was frozen keeps the bytes it has on disk, though training may have rounded it to bfloat16: where it
    has, the model comes back in ``dtype``. Rows of tokens that ``name`` lacks stay as they are.

    Raises:
        ModelError: ``name`` cannot be loaded any more.
    """
    if lm.dtype not in (torch.float32, dtype):
        _restore(lm.get_base_model(), load_causal_lm(name, dtype=dtype))
    return lm.merge_and_unload()


@torch.no_grad()
def _restore(base: nn.Module, stored: PreTrainedModel) -> None:
    """Put the weights of ``stored`` in place of those below an adapter, one after another."""
    weights = dict(stored.named_parameters())
    for name, own in base.named_parameters():
        # peft keeps what it wraps under these names
        weight = weights.pop(name.replace(".token_adapter", "").replace(".base_layer", ""), None)
        if weight is not None:
            restored = weight.to(own.device)
            if own.shape != restored.shape:
                restored = torch.cat([restored, own[len(restored) :].to(restored.dtype)])
            own.data = restored
    assert not weights, f"not found under the adapter: {', '.join(weights)}"


def load_weights(lm: Any, checkpoint: Path) -> None:
    """Load a checkpoint's weights, or those of its adapter, into the language model, in place."""
    from safetensors.torch import load_file

    if hasattr(lm, "peft_config"):
        from peft import load_peft_weights, set_peft_model_state_dict

        set_peft_model_state_dict(lm, load_peft_weights(str(checkpoint), device="cpu"))
        return
    weights: dict[str, Tensor] = {}
    for file in sorted(checkpoint.glob("model*.safetensors")):
        weights |= load_file(file)
    missing, unexpected = lm.load_state_dict(weights, strict=False)
    tied = set(lm.state_dict()) - set(dict(lm.named_parameters()))
    assert not unexpected, unexpected
    assert set(missing) <= tied, missing
