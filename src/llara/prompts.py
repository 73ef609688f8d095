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
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

__all__ = [
    "PRESETS",
    "Branch",
    "Preset",
    "Prompts",
    "bos_ids",
    "chat_template",
    "defuse",
    "get_preset",
    "slot_ids",
]

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
        lead, gap: the same as characters, and what must stand between them and a text in a joined prompt.
        branches: the ids of the SELF and the NEXT branch, the same for every text.
        joined: whether stock libraries, which tokenize the whole prompt as one string, get these ids too. If
            not, the parts are tokenized apart, here and in the model directory's own module (``slots``).
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, preset: str | Preset = "paper") -> None:
        self.tokenizer = tokenizer
        self.preset = get_preset(preset) if isinstance(preset, str) else preset
        self.bos_ids = bos_ids(tokenizer)
        self.lead_ids = self.bos_ids + self._ids(self.preset.prefix)
        self.lead = "".join(tokenizer.convert_ids_to_tokens(self.bos_ids)) + self.preset.prefix
        self.gap = self._gap()
        self.branches: dict[Task, Branch] = {task: self._branch(task) for task in self.preset.suffixes}
        self.joined = self.preset.joined and not _merges_across(tokenizer, self.preset)
        self.special_words = _special_words(tokenizer)

    def text_ids(self, texts: Sequence[str], max_tokens: int | None = None) -> list[list[int]]:
        """Ids of each text alone, cut to ``max_tokens``; nothing in a text becomes a special token."""
        if len(texts) == 0:
            return []
        if not self.preset.joined:
            return [ids[:max_tokens] for ids in self._encoded(texts)]
        first = len(self.lead_ids)
        end = None if max_tokens is None else first + max_tokens
        clean = [defuse(text.strip(), self.special_words) for text in texts]
        return [
            ids[first:end]
            for ids in self._batch_ids([self.lead + (text and self.gap + text) for text in clean])
        ]

    def count_tokens(self, stretches: Sequence[str]) -> list[int]:
        """Tokens of stretches of text as they stand, blanks at their ends included."""
        return [len(ids) for ids in self._encoded(stretches)] if stretches else []

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

    def target_limit(self, max_tokens: int, tasks: Sequence[Task]) -> int:
        """How many tokens of a target count: as of a text; in the released recipe all but the BOS."""
        if self.preset.joined:
            return self.text_limit(max_tokens, tasks)
        return max_tokens - len(self.bos_ids)

    def trunk(self, text_ids: Sequence[int]) -> list[int]:
        """Lead and text: what every branch sees."""
        return [*self.lead_ids, *text_ids]

    def tail(self, task: Task) -> str:
        """What stands after the text, slots included, as characters."""
        slots = (self._slot(token) for token in self.preset.slots[task])
        return self.preset.suffixes[task] + "".join(slots)

    def ids_after_lead(self, tail: str) -> list[int]:
        """The ids of ``tail`` where no text stands before it."""
        return self._ids(self.lead + tail)[len(self.lead_ids) :]

    def _gap(self) -> str:
        """A blank where the tokenizer marks a text's first word only if BOS is not written out before it."""
        natural = [*self.lead_ids, *self._ids("x")]
        if self._ids(self.lead + "x") != natural == self._ids(self.lead + " x"):
            return " "
        return ""

    def _branch(self, task: Task) -> Branch:
        slot_ids = [self._slot_id(token) for token in self.preset.slots[task]]
        ids = self._ids_after_text(self.tail(task)) if self.preset.joined else self._ids(self.tail(task))
        if ids[-len(slot_ids) :] != slot_ids:
            raise ModelError(
                f"the tokenizer does not read {self.tail(task)!r} as a prompt that ends in its slots: it "
                f"gives {self.tokenizer.convert_ids_to_tokens(ids)}; make each slot a special token"
            )
        return Branch(task=task, ids=tuple(ids), num_slots=len(slot_ids))

    def _slot(self, token: str) -> str:
        return str(self.tokenizer.eos_token) if token == EOS_SLOT else token

    def _slot_id(self, token: str) -> int:
        if token == EOS_SLOT and self.tokenizer.eos_token_id is None:
            raise ModelError(
                "the tokenizer has no end-of-sequence token, and the paper's embedding is that token's "
                "state; set eos_token in tokenizer_config.json"
            )
        found = self.tokenizer.get_vocab().get(self._slot(token))
        if found is None:
            raise ModelError(
                f"the tokenizer has no token {token!r}, which the {self.preset.name!r} preset reads its "
                "embedding from; use a checkpoint made with that preset, or the preset 'paper'"
            )
        return int(found)

    def _ids(self, text: str) -> list[int]:
        return self._batch_ids([text])[0]

    def _encoded(self, texts: Sequence[str]) -> list[list[int]]:
        return self._batch_ids([defuse(text, self.special_words) for text in texts])

    def _batch_ids(self, texts: Sequence[str]) -> list[list[int]]:
        # verbose: the library would warn of texts longer than its model takes; they are cut later
        encoded = self.tokenizer(
            list(texts),
            add_special_tokens=False,
            return_attention_mask=False,  # to make it takes as long as the ids
            return_token_type_ids=False,
            verbose=False,
        )
        return [list(ids) for ids in encoded["input_ids"]]

    def _ids_after_text(self, tail: str) -> list[int]:
        """The ids of ``tail`` as they stand after a text, where the tokenizer keeps the boundary."""
        for probe in ("x", "word.", "7"):
            text = self.lead + self.gap + probe
            alone, joined = self._ids(text), self._ids(text + tail)
            if joined[: len(alone)] == alone:
                return joined[len(alone) :]
        return self._ids(tail)


