"""SELF and NEXT: how a text becomes token ids from which embeddings are read (paper, Eq. 3-5).

A prompted text is a *trunk* (BOS, the text) followed by one *branch* per role. A branch is the
prompt's words and then its *slots*, the tokens whose output states make the embedding:

    preset       branch  after the text T                                        slots
    paper        self    T The original sentence: </s>                           </s>
                 next    T The next sentence: </s>                               </s>
    eight-words  self    "T", summarize the above passage within eight words:    <s1> .. <s8>
                 next    "T", predict the following passage within eight words:  <s9> .. <s16>

``paper`` is LLaRA v1 (arXiv 2312.15503). ``eight-words`` is what the released checkpoints were trained
with. Every id here comes from the tokenizer at run time, never from a list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from llara.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["PRESETS", "Branch", "Preset", "Prompts", "chat_template", "defuse", "get_preset"]

Task = Literal["self", "next"]
EOS_SLOT = "{eos}"  # stands for the tokenizer's own end-of-sequence token


@dataclass(frozen=True, slots=True)
class Preset:
    """The words around a text, and what is done with the slots.

    ``joined`` says that prompt and text are tokenized as one string (the paper's template, and what a chat
    template does); the released recipe tokenizes the parts separately and joins their ids.
    """

    name: str
    prefix: str
    suffixes: Mapping[Task, str]
    slots: Mapping[Task, tuple[str, ...]]
    joined: bool
    lm_weight: float
    task_weight: float


PRESETS: dict[str, Preset] = {
    "paper": Preset(
        name="paper",
        prefix="",
        suffixes={"self": " The original sentence: ", "next": " The next sentence: "},
        slots={"self": (EOS_SLOT,), "next": (EOS_SLOT,)},
        joined=True,
        lm_weight=0.0,
        task_weight=1.0,
    ),
    "eight-words": Preset(
        name="eight-words",
        prefix='"',
        suffixes={
            "self": '", summarize the above passage within eight words: ',
            "next": '", predict the following passage within eight words: ',
        },
        slots={
            "self": tuple(f"<s{i}>" for i in range(1, 9)),
            "next": tuple(f"<s{i}>" for i in range(9, 17)),
        },
        joined=False,
        lm_weight=1.0,
        task_weight=0.1,
    ),
}


def get_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        ConfigError: no preset has that name.
    """
    if name not in PRESETS:
        raise ConfigError(f"unknown prompt preset {name!r}; expected one of: {', '.join(PRESETS)}")
    return PRESETS[name]


@dataclass(frozen=True, slots=True)
class Branch:
    """One role's ids: the prompt's words, then the slots (the last ``num_slots`` ids)."""

    task: Task
    ids: tuple[int, ...]
    num_slots: int


