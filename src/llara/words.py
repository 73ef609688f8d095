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
from llara.model import load_config, load_tokenizer, resolve
from llara.terms import WORD, Analyzer

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
    """

    def __init__(self, weight_VD: Tensor, tokenizer: PreTrainedTokenizerBase) -> None:
        self.weight_VD = weight_VD
        self._tokenizer = tokenizer
        self._analyze = Analyzer()
        self._ids: dict[str, list[int]] = {}
        self._terms: dict[str, list[str]] = {}
        self._before = self._tokenized(["a"])[0]

    @classmethod
    def of(cls, model: str | Path) -> WordHead:
        """The head of a model directory.

        Raises:
            ModelError: there is no such model, or its output head cannot be found.
        """
        return cls(output_head(model), load_tokenizer(model))

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
        counts. Words that the text does not hold are left out, however strongly its vector expects them.

        Args:
            vectors_ND: the unit vectors of the texts.
            most: terms kept of a text, the heaviest.
        """
        own = [list(dict.fromkeys(WORD.findall(text))) for text in texts]
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
        found = self._tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False)
        return [list(ids) for ids in found["input_ids"]]


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
