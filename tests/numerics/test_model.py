"""Model directories: what stock libraries make of them equals what the formulas say."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from architectures import ARCHITECTURES
from safetensors.torch import load_file, save_file
from tiny import (
    SENTENCES,
    SHUFFLED_SLOTS,
    byte_level,
    model_for,
    sentencepiece_like,
    write_corpus,
    write_model,
)
from torch import Tensor
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from llara.adapt import adapt
from llara.config import AdaptConfig, AdaptTrainingConfig, CorpusConfig, ObjectiveConfig
from llara.errors import ConfigError, LlaraError, ModelError, OutputError
from llara.joint import BranchSpec, forward_slots, lay_out
from llara.model import convert, fingerprint, load, load_causal_lm, read_facts, resolve, save_retriever
from llara.prompts import Prompts

TEXTS = [*SENTENCES, "", "short", " ".join(SENTENCES * 2)]
TRAINING = AdaptTrainingConfig(
    max_steps=3, batch_size=4, learning_rate=1e-3, precision="float32", save_steps=0
)
CONFIG = AdaptConfig(
    corpus=CorpusConfig(segment_tokens=48), objective=ObjectiveConfig(lm_weight=0.1), training=TRAINING
)

# Without llara: its import fails, and nothing but sentence-transformers reads the directories.
WITHOUT_LLARA = """
import sys, json, numpy
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "llara":
            raise ImportError("llara is not here")
sys.meta_path.insert(0, Refused())
try:
    import llara
except ImportError:
    pass
else:
    raise SystemExit("llara can be imported")
