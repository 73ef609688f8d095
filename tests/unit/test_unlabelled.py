"""Tasks made of a corpus: what is asked, what answers it, and what must not stand in the corpus."""

import re
import tracemalloc

import numpy as np
import pytest

from llara.corpus import Document
from llara.errors import ConfigError, InputError
from llara.evaluate.sampling import draw_sample
from llara.evaluate.unlabelled import UnlabelledTasks, unlabelled_tasks
from llara.search import check_run_ids

GENERATOR = np.random.default_rng(5)
LETTERS = list("abcdefghijklmnopqrstuvwxyz")


def word():
    return "".join(GENERATOR.choice(LETTERS, size=7))


def sentence(length=10):
    """Words that no other sentence has."""
    return " ".join([word().capitalize(), *(word() for _ in range(length - 1))]) + "."


def document(id_, sentences=6, **more):
    text = " ".join(sentence() for _ in range(sentences))
    return Document(id=id_, text=text, **{"title": f"{word()} {word()}", **more})


def corpus_of(tasks: UnlabelledTasks, name: str) -> dict[str, str]:
    return {document.id: document.text for document in tasks.tasks[name].documents()}


def plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


@pytest.fixture(scope="module")
def documents():
    """Sixty of 60 words in 6 sentences, and twenty of 240 words in 24."""
    return [*(document(f"short {n}") for n in range(60)), *(document(f"long {n}", 24) for n in range(20))]


@pytest.fixture(scope="module")
def built(documents):
    return unlabelled_tasks(documents)


def test_every_query_has_one_answer_and_stands_nowhere_in_the_corpus(built):
    assert list(built.tasks) == ["title-body", "sentence-rest", "passage-next"]
    assert built.not_built == {}
    for name, task in built.tasks.items():
        corpus = corpus_of(built, name)
        assert task.queries.keys() == task.qrels.keys()
        check_run_ids([*task.queries, *corpus])
        for query, judged in task.qrels.items():
            ((answer, relevance),) = judged.items()
            assert relevance == 1
            assert answer in corpus
            others = [text for id_, text in corpus.items() if id_ != query]
            assert not any(plain(task.queries[query]) in plain(text) for text in others)


def test_a_title_asks_for_its_text(built, documents):
    task, corpus = built.tasks["title-body"], corpus_of(built, "title-body")
    assert len(task.queries) == len(corpus) == 80
    asked = {text: corpus[next(iter(task.qrels[query]))] for query, text in task.queries.items()}
    assert asked == {document.title: document.text for document in documents}


def test_a_sentence_asks_for_the_rest_of_its_passage(built, documents):
    task, corpus = built.tasks["sentence-rest"], corpus_of(built, "sentence-rest")
    sentences = {d.id.replace(" ", "%20"): re.findall(r"\w[^.]+[.]", d.text) for d in documents}
    assert len(task.queries) == 60 + 20 * 3
    for query, judged in task.qrels.items():
        (answer,) = judged
        whole = sentences[answer.partition("#")[0]]
        rest = [whole.index(found) for found in re.findall(r"\w[^.]+[.]", corpus[answer])]
        place = whole.index(task.queries[query])
        assert rest == [n for n in range(min(*rest, place), max(*rest, place) + 1) if n != place]
    # no passage of three sentences or more keeps all of them, whether or not it is an answer
    assert all(text.count(".") in (5, 9) for text in corpus.values() if text.count(".") > 3)


def test_a_passage_asks_for_the_next_of_its_document(built, documents):
    task, corpus = built.tasks["passage-next"], corpus_of(built, "passage-next")
    texts = {d.id.replace(" ", "%20"): d.text for d in documents}
    # 24 sentences of 10 words: passages of 100, 100 and 40 words, hence two that have a next one
    assert len(task.queries) == 40
    for query, judged in task.qrels.items():
        (answer,) = judged
        assert query in corpus  # for the others; the rule of identical ids keeps it from itself
        assert f"{corpus[query]} {corpus[answer]}" in texts[query.partition("#")[0]]
        assert task.queries[query] == corpus[query]
    assert task.ignore_identical_ids
    assert not built.tasks["title-body"].ignore_identical_ids
    assert sum(len(text.split()) for text in corpus.values()) == 60 * 60 + 20 * 240


def test_documents_that_continue_one_another_are_one_text():
    parts = [document(f"p{n}", 5, title=f"Article {n // 4}", continues=n % 4 > 0) for n in range(40)]
    built = unlabelled_tasks(parts)
    assert len(built.tasks["passage-next"].queries) == 30
    assert {query: list(judged) for query, judged in built.tasks["passage-next"].qrels.items()} == {
        f"p{n}#0": [f"p{n + 1}#0"] for n in range(40) if n % 4 < 3
    }
    assert "0 documents whose title no other has" in built.not_built["title-body"]


