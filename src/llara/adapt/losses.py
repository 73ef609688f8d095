"""One batch of adaptation: its tensors, its loss terms and how they add up.

    EBAE   the SELF embedding predicts the words of its own text
    EBAR   the NEXT embedding predicts the words of the text that follows
    lm     next-token prediction over the text (the released recipe; off in the paper's)

    total = task_weight x mean(EBAE, EBAR) + lm_weight x lm

Shape legend: see ``joint`` and ``objective``; R documents, S slots of a branch, P predicted positions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from llara.errors import InputError
from llara.joint import BranchSpec, Joint, forward_hidden, lay_out, pack
from llara.objective import Targets, bag_of_words_loss, next_token_loss, slot_logits
from llara.prompts import Prompts, Task
from llara.stopwords import load_stop_words

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["AdaptationModel", "Batch", "BatchBuilder", "Example", "adaptation_losses", "combine"]

TERMS = ("ebae", "ebar", "lm")
_TERM_OF: dict[Task, str] = {"self": "ebae", "next": "ebar"}


@dataclass(frozen=True, slots=True)
class Example:
    """A segment: its ids, the words SELF must predict, and those NEXT must (None for a last segment)."""

    text_ids: Sequence[int]
    self_target: Sequence[int]
    next_target: Sequence[int] | None


@dataclass(frozen=True, slots=True)
class Batch:
    """What the model needs for one forward pass.

    Attributes:
        num_documents: R.
        passes: the laid-out rows and the tasks whose branches they hold: one pass with both, or one each.
        targets: by task, one row per document.
        lm_rows_P, lm_columns_P: in the first pass, where the states stand that predict the text's tokens.
        lm_labels_P: those tokens; empty when the next-token loss is off.
    """

    num_documents: int
    passes: tuple[tuple[tuple[Task, ...], Joint], ...]
    targets: Mapping[Task, Targets]
    lm_rows_P: Tensor
    lm_columns_P: Tensor
    lm_labels_P: Tensor

    def counts(self) -> Tensor:
        """Rows or positions behind each term, ``[3]`` float64 in the order of ``TERMS``."""
        filled = [float(self.targets[task].num_filled) if task in self.targets else 0.0 for task in _TERM_OF]
        return torch.tensor([*filled, float(len(self.lm_labels_P))], dtype=torch.float64)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return Batch(
            self.num_documents,
            tuple((tasks, joint.to(device)) for tasks, joint in self.passes),
            {task: targets.to(device) for task, targets in self.targets.items()},
            self.lm_rows_P.to(device),
            self.lm_columns_P.to(device),
            self.lm_labels_P.to(device),
        )


@dataclass(frozen=True)
class BatchBuilder:
    """Lays out examples as a :class:`Batch`; the collator of the data loader.

    Attributes:
        tasks: which of ``self`` and ``next`` are trained; neither in next-token training alone.
        joint: both branches in one pass, or one pass each.
        row_tokens: pack several documents into rows of this length; None: one document a row.
        token_weights_V: relative weight of each word as a target; None: all alike.
    """

    prompts: Prompts
    tasks: tuple[Task, ...] = ("self", "next")
    joint: bool = True
    row_tokens: int | None = None
    pad_left: bool = False
    distinct: bool = True
    lm: bool = False
    exclude: frozenset[int] = frozenset()
    token_weights_V: Tensor | None = None

    def __call__(self, examples: Sequence[Example]) -> Batch:
        trunks = [self.prompts.trunk(example.text_ids) for example in examples]
        one_pass = self.joint or not self.tasks
        groups = (self.tasks,) if one_pass else tuple((task,) for task in self.tasks)
        passes = tuple((group, self._lay_out(trunks, group)) for group in groups)
        empty = torch.zeros(0, dtype=torch.long)
        predicted = self._predicted(passes[0][1]) if self.lm else (empty, empty, empty)
        targets = {task: self._targets(examples, task) for task in self.tasks}
        return Batch(len(examples), passes, targets, *predicted)

    def _lay_out(self, trunks: Sequence[Sequence[int]], tasks: tuple[Task, ...]) -> Joint:
        branches = [self.prompts.branches[task] for task in tasks]
        specs = [BranchSpec(branch.ids, branch.num_slots) for branch in branches]
        tail = sum(len(spec.ids) for spec in specs)
        rows = pack([len(trunk) + tail for trunk in trunks], self.row_tokens) if self.row_tokens else None
        # Padding is never seen, and a tokenizer's own pad token may have no row in the model: any id will do.
        return lay_out(trunks, specs, pad_id=0, rows=rows, pad_left=self.pad_left, row_tokens=self.row_tokens)

    def _targets(self, examples: Sequence[Example], task: Task) -> Targets:
        ids = [e.self_target if task == "self" else e.next_target for e in examples]
        return Targets.build(
            ids, distinct=self.distinct, exclude=self.exclude, token_weights_V=self.token_weights_V
        )

    def _predicted(self, joint: Joint) -> tuple[Tensor, Tensor, Tensor]:
        """Where the text's tokens stand, moved one column back to the state that predicts them."""
        first = max(1, len(self.prompts.lead_ids))
        text_BT = (joint.branch_BT == 0) & (joint.document_BT >= 0) & (joint.position_ids_BT >= first)
        rows_P, columns_P = text_BT.nonzero(as_tuple=True)
        return rows_P, columns_P - 1, joint.input_ids_BT[rows_P, columns_P]


