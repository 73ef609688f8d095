"""``llara.adaptation_losses`` against the paper's formulas written out: loops, separate passes, float64."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from bm25s.stopwords import STOPWORDS_EN_PLUS  # the list of NLTK, which the released code uses
from tiny import SENTENCES, SHUFFLED_SLOTS, byte_level, model_for, sentencepiece_like
from torch import Tensor
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

import llara
from llara.errors import ConfigError, InputError

LLAMA2 = Path(__file__).parents[2].parent / "shared" / "data" / "llama2-tokenizer"
LIMIT = 130  # of the tiny tokenizers' tokens; the texts below are shorter and longer
RARE = "q#z%w&j*k+v=x@Y[U]J^Q{Z}|~`_X$H;"  # every character a token that occurs nowhere else
TEXTS = [
    SENTENCES[0],
    "  two blanks before, a line end after\n",
    " ".join([*SENTENCES, RARE]),  # longer than the limit
    "",
    "巴黎是法国的首都。",
    "The of and, don't!",  # stop words only
    "the last of its document",
]
SUCCESSORS = [SENTENCES[1], "twice twice twice", " ".join(SENTENCES[::-1]), "x", "", SENTENCES[3], None]


@dataclass
class Plain:
    """The same computation as a reader of the paper would write it first."""

    model: PreTrainedModel  # float64
    tokenizer: PreTrainedTokenizerBase
    limit: int
    stop_words: bool = False

    def ids(self, text: str, *, bos: bool = False) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=bos)["input_ids"])

    def states(self, ids: list[int]) -> Tensor:
        """Output states ``[T, D]`` of one ordinary causal pass."""
        return self.model.base_model(torch.tensor([ids]), use_cache=False).last_hidden_state[0]

    def target(self, text: str) -> str:
        if not self.stop_words:
            return text
        words = re.sub(r"[\W_]+", " ", text).split()
        return " ".join(word for word in words if word.lower() not in STOPWORDS_EN_PLUS)

    def bag_of_words(self, slots: Tensor, target_ids: Sequence[int]) -> Tensor | None:
        """- mean over distinct target words of log softmax(max over slots of W e)."""
        words = sorted({i for i in target_ids if i > 2})
        if not words:
            return None
        head = self.model.get_output_embeddings()
        log_probabilities = torch.log_softmax(torch.stack([head(e) for e in slots]).max(dim=0).values, dim=-1)
        return -sum((log_probabilities[word] for word in words), torch.zeros((), dtype=torch.float64)) / len(
            words
        )

    def next_token(self, lead: list[int], text: list[int]) -> list[Tensor]:
        """Minus the log-probability of each token of the text, by the model's own logits."""
        ids = [*lead, *text]
        if not text:
            return []
        log_probabilities = torch.log_softmax(self.model(torch.tensor([ids])).logits[0], dim=-1)
        first = max(1, len(lead))
        return [-log_probabilities[t - 1, ids[t]] for t in range(first, len(ids))]

    def paper(self, texts: Sequence[str], successors: Sequence[str | None]) -> dict[str, Tensor]:
        lead = self.ids("x", bos=True)[: -len(self.ids("x"))]
        suffixes = [
            self.ids(f"x The {which} sentence: </s>")[len(self.ids("x")) :] for which in ("original", "next")
        ]
        room = self.limit - len(lead) - len(suffixes[0]) - len(suffixes[1])
        terms: list[list[Tensor]] = [[], [], []]
        for text, successor in zip(texts, successors, strict=True):
            words = self.ids(text.strip())[:room]
            for task, told in enumerate((text, successor or "")):
                slots = self.states([*lead, *words, *suffixes[task]])[-1:]
                loss = self.bag_of_words(slots, self.ids(self.target(told.strip()))[:room])
                terms[task] += [] if loss is None else [loss]
            terms[2] += self.next_token(lead, words)
        ebae, ebar, lm = (torch.stack(losses).mean() for losses in terms)
        return {"ebae": ebae, "ebar": ebar, "lm": lm, "total": (ebae + ebar) / 2}

    def eight_words(self, texts: Sequence[str], successors: Sequence[str | None]) -> dict[str, Tensor]:
        lead = self.ids('"', bos=True)
        added = self.tokenizer.get_vocab()
        suffixes = [
            self.ids(f'", {told} passage within eight words: ') + [added[f"<s{i}>"] for i in numbers]
            for told, numbers in (
                ("summarize the above", range(1, 9)),
                ("predict the following", range(9, 17)),
            )
        ]
        room = self.limit - len(lead) - len(suffixes[0]) - len(suffixes[1])
        terms: list[list[Tensor]] = [[], [], []]
        for text, successor in zip(texts, successors, strict=True):
            words = self.ids(text)[:room]
            for task, told in enumerate((text, successor or "")):
                slots = self.states([*lead, *words, *suffixes[task]])[-8:]
                loss = self.bag_of_words(slots, self.ids(self.target(told), bos=True)[: self.limit])
                terms[task] += [] if loss is None else [loss]
            terms[2] += self.next_token(lead, words)
        ebae, ebar, lm = (torch.stack(losses).mean() for losses in terms)
        return {"ebae": ebae, "ebar": ebar, "lm": lm, "total": lm + (ebae / 10 + ebar / 10) / 2}

    def losses(
        self, preset: str, texts: Sequence[str], successors: Sequence[str | None]
    ) -> dict[str, Tensor]:
        return self.paper(texts, successors) if preset == "paper" else self.eight_words(texts, successors)


