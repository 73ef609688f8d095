"""The contrastive loss through the model: GradCache equals one large batch; what a batch holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformerTrainer
from tiny import SENTENCES, SHUFFLED_SLOTS, byte_level, model_for, sentencepiece_like
from torch import Tensor
from torch.nn.functional import cosine_similarity

from llara.config import ContrastConfig, FinetuneConfig, FinetuneTrainingConfig, LoraConfig, PairsConfig
from llara.corpus import Document
from llara.datasets import TrainingExample
from llara.finetune.batches import PairCollator
from llara.finetune.loss import ABSENT, ContrastiveLoss
from llara.finetune.pairs import PairStore, build_pairs
from llara.finetune.prepare import load_retriever
from llara.finetune.trainer import Retriever
from llara.model import load_causal_lm, load_tokenizer, save_retriever
from llara.prompts import Prompts

PLAIN = ContrastConfig()
CONFIG = FinetuneConfig(
    pairs=PairsConfig(query_tokens=48, passage_tokens=80, negatives=3),
    lora=LoraConfig(rank=4, alpha=8.0, dropout=0.0),
    training=FinetuneTrainingConfig(precision="float32"),
)
KINDS = ["paper", "centred", "eight-words"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A retriever of each kind, and a few examples whose texts are shorter and longer than the limits."""
    place = tmp_path_factory.mktemp("contrast")
    random = torch.Generator().manual_seed(3)
    for kind in KINDS:
        slots = kind == "eight-words"
        tokenizer = byte_level(bos=True, slots=SHUFFLED_SLOTS) if slots else sentencepiece_like("first")
        centers = {task: torch.randn(32, generator=random) for task in ("next", "self")}
        (place / kind).mkdir()
        save_retriever(
            model_for(tokenizer),
            Prompts(tokenizer, "eight-words" if slots else "paper"),
            place / kind,
            max_tokens=128,
            centers=centers if kind == "centred" else None,  # type: ignore[arg-type]
        )
    build_pairs([examples()], place / "pairs", title_separator=" ")
    return place


def examples() -> list[TrainingExample]:
    """Five queries with none to four negatives; two share their positive."""
    texts = [f"{text} ({n})" for n, text in enumerate([*SENTENCES, *SENTENCES[::-1], " ".join(SENTENCES)])]
    documents = [Document(str(n), text, title="Title" if n % 2 else "") for n, text in enumerate(texts)]
    return [
        TrainingExample(
            str(q),
            " ".join(SENTENCES[q : q + 1 + q % 2]),
            (documents[min(q, 3)],),
            tuple(documents[5 + q : 5 + 2 * q]),
            (4.0,),
            tuple(float(n % 3) for n in range(len(documents[5 + q : 5 + 2 * q]))),
        )
        for q in range(5)
    ]


def retriever(directory: Path, config: FinetuneConfig) -> Retriever:
    made = load_retriever(str(directory), config)
    made.encoder.train()
    for name, parameter in made.encoder.named_parameters():
        if "lora_B" in name:  # 0 at the start, and then lora_A has no gradient
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(len(name)))
    return made


def collator(made: Retriever, store: PairStore, config: FinetuneConfig) -> PairCollator:
    return PairCollator(
        made.prompts,
        store,
        torch.arange(len(store)).numpy(),
        config.pairs,
        num_negatives=config.pairs.negatives,
        seed=1,
        teacher=config.contrast.distillation != "none",
    )


def batch(made: Retriever, store: PairStore, config: FinetuneConfig) -> tuple[Any, Any]:
    """Features and labels as the trainer makes them of a whole batch."""
    inputs = collator(made, store, config)([{"position": n} for n in range(len(store))])
    return SentenceTransformerTrainer.collect_features(None, inputs)  # type: ignore[arg-type]


def outcome(
    directory: Path, config: FinetuneConfig, run: Callable[[Retriever, Any, Any], Tensor]
) -> tuple[float, dict[str, Tensor]]:
    """The loss, and the gradient of every trained parameter."""
    made = retriever(directory, config)
    features, labels = batch(made, PairStore(directory.parent / "pairs"), config)
    torch.manual_seed(7)  # of dropout
    loss = run(made, features, labels)
    loss.backward()
    grads = {n: p.grad for n, p in made.encoder.named_parameters() if p.requires_grad}
    assert all(gradient is not None for gradient in grads.values())
    return loss.item(), grads  # type: ignore[return-value]


