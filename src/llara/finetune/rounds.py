"""Mining before each round of ``finetune``, and what was counted."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from llara.config import FinetuneConfig
from llara.errors import OutputError
from llara.training import say

__all__ = ["mined_negatives", "mining_counts"]


def mined_negatives(
    model: str,
    train: Sequence[str | Path],
    folder: Path,
    arguments: TrainingArguments,
    config: FinetuneConfig,
    *,
    split: str,
    corpus: str | Path | None,
) -> list[Path]:
    """Each training file with negatives mined by ``model``, made by the first process."""
    from llara.mine import mine

    mined = [folder / f"negatives-{number}.jsonl" for number in range(1, len(train) + 1)]
    with arguments.main_process_first(local=False, desc="mining hard negatives"):
        if arguments.process_index == 0:
            for source, path in zip(train, mined, strict=True):
                if not path.exists():
                    result = mine(
                        model=model,
                        data=[source],
                        out=path,
                        config=config.mining,
                        split=split,
                        corpus=corpus,
                        title_separator=config.pairs.title_separator,
                    )
                    say(f"{source}: {result.report}\n{result}")
    if not all(path.exists() for path in mined):
        raise OutputError("the first process could not mine negatives; its message says why")
    return mined


def mining_counts(work: Path) -> list[dict[str, Any]]:
    """What was mined in each round: the data, and how many candidates each filter removed."""
    found = []
    for file in sorted(work.glob("round-*/negatives-*.mining.json"), key=_place):
        facts = json.loads(file.read_text(encoding="utf-8"))
        found.append({"round": _place(file)[0], "data": facts["data"], "counts": facts["counts"]})
    return found


def _place(file: Path) -> list[int]:
    """Round and number of a file of mined negatives."""
    return [int(number) for number in re.findall(r"\d+", f"{file.parent.name}/{file.name}")]
