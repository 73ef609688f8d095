"""What an evaluation found, and the directory it is kept in, finished rows first."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from operator import itemgetter
from pathlib import Path
from typing import Any

from llara.errors import ConfigError, InputError, OutputError
from llara.evaluate.measures import interval_of_value
from llara.files import check_output, write_text_atomic
from llara.report import REPORT, Report, leave_report
from llara.search import Run, read_run, write_run
from llara.significance import bootstrap_interval, paired_randomization_test

__all__ = ["Comparison", "Evaluation", "Store", "compare"]

FORMAT = "llara-metrics/2"
_SETTINGS = "settings.json"


@dataclass(frozen=True)
class Evaluation:
    """How one system did on one data set: means, per-query values, and the run they were computed from.

    ``metrics`` is measure -> mean and ``per_query`` measure -> query id -> value, the measures spelled as
    they were asked for. ``settings`` is what the numbers depend on. ``benchmark`` is the name under which
    papers report the data set. ``tuning`` is a run on other queries, from which a hybrid's weights come.
    """

    name: str
    metrics: dict[str, float]
    per_query: dict[str, dict[str, float]]
    run: Run
    settings: dict[str, Any]
    dataset: str = ""
    split: str | None = None
    benchmark: str | None = None
    tuning: Run = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)

    def interval(self, measure: str) -> tuple[float, float]:
        """The 95% bootstrap interval: over queries, unless ``intervals`` has it."""
        known = self.intervals.get(measure)
        if known is not None:
            return known[0], known[1]
        values = self.per_query[measure]
        return interval_of_value(measure, len(values), bootstrap_interval(values))


@dataclass(frozen=True)
class Comparison:
    """``difference`` of two values (first less second) and its two-sided p-value over paired queries."""

    measure: str
    difference: float
    p_value: float


def compare(first: Evaluation, second: Evaluation, measure: str) -> Comparison:
    """Compare two systems on the same queries by a paired randomisation test."""
    return Comparison(
        measure=measure,
        difference=first.metrics[measure] - second.metrics[measure],
        p_value=paired_randomization_test(first.per_query[measure], second.per_query[measure]),
    )


class Store:
    """Evaluations in the order they were made, kept in ``OUT.partial`` one by one if there is an ``out``.

    OUT/DATASET/SYSTEM.trec is a run and SYSTEM.json its measures and settings with every query's values.

    Raises:
        OutputError: ``out`` exists (without ``overwrite``), or an unfinished evaluation stands there and is
            neither resumed nor overwritten, or it cannot be written.
        InputError: there is nothing to resume.
        ConfigError: what stands there was begun with other settings.
    """

    def __init__(
        self, out: Path | None, settings: dict[str, Any], *, overwrite: bool = False, resume: bool = False
    ) -> None:
        self.out = out
        self.evaluations: list[Evaluation] = []
        self._settings: dict[str, Any] | None = settings  # until they are written
        if out is None:
            return
        check_output(out, overwrite=overwrite)
        self._overwrite = overwrite
        self.work = out.absolute().with_name(out.absolute().name + ".partial")
        parent = next(folder for folder in self.work.parents if folder.exists())
        if not (parent.is_dir() and os.access(parent, os.W_OK)):
            raise OutputError(f"cannot write {out}: {parent} is no directory that can be written to")
        if resume:
            self._settings = None
            self._check_same(settings)
            found = [_read(path) for path in self.work.glob("*/*.json")]
            self.evaluations = [evaluation for _, evaluation in sorted(found, key=itemgetter(0))]
            return
        if self.work.exists() and not overwrite:
            raise OutputError(
                f"an unfinished evaluation stands in {self.work}; go on with --resume, or start anew with "
                "--overwrite"
            )

    def find(self, name: str, dataset: str) -> Evaluation | None:
        """What was found already."""
        return next((e for e in self.evaluations if (e.name, e.dataset) == (name, dataset)), None)

    def keep(self, evaluation: Evaluation) -> Evaluation:
        """Add one, on disk first: the run, then what vouches for it."""
        if self.out is not None:
            self._begin()
            folder = self.work / _file_name(evaluation.dataset)
            path = folder / f"{_file_name(evaluation.name)}.json"
            while path.exists():  # of another name that is written alike, such as a/b and a-b
                path = path.with_name(f"{path.stem}_.json")
            try:
                folder.mkdir(exist_ok=True)
            except OSError as error:
                raise OutputError(f"cannot write {folder}: {error.strerror or error}") from error
            tag = _file_name(evaluation.name)
            if evaluation.run:
                write_run(path.with_suffix(".trec"), evaluation.run, tag)
            if evaluation.tuning:
                write_run(path.with_suffix(".tuning.trec"), evaluation.tuning, tag)
            content = asdict(evaluation)
            files = {name: bool(content.pop(name)) for name in ("run", "tuning")}
            write_text_atomic(path, _json({"place": len(self.evaluations), "files": files, **content}))
        self.evaluations.append(evaluation)
        return evaluation

    def _begin(self) -> None:
        """Make the directory with the first evaluation: a model that is missing leaves nothing."""
        if self._settings is None:
            return
        try:
            if self._overwrite:
                shutil.rmtree(self.work, ignore_errors=True)
            self.work.mkdir(parents=True)
        except OSError as error:
            raise OutputError(f"cannot write {self.work}: {error.strerror or error}") from error
        write_text_atomic(self.work / _SETTINGS, _json(self._settings))
        self._settings = None

    def finish(self, files: dict[str, str], make_page: Callable[[], Report]) -> None:
        """Write the summaries by name and the page, and put the directory in its place.

        Raises:
            OutputError: the disk is full or read-only; it is only said if that is of the page alone.
        """
        assert self.out is not None
        for name, text in files.items():
            write_text_atomic(self.work / name, text)
        leave_report(self.work / REPORT, make_page)
        try:
            if self.out.exists():
                retired = self.work.with_name(f".{self.work.name}.{os.getpid()}.old")
                os.replace(self.out, retired)
                try:
                    os.replace(self.work, self.out)
                except OSError:
                    os.replace(retired, self.out)
                    raise
                shutil.rmtree(retired)
            else:
                os.replace(self.work, self.out)
        except OSError as error:
            raise OutputError(f"cannot write {self.out}: {error.strerror or error}") from error

    def _check_same(self, settings: dict[str, Any]) -> None:
        path = self.work / _SETTINGS
        if not path.is_file():
            raise InputError(f"there is no unfinished evaluation in {self.work}; start it without --resume")
        before, now = _read_json(path), json.loads(_json(settings))
        changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        if changed:
            raise ConfigError(
                f"the evaluation in {self.work} was begun with other settings ({', '.join(changed)}); resume "
                "with the same, or start anew with --overwrite"
            )


def _read(path: Path) -> tuple[int, Evaluation]:
    """An evaluation and its place."""
    content = _read_json(path)
    try:
        place: int = content.pop("place")
        has = content.pop("files")
        run = read_run(path.with_suffix(".trec")) if has["run"] else {}
        tuning = read_run(path.with_suffix(".tuning.trec")) if has["tuning"] else {}
        content["intervals"] = {measure: (low, high) for measure, (low, high) in content["intervals"].items()}
        if content["metrics"].keys() != (content["per_query"] or content["metrics"]).keys():
            raise ValueError("means and values by query are of other measures")
        return place, Evaluation(**content, run=run, tuning=tuning)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(path, error) from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _damaged(path, error) from error
    if not isinstance(content, dict):
        raise _damaged(path, TypeError(f"no JSON object but {type(content).__name__}"))
    return content


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} is not as it was written ({error}); start anew with --overwrite")


def _file_name(name: str) -> str:
    """A name as one of a file.

    >>> _file_name("BAAI/LLARA-beir"), _file_name("run:../a b")
    ('BAAI-LLARA-beir', 'run-..-a-b')
    """
    return re.sub(r"[^\w.+]+", "-", name).strip("-") or "-"


def _json(content: object) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
