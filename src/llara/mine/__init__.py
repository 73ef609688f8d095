"""Hard negatives: passages that a search ranks high for a query and that are not its answer.

Reading order: ``filters`` (which candidates are likely answers after all), ``sampling`` (which of the others
are taken), ``searches`` and ``candidates`` (where they come from), ``run`` (all of it, from data to a file).

``sentence_transformers.util.mine_hard_negatives`` is not used: it has no BM25, near-duplicates or counts, and
what it samples for a query depends on the other queries. A test holds that both agree where they overlap.
"""

from llara.mine.run import MineResult, mine

__all__ = ["MineResult", "mine"]
