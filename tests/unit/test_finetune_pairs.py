"""Training examples on disk, and the order in which a run draws them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llara.config import FinetuneConfig, FinetuneTrainingConfig
from llara.corpus import Document
from llara.datasets import TrainingExample
from llara.errors import ConfigError, InputError
from llara.finetune.order import draw_passages, hold_out, num_steps, training_order
from llara.finetune.pairs import Example, PairStore, build_pairs


def documents(*texts: str) -> tuple[Document, ...]:
    """One for each ``title|text`` or ``text``."""
    split = [text.rpartition("|") for text in texts]
    return tuple(Document(f"{n}-{text}", text, title=title) for n, (title, _, text) in enumerate(split))


CATS = TrainingExample("q1", "Who purrs?", documents("Cats purr.", "A cat."), documents("Dogs bark."))
DOGS = TrainingExample(
    "q2",
    "Wer bellt, 谁吠?",
    documents("Dog|Dogs bark."),
    documents("Cats purr.", "Rain."),
    (2.5,),
    (0.5, -1.0),
)
RAIN = TrainingExample("q1", "What falls?", documents("Rain."), (), (3.0,))


def texts(store: PairStore, numbers: np.ndarray) -> list[str]:
    return [store.passage(int(number)) for number in numbers]


def scores(values: np.ndarray | None) -> list[float] | None:
    return None if values is None else values.tolist()


def test_examples_come_back_as_they_were_stored(tmp_path: Path) -> None:
    for store in (
        build_pairs([[CATS, DOGS], iter([RAIN])], tmp_path / "pairs", title_separator=": "),
        PairStore(tmp_path / "pairs"),
    ):
        assert len(store) == 3
        assert store.sources.tolist() == [0, 0, 1]
        cats, dogs, rain = (store[n] for n in range(3))
        assert (cats.query_id, cats.query, dogs.query) == ("q1", "Who purrs?", "Wer bellt, 谁吠?")
        assert texts(store, cats.positives) == ["Cats purr.", "A cat."]
        assert texts(store, cats.negatives) == ["Dogs bark."]
        assert texts(store, dogs.positives) == ["Dog: Dogs bark."]
        assert texts(store, dogs.negatives) == ["Cats purr.", "Rain."]
        assert (rain.query_id, texts(store, rain.positives), rain.negatives.tolist()) == ("q1", ["Rain."], [])
        assert store.num_negatives().tolist() == [1, 2, 0]


def test_a_passage_is_stored_once_however_often_it_comes(tmp_path: Path) -> None:
    store = build_pairs([[CATS, DOGS], [RAIN]], tmp_path / "pairs", title_separator=" ")
    assert store.passages.num_rows == 5  # "Dogs bark." with and without its title
    assert store[0].positives[0] == store[1].negatives[0]
    assert store[1].negatives[1] == store[2].positives[0]
    untitled = build_pairs([[CATS, DOGS], [RAIN]], tmp_path / "untitled", title_separator=None)
    assert untitled.passages.num_rows == 4
    assert untitled[0].negatives[0] == untitled[1].positives[0]


def test_scores_are_kept_where_all_are_known_and_told_where_some_are_not(tmp_path: Path) -> None:
    half = TrainingExample("q3", "Half?", documents("A."), documents("B.", "C."), None, (1.0, 2.0))
    store = build_pairs([[CATS, DOGS, RAIN, half]], tmp_path / "pairs", title_separator=" ")
    assert [scores(store[n].positive_scores) for n in range(4)] == [None, [2.5], [3.0], None]
    assert [scores(store[n].negative_scores) for n in range(4)] == [None, [0.5, -1.0], [], [1.0, 2.0]]
    assert store.without_scores().tolist() == [True, False, False, True]


def test_what_titles_alone_tell_apart_is_one_passage_without_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else a positive would be a negative of the same query, and a title alone a blank passage."""
    example = TrainingExample(
        "q", "Q?", documents("One|same", "Two|same", "Three|"), documents("Four|same", "other", "Five|"),
        (3.0, 2.0, 1.0), (0.1, 0.2, 0.3),
    )  # fmt: skip
    lost = TrainingExample("lost", "L?", documents("Six|"), documents("other"))
    with_titles = build_pairs([[example, lost]], tmp_path / "with", title_separator=" ")
    assert [len(with_titles[0].positives), len(with_titles[0].negatives), len(with_titles)] == [3, 3, 2]
    assert capsys.readouterr().err == ""
    without = build_pairs([[example, lost]], tmp_path / "without", title_separator=None)
    assert len(without) == 1
    assert texts(without, without[0].positives) == ["same"]
    assert texts(without, without[0].negatives) == ["other"]
    assert scores(without[0].positive_scores) == [3.0]
    assert scores(without[0].negative_scores) == pytest.approx([0.2])
    said = capsys.readouterr().err
    assert "same text as another of their question: 5" in said
    assert "queries left out, as no positive has a text: 1" in said
    with pytest.raises(InputError, match="no query has a positive with a text"):
        build_pairs([[lost]], tmp_path / "nothing", title_separator=None)