def test_the_seed_decides_and_the_order_of_the_documents_does_not(documents):
    def content(*arguments, **settings):
        tasks = unlabelled_tasks(*arguments, queries=25, max_documents=60, **settings)
        return {
            name: (task.queries, task.qrels, sorted(corpus_of(tasks, name).items()))
            for name, task in tasks.tasks.items()
        }

    assert content(documents) == content(iter(documents)) == content(documents[::-1])
    assert content(documents) != content(documents, seed=1)
    assert {len(queries) for queries, _, _ in content(documents).values()} <= set(range(20, 26))


def test_the_sample_is_uniform_and_as_large_as_asked():
    documents = [Document(id=str(n), text="word " * (100 if n % 2 else 300)) for n in range(40)]
    times = dict.fromkeys((document.id for document in documents), 0)
    for seed in range(300):
        sample = draw_sample(documents, 20, seed)
        sizes = [len(text[0].text.split()) // 100 for text in sample.texts]
        assert sum(sizes) >= 20 > sum(sizes[:-1])
        assert sample.num_documents == len(sizes)
        assert sample.num_seen == 40
        for text in sample.texts:
            times[text[0].id] += 1
    # 10 or 11 of 40 each time: binomial, 300 draws of about 0.26, standard deviation 7.6
    counts = np.array(list(times.values()))
    assert abs(counts[::2].mean() - counts[1::2].mean()) < 8
    assert counts.min() > 45
    assert counts.max() < 115


def test_a_long_stream_is_kept_in_bounded_memory():
    def stream(number):
        for n in range(number):
            yield Document(id=str(n), text=f"{n} " + "word " * 99)

    peaks = []
    for number in (2_000, 20_000):
        tracemalloc.start()
        sample = draw_sample(stream(number), 100, seed=0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert (sample.num_documents, sample.num_seen) == (100, number)
    assert peaks[1] < 1.2 * peaks[0]
    one = [Document(id=str(n), text="word " * 100, continues=n > 0) for n in range(50)]
    assert draw_sample(one, 10, seed=0).num_documents == 10  # of a text without end, its start


def test_what_leaks_or_repeats_is_no_query(documents):
    repeated = sentence()
    titles = [sentence(6) for _ in range(5)]
    with_repeats = [
        *documents,
        *(Document(id=f"repeats {n}", text=f"{sentence(4)} {repeated} {sentence(4)}") for n in range(30)),
        *(Document(id=f"twin {n}", title=sentence(3), text=documents[0].text) for n in range(2)),
        *(Document(f"copied {n}", f"{sentence()} {t} {sentence()}", title=t) for n, t in enumerate(titles)),
    ]
    built = unlabelled_tasks(with_repeats)
    sentences = built.tasks["sentence-rest"]
    assert repeated not in sentences.queries.values()
    assert not any("twin" in query or "short%200#" in query for query in sentences.queries)
    asked = built.tasks["title-body"].queries
    assert asked.keys() == {f"t.{d.id.replace(' ', '%20')}" for d in documents[1:]}
    assert built.notes["title-body"] == (
        "left out: 5 titles that their text repeats, 3 of texts that repeat another"
    )
    assert {"copied%200", "twin%200", "repeats%200"} <= corpus_of(built, "title-body").keys()


def test_what_cannot_be_built_is_said_with_its_reason(documents):
    untitled = [Document(id=d.id, text=d.text) for d in documents[:60]]
    built = unlabelled_tasks(untitled)
    assert list(built.tasks) == ["sentence-rest"]
    assert "60 of 60 have none" in built.not_built["title-body"]
    assert built.not_built["passage-next"].startswith("0 passages that have a next one")
    with pytest.raises(InputError, match=r"title-body: 0 documents.*sentence-rest: 0 .*passage-next: 0 "):
        unlabelled_tasks([Document(id="1", text="One sentence only.")])
    with pytest.raises(InputError, match="no task can be made"):
        unlabelled_tasks([])


def test_bad_settings_and_repeated_ids_are_refused(documents):
    with pytest.raises(ConfigError, match="queries is 0"):
        unlabelled_tasks(documents, queries=0)
    with pytest.raises(ConfigError, match="max_documents is 0"):
        unlabelled_tasks(documents, max_documents=0)
    with pytest.raises(ConfigError, match="language"):
        unlabelled_tasks(documents, language="English")
    with pytest.raises(InputError, match="'short 3' comes 2 times"):
        unlabelled_tasks([*documents, document("short 3")])


def test_chinese_is_cut_by_characters_and_its_own_sentence_ends():
    characters = [chr(code) for code in range(0x4E00, 0x4E00 + 3000)]

    def text(sentences):
        return "".join("".join(GENERATOR.choice(characters, size=20)) + "。" for _ in range(sentences))

    documents = [Document(id=str(n), text=text(12), title=text(1)[:6]) for n in range(30)]
    built = unlabelled_tasks(documents, language="zh")
    assert list(built.tasks) == ["title-body", "sentence-rest", "passage-next"]
    assert {len(text) for text in corpus_of(built, "passage-next").values()} == {105, 42}
    assert {len(text) for text in built.tasks["sentence-rest"].queries.values()} == {21}