def slot_ids(tokenizer: PreTrainedTokenizerBase, preset: Preset) -> list[int]:
    """Ids of the preset's own slots, tokens that a base model was not trained with; none for ``paper``."""
    if preset.joined:
        return []
    vocabulary = tokenizer.get_vocab()
    return sorted(vocabulary[slot] for slots in preset.slots.values() for slot in slots)


def bos_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids that the tokenizer itself puts before a text: ``[bos]``, or nothing."""
    bare = tokenizer("x", add_special_tokens=False)["input_ids"]
    full = tokenizer("x")["input_ids"]
    for start in range(len(full) - len(bare) + 1):
        if full[start : start + len(bare)] == bare:
            return list(full[:start])
    return []


def _merges_across(tokenizer: PreTrainedTokenizerBase, preset: Preset) -> bool:
    """Whether a text's last characters and the prompt's first can become one token.

    They can where the vocabulary has such a piece and nothing cuts the two apart before pieces are made.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return False
    for piece in tokenizer.get_vocab():
        surface = piece.replace("\u0120", " ").replace("\u2581", " ")  # how vocabularies write a blank
        at = surface.find(" ", 1)
        while at > 0:
            for suffix in preset.suffixes.values():
                spans = surface[at - 1] != " " and suffix.startswith(surface[at:])
                if spans and not _cuts(backend, surface[:at] + suffix, len(suffix)):
                    return True
            at = surface.find(" ", at + 1)
    return False


def _cuts(backend: Tokenizer, text: str, tail_characters: int) -> bool:
    """Whether a tokenizer's first steps part ``text`` before its last characters."""
    if backend.normalizer is not None:
        text = backend.normalizer.normalize_str(text)
    if backend.pre_tokenizer is None:
        return False
    starts = {span[0] for _, span in backend.pre_tokenizer.pre_tokenize_str(text)}
    return len(text) - tail_characters in starts


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

    def tail(task: Task) -> str:
        full, bare = prompts.tail(task), prompts.tail(task).lstrip()
        after_text = f"{{{{- {full!r} -}}}}"
        wanted = list(prompts.branches[task].ids)
        if prompts.ids_after_lead(full) != wanted == prompts.ids_after_lead(bare):
            return f"{{%- if ns.text -%}}{after_text}{{%- else -%}}{{{{- {bare!r} -}}}}{{%- endif -%}}"
        return after_text

    return (
        "{%- for message in messages -%}"
        "{%- set ns = namespace(text=message['content'] | trim) -%}"
        f"{{%- for word in {prompts.special_words!r} -%}}"
        "{%- set ns.text = ns.text | replace(word, word[0] ~ ' ' ~ word[1:]) -%}"
        "{%- endfor -%}"
        f"{{{{- {prompts.lead!r} -}}}}"
        f"{{%- if ns.text -%}}{{{{- {prompts.gap!r} ~ ns.text -}}}}{{%- endif -%}}"
        f"{{%- if task is defined and task == 'query' -%}}{tail('next')}"
        f"{{%- else -%}}{tail('self')}{{%- endif -%}}"
        "{%- endfor -%}"
    )