class AdaptationModel(nn.Module):
    """A causal language model whose forward pass gives the sums of the loss terms.

    The whole computation stands in ``forward``, head included, so that data-parallel wrappers see it.
    """

    def __init__(self, lm: PreTrainedModel) -> None:
        super().__init__()
        self.lm = lm
        self.config = lm.config

    def forward(self, batch: Batch) -> Tensor:
        """Sum of each term over the batch, ``[3]`` float32 in the order of ``TERMS``."""
        lm, head = self._parts()
        trunk: nn.Module = lm.base_model
        sums = dict.fromkeys(TERMS, torch.zeros((), device=batch.lm_labels_P.device))
        for index, (tasks, joint) in enumerate(batch.passes):
            hidden_BTD = forward_hidden(trunk, joint)
            for task, states_RSD in _by_task(hidden_BTD, tasks, joint, batch.num_documents).items():
                sums[_TERM_OF[task]] = bag_of_words_loss(slot_logits(states_RSD, head), batch.targets[task])
            if index == 0 and len(batch.lm_labels_P):
                predicting_PD = hidden_BTD[batch.lm_rows_P, batch.lm_columns_P]
                sums["lm"] = next_token_loss(predicting_PD, batch.lm_labels_P, NextTokenHead(lm))
        return torch.stack([sums[term].float() for term in TERMS])

    def slot_states(self, batch: Batch) -> dict[Task, Tensor]:
        """States of each task's slots ``[R, S, D]``."""
        lm, _ = self._parts()
        trunk: nn.Module = lm.base_model
        states: dict[Task, Tensor] = {}
        for tasks, joint in batch.passes:
            states |= _by_task(forward_hidden(trunk, joint), tasks, joint, batch.num_documents)
        return states

    def _parts(self) -> tuple[PreTrainedModel, nn.Module]:
        """The language model itself, from under an adapter, and its head."""
        lm: Any = self.lm
        if hasattr(lm, "peft_config"):
            lm = lm.get_base_model()
        return lm, lm.get_output_embeddings()


class NextTokenHead(nn.Module):
    """The head as the model's own ``forward`` applies it for the next token.

    Eq. 6 takes the bare projection W; some families scale or cap its logits before their softmax.
    """

    def __init__(self, lm: PreTrainedModel) -> None:
        super().__init__()
        config = lm.config
        self.linear = lm.get_output_embeddings()
        self.scale = (getattr(config, "logit_scale", None) or 1.0) / (
            getattr(config, "logits_scaling", None) or 1.0
        )  # Cohere multiplies, Granite divides
        self.cap: float | None = getattr(config, "final_logit_softcapping", None)  # Gemma 2

    def forward(self, states_PD: Tensor) -> Tensor:
        """Logits ``[P, V]``."""
        logits_PV: Tensor = self.linear(states_PD) * self.scale
        return logits_PV if self.cap is None else torch.tanh(logits_PV / self.cap) * self.cap