def test_queries_of_the_same_text_are_found_whatever_their_ids(tmp_path: Path) -> None:
    """So that a held-out query is not trained on under another id, or from another source."""
    again = TrainingExample("other", "Who purrs?", documents("Rain."), ())
    store = build_pairs([[CATS, DOGS], [RAIN, again]], tmp_path / "pairs", title_separator=" ")
    assert [store.same_text(np.array([n])).tolist() for n in range(4)] == [[0, 3], [1], [2], [0, 3]]
    assert store.same_text(np.array([1, 3])).tolist() == [0, 1, 3]
    assert store.same_text(np.zeros(0, dtype=np.int64)).tolist() == []
    drawn = training_order(
        store.sources, length=40, step_size=2, seed=3, excluded=store.same_text(np.array([3]))
    )
    assert set(drawn.tolist()) == {1, 2}


def test_a_store_is_whole_or_absent_and_can_be_made_anew(tmp_path: Path) -> None:
    def failing() -> Iterator[TrainingExample]:
        yield CATS
        raise InputError("line 2")

    with pytest.raises(InputError, match="line 2"):
        build_pairs([failing()], tmp_path / "pairs", title_separator=" ")
    assert not list(tmp_path.iterdir())
    build_pairs([[CATS, DOGS]], tmp_path / "pairs", title_separator=" ")
    assert len(build_pairs([[RAIN]], tmp_path / "pairs", title_separator=" ")) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["pairs"]


def test_many_examples_in_several_blocks_come_back(tmp_path: Path) -> None:
    many = [TrainingExample(str(n), f"q{n}", documents(f"p{n}"), documents(f"n{n % 7}")) for n in range(2345)]
    store = build_pairs([many], tmp_path / "pairs", title_separator=" ")
    assert store.passages.num_rows == 2345 + 7
    for n in (0, 999, 1000, 2000, 2344):
        assert (store[n].query, texts(store, store[n].positives)) == (f"q{n}", [f"p{n}"])
        assert texts(store, store[n].negatives) == [f"n{n % 7}"]


# --- the order of the run

SOURCES = np.array([0] * 10 + [1] * 5 + [2] * 25)


def order(length: int = 200, step_size: int = 4, **settings: Any) -> np.ndarray:
    return training_order(SOURCES, length=length, step_size=step_size, seed=3, **settings)


def test_every_pass_goes_through_all_queries_once_in_another_order() -> None:
    passes = order().reshape(5, 40)
    assert all(sorted(each) == list(range(40)) for each in passes.tolist())
    assert len({tuple(each) for each in passes.tolist()}) == 5


def test_the_order_does_not_depend_on_the_steps_or_the_length_of_the_run() -> None:
    each: list[dict[str, Any]] = [{}, {"weights": [1, 1, 1]}]
    for settings in each:
        assert order(step_size=8, **settings).tolist() == order(step_size=20, **settings).tolist()
    assert order(120).tolist() == order(200)[:120].tolist()


def test_another_seed_gives_another_order() -> None:
    other = training_order(SOURCES, length=200, step_size=4, seed=4)
    assert other.tolist() != order().tolist()
    assert order().tolist() == order().tolist()


def test_held_out_queries_are_never_drawn() -> None:
    held = hold_out(40, 12, seed=3)
    assert len(set(held.tolist())) == 12
    assert held.tolist() == sorted(held.tolist())
    each: list[dict[str, Any]] = [{}, {"weights": [1, 1, 1]}, {"one_source_batches": True}]
    for settings in each:
        drawn = order(excluded=held, **settings)
        assert set(drawn.tolist()) == set(range(40)) - set(held.tolist())
    with pytest.raises(ConfigError, match="21 is more than half of the 40"):
        hold_out(40, 21, seed=3)


def test_all_queries_of_a_step_come_from_one_source_in_proportion_to_its_queries() -> None:
    steps = SOURCES[order(8000, one_source_batches=True)].reshape(2000, 4)
    assert (steps == steps[:, :1]).all()
    assert np.bincount(steps[:, 0]).tolist() == [500, 250, 1250]
    assert steps[:1000, 0].tolist() != sorted(steps[:1000, 0].tolist())


def test_in_an_epoch_of_one_source_batches_every_query_comes_once() -> None:
    sources = np.repeat([0, 1, 2], [160, 32, 8])
    drawn = training_order(sources, length=200, step_size=8, one_source_batches=True, seed=1)
    assert sorted(drawn.tolist()) == list(range(200))


def test_with_every_query_held_out_the_error_says_what_to_do() -> None:
    with pytest.raises(ConfigError, match=r"no query is left.*held_out\.queries"):
        training_order(SOURCES, length=8, step_size=4, excluded=np.arange(len(SOURCES)), seed=1)