from sentence_transformers import SentenceTransformer
folder, texts = sys.argv[1], json.loads(sys.argv[2])
for name in sys.argv[3:]:
    model = SentenceTransformer(f"{folder}/{name}", device="cpu")
    vectors = {"query": model.encode_query(texts), "document": model.encode_document(texts)}
    numpy.savez(f"{folder}/{name}.npz", **vectors)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model; the same converted; and adapted, once plainly and once with centring."""
    place = tmp_path_factory.mktemp("model")
    base = write_model(place / "base", sentencepiece_like("first"), max_position_embeddings=96)
    corpus = write_corpus(place / "corpus.jsonl", documents=6)
    convert(base, place / "converted", max_tokens=512)
    adapt(base=str(base), corpus=[corpus], out=place / "adapted", config=CONFIG)
    centring = replace(CONFIG, objective=replace(CONFIG.objective, center=True, center_samples=20))
    adapt(base=str(base), corpus=[corpus], out=place / "centred", config=centring)
    return place


def by_hand(
    directory: Path, role: str, texts: list[str], *, max_tokens: int, mean: Tensor | None = None
) -> np.ndarray:
    """Unit vectors ``[N, D]``: the prompt as the paper prints it, EOS, its state after the final norm."""
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    words = " The next sentence: " if role == "query" else " The original sentence: "
    suffix = tokenizer("x" + words, add_special_tokens=False)["input_ids"]
    suffix = [*suffix[len(tokenizer("x", add_special_tokens=False)["input_ids"]) :], tokenizer.eos_token_id]
    rows = []
    for text in texts:
        ids = tokenizer(text.strip())["input_ids"][: max_tokens - len(suffix)]  # BOS first
        with torch.no_grad():
            state = model.base_model(torch.tensor([[*ids, *suffix]])).last_hidden_state[0, -1]
        vector = state if mean is None else state - mean
        rows.append((vector / vector.norm()).numpy())
    return np.array(rows)


def test_written_directories_load_without_llara_and_give_the_papers_vectors(folder: Path) -> None:
    names = ["converted", "adapted", "centred"]
    command = [sys.executable, "-c", WITHOUT_LLARA, str(folder), json.dumps(TEXTS), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in names:
        stock = np.load(folder / f"{name}.npz")
        ours = load(folder / name, device="cpu")
        for role, encode in (("query", ours.encode_query), ("document", ours.encode_document)):
            assert np.abs(stock[role] - encode(TEXTS)).max() < 1e-6
            if name != "centred":
                expected = by_hand(folder / name, role, TEXTS, max_tokens=96)
                assert np.abs(stock[role] - expected).max() < 1e-5
        assert not np.allclose(stock["query"], stock["document"], atol=0.01)


@torch.no_grad()
def test_centring_subtracts_each_roles_mean_before_normalising(folder: Path) -> None:
    """The mean over the corpus is recomputed here, one text at a time."""
    directory = folder / "centred"
    model = load(directory, device="cpu")
    plain = load_causal_lm(directory, dtype=torch.float32)
    prompts = Prompts(AutoTokenizer.from_pretrained(directory))
    router = next(module for module in model if type(module).__name__ == "Router")
    for role, task in (("query", "next"), ("document", "self")):
        dense = router.sub_modules[role][0].linear
        assert torch.equal(dense.weight, torch.eye(32))
        mean = -dense.bias
        assert mean.norm() > 0.1
        encode = model.encode_query if role == "query" else model.encode_document
        expected = by_hand(directory, role, TEXTS, max_tokens=96, mean=mean)
        assert np.abs(encode(TEXTS) - expected).max() < 1e-5
        branch = prompts.branches[task]  # type: ignore[index]
        spec = BranchSpec(branch.ids, branch.num_slots)
        states = [
            forward_slots(plain.base_model, lay_out([prompts.trunk(ids)], [spec], pad_id=0))[0]
            for ids in prompts.text_ids(SENTENCES)
        ]
        # Another sample of the same sentences, so near and not equal: far nearer than it is to nothing.
        assert (torch.stack(states).mean(dim=0) - mean).norm() < 0.5 * mean.norm()


def test_the_adapted_model_is_still_a_language_model_with_its_head(folder: Path) -> None:
    model, info = AutoModelForCausalLM.from_pretrained(folder / "adapted", output_loading_info=True)
    assert not info["missing_keys"]
    base = AutoModelForCausalLM.from_pretrained(folder / "base")
    assert model.lm_head.weight.shape == base.lm_head.weight.shape
    assert not torch.equal(model.lm_head.weight, base.lm_head.weight)  # it was trained: it is Eq. 6's W
    converted = AutoModelForCausalLM.from_pretrained(folder / "converted")
    for ours, theirs in zip(converted.parameters(), base.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    generated = model.generate(torch.tensor([[1, 5]]), max_new_tokens=3, do_sample=False)
    assert generated.shape[1] > 2


def test_facts_and_card_say_what_was_done(folder: Path) -> None:
    facts = read_facts(folder / "adapted")
    assert (facts["preset"], facts["max_tokens"]) == ("paper", 96)  # no more than the model has positions for
    assert read_facts(folder / "converted")["max_tokens"] == 96
    assert read_facts(folder / "base") == {}
    training = json.loads((folder / "adapted" / "training.json").read_text())
    assert training["settings"]["training"]["max_steps"] == 3
    card = (folder / "adapted" / "README.md").read_text()
    assert "adapted from" in card
    assert "3 x 4 segments" in card


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
@torch.no_grad()
def test_eight_words_vectors_are_the_mean_of_the_eight_last_states(family: str, tmp_path: Path) -> None:
    tokenizer = byte_level(bos=True, slots=SHUFFLED_SLOTS)
    write_model(tmp_path / "base", tokenizer, family)
    convert(tmp_path / "base", tmp_path / "out", preset="eight-words", max_tokens=120)
    retriever = load(tmp_path / "out", device="cpu")
    model = load_causal_lm(tmp_path / "base", dtype=torch.float32)
    added = tokenizer.get_vocab()
    for encode, told, numbers in (
        (retriever.encode_query, "predict the following", range(9, 17)),
        (retriever.encode_document, "summarize the above", range(1, 9)),
    ):
        suffix = tokenizer(f'", {told} passage within eight words: ', add_special_tokens=False)["input_ids"]
        suffix = [*suffix, *(added[f"<s{i}>"] for i in numbers)]
        lead = tokenizer('"')["input_ids"]
        for text, vector in zip(TEXTS, encode(TEXTS), strict=True):
            ids = tokenizer(text, add_special_tokens=False)["input_ids"][: 120 - len(lead) - len(suffix)]
            states = model.base_model(torch.tensor([[*lead, *ids, *suffix]])).last_hidden_state[0, -8:]
            mean = states.mean(dim=0)
            assert np.abs(vector - (mean / mean.norm()).numpy()).max() < 1e-5


def test_eight_words_directories_load_in_sentence_transformers_where_llara_is(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    tokenizer = byte_level(bos=True, slots=SHUFFLED_SLOTS)
    save_retriever(model_for(tokenizer), Prompts(tokenizer, "eight-words"), tmp_path / "one", max_tokens=120)
    trusted = SentenceTransformer(str(tmp_path / "one"), device="cpu", trust_remote_code=True)
    vectors = load(tmp_path / "one", device="cpu").encode_query(TEXTS)
    assert np.abs(trusted.encode_query(TEXTS) - vectors).max() < 1e-6
    trusted.save(str(tmp_path / "two"))  # as their own trainer would
    assert np.abs(load(tmp_path / "two", device="cpu").encode_query(TEXTS) - vectors).max() < 1e-6


@pytest.mark.parametrize("family", ARCHITECTURES)
def test_every_family_gives_the_papers_vectors_in_a_padded_batch(family: str, tmp_path: Path) -> None:
    tokenizer = byte_level(bos=True)
    write_model(tmp_path / "base", tokenizer, family)
    convert(tmp_path / "base", tmp_path / "out", max_tokens=80)
    vectors = load(tmp_path / "out", device="cpu").encode_document(TEXTS)
    assert np.abs(vectors - by_hand(tmp_path / "out", "document", TEXTS, max_tokens=80)).max() < 1e-5


def test_the_fingerprint_follows_what_decides_vectors_and_nothing_else(folder: Path) -> None:
    directory = folder / "converted"
    before = fingerprint(directory)
    assert before != fingerprint(folder / "adapted")
    (directory / "README.md").write_text("another card")
    (directory / "training.json").write_text("{}")
    assert fingerprint(directory) == before
    for name in ("model.safetensors", "chat_template.jinja", "tokenizer.json", "1_Pooling/config.json"):
        path = directory / name
        content = path.read_bytes()
        path.write_bytes(content[:-1] + b"!")
        assert fingerprint(directory) != before, name
        path.write_bytes(content)
    assert fingerprint(directory) == before


def test_what_cannot_be_loaded_or_written_is_refused_with_the_reason(folder: Path, tmp_path: Path) -> None:
    cases: list[tuple[type[LlaraError], str, object]] = [
        (ModelError, "not yet a retriever; make it one with: llara convert", lambda: load(folder / "base")),
        (ModelError, "is not a model directory", lambda: resolve(tmp_path)),
        (ModelError, "there is no model './nowhere'", lambda: resolve("./nowhere")),
        (ModelError, "there is no model", lambda: convert("nowhere", tmp_path / "out")),
        (ModelError, "'<s1>'", lambda: convert(folder / "base", tmp_path / "out", preset="eight-words")),
        (
            ConfigError,
            "'nine-words'",
            lambda: convert(folder / "base", tmp_path / "out", preset="nine-words"),
        ),
        (ConfigError, "no room for text", lambda: convert(folder / "base", tmp_path / "out", max_tokens=4)),
        (OutputError, "exists and is not empty", lambda: convert(folder / "base", folder / "adapted")),
    ]
    for kind, message, call in cases:
        with pytest.raises(kind, match=message):
            call()  # type: ignore[operator]
    assert not list(tmp_path.iterdir())


def test_convert_overwrites_only_when_told(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("x")
    convert(folder / "base", tmp_path / "out", overwrite=True)
    assert not (tmp_path / "out" / "old").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.fixture
def said() -> Iterator[io.StringIO]:
    """What transformers logs."""
    stream = io.StringIO()
    logger, handler = logging.getLogger("transformers"), logging.StreamHandler(stream)
    level = logger.level
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_the_head_that_a_retriever_does_not_use_is_not_reported(tmp_path: Path, said: io.StringIO) -> None:
    directory = convert(write_model(tmp_path / "base", sentencepiece_like("first")), tmp_path / "out")
    assert "lm_head.weight" in load_file(directory / "model.safetensors")  # not tied
    load(directory, device="cpu")
    assert said.getvalue() == ""
    AutoModel.from_pretrained(directory)
    assert "lm_head.weight" in said.getvalue()


NORM = "model.layers.1.input_layernorm.weight"


@pytest.mark.parametrize("preset", ["paper", "eight-words"])
@pytest.mark.parametrize("quiet", [False, True])
def test_weights_that_are_missing_or_of_another_shape_are_refused(
    preset: str, quiet: bool, tmp_path: Path, said: io.StringIO
) -> None:
    """The library makes them up; it only reports that it did, if that, as its verbosity is the user's."""
    logging.getLogger("transformers").setLevel(logging.ERROR if quiet else logging.WARNING)
    tokenizer = sentencepiece_like("first", slots=SHUFFLED_SLOTS)
    directory = convert(write_model(tmp_path / "base", tokenizer), tmp_path / "out", preset=preset)
    weights = load_file(directory / "model.safetensors")
    for changed in ({}, {NORM: torch.ones(31)}):
        kept = {name: value for name, value in weights.items() if name != NORM}
        save_file(kept | changed, directory / "model.safetensors", {"format": "pt"})
        with pytest.raises(ModelError, match=r"out: its files lack weights.*config.json.*another shape"):
            load(directory, device="cpu")
        with pytest.raises(ModelError, match=r"causal language model.*its files lack weights"):
            load_causal_lm(directory, dtype=torch.float32)
    save_file(weights, directory / "model.safetensors", {"format": "pt"})
    load(directory, device="cpu")
    assert said.getvalue() == ""
