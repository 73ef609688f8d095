"""A text becomes the same ids here, in the chat template and in stock sentence-transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import SENTENCES, SHUFFLED_SLOTS, byte_level, model_for, sentencepiece_like
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from llara.errors import ConfigError, ModelError
from llara.model import load, save_retriever
from llara.prompts import Prompts, Task, chat_template
from llara.slots import padded_inputs
from llara.stopwords import load_stop_words

ROLES: list[tuple[str, Task]] = [("query", "next"), ("document", "self")]
LLAMA2 = Path(__file__).parents[2].parent / "shared" / "data" / "llama2-tokenizer"
TEXTS = [
    *SENTENCES,
    "",
    "a",
    "  blanks around \n",
    "a line\nand another\n\n\tindented (",
    "evil </s> and <s> and <unk></s>",
    "</s>",
    " ".join(["long"] * 60),
]


def many_special_tokens() -> PreTrainedTokenizerFast:
    """As Llama 3 has: hundreds of reserved ones, some the beginning of others."""
    tokenizer = byte_level(bos=True)
    reserved: list[str] = [f"<|reserved_{i}|>" for i in range(300)] + ["<|", "<|reserved"]
    tokenizer.add_special_tokens({"additional_special_tokens": reserved})
    return tokenizer


def wordlevel() -> PreTrainedTokenizerFast:
    """Whole words between blanks; every other word is unknown."""
    words = ["<unk>", "</s>", *sorted({w for s in SENTENCES[::2] for w in s.split()}), "The", "sentence:"]
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(dict.fromkeys(words))}, "<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", eos_token="</s>")


TOKENIZERS = {
    "byte level": byte_level,
    "byte level, BOS": lambda: byte_level(bos=True),
    "EOS that eats blanks": lambda: byte_level(lstrip=True),
    "many special tokens": many_special_tokens,
    "whole words": wordlevel,
    "LLaMA-2 style": lambda: sentencepiece_like("normalizer"),
    "newer Llama style": lambda: sentencepiece_like("first"),
    "Gemma style": lambda: sentencepiece_like("plain"),
}


@pytest.fixture(scope="module", params=TOKENIZERS)
def prompts(request) -> Prompts:
    return Prompts(TOKENIZERS[request.param]())


def rendered_ids(tokenizer: PreTrainedTokenizerBase, text: str, role: str) -> list[int]:
    """What stock libraries make of a text: the chat template, tokenized as one string."""
    message = [{"role": "user", "content": text}]
    encoded: Any = tokenizer.apply_chat_template(message, tokenize=True, return_dict=True, task=role)
    return list(encoded["input_ids"])


@pytest.mark.parametrize(("role", "task"), ROLES)
def test_the_chat_template_gives_lead_text_and_branch(prompts: Prompts, role: str, task: Task) -> None:
    tokenizer = prompts.tokenizer
    tokenizer.chat_template = chat_template(prompts)
    assert prompts.joined
    for text, ids in zip(TEXTS, prompts.text_ids(TEXTS), strict=True):
        assert rendered_ids(tokenizer, text, role) == [*prompts.trunk(ids), *prompts.branches[task].ids], text


def test_text_ids_are_those_of_the_text_alone(prompts: Prompts) -> None:
    for text, ids in zip(SENTENCES, prompts.text_ids(SENTENCES), strict=True):
        assert ids == prompts.tokenizer(text, add_special_tokens=False)["input_ids"]


def test_a_branch_is_the_prompt_as_it_stands_after_a_text_and_ends_in_eos(prompts: Prompts) -> None:
    tokenizer = prompts.tokenizer
    words_of: dict[Task, str] = {"self": " The original sentence: ", "next": " The next sentence: "}
    for task, words in words_of.items():
        branch = prompts.branches[task]
        text = SENTENCES[0]
        whole = tokenizer(text + words + "</s>", add_special_tokens=False)["input_ids"]
        assert [*tokenizer(text, add_special_tokens=False)["input_ids"], *branch.ids] == whole
        assert branch.ids[-1] == tokenizer.eos_token_id
        assert branch.num_slots == 1


def test_what_the_tokenizer_puts_first_is_the_lead(prompts: Prompts) -> None:
    text = SENTENCES[0]
    assert prompts.trunk(prompts.text_ids([text])[0]) == prompts.tokenizer(text)["input_ids"]


def test_nothing_in_a_text_becomes_a_special_token(prompts: Prompts) -> None:
    special = set(prompts.tokenizer.all_special_ids) - {prompts.tokenizer.unk_token_id}
    evil = ["</s>", "a</s>b", "<s></s></s>", "<|reserved_7|> <|<|", " </s> "]
    for text, ids in zip(evil, prompts.text_ids(evil), strict=True):
        assert not special & set(ids), text


def test_text_limit_leaves_room_for_lead_and_branches(prompts: Prompts) -> None:
    limit = prompts.text_limit(40, ["self", "next"])
    used = len(prompts.lead_ids) + sum(len(branch.ids) for branch in prompts.branches.values())
    assert limit == 40 - used
    assert prompts.text_ids([TEXTS[-1]], limit) == [prompts.text_ids([TEXTS[-1]])[0][:limit]]
    with pytest.raises(ConfigError, match=f"the prompts alone take {used}; give at least {used + 1}"):
        prompts.text_limit(used, ["self", "next"])


def test_a_tokenizer_without_eos_is_refused() -> None:
    with pytest.raises(ModelError, match="no end-of-sequence token"):
        Prompts(byte_level(eos=False))


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match="unknown prompt preset 'six-words'; expected one of: paper, eight-words"
    ):
        Prompts(byte_level(), "six-words")


def test_eight_words_needs_its_sixteen_tokens() -> None:
    with pytest.raises(ModelError, match=r"no token '<s1>'.*use a checkpoint made with that preset"):
        Prompts(byte_level(bos=True), "eight-words")


def test_slots_that_are_not_special_tokens_are_refused() -> None:
    backend = wordlevel().backend_tokenizer
    vocabulary = backend.get_vocab() | {slot: 1000 + i for i, slot in enumerate(SHUFFLED_SLOTS)}
    plain = Tokenizer(models.WordLevel(vocabulary, "<unk>"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, unk_token="<unk>", eos_token="</s>")
    with pytest.raises(ModelError, match="make each slot a special token"):
        Prompts(tokenizer, "eight-words")


@pytest.mark.parametrize("style", ["normalizer", "first"])
def test_eight_words_parts_are_tokenized_apart_and_slots_found_by_name(style: str) -> None:
    tokenizer = sentencepiece_like(style, slots=SHUFFLED_SLOTS)
    prompts = Prompts(tokenizer, "eight-words")
    assert not prompts.joined

    def apart(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    assert prompts.lead_ids == [tokenizer.bos_token_id, *apart('"')]
    names = tokenizer.get_vocab()
    parts: list[tuple[Task, str, range]] = [
        ("self", "summarize the above", range(1, 9)),
        ("next", "predict the following", range(9, 17)),
    ]
    for task, words, numbers in parts:
        suffix = f'", {words} passage within eight words: '
        slots = [names[f"<s{i}>"] for i in numbers]
        assert list(prompts.branches[task].ids) == [*apart(suffix), *slots]
        assert prompts.branches[task].num_slots == 8
    # The released code takes a text as it is, blanks included; nothing in it becomes a slot.
    blank, evil = prompts.text_ids([" a text \n", "x<s3></s>"])
    assert blank == apart(" a text \n")
    assert not {names["<s3>"], tokenizer.eos_token_id} & set(evil)


def test_a_tokenizer_that_merges_across_the_border_is_noticed() -> None:
    tokenizer = byte_level(words=False)
    border, text, prompt = (
        tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("one; The", "one;", " The")
    )
    assert border != text + prompt  # "; " is one token
    assert not Prompts(tokenizer).joined


@pytest.mark.skipif(not LLAMA2.is_dir(), reason=f"needs the LLaMA-2 tokenizer in {LLAMA2}")
def test_llama2_ids_are_those_that_the_released_code_has_typed_in() -> None:
    tokenizer = AutoTokenizer.from_pretrained(LLAMA2)
    paper = Prompts(tokenizer)
    assert paper.joined
    tokenizer.chat_template = chat_template(paper)
    for text, ids in zip(TEXTS, paper.text_ids(TEXTS), strict=True):
        assert rendered_ids(tokenizer, text, "document") == [*paper.trunk(ids), *paper.branches["self"].ids]
    # The order in which the released checkpoints hold the added tokens, 32000 first.
    order = (9, 12, 7, 14, 3, 6, 13, 5, 1, 10, 15, 2, 11, 4, 8, 16)
    tokenizer.add_special_tokens({"additional_special_tokens": [f"<s{i}>" for i in order]})
    eight = Prompts(tokenizer, "eight-words")
    assert eight.lead_ids == [1, 376]
    # summarize ... 29901 (:) 29871 (blank), then <s1> to <s8>; predict ..., then <s9> to <s16>
    summarize = [9162, 19138, 675, 278, 2038, 13382, 2629, 9475, 3838, 29901, 29871]
    predict = [9162, 8500, 278, 1494, 13382, 2629, 9475, 3838, 29901, 29871]
    assert list(eight.branches["self"].ids[:-8]) == summarize
    assert list(eight.branches["next"].ids[:-8]) == predict
    assert list(eight.branches["self"].ids[-8:]) == [32000 + order.index(i) for i in range(1, 9)]
    assert list(eight.branches["next"].ids[-8:]) == [32000 + order.index(i) for i in range(9, 17)]


@pytest.mark.parametrize("kind", ["LLaMA-2 style", "many special tokens", "merging", "eight-words"])
@torch.no_grad()
def test_a_saved_retriever_feeds_the_same_ids_long_texts_included(kind: str, tmp_path: Path) -> None:
    makers = TOKENIZERS | {
        "merging": lambda: byte_level(words=False),
        "eight-words": lambda: sentencepiece_like("first", slots=SHUFFLED_SLOTS),
    }
    tokenizer = makers[kind]()
    prompts = Prompts(tokenizer, "eight-words" if kind == "eight-words" else "paper")
    save_retriever(model_for(tokenizer), prompts, tmp_path, max_tokens=60)
    retriever = load(tmp_path, device="cpu")
    for role, task in ROLES:
        texts = [*TEXTS, TEXTS[-1] * 3]
        features = retriever.preprocess(texts, task=role)
        trained = padded_inputs(prompts, texts, task, 60)
        for name in ("input_ids", "attention_mask"):
            torch.testing.assert_close(trained[name], features[name], rtol=0, atol=0)
        limit = prompts.text_limit(60, [task])
        for row, text in enumerate(texts):
            ids = features["input_ids"][row][features["attention_mask"][row].bool()].tolist()
            expected = [*prompts.trunk(prompts.text_ids([text], limit)[0]), *prompts.branches[task].ids]
            assert ids == expected, (role, text)
        assert max(len(row) for row in features["input_ids"]) == 60


def test_stop_words_and_punctuation_go_whatever_their_case() -> None:
    english = load_stop_words("english")
    assert english is not None
    # An apostrophe parts a word, as in the released code; both parts of don't are on its list.
    assert english("The dog's bone: I don't, it ISN'T (really)_here!") == "dog bone really"
    chinese = load_stop_words("english+chinese")
    assert chinese is not None
    assert chinese("我们的法国 is there") == "法国"
    assert load_stop_words("none") is None


def test_a_file_of_stop_words_is_read_one_word_a_line(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("und\nDer\n\n", encoding="utf-8")
    words = load_stop_words(str(tmp_path / "words.txt"))
    assert words is not None
    assert words("Der Hund und die Katze") == "Hund die Katze"
    with pytest.raises(ConfigError, match=r"stop_words = 'no\.txt' is neither none"):
        load_stop_words("no.txt")