class Prompts:
    """Turns texts into ids for one tokenizer and one preset.

    Attributes:
        lead_ids: what stands before the text (BOS where the tokenizer adds one, and the preset's prefix).
        branches: the ids of the SELF and the NEXT branch, the same for every text.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, preset: str | Preset = "paper") -> None:
        self.tokenizer = tokenizer
        self.preset = get_preset(preset) if isinstance(preset, str) else preset
        self.bos_ids = bos_ids(tokenizer)
        self.lead_ids = self.bos_ids + self._ids(self.preset.prefix)
        self.branches: dict[Task, Branch] = {task: self._branch(task) for task in self.preset.suffixes}
        self._special_words = _special_words(tokenizer)

    def text_ids(self, texts: Sequence[str], max_tokens: int | None = None) -> list[list[int]]:
        """Ids of each text alone, cut to ``max_tokens``; nothing in a text becomes a special token."""
        if not texts:
            return []
        clean = [defuse(text.strip(), self._special_words) for text in texts]
        return [
            list(ids[:max_tokens]) for ids in self.tokenizer(clean, add_special_tokens=False)["input_ids"]
        ]

    def text_limit(self, max_tokens: int, tasks: Sequence[Task]) -> int:
        """How many tokens of a text fit beside the lead and all of ``tasks``' branches.

        Raises:
            ConfigError: not even one token fits.
        """
        overhead = len(self.lead_ids) + sum(len(self.branches[task].ids) for task in tasks)
        if max_tokens <= overhead:
            raise ConfigError(
                f"a limit of {max_tokens} tokens leaves no room for text: the prompts alone take {overhead}; "
                f"give at least {overhead + 1}"
            )
        return max_tokens - overhead

    def trunk(self, text_ids: Sequence[int]) -> list[int]:
        """Lead and text: what every branch sees."""
        return [*self.lead_ids, *text_ids]

    def _branch(self, task: Task) -> Branch:
        slot_ids = [self._slot_id(token) for token in self.preset.slots[task]]
        suffix = self.preset.suffixes[task]
        ids = self._ids_after_text(suffix) if self.preset.joined else self._ids(suffix)
        return Branch(task=task, ids=(*ids, *slot_ids), num_slots=len(slot_ids))

    def _slot_id(self, token: str) -> int:
        if token == EOS_SLOT:
            eos = self.tokenizer.eos_token_id
            if eos is None:
                raise ModelError(
                    "the tokenizer has no end-of-sequence token, and the paper's embedding is that token's state; "
                    "set eos_token in tokenizer_config.json"
                )
            return int(eos)
        found = self.tokenizer.get_vocab().get(token)
        if found is None:
            raise ModelError(
                f"the tokenizer has no token {token!r}, which the {self.preset.name!r} preset reads its embedding from; "
                f"use a checkpoint made with that preset, or the preset 'paper'"
            )
        return int(found)

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []

    def _ids_after_text(self, suffix: str) -> list[int]:
        """The ids of ``suffix`` as they stand after a text, where the tokenizer keeps the boundary."""
        for probe in ("x", "word.", "7"):
            alone, joined = self._ids(probe), self._ids(probe + suffix)
            if joined[: len(alone)] == alone:
                return joined[len(alone) :]
        return self._ids(suffix)


def bos_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids that the tokenizer itself puts before a text: ``[bos]``, or nothing."""
    bare = tokenizer("x", add_special_tokens=False)["input_ids"]
    full = tokenizer("x")["input_ids"]
    for start in range(len(full) - len(bare) + 1):
        if full[start : start + len(bare)] == bare:
            return list(full[:start])
    return []


def _special_words(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The tokenizer's special tokens, longest first; one-character ones cannot be written apart."""
    words = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    words.update(str(token) for token in tokenizer.all_special_tokens)
    return sorted((word for word in words if len(word) > 1), key=lambda word: (-len(word), word))


def defuse(text: str, special_words: Sequence[str]) -> str:
    """Write special tokens in a user's text apart, so that the tokenizer reads them as plain characters.

    >>> defuse("a </s> b", ["</s>"])
    'a < /s> b'
    """
    for word in special_words:
        if word in text:
            text = text.replace(word, f"{word[0]} {word[1:]}")
    return text


def chat_template(prompts: Prompts) -> str:
    """The Jinja template with which stock libraries write the same prompts.

    Task ``query`` gets the NEXT branch; anything else gets SELF. The content is trimmed and its special
    tokens are written apart, exactly as :meth:`Prompts.text_ids` does.
    """
    tokenizer, preset = prompts.tokenizer, prompts.preset
    content = "message['content'] | trim"
    for word in _special_words(tokenizer):
        content += f" | replace({word!r}, {defuse(word, [word])!r})"
    bos = "".join(tokenizer.convert_ids_to_tokens(prompts.bos_ids))

    def tail(task: Task) -> str:
        slots = (tokenizer.eos_token if slot == EOS_SLOT else slot for slot in preset.slots[task])
        return preset.suffixes[task] + "".join(slots)

    return (
        "{%- for message in messages -%}"
        f"{{{{- {(bos + preset.prefix)!r} -}}}}"
        f"{{{{- {content} -}}}}"
        f"{{%- if task is defined and task == 'query' -%}}{{{{- {tail('next')!r} -}}}}"
        f"{{%- else -%}}{{{{- {tail('self')!r} -}}}}{{%- endif -%}}"
        "{%- endfor -%}"
    )
