"""Segments: bounded, cut at sentence ends where that can be, nothing lost, each with its successor."""

import random
import re
from collections.abc import Iterator

import pytest

from llara.corpus import Document, Segment, iter_segments, split_segments
from llara.corpus.segments import BATCH_CHARACTERS, split_sentences
from llara.errors import ConfigError, InputError


def count_words(texts: list[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def count_characters(texts: list[str]) -> list[int]:
    return [len(text) for text in texts]


def count_bytes(texts: list[str]) -> list[int]:
    return [len(text.encode()) for text in texts]


def count_more_when_joined(texts: list[str]) -> list[int]:
    """A tokenizer whose joined texts are longer than the sum of their parts, as none should be."""
    return [len(text.split()) ** 2 // 4 + 1 for text in texts]


def count_blanks_too(texts: list[str]) -> list[int]:
    """Every blank is three tokens, every other character one."""
    return [len(text) + 2 * sum(character.isspace() for character in text) for text in texts]


def without_blanks(text: str) -> str:
    return "".join(text.split())


# -- where it cuts


def test_cuts_come_at_sentence_ends_and_segments_are_as_long_as_fits():
    text = "Dr. Smith paid $3.50 for it. She left. It rained, e.g. on Mr. Jones. The end came."
    assert split_segments(text, max_tokens=9, count_tokens=count_words) == [
        "Dr. Smith paid $3.50 for it. She left.",
        "It rained, e.g. on Mr. Jones. The end came.",
    ]


def test_the_blank_between_sentences_takes_no_room():
    def count_with_leading_blank(texts: list[str]) -> list[int]:
        """As SentencePiece does: a leading blank is a token of its own, one between words is not."""
        return [len(text.split()) + text.startswith(" ") for text in texts]

    text = "I came. I saw. I won. The end."
    cut = split_segments(text, max_tokens=4, count_tokens=count_with_leading_blank)
    assert cut == ["I came. I saw.", "I won. The end."]


def test_chinese_is_cut_after_its_own_full_stops():
    text = "今天天气很好。我们去公园！你来吗？好的。"
    assert split_segments(text, max_tokens=14, count_tokens=count_characters, language="zh") == [
        "今天天气很好。我们去公园！",
        "你来吗？好的。",
    ]


def test_a_text_that_fits_is_one_segment_as_it_stands():
    assert split_segments(" One. Two.\nThree. \n", max_tokens=3, count_tokens=count_words) == [
        "One. Two.\nThree."
    ]


def test_line_ends_part_paragraphs_unless_blank_lines_do():
    assert split_sentences("A heading\nA sentence. Another\n") == ["A heading", "\nA sentence.", " Another"]
    wrapped = "A wrapped\nsentence. Another\n \n\nA heading\n\nEnd"
    assert split_sentences(wrapped) == ["A wrapped\nsentence.", " Another", "\n \n\nA heading", "\n\nEnd"]


def test_without_a_language_only_line_ends_part():
    assert split_sentences("One. Two.\nThree.", None) == ["One. Two.", "\nThree."]


def test_a_sentence_over_the_limit_is_cut_at_words():
    text = "Short one. " + " ".join(f"w{n}" for n in range(25)) + ". Another short one."
    segments = split_segments(text, max_tokens=10, count_tokens=count_words)
    assert " ".join(segments).split() == text.split()  # no word is cut in two
    assert max(count_words(segments)) <= 10
    assert len(segments) <= 5  # 30 words: three segments at best


def test_a_word_over_the_limit_is_cut_between_characters():
    segments = split_segments("x" * 1000, max_tokens=64, count_tokens=count_bytes)
    assert "".join(segments) == "x" * 1000
    assert len(segments) <= 20


# -- what always holds


def random_texts(seed: int) -> Iterator[str]:
    rng = random.Random(seed)
    pieces = [
        "word",
        "Dr.",
        "end.",
        "End!",
        "什么。",
        "很好",
        "\n",
        "\n\n",
        "  ",
        "\t",
        "é",
        "\U0001f600",
        "a" * 70,
        '"',
        "?”",
    ]
    for _ in range(60):
        glue = rng.choice(["", " ", " "])
        yield glue.join(rng.choices(pieces, k=rng.randrange(120)))


@pytest.mark.parametrize("max_tokens", [4, 7, 33])
@pytest.mark.parametrize("language", ["en", "zh", None])
@pytest.mark.parametrize("count_tokens", [count_words, count_bytes, count_more_when_joined, count_blanks_too])
def test_no_segment_is_over_the_limit_and_only_blanks_are_lost(count_tokens, language, max_tokens):
    for text in random_texts(seed=max_tokens):
        segments = split_segments(text, max_tokens=max_tokens, count_tokens=count_tokens, language=language)
        assert without_blanks("".join(segments)) == without_blanks(text)
        assert all(segment == segment.strip() != "" for segment in segments)
        assert max(count_tokens(segments), default=0) <= max_tokens


@pytest.mark.parametrize("seed", range(3))
def test_sentences_joined_are_the_text(seed):
    for text in random_texts(seed):
        assert "".join(split_sentences(text)) == (text.rstrip() if text.strip() else "")


def test_a_batch_of_documents_is_cut_as_each_would_be_alone():
    texts = list(random_texts(seed=9))
    segments = iter_segments(
        (Document(str(n), text) for n, text in enumerate(texts)), max_tokens=20, count_tokens=count_words
    )
    by_document: dict[str, list[str]] = {}
    for segment in segments:
        by_document.setdefault(segment.document_id, []).append(segment.text)
    alone = {str(n): split_segments(t, max_tokens=20, count_tokens=count_words) for n, t in enumerate(texts)}
    assert by_document == {name: cut for name, cut in alone.items() if cut}


# -- successors


def segments_of(*documents: Document, max_tokens: int = 2) -> list[Segment]:
    return list(iter_segments(documents, max_tokens=max_tokens, count_tokens=count_words))


def test_each_segment_has_the_next_of_its_document_as_successor_and_the_last_none():
    assert segments_of(Document("a", "I came. I saw. I won."), Document("b", "The end.")) == [
        Segment("a", "I came.", "I saw."),
        Segment("a", "I saw.", "I won."),
        Segment("a", "I won.", None),
        Segment("b", "The end.", None),
    ]


def test_successors_go_on_into_a_document_that_continues_the_one_before():
    documents = [
        Document("1", "I came. I saw."),
        Document("2", "", continues=True),
        Document("3", "I won.", continues=True),
        Document("4", "The end."),
    ]
    assert segments_of(*documents) == [
        Segment("1", "I came.", "I saw."),
        Segment("1", "I saw.", "I won."),
        Segment("3", "I won.", None),
        Segment("4", "The end.", None),
    ]


def test_successors_hold_across_the_batches_that_are_counted_together():
    half = "word " * (BATCH_CHARACTERS // 10)
    documents = [Document(str(n), half, continues=n % 2 == 1) for n in range(6)]
    segments = segments_of(*documents, max_tokens=BATCH_CHARACTERS)
    assert [segment.successor is not None for segment in segments] == [True, False] * 3


def test_documents_are_streamed():
    def endless() -> Iterator[Document]:
        number = 0
        while True:
            yield Document(str(number), "A sentence of some words. " * 100)
            number += 1

    assert next(iter_segments(endless(), max_tokens=50, count_tokens=count_words)).document_id == "0"


def test_texts_are_counted_many_at_a_time():
    calls: list[int] = []

    def counted(texts: list[str]) -> list[int]:
        calls.append(len(texts))
        return count_words(texts)

    documents = [Document(str(n), "Some words. " * 50) for n in range(200)]
    list(iter_segments(documents, max_tokens=16, count_tokens=counted))
    assert len(calls) <= 4


# -- errors


def test_a_corpus_of_blank_documents_is_an_error():
    with pytest.raises(InputError, match="the corpus holds no text"):
        segments_of(Document("a", " \n"), Document("b", ""))


def test_a_limit_under_one_character_is_an_error_and_not_an_endless_loop():
    with pytest.raises(
        ConfigError, match=re.escape("max_tokens is 3, but the character '\U0001f600' alone takes 4")
    ):
        split_segments("ab \U0001f600", max_tokens=3, count_tokens=count_bytes)
    with pytest.raises(ConfigError, match="max_tokens is 0"):
        split_segments("a", max_tokens=0, count_tokens=count_words)


def test_a_language_that_is_no_code_is_an_error():
    with pytest.raises(ConfigError, match="language is 'English'; expected an ISO 639 code"):
        split_segments("a", max_tokens=4, count_tokens=count_words, language="English")
