"""Mining before each round of ``finetune``, and what was counted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
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
    """Each training file with negatives mined by ``model``, made by the first process.

    A corpus that is searched for several files is encoded once.
    """
    from llara.mine import mine

    mined = [folder / f"negatives-{number}.jsonl" for number in range(1, len(train) + 1)]
    with arguments.main_process_first(local=False, desc="mining hard negatives"):
        left = [pair for pair in zip(train, mined, strict=True) if not pair[1].exists()]
        if arguments.process_index == 0 and left:
            with _shared_index(model, corpus if len(left) > 1 else None, folder, config) as index:
                for source, path in left:
                    result = mine(
                        model=model,
                        data=[source],
                        out=path,
                        config=config.mining,
                        split=split,
                        corpus=corpus,
                        index=index,
                        title_separator=config.pairs.title_separator,
                    )
                    say(f"{source}: {result.report}\n{result}")
    if not all(path.exists() for path in mined):
        raise OutputError("the first process could not mine negatives; its message says why")
    return mined


@contextmanager
def _shared_index(
    model: str, corpus: str | Path | None, folder: Path, config: FinetuneConfig
) -> Iterator[Path | None]:
    """The index of ``corpus``, gone afterwards; None if there is no corpus."""
    from llara.mine.pools import PoolMaker, passages_to_search

    if corpus is None:
        yield None
        return
    maker = PoolMaker(
        model, config.mining.source, config.pairs.title_separator, batch_size=64, progress=False
    )
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".corpus.", suffix=".partial", dir=folder) as scratch:
        yield maker.indexed(model, passages_to_search("", corpus=corpus), Path(scratch))


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