def test_what_answers_a_question_in_one_example_is_no_negative_of_it_in_another(tmp_path: Path) -> None:
    again = TrainingExample("q9", "Who purrs?", documents("Kittens do."), documents("A cat.", "Rain."))
    store = build_pairs([[CATS, DOGS], [again]], tmp_path / "pairs", title_separator=": ")
    cats, dogs, other = (store[n] for n in range(3))
    assert set(texts(store, cats.known)) == {"Cats purr.", "A cat.", "Kittens do."}
    assert cats.known.tolist() == other.known.tolist()
    assert texts(store, dogs.known) == ["Dog: Dogs bark."]
    assert texts(store, cats.positives) == ["Cats purr.", "A cat."]
    assert texts(store, other.negatives) == ["Rain."]
    assert texts(store, cats.negatives) == ["Dogs bark."]
    assert scores(dogs.negative_scores) == [0.5, -1.0]


def test_answers_of_repeated_questions_are_what_plain_sets_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llara.finetune.pairs._BLOCK_QUERIES", 7)  # 60 queries: nine blocks
    random = np.random.default_rng(5)
    many = []
    for n in range(60):
        drawn = [f"p{number}" for number in random.permutation(30)[: random.integers(1, 9)]]
        split = random.integers(1, len(drawn) + 1)
        scored = tuple(float(text[1:]) for text in drawn)
        question = f"q{random.integers(20)}"
        sides = documents(*drawn[:split]), documents(*drawn[split:])
        many.append(TrainingExample(str(n), question, *sides, scored[:split], scored[split:]))
    store = build_pairs([many[:25], many[25:]], tmp_path / "pairs", title_separator=" ")
    num_removed = 0
    for n, example in enumerate(many):
        answers = {d.text for each in many if each.query == example.query for d in each.positives}
        stored = store[n]
        assert (stored.query_id, stored.query) == (example.query_id, example.query)
        assert texts(store, stored.positives) == [d.text for d in example.positives]
        expected = [d.text for d in example.negatives if d.text not in answers]
        num_removed += len(example.negatives) - len(expected)
        assert texts(store, stored.negatives) == expected
        assert scores(stored.negative_scores) == [float(text[1:]) for text in expected]
        assert sorted(texts(store, stored.known)) == sorted(answers)
        same = [other for other, each in enumerate(many) if each.query == example.query]
        assert store.same_text(np.array([n])).tolist() == same
    assert num_removed > 10


def test_a_question_of_many_examples_holds_each_of_its_answers_once(tmp_path: Path) -> None:
    many = [TrainingExample(str(n), "Q?", documents(f"p{n}"), ()) for n in range(300)]
    store = build_pairs([many], tmp_path / "pairs", title_separator=" ")
    assert len(store[299].known) == len(set(store[0].known.tolist())) == 300
    assert (tmp_path / "pairs" / "lists.npz").stat().st_size < 300 * 100  # not 300 x 300 x 8 bytes


@pytest.mark.parametrize("one_source_batches", [False, True])
def test_weights_are_the_shares_of_the_sources(one_source_batches: bool) -> None:
    drawn = order(8000, weights=[1.0, 2.0, 1.0], one_source_batches=one_source_batches)
    shares = np.bincount(SOURCES[drawn]) / 8000
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.04)
    for source in range(3):  # and each source is gone through evenly
        counts = Counter(drawn[SOURCES[drawn] == source].tolist())
        assert max(counts.values()) - min(counts.values()) <= 1


def test_weights_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 numbers for 3 training files"):
        order(weights=[1, 2])
    with pytest.raises(ConfigError, match="all held out"):
        order(weights=[1, 1, 1], excluded=np.arange(10, 15))


def test_steps_are_as_told_or_as_many_as_the_epochs_need() -> None:
    def steps(**settings: object) -> int:
        config = FinetuneConfig(training=FinetuneTrainingConfig(**settings))  # type: ignore[arg-type]
        return num_steps(config, num_queries=30, step_size=8)

    assert steps() == 4  # 30 / 8 = 3.75
    assert steps(epochs=2.0) == 8  # 7.5
    assert steps(epochs=0.1) == 1
    assert steps(max_steps=9, epochs=2.0) == 9


def test_passages_are_drawn_by_seed_and_position_without_repetition() -> None:
    example = Example("q", "Q?", np.arange(3), np.arange(10, 20), np.arange(3), None, None)
    first = [draw_passages(example, 4, seed=1, position=p) for p in range(600)]
    again = [draw_passages(example, 4, seed=1, position=p) for p in range(600)]
    for (positive, negatives), (same, same_negatives) in zip(first, again, strict=True):
        assert positive == same
        assert negatives.tolist() == same_negatives.tolist()
        assert len(set(negatives.tolist())) == 4
    assert set(Counter(positive for positive, _ in first)) == {0, 1, 2}
    counts = Counter(n for _, negatives in first for n in negatives.tolist())
    assert set(counts) == set(range(10))
    assert min(counts.values()) > 180  # 240 each; six standard deviations of 12 below
    assert len(draw_passages(example, 15, seed=1, position=0)[1]) == 10
    assert draw_passages(example, 4, seed=2, position=0)[1].tolist() != first[0][1].tolist()