def _by_task(
    hidden_BTD: Tensor, tasks: tuple[Task, ...], joint: Joint, num_documents: int
) -> dict[Task, Tensor]:
    if not tasks:
        return {}
    states_ND = hidden_BTD[joint.slot_rows_N, joint.slot_columns_N]
    states = states_ND.view(num_documents, len(tasks), -1, states_ND.shape[-1])  # [R, task, S, D]
    return {task: states[:, t] for t, task in enumerate(tasks)}


def combine(sums_3: Tensor, counts_3: Tensor, *, task_weight: float, lm_weight: float) -> Tensor:
    """The total loss from the sums of the terms and the number of rows or positions behind each.

    A term without rows is left out: a corpus of one-segment documents trains by EBAE alone.
    """
    means_3 = sums_3 / counts_3.clamp_min(1).to(sums_3)
    num_tasks = (counts_3[:2] > 0).sum().clamp_min(1).to(sums_3)
    return task_weight * means_3[:2].sum() / num_tasks + lm_weight * means_3[2]


def adaptation_losses(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    successors: Sequence[str | None],
    *,
    preset: str = "paper",
    max_tokens: int = 1024,
    distinct: bool = True,
    stop_words: str = "none",
    joint: bool = True,
    pad_left: bool = False,
) -> dict[str, Tensor]:
    """The loss terms of one batch, by name: ``ebae``, ``ebar``, ``lm`` and their ``total``.

    ``ebae`` and ``ebar`` are Eq. 6 averaged over the texts that have a target, before the preset's
    weight; ``lm`` is the mean next-token loss over the texts' tokens (also where the preset's weight for it
    is 0). ``total`` applies the preset's weights: the mean of the two tasks for ``paper``;
    ``lm + (ebae + ebar) / 20`` for ``eight-words``. Gradients flow from every term.

    Args:
        model: a causal language model.
        texts: what is embedded.
        successors: the text that follows each of them; None (or blank) where nothing follows.
        max_tokens: the length limit with all prompts. With ``eight-words`` a target (with its BOS) is cut to
            this limit by itself, as in the released code, so it may hold words that the model was not shown.
        stop_words: see ``ObjectiveConfig.stop_words``.

    Raises:
        InputError: the two lists are empty or differ in length.
    """
    if not texts or len(texts) != len(successors):
        raise InputError(
            f"adaptation_losses needs as many texts as successors and at least one; got {len(texts)} and "
            f"{len(successors)}"
        )
    prompts = Prompts(tokenizer, preset)
    builder = BatchBuilder(
        prompts,
        joint=joint,
        pad_left=pad_left,
        distinct=distinct,
        lm=True,
        exclude=frozenset(tokenizer.all_special_ids),
    )
    examples = _examples(prompts, texts, successors, max_tokens=max_tokens, stop_words=stop_words)
    batch = builder(examples).to(next(model.parameters()).device)
    sums_3 = AdaptationModel(model)(batch)
    counts_3 = batch.counts().to(sums_3.device)
    preset_of = prompts.preset
    total = combine(sums_3, counts_3, task_weight=preset_of.task_weight, lm_weight=preset_of.lm_weight)
    means_3 = sums_3 / counts_3.clamp_min(1).to(sums_3)
    return {**dict(zip(TERMS, means_3, strict=True)), "total": total}


def _examples(
    prompts: Prompts,
    texts: Sequence[str],
    successors: Sequence[str | None],
    *,
    max_tokens: int,
    stop_words: str,
) -> list[Example]:
    limit = prompts.text_limit(max_tokens, ("self", "next"))
    target_limit = prompts.target_limit(max_tokens, ("self", "next"))
    shorten = load_stop_words(stop_words) or str
    text_ids = prompts.text_ids(texts, limit)
    own = prompts.text_ids([shorten(text) for text in texts], target_limit)
    following = prompts.text_ids([shorten(text or "") for text in successors], target_limit)
    return [Example(*parts) for parts in zip(text_ids, own, following, strict=True)]
