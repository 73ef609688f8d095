"""Contrastive fine-tuning: pairs of queries and passages, hard negatives, InfoNCE.

Read ``loss`` first. ``pairs``, ``order`` and ``batches`` bring the data; ``prepare``, ``trainer`` and ``run``
make a run of it.
"""

from llara.finetune.run import FinetuneResult, finetune

__all__ = ["FinetuneResult", "finetune"]