def loss_with(config: FinetuneConfig, texts: int | None) -> Callable[[Retriever, Any, Any], Tensor]:
    return lambda made, features, labels: ContrastiveLoss(
        made.encoder, config.contrast, grad_cache_texts=texts
    )(features, labels)


def in_parts(config: FinetuneConfig, texts: int) -> Callable[[Retriever, Any, Any], Tensor]:
    """Without GradCache: all texts in parts of the same size, in the same order, so with the same dropout."""

    def run(made: Retriever, features: Any, labels: Any) -> Tensor:
        reps: list[list[Tensor]] = []
        for part in features:
            size = len(part["input_ids"])
            reps.append([])
            for start in range(0, size, texts):
                rows = {
                    name: value[start : start + texts] if isinstance(value, Tensor) else value
                    for name, value in part.items()
                }
                # GradCache cuts padding that no text of the part needs, and dropout draws for padding too
                width = int(rows["attention_mask"].sum(dim=1).max())
                rows |= {name: rows[name][:, :width] for name in ("input_ids", "attention_mask")}
                reps[-1].append(made.encoder(rows)["sentence_embedding"])
        return ContrastiveLoss(made.encoder, config.contrast).calculate_loss(reps, labels)

    return run


def assert_same(one: tuple[float, dict[str, Tensor]], other: tuple[float, dict[str, Tensor]]) -> None:
    """Equal up to float32: norms and rotations are computed in it whatever the weights are, and cosines of
    unlike batches differ by about 1e-7, which 1/t makes 1e-5."""
    assert one[0] == pytest.approx(other[0], rel=1e-5)
    assert one[1].keys() == other[1].keys()
    largest = max(g.abs().max().item() for g in other[1].values())
    assert largest > 0.1
    for name, gradient in other[1].items():
        assert (one[1][name] - gradient).abs().max() < 2e-5 * largest, name


VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "several losses": {"contrast": replace(PLAIN, matryoshka=(8,), distillation="kl", mask_margin=0.1)},
    "own passages": {"contrast": replace(PLAIN, in_batch=False, distillation="margin-mse")},
    "all weights": {"lora": LoraConfig(rank=0)},
    "recomputed": {"training": replace(CONFIG.training, gradient_checkpointing=True)},
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", KINDS)
def test_grad_cache_gives_the_loss_and_gradient_of_one_large_batch(
    kind: str, variant: str, folder: Path
) -> None:
    config = replace(CONFIG, **VARIANTS[variant])
    expected = outcome(folder / kind, config, loss_with(config, None))
    for texts in (1, 3, 7) if variant == "plain" else (3,):
        assert_same(outcome(folder / kind, config, loss_with(config, texts)), expected)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_grad_cache_repeats_dropout_in_its_second_pass(kind: str, recompute: bool, folder: Path) -> None:
    config = replace(
        CONFIG,
        lora=replace(CONFIG.lora, dropout=0.5),
        contrast=replace(PLAIN, temperature=0.1),
        training=replace(CONFIG.training, gradient_checkpointing=recompute),
    )
    cached = outcome(folder / kind, config, loss_with(config, 3))
    assert_same(cached, outcome(folder / kind, config, in_parts(config, 3)))
    steady = replace(config, lora=CONFIG.lora)
    assert abs(cached[0] - outcome(folder / kind, steady, loss_with(steady, 3))[0]) > 0.01  # there is dropout