def plain_losses(model, tokenizer, preset, *, limit=LIMIT, stop_words=False) -> dict[str, Tensor]:
    plain = Plain(copy.deepcopy(model).double(), tokenizer, limit, stop_words)
    with torch.no_grad():
        return plain.losses(preset, TEXTS, SUCCESSORS)


def assert_equal(ours: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert set(ours) == {"ebae", "ebar", "lm", "total"}
    for name, value in expected.items():
        # float32 against float64; the losses are between 3 and 12
        assert ours[name].item() == pytest.approx(value.item(), rel=3e-6), name


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return sentencepiece_like("normalizer", slots=SHUFFLED_SLOTS)


def test_the_limit_cuts_some_inputs_and_keeps_more_of_their_targets(tokenizer) -> None:
    """That the cases of this file are what they are meant to be."""
    rows = [tokenizer(text)["input_ids"] for text in TEXTS]
    assert [len(row) for row in rows].count(1) == 1  # BOS alone
    longest = max(rows, key=len)
    assert len(longest) > LIMIT  # a target that is cut ...
    assert longest[LIMIT - 1] not in longest[: LIMIT - 1]  # ... where one token more or less
    assert longest[LIMIT] not in longest[:LIMIT]  # makes another target
    assert tokenizer.get_vocab()["<s9>"] < tokenizer.get_vocab()["<s1>"]


@pytest.mark.parametrize("preset", ["paper", "eight-words"])
@pytest.mark.parametrize("stop_words", [False, True])
@torch.no_grad()
def test_terms_equal_the_plain_computation(tokenizer, preset: str, stop_words: bool) -> None:
    model = model_for(tokenizer)
    expected = plain_losses(model, tokenizer, preset, stop_words=stop_words)
    for joint in (True, False):
        for pad_left in (True, False):
            losses = llara.adaptation_losses(
                model,
                tokenizer,
                TEXTS,
                SUCCESSORS,
                preset=preset,
                max_tokens=LIMIT,
                stop_words="english" if stop_words else "none",
                joint=joint,
                pad_left=pad_left,
            )
            assert_equal(losses, expected)


@pytest.mark.parametrize("family", ["qwen2", "mistral", "gemma2", "gpt2"])
@torch.no_grad()
def test_terms_equal_for_other_families_and_tokenizers(family: str) -> None:
    tokenizer = byte_level(bos=family != "gpt2", slots=SHUFFLED_SLOTS)
    changes = {"final_logit_softcapping": 5.0} if family == "gemma2" else {}
    model = model_for(tokenizer, family, **changes)
    for preset in ("paper", "eight-words"):
        losses = llara.adaptation_losses(
            model, tokenizer, TEXTS, SUCCESSORS, preset=preset, max_tokens=LIMIT, pad_left=True
        )
        assert_equal(losses, plain_losses(model, tokenizer, preset))


@pytest.mark.parametrize("preset", ["paper", "eight-words"])
def test_gradients_of_the_total_equal_the_plain_computations(tokenizer, preset: str) -> None:
    model = model_for(tokenizer)
    exact = copy.deepcopy(model).double()
    llara.adaptation_losses(model, tokenizer, TEXTS, SUCCESSORS, preset=preset, max_tokens=LIMIT)[
        "total"
    ].backward()
    Plain(exact, tokenizer, LIMIT).losses(preset, TEXTS, SUCCESSORS)["total"].backward()
    for (name, ours), theirs in zip(model.named_parameters(), exact.parameters(), strict=True):
        assert ours.grad is not None
        assert theirs.grad is not None
        assert (ours.grad - theirs.grad).abs().max() < 2e-5 * (1 + theirs.grad.abs().max()), name


@pytest.mark.parametrize(("preset", "weight"), [("paper", 1.0), ("eight-words", 0.1)])
@torch.no_grad()
def test_a_task_without_any_target_is_left_out_of_the_mean(tokenizer, preset: str, weight: float) -> None:
    model = model_for(tokenizer)
    losses = llara.adaptation_losses(
        model, tokenizer, TEXTS[:3], [None, "", None], preset=preset, max_tokens=LIMIT
    )
    lm = losses["lm"] if preset == "eight-words" else 0.0
    assert losses["ebar"] == 0
    assert torch.allclose(losses["total"], weight * losses["ebae"] + lm)


@torch.no_grad()
def test_a_batch_without_any_word_is_zero_and_not_nan(tokenizer) -> None:
    losses = llara.adaptation_losses(
        model_for(tokenizer), tokenizer, ["", ""], ["", None], preset="eight-words"
    )
    assert [value.item() for value in losses.values()] == [0, 0, 0, 0]


@torch.no_grad()
def test_every_occurrence_of_a_word_counts_if_asked(tokenizer) -> None:
    model = model_for(tokenizer)
    text, successor = "soft soft river", "wool"
    losses = llara.adaptation_losses(model, tokenizer, [text], [successor], distinct=False)
    plain = Plain(copy.deepcopy(model).double(), tokenizer, 1024)
    ids = plain.ids(text)
    state = plain.states([*plain.ids("", bos=True), *plain.ids(text + " The original sentence: "), 2])[-1]
    log_probabilities = torch.log_softmax(plain.model.get_output_embeddings()(state), dim=-1)
    assert len(set(ids)) < len(ids)
    assert losses["ebae"].item() == pytest.approx(-log_probabilities[ids].mean().item(), rel=3e-6)


def test_unequal_or_empty_lists_and_too_small_limits_are_refused(tokenizer) -> None:
    model = model_for(tokenizer)
    with pytest.raises(InputError, match="as many texts as successors and at least one; got 1 and 2"):
        llara.adaptation_losses(model, tokenizer, ["a"], ["b", "c"])
    with pytest.raises(InputError, match="got 0 and 0"):
        llara.adaptation_losses(model, tokenizer, [], [])
    with pytest.raises(ConfigError, match="no room for text"):
        llara.adaptation_losses(model, tokenizer, ["a"], ["b"], max_tokens=5)


@pytest.mark.skipif(not LLAMA2.is_dir(), reason=f"needs the LLaMA-2 tokenizer in {LLAMA2}")
@pytest.mark.parametrize("preset", ["paper", "eight-words"])
@torch.no_grad()
def test_terms_equal_with_the_tokenizer_of_llama2(preset: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(LLAMA2)
    tokenizer.add_special_tokens({"additional_special_tokens": SHUFFLED_SLOTS})
    model = model_for(tokenizer)
    for limit in (60, 1024):
        losses = llara.adaptation_losses(
            model, tokenizer, TEXTS, SUCCESSORS, preset=preset, max_tokens=limit, pad_left=True
        )
        assert_equal(losses, plain_losses(model, tokenizer, preset, limit=limit))
