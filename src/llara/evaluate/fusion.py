"""The weights of a hybrid, tuned on judgements."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from llara.errors import ConfigError
from llara.evaluate.measures import depth_of, evaluate_run
from llara.fusion import AnyRun, check_runs, scaled, summed

__all__ = ["tune_weights"]

_SAME = 1e-9  # two means closer than this are a tie: the last bits are those of the order of summation


def tune_weights(
    runs: Sequence[AnyRun],
    qrels: Mapping[str, Mapping[str, int]],
    measure: str,
    *,
    step: float = 0.1,
) -> tuple[float, ...]:
    """The weights for ``weighted_fusion`` that reach the best mean of ``measure``, by trying a grid.

    Give it another split than the one the weights will be judged on. The grid is all weights that are
    multiples of ``step`` and sum to 1: 11 of them for two runs at 0.1, 66 for three. Of several that are
    best the most even are taken (least sum of squares), then those that weigh the earlier runs more.

    Raises:
        ConfigError: ``step`` does not divide 1, the measure is unknown, or there are no runs.
        InputError: there are no judgements, or a score is not finite.
    """
    check_runs(runs, None)
    num_steps = round(1 / step) if 0 < step <= 1 else 0
    if not math.isclose(num_steps * step, 1.0):
        raise ConfigError(f"the step of the weights is {step}, expected a number that divides 1, such as 0.1")
    depth = depth_of([measure])
    shares = [scaled({query: run[query] for query in qrels if query in run}) for run in runs]
    reached = {}
    for units in _compositions(num_steps, len(runs)):
        fused = summed(shares, [unit / num_steps for unit in units], depth)
        reached[units] = evaluate_run(fused, qrels, [measure])[0][measure]
    best = max(reached.values())
    tied = [units for units, mean in reached.items() if mean >= best - _SAME]
    chosen = min(tied, key=lambda units: (sum(unit**2 for unit in units), [-unit for unit in units]))
    return tuple(unit / num_steps for unit in chosen)


def _compositions(total: int, num_parts: int) -> Iterator[tuple[int, ...]]:
    """All ways to write ``total`` as an ordered sum of ``num_parts`` numbers of 0 or more.

    >>> list(_compositions(2, 2))
    [(0, 2), (1, 1), (2, 0)]
    """
    if num_parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in _compositions(total - first, num_parts - 1):
            yield (first, *rest)
