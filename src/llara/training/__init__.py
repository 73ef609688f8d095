"""What every training run has: its directory, checkpoints, progress, and a model made ready to train."""

from llara.training.models import (
    check_projections,
    cpu_has_bfloat16,
    load_weights,
    merged,
    recompute_activations,
    use_bfloat16,
    with_lora,
)
from llara.training.trainer import (
    StopAfter,
    WholeCheckpoints,
    check_devices,
    common_arguments,
    last_checkpoint,
)
from llara.training.work import check_same_run, make_work, run_facts, say

__all__ = [
    "StopAfter",
    "WholeCheckpoints",
    "check_devices",
    "check_projections",
    "check_same_run",
    "common_arguments",
    "cpu_has_bfloat16",
    "last_checkpoint",
    "load_weights",
    "make_work",
    "merged",
    "recompute_activations",
    "run_facts",
    "say",
    "use_bfloat16",
    "with_lora",
]
