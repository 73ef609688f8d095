"""Embeddings back to words, by the language model's own output head (paper, Eq. 6's W).

Adaptation trains e . W to be high for the tokens of a text (SELF) or of what follows it (NEXT). A word's
score is the mean of e . W over its tokens, so words of several tokens have one, too. Unit vectors have lost
their length, so scores order the words of one vector; they are no probabilities.

Shape legend: N words, D dimensions, V vocabulary.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from llara.errors import ModelError
from llara.model import load_config, load_tokenizer, read_facts, resolve
from llara.prompts import Prompts
from llara.terms import Analyzer, word_spans, words_of

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

__all__ = ["WordHead", "output_head"]

_MOST_TERMS = 128  # of a lexical vector
_KNOWN_WORDS = 200_000  # whose token ids are kept


class WordHead:
    """Words of a vector, and the lexical vector of a text.

    Args:
        weight_VD: the output head, see ``output_head``.
        tokenizer: the model's.
        text_tokens: of a document that the model reads; None: all.
    """

    def __init__(
        self, weight_VD: Tensor, tokenizer: PreTrainedTokenizerBase, *, text_tokens: int | None = None
    ) -> None:
        self.weight_VD = weight_VD
        self._tokenizer = tokenizer
        self._text_tokens = text_tokens
        self._analyze = Analyzer()
        self._ids: dict[str, list[int]] = {}
        self._terms: dict[str, list[str]] = {}
        self._before = self._tokenized(["a"])[0]

    @classmethod
    def of(cls, model: str | Path, *, max_tokens: int | None = None) -> WordHead:
        """The head of a model directory.

        Args:
            max_tokens: of a whole input, prompt included, after which documents were cut.

        Raises:
            ModelError: there is no such model, or its output head cannot be found.
        """
        head, tokenizer = output_head(model), load_tokenizer(model)
        preset = read_facts(model).get("preset")
        if max_tokens is None or preset is None:
            return cls(head, tokenizer)
        return cls(head, tokenizer, text_tokens=Prompts(tokenizer, preset).text_limit(max_tokens, ["self"]))

    def rows(self, words: Sequence[str]) -> np.ndarray:
        """What each word's score is the product with: float32 [N, D], the mean of its tokens' rows."""
        ids = self._token_ids(words)
        flat = torch.tensor([i for word in ids for i in word], dtype=torch.long)
        sizes = torch.tensor([len(word) for word in ids])
        rows_ND = torch.zeros(len(words), self.weight_VD.shape[1])
        owner = torch.repeat_interleave(torch.arange(len(words)), sizes)
        rows_ND.index_add_(0, owner, self.weight_VD[flat].float())
        return (rows_ND / sizes.clamp_min(1)[:, None]).numpy()

    def lexical(
        self, texts: Sequence[str], vectors_ND: np.ndarray, *, most: int = _MOST_TERMS
    ) -> list[dict[str, float]]:
        """Each text's lexical vector: the terms of its own words, and how strongly its vector holds them.

        The weight is the square root of the word's score where that is above 0: a vector holds few words
        very strongly, and a document is about more than those. Of several forms of one term the strongest
        counts. Words that the text does not hold are left out, however strongly its vector expects them, and
        so are those that the model did not read, behind ``text_tokens``.

        Args:
            vectors_ND: the unit vectors of the texts.
            most: terms kept of a text, the heaviest.
        """
        own = [list(dict.fromkeys(words_of(text))) for text in self.read_of(texts)]
        forms = list(dict.fromkeys(word for words in own for word in words))
        number = {word: i for i, word in enumerate(forms)}
        rows_ND = self.rows(forms) if forms else np.zeros((0, vectors_ND.shape[1]), np.float32)
        found = []
        for words, vector_D in zip(own, vectors_ND, strict=True):
            scores = rows_ND[[number[word] for word in words]] @ vector_D if words else ()
            weights: dict[str, float] = {}
            for word, score in zip(words, scores, strict=True):
                for term in self._terms_of(word) if score > 0 else ():
                    weights[term] = max(weights.get(term, 0.0), float(np.sqrt(score)))
            heaviest = sorted(weights.items(), key=lambda item: (-item[1], item[0]))[:most]
            found.append(dict(heaviest))
        return found

    def read_of(self, texts: Sequence[str]) -> list[str]:
        """What the model reads of texts: those that are longer are cut behind the last whole word."""
        most = self._text_tokens
        if most is None or not self._tokenizer.is_fast:
            return list(texts)
        # No token is less than a byte.
        long = [i for i, text in enumerate(texts) if len(text.encode()) > most]
        read = list(texts)
        for i, offsets in zip(long, self._offsets([texts[i] for i in long]), strict=True):
            if len(offsets) > most:
                read[i] = _whole_words(texts[i], offsets[most - 1][1])
        return read

    def _terms_of(self, word: str) -> list[str]:
        found = self._terms.get(word)
        if found is None:
            found = self._analyze(word)
            if len(self._terms) >= _KNOWN_WORDS:
                self._terms = {}  # a new one: other threads may be reading the old
            self._terms[word] = found
        return found

    def _token_ids(self, words: Iterable[str]) -> list[list[int]]:
        """Each word's tokens as they are within a text, behind a blank."""
        wanted = list(words)
        known = self._ids
        new = [word for word in dict.fromkeys(wanted) if word not in known]
        if len(known) + len(new) > _KNOWN_WORDS:
            known = self._ids = {}  # a new one: other threads may be reading the old
            new = list(dict.fromkeys(wanted))
        if new:
            first = len(self._before)
            together = self._tokenized([f"a {word}" for word in new])
            known.update(zip(new, (ids[first:] for ids in together), strict=True))
        return [known[word] for word in wanted]

    def _tokenized(self, texts: Sequence[str]) -> list[list[int]]:
        found = self._tokenizer(
            list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False
        )
        return [list(ids) for ids in found["input_ids"]]

    def _offsets(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Where each text's tokens stand in it."""
        if not texts:
            return []
        found = self._tokenizer(
            list(texts), add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        return list(found["offset_mapping"])


def _whole_words(text: str, end: int) -> str:
    """``text`` up to ``end``, less a word that goes on behind it.

    >>> _whole_words("the wing lifts", 10)
    'the wing '
    """
    spans = word_spans(text[: end + 1])
    whole = text[: spans[-1][0] if spans and spans[-1][1] > end else end]
    return whole if whole.strip() else text[:end]  # of one endless word, its beginning


def output_head(model: str | Path) -> Tensor:
    """The output head of a model directory, [V, D] in its stored dtype; nothing else of it is read.

    Raises:
        ModelError: there is no such model, or no weights of an output head in it.
    """
    from safetensors import safe_open

    directory = Path(resolve(model))
    if not directory.is_dir():
        raise ModelError(f"{model} is not a local directory; its output head is read from its files")
    names = _head_names(load_config(model))
    for name in names:
        path = _file_of(directory, name)
        if path is not None:
            with safe_open(path, framework="pt") as file:
                if name in file.keys():  # noqa: SIM118 - it is no mapping
                    head: Tensor = file.get_tensor(name)
                    return head
    raise ModelError(
        f"no output head in {directory}: expected one of the tensors {', '.join(names)} in its safetensors "
        "files. Words are read from a vector by the head, so the model must be saved as a language model"
    )


def _head_names(config: PretrainedConfig) -> list[str]:
    """What the head's weights may be called; tied ones are stored as the input embedding."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    head = model.get_output_embeddings()
    if head is None:
        raise ModelError(f"{config.model_type} has no output head; expected a causal language model")
    same = [name for name, weight in model.named_parameters(remove_duplicate=False) if weight is head.weight]
    if getattr(config, "tie_word_embeddings", False):
        embedding = model.get_input_embeddings()
        same += [
            name
            for name, weight in model.named_parameters(remove_duplicate=False)
            if weight is embedding.weight and name not in same
        ]
    return same


def _file_of(directory: Path, tensor: str) -> Path | None:
    index = directory / "model.safetensors.index.json"
    if index.is_file():
        name = json.loads(index.read_text(encoding="utf-8"))["weight_map"].get(tensor)
        return directory / name if name else None
    path = directory / "model.safetensors"
    return path if path.is_file() else None
