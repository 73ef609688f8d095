"""Which roles find similar sentences? Spearman's correlation in all four combinations, on sentence pairs.

A data set is a file or directory of pairs, and its split after a colon: `stsb:test`, `sts12-15:2012` (all
files of that year together, as SemEval's years are reported). A model is a name, `=`, and its directory
or name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
from measure import machine, make_parser, report

from llara.encode import Role, encode_texts
from llara.evaluate.similarity import SentencePair, correlate, read_pairs
from llara.model import load

EXAMPLE = (
    "llara convert --base llara-mini-base --out un-adapted\n"
    "python benchmarks/adaptation_study.py --data DATA --work STUDY --parts english-1\n"
    "python benchmarks/similarity_roles.py --model un-adapted=un-adapted llara-mini=llara-mini "
    "'both tasks=STUDY/models/both-1' --dataset "
    "DATA/stsb:test DATA/sts12-15:2012 DATA/sts12-15:2013 DATA/sts12-15:2014 DATA/sts12-15:2015 "
    "--out benchmarks/results/similarity_roles.json"
)
ROLES: dict[str, tuple[Role, Role]] = {
    "SELF/SELF": ("document", "document"),
    "SELF/NEXT": ("document", "query"),
    "NEXT/SELF": ("query", "document"),
    "NEXT/NEXT": ("query", "query"),
}
TINY_PAIRS = 8


def measure(model: str, datasets: dict[str, list[SentencePair]]) -> dict[str, dict[str, Any]]:
    """Roles -> data set -> what was found. Every sentence is encoded once in each role."""
    encoder = load(model)
    texts = list(dict.fromkeys(text for pairs in datasets.values() for pair in pairs for text in pair[:2]))
    place = {text: number for number, text in enumerate(texts)}
    vectors = {role: encode_texts(encoder, texts, role=role, batch_size=16) for role in get_args(Role)}
    found: dict[str, dict[str, Any]] = {}
    for roles, (role_first, role_second) in ROLES.items():
        for name, pairs in datasets.items():
            first = vectors[role_first][[place[pair.sentence1] for pair in pairs]]
            second = vectors[role_second][[place[pair.sentence2] for pair in pairs]]
            result = correlate(np.einsum("nd,nd->n", first, second, dtype=np.float64), pairs)
            found.setdefault(roles, {})[name] = {
                "spearman": result.spearman,
                "interval": result.interval,
                "pearson": result.pearson,
            }
    return found


def main() -> None:
    """Measure every model in all roles on every data set."""
    parser = make_parser(__doc__ or "", EXAMPLE)
    parser.add_argument("--model", nargs="+", required=True, metavar="NAME=MODEL", help="models")
    parser.add_argument("--dataset", nargs="+", required=True, metavar="PATH:SPLIT", help="sentence pairs")
    args = parser.parse_args()
    datasets = {}
    for source in args.dataset:
        path, _, split = source.rpartition(":")
        pairs = read_pairs(path, split)
        datasets[f"{Path(path).name}:{split}"] = pairs[:TINY_PAIRS] if args.tiny else pairs
    models = dict(named.split("=", 1) for named in args.model)
    result: dict[str, Any] = {
        "benchmark": "similarity_roles",
        "settings": {"tiny": args.tiny, "pairs": {name: len(pairs) for name, pairs in datasets.items()}},
        "machine": machine(),
        "spearman": {name: measure(model, datasets) for name, model in models.items()},
    }
    rows = [["", "roles", *datasets]]
    for name, by_roles in result["spearman"].items():
        for roles, found in by_roles.items():
            rows.append([name, roles, *(f"{value['spearman']:.3f}" for value in found.values())])
    report(result, rows, args.out)


if __name__ == "__main__":
    main()