@pytest.mark.parametrize("rank", [0, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_recomputed_activations_give_the_same_gradients_in_both_towers(
    kind: str, rank: int, folder: Path
) -> None:
    config = replace(CONFIG, lora=LoraConfig(rank=rank, dropout=0.3 if rank else 0.0))
    again = replace(config, training=replace(config.training, gradient_checkpointing=True))
    plain = outcome(folder / kind, config, loss_with(config, None))
    assert_same(outcome(folder / kind, again, loss_with(again, None)), plain)


def test_lora_trains_the_rows_of_added_tokens_in_float32_also_over_bfloat16(folder: Path) -> None:
    config = replace(CONFIG, training=replace(CONFIG.training, precision="bfloat16"))
    for kind in KINDS:
        made = retriever(folder / kind, config)
        trained = {name: p for name, p in made.encoder.named_parameters() if p.requires_grad}
        assert {p.dtype for p in trained.values()} == {torch.float32}, kind
        assert (
            made.lm.get_base_model().model.layers[0].self_attn.q_proj.base_layer.weight.dtype
            == torch.bfloat16
        )
        rows = [p.shape for name, p in trained.items() if "token_adapter" in name]
        assert rows == ([(16, 32)] if kind == "eight-words" else [])


@pytest.mark.parametrize("kind", KINDS)
def test_batches_hold_whole_prompts_around_cut_texts(kind: str, folder: Path) -> None:
    made = retriever(folder / kind, CONFIG)
    store = PairStore(folder / "pairs")
    features, labels = batch(made, store, CONFIG)
    prompts = Prompts(load_tokenizer(folder / kind), made.prompts.preset)
    assert labels["passage_ids"].shape == (5, 4)
    assert (labels["passage_ids"] != ABSENT).sum(dim=1).tolist() == [1, 2, 3, 4, 4]
    texts = {
        "next": [store[n].query for n in range(5)],
        "self": ["" if n == ABSENT else store.passage(n) for n in labels["passage_ids"].flatten().tolist()],
    }
    for part, (task, limit) in zip(features, {"next": 48, "self": 80}.items(), strict=True):
        room = prompts.text_limit(limit, [task])  # type: ignore[list-item]
        expected = [
            [*prompts.trunk(ids), *prompts.branches[task].ids]  # type: ignore[index]
            for ids in prompts.text_ids(texts[task], room)
        ]
        found = [
            ids[mask == 1].tolist()
            for ids, mask in zip(part["input_ids"], part["attention_mask"], strict=True)
        ]
        assert found == expected
        assert max(map(len, found)) == limit


def test_eight_words_loss_is_the_formula_on_means_of_eight_states(folder: Path) -> None:
    """From texts to the loss with nothing of ours but the weights, prompts as the released code has them."""
    directory = folder / "eight-words"
    config = replace(CONFIG, lora=LoraConfig(rank=0))
    loss, _ = outcome(directory, config, loss_with(config, None))
    model, tokenizer = load_causal_lm(directory, dtype=torch.float32), load_tokenizer(directory)
    slots = tokenizer.get_vocab()

    @torch.no_grad()
    def vector(text: str, told: str, numbers: Sequence[int], limit: int) -> Tensor:
        suffix = tokenizer(f'", {told} passage within eight words: ', add_special_tokens=False)["input_ids"]
        suffix = [*suffix, *(slots[f"<s{i}>"] for i in numbers)]
        lead = tokenizer('"')["input_ids"]
        ids = tokenizer(text, add_special_tokens=False)["input_ids"][: limit - len(lead) - len(suffix)]
        states = model.base_model(torch.tensor([[*lead, *ids, *suffix]])).last_hidden_state[0, -8:]
        return states.double().mean(dim=0)

    store = PairStore(folder / "pairs")
    _, labels = batch(retriever(directory, config), store, config)
    ids = labels["passage_ids"]
    queries = [vector(store[n].query, "predict the following", range(9, 17), 48) for n in range(5)]
    texts = {n: store.passage(n) for n in ids.flatten().tolist() if n != ABSENT}
    passages = {n: vector(text, "summarize the above", range(1, 9), 80) for n, text in texts.items()}
    total = 0.0
    for b, query in enumerate(queries):
        scores = []
        for o in range(5):
            for number in ids[o].tolist():
                mine = b == o
                if number != ABSENT and (mine or number not in store[b].positives):
                    scores.append(cosine_similarity(query, passages[number], dim=0).item() / 0.01)
        positive = cosine_similarity(query, passages[int(ids[b, 0])], dim=0).item() / 0.01
        total += math.log(sum(math.exp(score - positive) for score in scores))
    assert loss == pytest.approx(total / 5, rel=1e-4)
